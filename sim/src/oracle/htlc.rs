//! Every HTLC as the messages show it (O2): who offered it, whether both sides are bound by it, whether it is gone.
//!
//! Nothing here asks the nodes: what they say to each other is compared with what they may say.
//!
//! # Invariants
//! - what a node has offered on, and may still have to pay, never exceeds what it was offered and has not given back; but for
//!   what it gives back in the last blocks before the peer could go to the chain for it
//! - an HTLC is offered on only when the offer to us is irrevocable
//! - what a node has signed for on one channel that no commitment ever has an output for stays below what it may lose there
use std::collections::BTreeMap;

use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::CltvExpiry;
use lightning_traits::wire::{Message, UpdateAddHtlc};

use super::money::DUST;
use super::{Oracle, broken, hold};
use crate::node::MAX_DUST;

/// How far an update of one side has come (BOLT 2, "Normal Operation").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Said, and forgotten when the connection breaks.
    Said,
    /// Signed for by the side that said it.
    Signed,
    /// The other side has that signature.
    Received,
    /// The other side has revoked what was before.
    Acknowledged,
    /// The other side has signed for it too.
    Countersigned,
    /// The side that said it has revoked what was before: no valid commitment is without it.
    Irrevocable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removal {
    Fulfilled,
    Failed,
}

/// An HTLC between two nodes.
#[derive(Clone, Debug)]
struct Htlc {
    to: usize,
    hash: PaymentHash,
    msat: u64,
    expiry: CltvExpiry,
    onion: [u8; 32],
    added: Stage,
    removed: Option<(Removal, Stage)>,
    /// The offerer has seen the preimage, and has revoked all that was before it: it cannot have lost it.
    is_paid: bool,
    sees_preimage: bool,
    /// Its channel is settled on chain.
    is_settled: bool,
}

/// All HTLCs of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Htlcs {
    /// By channel, who offers, and id.
    known: BTreeMap<(ChannelId, usize, HtlcId), Htlc>,
    /// What nodes may spend on payments of their own.
    budgets: BTreeMap<(usize, PaymentHash), u64>,
    /// Where the chain is.
    pub(crate) height: u32,
}

/// Blocks before its expiry at which a node gives an HTLC back though nobody knows what became of the one that it offered on: the peer
/// would go to the chain for it (RELIABILITY D23).
const LAST_BLOCKS: u32 = 3;

/// What a node has with one hash.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// Offered to it, irrevocably, and not given back; and what it may spend on its own.
    held: u64,
    /// Offered by it, and maybe still to be paid.
    owed: u64,
}

impl Htlcs {
    /// A message leaves `from`; `is_judged` when its sender is honest and remembers everything. What others send counts only when
    /// it arrives, and as it arrives.
    pub(crate) fn on_sent(&mut self, from: usize, to: usize, message: &Message, is_judged: bool) {
        let mut concerned = Vec::new();
        match message {
            Message::UpdateAddHtlc(add) => self.on_add(from, to, add, is_judged),
            Message::UpdateFulfillHtlc(fulfill) => {
                let removal = Removal::Fulfilled;
                self.on_removal((fulfill.channel_id, to, fulfill.id), removal, is_judged);
            }
            Message::UpdateFailHtlc(fail) => {
                self.on_removal((fail.channel_id, to, fail.id), Removal::Failed, is_judged);
            }
            Message::UpdateFailMalformedHtlc(fail) => {
                self.on_removal((fail.channel_id, to, fail.id), Removal::Failed, is_judged);
            }
            Message::CommitmentSigned(signed) => {
                for (offerer, htlc) in self.of_channel(signed.channel_id) {
                    if offerer == from && htlc.added == Stage::Said {
                        concerned.push(htlc.hash);
                    }
                    htlc.stages(offerer, |stage, by| match stage {
                        Stage::Said if by == from => Stage::Signed,
                        Stage::Acknowledged if by != from => Stage::Countersigned,
                        other => other,
                    });
                }
                if is_judged {
                    self.judge_dust(from, signed.channel_id);
                }
            }
            Message::RevokeAndAck(revoked) => {
                for (offerer, htlc) in self.of_channel(revoked.channel_id) {
                    htlc.stages(offerer, |stage, by| match stage {
                        Stage::Received if by != from => Stage::Acknowledged,
                        other => other,
                    });
                    // Shown, signed for and taken; a node that has hung up by then hears nothing.
                    let is_taken =
                        |(removal, stage)| removal == Removal::Fulfilled && stage >= Stage::Acknowledged;
                    htlc.is_paid |=
                        offerer == from && htlc.sees_preimage && htlc.removed.is_some_and(is_taken);
                }
            }
            _ => {}
        }
        concerned.extend(self.given_back(from, message));
        for hash in concerned.into_iter().filter(|_| is_judged) {
            let Position { held, owed } = self.position(from, hash);
            hold(Oracle::Atomic, owed <= held, || {
                let name = crate::talk::name(message);
                format!("node {from} may owe {owed} msat for {hash} and holds {held} after its {name}")
            });
        }
    }

