//! Asking a tower for what it has signed for (RELIABILITY L18): one blob at random, again and again.
//!
//! Who deletes one in a hundred blobs is found out after some 300 questions with 95 in 100, after 1,440, a day's, but for one in
//! two million. What comes back is known by its tag, so nothing need be kept to compare it with.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::ChannelMonitorUpdate;
use thiserror::Error;

use super::{BlindMonitors, RowStore};
use crate::wire::blind::{AUDIT, AUDITED, Audit, Audited, LaneContent};
use crate::wire::chain::Signed;

/// Questions without an answer; whoever has more open is not asked.
const OPEN: usize = 16;
/// Alarms and words that nobody has fetched.
const KEPT: usize = 64;

/// Something is wrong with what a tower keeps.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlindAlarm {
    /// It says that it has not got what it had signed for; both of its words prove it
    /// ([`is_loss`](crate::wire::blind::is_loss)).
    #[error("the tower has lost blobs of channel {channel} that it had acknowledged; its words prove it")]
    Lost {
        /// The channel.
        channel: ChannelId,
        /// What it signed when it had it.
        early: Arc<Signed>,
        /// What it signs now.
        answer: Box<Audited>,
    },
    /// What it gives is not what it was given.
    #[error("the tower gives other blobs of channel {channel} than it was given")]
    Changed {
        /// The channel.
        channel: ChannelId,
    },
    /// It does not answer, or not to what was asked.
    #[error("the tower does not answer when it is asked for blobs")]
    Silent,
}

#[derive(Debug, Default)]
pub(super) struct Auditor {
    next: u64,
    /// Under way: the word that the tower is held to.
    open: BTreeMap<u64, (ChannelId, Audit, Option<Arc<Signed>>)>,
    alarms: VecDeque<BlindAlarm>,
    said: VecDeque<(u16, Vec<u8>)>,
    answered: u64,
}

impl<R: RowStore> BlindMonitors<R> {
    /// Asks for one update of a lane; `random` chooses which.
    pub(super) fn audit(&self, random: u64) {
        let Some((channel, lane, id)) = self.choose(random) else { return };
        let word = self.remote.word_for(lane);
        let audit = {
            let mut state = self.state.lock();
            let auditor = &mut state.auditor;
            if auditor.open.len() >= OPEN {
                auditor.open.clear();
                auditor.alarm(BlindAlarm::Silent);
            }
            let nonce = random ^ auditor.next.rotate_left(48);
            auditor.next = auditor.next.wrapping_add(1);
            let audit = Audit { nonce, lane, id };
            auditor.open.insert(nonce, (channel, audit, word));
            audit
        };
        self.remote.say_other(AUDIT, audit.to_bytes());
    }

    /// One of all updates of lanes that the tower has signed for.
    fn choose(&self, random: u64) -> Option<(ChannelId, ChannelId, UpdateId)> {
        let lanes: Vec<(ChannelId, ChannelId)> = {
            let state = self.state.lock();
            state.channels.iter().map(|(id, channel)| (*id, channel.lane)).collect()
        };
        let kept = lanes.into_iter().map(|(id, lane)| (id, lane, self.there(lane)));
        let kept: Vec<(ChannelId, ChannelId, u64)> = kept.collect();
        let all = kept.iter().map(|(_, _, there)| *there).fold(0, u64::saturating_add);
        let mut place = random.checked_rem(all)?;
        for (id, lane, there) in kept {
            if place < there {
                return Some((id, lane, UpdateId(place)));
            }
            place = place.saturating_sub(there);
        }
        None
    }

    /// Takes what the tower has said of its own mode.
    pub(super) fn listen(&self) {
        while let Some((kind, body)) = self.remote.next_other() {
            let mut state = self.state.lock();
            if kind != AUDITED {
                if state.auditor.said.len() < KEPT {
                    state.auditor.said.push_back((kind, body));
                }
                continue;
            }
            let answer = Audited::from_bytes(&body).ok();
            let asked = answer.as_ref().and_then(|answer| state.auditor.open.remove(&answer.audit.nonce));
            let (Some(answer), Some((channel, audit, early))) = (answer, asked) else {
                state.auditor.alarm(BlindAlarm::Silent);
                continue;
            };
            state.auditor.answered = state.auditor.answered.saturating_add(1);
            let is_known = state.channels.contains_key(&channel);
            if let Some(alarm) = self.judge(channel, &audit, early, answer).filter(|_| is_known) {
                state.auditor.alarm(alarm);
            }
        }
    }

    fn judge(
        &self,
        channel: ChannelId,
        audit: &Audit,
        early: Option<Arc<Signed>>,
        answer: Audited,
    ) -> Option<BlindAlarm> {
        let config = self.remote.config();
        if answer.audit != *audit
            || answer.client != config.client
            || !answer.is_by(self.remote.secp(), &config.tower)
        {
            return Some(BlindAlarm::Silent);
        }
        let Some(found) = &answer.found else {
            return early.map(|early| BlindAlarm::Lost { channel, early, answer: Box::new(answer) });
        };
        let content =
            ChannelMonitorUpdate::from_versioned(found).ok().and_then(|update| LaneContent::of(&update));
        let is_ours =
            content.is_some_and(|content| content.tag == self.tag(audit.lane, audit.id.0, &content.entries));
        (!is_ours).then_some(BlindAlarm::Changed { channel })
    }

    /// The next thing that the user must hear.
    pub fn next_alarm(&self) -> Option<BlindAlarm> {
        self.listen();
        self.state.lock().auditor.alarms.pop_front()
    }

    /// What else the tower has said.
    pub fn next_said(&self) -> Option<(u16, Vec<u8>)> {
        self.listen();
        self.state.lock().auditor.said.pop_front()
    }

    /// Questions that the tower has answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.listen();
        self.state.lock().auditor.answered
    }
}

impl Auditor {
    fn alarm(&mut self, alarm: BlindAlarm) {
        if self.alarms.len() < KEPT {
            self.alarms.push_back(alarm);
        }
    }
}
