//! One channel on its way to a tower: what was handed over, what the tower has, and what is between.
//!
//! # Invariants
//! - a receipt leaves only for what the tower has stated under a name that is ours, or in a whole channel that we sent
//! - what was handed over and not acknowledged is here, or is in the channel's own durable state, which is then sent whole
use std::collections::VecDeque;
use std::sync::Arc;

use lightning_traits::id::UpdateId;
use lightning_traits::monitor::Receipt;

use crate::wire::chain::Signed;
use crate::wire::{Head, Name};

/// An update that the tower has not acknowledged.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: UpdateId,
    pub(super) name: Name,
    /// What is said before it.
    pub(super) introduction: Option<Vec<u8>>,
    /// What is sent; dropped when too much waits.
    pub(super) message: Option<Vec<u8>>,
    pub(super) receipt: Receipt,
}

impl Waiting {
    fn size(&self) -> usize {
        let parts = [&self.introduction, &self.message];
        parts.into_iter().flatten().map(Vec::len).fold(0, usize::saturating_add)
    }
}

/// How the channel stands with the tower in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// Not compared yet.
    Unknown,
    /// The tower has all up to the first of what waits; updates flow.
    Level,
    /// Only the whole channel helps.
    Wanted,
    /// The whole channel is on its way; nothing else before it is durable.
    Replacing(Head),
    /// The tower knows more than we do.
    Ahead,
    /// The tower does not take it.
    Stuck,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Fine,
    /// The tower had acknowledged this.
    Lost(Head),
    Ahead(UpdateId),
}

/// A statement that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It acknowledges what was never sent.
    Unsent,
    /// It acknowledges something else by the same id.
    Differs,
}

#[derive(Debug)]
pub(super) struct Lane {
    /// The last that was handed over, or is known from before a restart.
    pub(super) head: Head,
    /// The last that the tower acknowledged to this process, and its word.
    pub(super) acknowledged: Option<(Head, Arc<Signed>)>,
    waiting: VecDeque<Waiting>,
    /// The last that was sent in this session, or that the tower had before it.
    sent: Option<UpdateId>,
    pub(super) course: Course,
    bytes: usize,
    /// The last update that changed the record, in this process.
    pub(super) last_record: Option<UpdateId>,
    /// Whether the tower knew what we do not, in this life of the process.
    pub(super) is_old: bool,
    /// Whether the channel was sent whole in this session already.
    pub(super) was_replaced: bool,
    /// Whether the tower has taken all of its record from this process.
    pub(super) is_resealed: bool,
}

impl Lane {
    pub(super) const fn at(head: Head) -> Self {
        Self {
            head,
            acknowledged: None,
            waiting: VecDeque::new(),
            sent: None,
            course: Course::Unknown,
            bytes: 0,
            last_record: None,
            is_old: false,
            was_replaced: false,
            is_resealed: false,
        }
    }