    /// What a node has offered and signed for, and nobody has begun to remove, is below what it may have in HTLCs without outputs,
    /// counted here out of those alone that are too small for an output whatever the feerate (RELIABILITY C1).
    fn judge_dust(&mut self, from: usize, channel: ChannelId) {
        let offered = self.of_channel(channel).filter(|(offerer, htlc)| {
            let is_dust = i128::from(htlc.msat) < DUST && !htlc.is_settled;
            *offerer == from && is_dust && htlc.added > Stage::Said && htlc.removed.is_none()
        });
        let dust: u64 = offered.map(|(_, htlc)| htlc.msat).sum();
        hold(Oracle::Bounded, dust <= MAX_DUST.to_msat(), || {
            format!("node {from} has signed for {dust} msat of dust on {channel}, and may for {MAX_DUST}")
        });
    }

    /// The hash of what a message gives back.
    fn given_back(&self, from: usize, message: &Message) -> Option<PaymentHash> {
        match message {
            Message::UpdateFailHtlc(fail) => self.hash_of(fail.channel_id, from, fail.id),
            Message::UpdateFailMalformedHtlc(fail) => self.hash_of(fail.channel_id, from, fail.id),
            _ => None,
        }
    }

    fn hash_of(&self, channel: ChannelId, to: usize, id: HtlcId) -> Option<PaymentHash> {
        let mut all = self.known.iter();
        let found = all.find(|((known, _, number), htlc)| (*known, *number, htlc.to) == (channel, id, to));
        let is_last = |htlc: &Htlc| htlc.expiry.get() <= self.height + LAST_BLOCKS;
        found.map(|(_, htlc)| htlc).filter(|htlc| !is_last(htlc)).map(|htlc| htlc.hash)
    }

    /// A message arrives at `to`.
    pub(crate) fn on_delivered(&mut self, from: usize, to: usize, message: &Message) {
        match message {
            Message::CommitmentSigned(signed) => {
                for (offerer, htlc) in self.of_channel(signed.channel_id) {
                    htlc.stages(offerer, |stage, by| match stage {
                        Stage::Signed if by == from => Stage::Received,
                        other => other,
                    });
                }
            }
            Message::RevokeAndAck(revoked) => {
                for (offerer, htlc) in self.of_channel(revoked.channel_id) {
                    htlc.stages(offerer, |stage, by| match stage {
                        Stage::Countersigned if by == from => Stage::Irrevocable,
                        other => other,
                    });
                }
            }
            Message::UpdateFulfillHtlc(fulfill) => {
                if let Some(htlc) = self.known.get_mut(&(fulfill.channel_id, to, fulfill.id)) {
                    htlc.sees_preimage |= fulfill.payment_preimage.hash() == htlc.hash;
                }
            }
            _ => {}
        }
    }

    /// `here` has left its connection to `there`: what it only said is forgotten. What those say who are not judged counts when
    /// it arrives, and is forgotten when who heard it leaves: their signature for it may still be on its way when they have left.
    pub(crate) fn on_disconnected(&mut self, here: usize, there: usize, is_judged: impl Fn(usize) -> bool) {
        let forgets =
            |by: usize, to: usize| (by, to) == if is_judged(by) { (here, there) } else { (there, here) };
        self.known.retain(|(_, offerer, _), htlc| !(forgets(*offerer, htlc.to) && htlc.added == Stage::Said));
        for ((_, offerer, _), htlc) in &mut self.known {
            if forgets(htlc.to, *offerer) && htlc.removed.is_some_and(|(_, stage)| stage == Stage::Said) {
                htlc.removed = None;
            }
        }
    }

    /// The end of a channel is on the chain, so deep that what is below `least` msat, and was not paid until then, may be taken
    /// back there (BOLT 5: "if no *valid* commitment transaction contains an output corresponding to the HTLC: MAY fail the
    /// corresponding incoming HTLC sooner").
    pub(crate) fn on_settled(&mut self, channel: ChannelId, least: u64) {
        let small = self.of_channel(channel).filter(|(_, htlc)| htlc.msat < least);
        small.for_each(|(_, htlc)| htlc.is_settled = true);
    }

    /// A node begins a payment of its own, and may spend this much on it.
    pub(crate) fn on_payment(&mut self, node: usize, hash: PaymentHash, most: u64) {
        *self.budgets.entry((node, hash)).or_default() += most;
    }

