//! What concerns the whole node, behind one lock: who is connected, which channels there are, what waits to be done.
//!
//! # Invariants
//! - every channel is found by its id (or peer and temporary id), its peer, its alias and, unless hidden, its real id
//! - nothing here is durable; all of it comes again out of the channels' records and the manager's own (I6)
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::BlockHash;
use lightning_traits::config::HandshakeConfig;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, EventId, NodeId, PaymentId, ShortChannelId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{ChannelUpdateBody, NodeAnnouncement};

use super::returning::Arrival;
use super::slot::{Names, Slot};
use super::work::Work;
use crate::channel::FeeQuotes;
use crate::commitments::NoticeKey;
use crate::forward::intercepted::Waiting;
use crate::forward::removal::Removals;
use crate::payment::inbound::{HtlcKey, Inbound};
use crate::payment::outbound::Payments;
use crate::payment::probe::Probes;
use crate::recover::RecordRows;

const PATIENCE_AFTER_RESTART: u32 = 3;

/// The end of the best chain as the manager knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: BlockHeight,
    /// The time in its header.
    pub time: u32,
}

/// Surroundings of a step, copied out of the table before the channel's lock is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) tip: Tip,
    pub(crate) fees: FeeQuotes,
}

/// What the node knows.
pub(crate) struct Table<K: KeysInterface> {
    pub(crate) now: Now,
    /// What connected peers offer.
    pub(crate) peers: BTreeMap<NodeId, Features>,
    channels: BTreeMap<ChannelId, Arc<Slot<K>>>,
    /// Channels without lasting id: peers choose the temporary ones, so two may be the same.
    openings: BTreeMap<(NodeId, ChannelId), Arc<Slot<K>>>,
    by_peer: BTreeMap<NodeId, Vec<Member<K>>>,
    by_scid: BTreeMap<ShortChannelId, Arc<Slot<K>>>,
    /// Peers that have proposed channels, and none of whose channels has been seen in a block.
    unproven: BTreeSet<NodeId>,
    /// Channels that peers have proposed and that were not seen in a block.
    unproven_channels: usize,
    /// Proposals of peers that wait for the user.
    pub(crate) requests: BTreeSet<(NodeId, ChannelId)>,
    pub(crate) payments: Payments,
    pub(crate) probes: Probes,
    pub(crate) inbound: Inbound,
    pub(crate) removals: Removals,
    /// Milliseconds on a clock of the user's; see `returning.rs`.
    pub(crate) clock: Option<u64>,
    /// Incoming HTLCs that this run has decided on, until they are removed.
    pub(crate) arrivals: BTreeMap<HtlcKey, Arrival>,
    /// Forwards that wait for the user.
    pub(crate) intercepted: Waiting,
    /// Incoming HTLCs that an outgoing one answers.
    pub(crate) answered: BTreeSet<HtlcKey>,
    /// Incoming HTLCs that were there at the last restart and whose onions nobody has read since, with their hashes: each may
    /// be a part of a payment that was claimed before.
    pub(crate) unread: BTreeMap<HtlcKey, PaymentHash>,
    /// The records are being read.
    pub(crate) is_recovering: bool,
    /// Terms of peers for channels that gossip does not know.
    pub(crate) their_terms: BTreeMap<ChannelId, ChannelUpdateBody>,
    pub(crate) work: VecDeque<Work>,
    /// Work that waits: for a peer, or for the signer.
    pub(crate) parked: Vec<Work>,
    /// Channels with updates to sign for.
    pub(crate) unsigned: BTreeSet<ChannelId>,
    pub(crate) monitor_cursor: Option<EventId>,
    pub(crate) is_polling: bool,
    pub(crate) poll_again: bool,
    pub(crate) node_announcement: Option<NodeAnnouncement>,
    pub(crate) announced_at: u32,
    pub(crate) records: Records,
}

/// A channel of a peer.
struct Member<K: KeysInterface> {
    slot: Arc<Slot<K>>,
    /// Whether it was ever seen in a block.
    is_proven: bool,
}

/// Which of the manager's records are durable; see `recover/`.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Whether the next record differs from the last.
    pub(crate) is_due: bool,
    /// Records handed out.
    pub(crate) made: u64,
    /// The rows of the last one, but for hashes that were paid.
    pub(crate) rows: RecordRows,
    /// Payments that some record names.
    pub(crate) listed: BTreeSet<PaymentId>,
    /// Payments that are over and that a record still names.
    pub(crate) finishing: Vec<Finishing>,
    /// Notices of payments to us whose event is acknowledged.
    pub(crate) forgetting: Vec<Forgetting>,
    /// Payments that have failed, of which no record says so yet.
    pub(crate) failing: Vec<Failing>,
}