    /// A new session begins.
    pub(super) const fn unlink(&mut self) {
        self.sent = None;
        self.was_replaced = false;
        self.course = Course::Unknown;
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the tower is known to have everything.
    pub(super) fn is_settled(&self) -> bool {
        self.durable().is_some_and(|id| id >= self.head.id)
    }

    pub(super) fn durable(&self) -> Option<UpdateId> {
        self.acknowledged.as_ref().map(|(head, _)| head.id)
    }

    fn place(&self, id: UpdateId) -> usize {
        self.waiting.partition_point(|waiting| waiting.id < id)
    }

    fn find(&self, id: UpdateId) -> Option<&Waiting> {
        self.waiting.get(self.place(id)).filter(|waiting| waiting.id == id)
    }

    pub(super) fn is_waiting(&self, id: UpdateId) -> bool {
        self.find(id).is_some()
    }

    /// Puts an update at its place.
    pub(super) fn push(&mut self, waiting: Waiting) {
        if waiting.id > self.head.id {
            self.head = Head { id: waiting.id, name: Some(waiting.name) };
        }
        self.bytes = self.bytes.saturating_add(waiting.size());
        let place = self.place(waiting.id);
        self.waiting.insert(place, waiting);
    }

    /// Drops what would be sent; the channel goes whole instead. Gives the bytes that are free.
    pub(super) fn forget_messages(&mut self) -> usize {
        for waiting in &mut self.waiting {
            waiting.introduction = None;
            waiting.message = None;
        }
        if self.course == Course::Level {
            self.course = Course::Wanted;
        }
        core::mem::take(&mut self.bytes)
    }

    /// The next message to send.
    pub(super) fn next_to_send(&self) -> Option<&Waiting> {
        if self.course != Course::Level {
            return None;
        }
        let first = self.sent.map_or(0, |sent| self.place(sent.next()));
        self.waiting.get(first).filter(|waiting| waiting.message.is_some())
    }

    pub(super) const fn on_sent(&mut self, id: UpdateId) {
        self.sent = Some(id);
    }

    /// What was handed over behind a refused update is void; the ids are free again.
    pub(super) fn take_back(&mut self, from: UpdateId) {
        let place = self.place(from);
        for waiting in self.waiting.split_off(place) {
            self.bytes = self.bytes.saturating_sub(waiting.size());
        }
        if self.head.id >= from {
            let id = UpdateId(from.0.saturating_sub(1));
            let name = self.waiting.back().filter(|last| last.id == id).map(|last| last.name);
            let known = self.acknowledged.as_ref().filter(|(head, _)| head.id == id);
            self.head = Head { id, name: name.or_else(|| known.and_then(|(head, _)| head.name)) };
        }
        self.sent = self.sent.map(|sent| sent.min(self.head.id));
    }

    /// Compares with what the tower says it has when a session begins. On [`Found::Fine`] the course is set, and the head
    /// can be acknowledged if the tower has one that is ours.
    pub(super) fn compare(&mut self, found: Option<Head>) -> Found {
        let before = self.acknowledged.as_ref().map(|(head, _)| *head);
        let is_ours = found.is_some_and(|found| self.is_ours(found, before));
        self.sent = found.map(|head| head.id);
        let next = found.map_or(UpdateId(0), |head| head.id.next());
        let rest = self.waiting.iter().skip(self.place(next));
        let has_rest = rest.clone().all(|waiting| waiting.message.is_some())
            && rest.map(|waiting| waiting.id.0).eq(next.0..=self.head.id.0);
        // Once it knew what we do not, nothing that we do later makes that undone.
        let is_ahead =
            self.is_old || found.is_some_and(|found| found.id > self.head.id || self.contradicts(found));
        self.is_old = is_ahead;
        self.course = if is_ahead {
            Course::Ahead
        } else if (is_ours || found.is_none()) && has_rest {
            Course::Level
        } else {
            Course::Wanted
        };
        match (found, before) {
            (found, _) if is_ahead => Found::Ahead(found.map_or(UpdateId(0), |found| found.id)),
            (Some(found), Some(before)) if found.id > before.id || is_ours && found.id == before.id => {
                Found::Fine
            }
            (_, Some(before)) => Found::Lost(before),
            (_, None) => Found::Fine,
        }
    }

    /// Whether the tower has another update by an id of ours.
    fn contradicts(&self, found: Head) -> bool {
        let head = Some(self.head).filter(|head| head.id == found.id).and_then(|head| head.name);
        let ours = self.find(found.id).map(|waiting| waiting.name).or(head);
        matches!((ours, found.name), (Some(ours), Some(theirs)) if ours != theirs)
    }

    /// Whether what the tower has is a state that we have been through.
    fn is_ours(&self, found: Head, before: Option<Head>) -> bool {
        let same = |ours: Head| ours.id == found.id && ours.name.is_some() && ours.name == found.name;
        // A tower that started anew may have forgotten the name; it has told us before which update it was.
        let forgotten = before.is_some_and(|before| before.id == found.id && found.name.is_none());
        same(self.head)
            || before.is_some_and(same)
            || forgotten
            || self.find(found.id).is_some_and(|waiting| Some(waiting.name) == found.name)
    }

    /// The whole channel up to `head` is being sent. `false` when that does not reach what is lost.
    pub(super) fn replace(&mut self, head: Head) -> bool {
        let rest = self.waiting.iter().skip(self.place(head.id.next()));
        let has_rest = head.id >= self.head.id
            || rest.clone().all(|waiting| waiting.message.is_some())
                && rest.map(|waiting| waiting.id.0).eq(head.id.0.saturating_add(1)..=self.head.id.0);
        if has_rest {
            self.course = Course::Replacing(head);
            self.was_replaced = true;
            self.sent = Some(head.id);
            if head.id >= self.head.id {
                self.head = head;
            }
        }
        has_rest
    }

    /// The tower states that this is durable.
    pub(super) fn acknowledge(&mut self, head: Head, word: &Arc<Signed>) -> Result<Vec<Receipt>, Misfit> {
        match self.course {
            Course::Replacing(whole) if whole == head => {
                self.course = Course::Level;
                self.is_resealed = true;
            }
            Course::Level => {
                if self.sent.is_none_or(|sent| head.id > sent) {
                    return Err(Misfit::Unsent);
                }
                if self.find(head.id).is_some_and(|waiting| Some(waiting.name) != head.name) {
                    return Err(Misfit::Differs);
                }
            }
            // Of before the whole channel arrived, or of what we do not count on.
            Course::Replacing(_) | Course::Unknown | Course::Wanted | Course::Ahead | Course::Stuck => {
                return Ok(Vec::new());
            }
        }
        if self.durable().is_none_or(|known| head.id >= known) {
            self.acknowledged = Some((head, Arc::clone(word)));
        }
        let place = self.place(head.id.next());
        let rest = self.waiting.split_off(place);
        let done = core::mem::replace(&mut self.waiting, rest);
        for waiting in &done {
            self.bytes = self.bytes.saturating_sub(waiting.size());
        }
        Ok(done.into_iter().map(|waiting| waiting.receipt).collect())
    }

    /// Whether something was sent and is not acknowledged.
    pub(super) fn is_owed(&self) -> bool {
        match self.course {
            Course::Replacing(_) => true,
            Course::Level => {
                self.waiting.front().is_some_and(|first| self.sent.is_some_and(|sent| first.id <= sent))
            }
            Course::Unknown | Course::Wanted | Course::Ahead | Course::Stuck => false,
        }
    }
}