    /// What a node has paid for a hash, in HTLCs that were fulfilled.
    pub(crate) fn paid_by(&self, node: usize, hash: PaymentHash) -> u64 {
        let of_node =
            |entry: &(&(ChannelId, usize, HtlcId), &Htlc)| entry.0.1 == node && entry.1.hash == hash;
        let fulfilled = |htlc: &Htlc| matches!(htlc.removed, Some((Removal::Fulfilled, _)));
        let paid = self.known.iter().filter(of_node).filter(|(_, htlc)| fulfilled(htlc));
        paid.map(|(_, htlc)| htlc.msat).sum()
    }

    /// Hash and amount of what a channel carries, as far as it did not end between its two sides.
    pub(crate) fn in_flight(&self, channel: ChannelId) -> impl Iterator<Item = (PaymentHash, u64)> {
        let range = (channel, 0, HtlcId(0))..=(channel, usize::MAX, HtlcId(u64::MAX));
        let is_over = |htlc: &Htlc| htlc.removed.is_some_and(|(_, stage)| stage == Stage::Irrevocable);
        let there = move |htlc: &&Htlc| htlc.added > Stage::Said && !is_over(htlc);
        self.known.range(range).map(|(_, htlc)| htlc).filter(there).map(|htlc| (htlc.hash, htlc.msat))
    }

    /// When what is in flight can be taken back.
    pub(crate) fn expiries(&self) -> Vec<u32> {
        let there = self.known.values().filter(|htlc| htlc.removed.is_none() && !htlc.is_settled);
        let expiries: std::collections::BTreeSet<u32> = there.map(|htlc| htlc.expiry.get()).collect();
        expiries.into_iter().collect()
    }

    fn of_channel(&mut self, channel: ChannelId) -> impl Iterator<Item = (usize, &mut Htlc)> {
        let range = (channel, 0, HtlcId(0))..=(channel, usize::MAX, HtlcId(u64::MAX));
        self.known.range_mut(range).map(|((_, offerer, _), htlc)| (*offerer, htlc))
    }

    fn on_add(&mut self, from: usize, to: usize, add: &UpdateAddHtlc, is_judged: bool) {
        let htlc = Htlc {
            to,
            hash: add.payment_hash,
            msat: add.amount_msat.to_msat(),
            expiry: add.cltv_expiry,
            onion: add.onion_routing_packet.hmac,
            added: Stage::Said,
            removed: None,
            is_paid: false,
            sees_preimage: false,
            is_settled: false,
        };
        let key = (add.channel_id, from, add.id);
        let known = self.known.get(&key).filter(|known| known.added > Stage::Said);
        let is_same = known.is_some_and(|known| {
            let ours = (known.hash, known.msat, known.expiry, known.onion);
            ours == (htlc.hash, htlc.msat, htlc.expiry, htlc.onion)
        });
        hold(Oracle::Secrets, is_same || known.is_none() || !is_judged, || {
            format!("node {from} offers two HTLCs {key:?}: {known:?} and {htlc:?}")
        });
        if !is_same {
            // New; or another in place of one that its node has forgotten.
            self.known.insert(key, htlc);
        }
    }

    fn on_removal(&mut self, key: (ChannelId, usize, HtlcId), removal: Removal, is_judged: bool) {
        let Some(htlc) = self.known.get_mut(&key) else { return };
        match htlc.removed {
            Some((known, stage)) if stage > Stage::Said => {
                // Sent again after a reconnection.
                if known != removal && is_judged {
                    broken(Oracle::Atomic, format!("HTLC {key:?} is ended in two ways"));
                }
            }
            _ => htlc.removed = Some((removal, Stage::Said)),
        }
    }

    fn position(&self, node: usize, hash: PaymentHash) -> Position {
        let own = self.budgets.get(&(node, hash)).copied().unwrap_or_default();
        let mut position = Position { held: own, owed: 0 };
        for ((_, offerer, _), htlc) in self.known.iter().filter(|(_, htlc)| htlc.hash == hash) {
            let is_failed = |least| {
                htlc.removed.is_some_and(|(removal, stage)| removal == Removal::Failed && stage >= least)
            };
            if htlc.to == node && htlc.added == Stage::Irrevocable && !is_failed(Stage::Said) {
                position.held += htlc.msat;
            }
            if *offerer == node
                && htlc.added > Stage::Said
                && (htlc.is_paid || !htlc.is_settled && !is_failed(Stage::Irrevocable))
            {
                position.owed += htlc.msat;
            }
        }
        position
    }
}

impl Htlc {
    /// Moves the stages of the addition, said by the offerer, and of the removal, said by the other side.
    fn stages(&mut self, offerer: usize, step: impl Fn(Stage, usize) -> Stage) {
        self.added = step(self.added, offerer);
        if let Some((_, stage)) = &mut self.removed {
            *stage = step(*stage, self.to);
        }
    }
}