/// A payment whose notices may be done with once no durable record names it.
#[derive(Debug)]
pub(crate) struct Finishing {
    /// The first record that does not name it.
    pub(crate) record: u64,
    pub(crate) id: PaymentId,
    pub(crate) notices: Vec<(ChannelId, NoticeKey)>,
}

/// Notices that may be done with once a durable record says that their hash was paid.
#[derive(Debug)]
pub(crate) struct Forgetting {
    /// The first record that says so.
    pub(crate) record: u64,
    pub(crate) notices: Vec<(ChannelId, NoticeKey)>,
}

/// A payment that is told to have failed once a durable record says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    /// The first record that says so.
    pub(crate) record: u64,
    pub(crate) id: PaymentId,
}

impl<K: KeysInterface> Table<K> {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            now,
            peers: BTreeMap::new(),
            channels: BTreeMap::new(),
            openings: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            by_scid: BTreeMap::new(),
            unproven: BTreeSet::new(),
            unproven_channels: 0,
            requests: BTreeSet::new(),
            payments: Payments::default(),
            probes: Probes::default(),
            inbound: Inbound::default(),
            removals: Removals::default(),
            clock: None,
            arrivals: BTreeMap::new(),
            intercepted: Waiting::default(),
            answered: BTreeSet::new(),
            unread: BTreeMap::new(),
            is_recovering: false,
            their_terms: BTreeMap::new(),
            work: VecDeque::new(),
            parked: Vec::new(),
            unsigned: BTreeSet::new(),
            monitor_cursor: None,
            is_polling: false,
            poll_again: false,
            node_announcement: None,
            announced_at: 0,
            records: Records::default(),
        }
    }

    /// Ticks for which an HTLC waits for the peer that it is to be forwarded to: none while we run, since its payer waits too;
    /// some after a restart, when nobody is connected yet.
    pub(crate) const fn patience(&self) -> u32 {
        if self.is_recovering { PATIENCE_AFTER_RESTART } else { 0 }
    }

    /// Whether a channel of this lasting id exists.
    pub(crate) fn has_channel(&self, id: ChannelId) -> bool {
        self.channels.contains_key(&id)
    }

    /// The channel with this lasting id.
    pub(crate) fn channel(&self, id: ChannelId) -> Option<Arc<Slot<K>>> {
        self.channels.get(&id).cloned()
    }

    /// The channel that a peer means.
    pub(crate) fn channel_of(&self, peer: NodeId, id: ChannelId) -> Option<Arc<Slot<K>>> {
        let funded = self.channels.get(&id).filter(|slot| slot.peer == peer);
        funded.or_else(|| self.openings.get(&(peer, id))).cloned()
    }

    /// The channel that the user means: by lasting id, or by a temporary one.
    pub(crate) fn channel_by_any_id(&self, id: ChannelId) -> Option<Arc<Slot<K>>> {
        let opening =
            || self.openings.iter().find(|((_, temporary), _)| *temporary == id).map(|(_, slot)| slot);
        self.channels.get(&id).or_else(opening).cloned()
    }

    /// All channels with a peer.
    pub(crate) fn channels_with(&self, peer: NodeId) -> Vec<Arc<Slot<K>>> {
        self.by_peer.get(&peer).into_iter().flatten().map(|member| member.slot.clone()).collect()
    }

    /// All channels.
    pub(crate) fn all(&self) -> Vec<Arc<Slot<K>>> {
        self.by_peer.values().flatten().map(|member| member.slot.clone()).collect()
    }

    /// The channel that an onion names, and then all others with the same peer (BOLT 4, "Non-strict Forwarding").
    pub(crate) fn routes_over(&self, scid: ShortChannelId) -> Vec<Arc<Slot<K>>> {
        let Some(named) = self.by_scid.get(&scid) else { return Vec::new() };
        let others = self.by_peer.get(&named.peer).into_iter().flatten();
        let others = others.map(|member| &member.slot).filter(|slot| !Arc::ptr_eq(slot, named));
        core::iter::once(named).chain(others).cloned().collect()
    }

    /// Whether a peer may propose one more channel. Proposals that nobody has answered count as much as channels that wait for
    /// their first block (RELIABILITY A3, A4).
    pub(crate) fn check_room(
        &self,
        peer: NodeId,
        temporary: ChannelId,
        limits: &HandshakeConfig,
    ) -> Result<(), &'static str> {
        // BOLT 2: "MUST ensure `temporary_channel_id` is unique from any other channel ID with the same peer". That of a channel
        // with another peer is no accident either.
        if self.has_channel(temporary) || self.channel_of(peer, temporary).is_some() {
            return Err("the temporary id is in use");
        }
        let members = || self.by_peer.get(&peer).into_iter().flatten();
        let pending = members().filter(|member| member.slot.is_theirs && !member.is_proven).count();
        if pending >= usize::from(limits.max_pending_per_peer) {
            return Err("too many channels are not confirmed yet");
        }
        if self.unproven_channels >= usize::from(limits.max_unfunded_channels) {
            return Err("too many channels of all peers are not confirmed yet");
        }
        // A channel of our own making proves nothing about the peer.
        let is_stranger = !members().any(|member| member.is_proven);
        let strangers = self.unproven.len().saturating_sub(usize::from(self.unproven.contains(&peer)));
        if is_stranger && strangers >= usize::from(limits.max_unfunded_peers) {
            return Err("too many peers without a confirmed channel");
        }
        if limits.ask_before_accept && self.requests.len() >= usize::from(limits.max_unaccepted) {
            return Err("too many proposals wait for an answer");
        }
        Ok(())
    }

    /// Takes a new channel. `false`, and nothing done, when its id is in use.
    pub(crate) fn insert(&mut self, slot: &Arc<Slot<K>>, names: Names, is_lasting: bool) -> bool {
        let (peer, id) = (slot.peer, names.id);
        if is_lasting {
            if self.channels.contains_key(&id) {
                return false;
            }
            self.channels.insert(id, slot.clone());
        } else {
            if self.openings.contains_key(&(peer, id)) {
                return false;
            }
            self.openings.insert((peer, id), slot.clone());
        }
        self.by_peer.entry(peer).or_default().push(Member { slot: slot.clone(), is_proven: false });
        if slot.is_theirs {
            self.unproven_channels = self.unproven_channels.saturating_add(1);
        }
        self.name(slot, names);
        true
    }

    /// Follows a change of names. `false` when the new id is another channel's.
    pub(crate) fn rename(&mut self, slot: &Arc<Slot<K>>, before: Names, now: Names) -> bool {
        if before.id != now.id {
            if self.channels.contains_key(&now.id) {
                return false;
            }
            self.openings.remove(&(slot.peer, before.id));
            self.channels.insert(now.id, slot.clone());
        }
        self.unname(slot, before);
        self.name(slot, now);
        true
    }

    /// Forgets a channel.
    pub(crate) fn remove(&mut self, slot: &Arc<Slot<K>>, names: Names) {
        if self.channels.get(&names.id).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            self.channels.remove(&names.id);
        }
        let opening = (slot.peer, names.id);
        if self.openings.get(&opening).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            self.openings.remove(&opening);
        }
        self.unname(slot, names);
        self.their_terms.remove(&names.id);
        self.requests.remove(&opening);
        if let Some(slots) = self.by_peer.get_mut(&slot.peer) {
            let unproven =
                |known: &&Member<K>| Arc::ptr_eq(&known.slot, slot) && slot.is_theirs && !known.is_proven;
            let gone = slots.iter().filter(unproven).count();
            self.unproven_channels = self.unproven_channels.saturating_sub(gone);
            slots.retain(|known| !Arc::ptr_eq(&known.slot, slot));
            if slots.is_empty() {
                self.by_peer.remove(&slot.peer);
            }
        }
        self.judge_peer(slot.peer);
    }

    fn name(&mut self, slot: &Arc<Slot<K>>, names: Names) {
        for scid in [names.alias, names.scid].into_iter().flatten() {
            // A real id wins over an alias that happens to be the same (RELIABILITY G13).
            if Some(scid) == names.scid || !self.by_scid.contains_key(&scid) {
                self.by_scid.insert(scid, slot.clone());
            }
        }
        let members = self.by_peer.get_mut(&slot.peer).into_iter().flatten();
        for member in members.filter(|member| Arc::ptr_eq(&member.slot, slot)) {
            if names.is_confirmed && !member.is_proven {
                member.is_proven = true;
                if slot.is_theirs {
                    self.unproven_channels = self.unproven_channels.saturating_sub(1);
                }
            }
        }
        self.judge_peer(slot.peer);
    }

    fn unname(&mut self, slot: &Arc<Slot<K>>, names: Names) {
        for scid in [names.alias, names.scid].into_iter().flatten() {
            if self.by_scid.get(&scid).is_some_and(|known| Arc::ptr_eq(known, slot)) {
                self.by_scid.remove(&scid);
            }
        }
    }

    fn judge_peer(&mut self, peer: NodeId) {
        let is_unproven = self.by_peer.get(&peer).is_some_and(|members| {
            members.iter().any(|member| member.slot.is_theirs)
                && members.iter().all(|member| !member.is_proven)
        });
        if is_unproven {
            self.unproven.insert(peer);
        } else {
            self.unproven.remove(&peer);
        }
    }
}
