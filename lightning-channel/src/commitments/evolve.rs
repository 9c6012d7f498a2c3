//! Evolve: the only mutator.
//!
//! # Invariants
//! - cannot fail, and is deterministic: a replay of the record ends in the same state (I6)
//! - its cost grows with the change, not with the HTLCs in flight (I13), but for removals, which look for theirs
use alloc::vec::Vec;
use core::mem;

use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::monitor::{CommitmentChange, HtlcOutcome, MonitorStep};
use lightning_traits::tx::{CommitmentSecret, CommitmentSpec, HtlcSpec, TxSide};
use secp256k1::PublicKey;

use super::change::{Change, Evolved, Proof};
use super::htlc::{IncomingHtlc, OutgoingHtlc, PendingOutgoing, Removal};
use super::log::{Update, htlc_spec, reduce};
use super::notice::{Claim, Notice, NoticeKey, Outcome, Settlement};
use super::offer::as_received;
use super::{Commitments, Turn};

impl Commitments {
    /// Takes a change that `decide` answered, or that the record holds.
    pub fn evolve(&mut self, change: &Change) -> Evolved {
        let mut evolved = Evolved::default();
        match change {
            Change::OurAdd { htlc } => self.our_add(htlc),
            Change::OurRemove { htlc, removal } => self.our_remove(*htlc, removal, &mut evolved),
            Change::OurFee { feerate } => self.ours.proposed.push(Update::Fee { feerate: *feerate }),
            Change::TheirAdd { htlc } => self.their_add(htlc),
            Change::TheirRemove { htlc, removal } => self.their_remove(*htlc, removal, &mut evolved),
            Change::TheirFee { feerate } => self.theirs.proposed.push(Update::Fee { feerate: *feerate }),
            Change::TheirReady { next_point } => self.turn = Turn::MaySign { next_point: *next_point },
            Change::Signed {} => self.signed(&mut evolved),
            Change::Committed { proof, next_point } => self.committed(proof, next_point, &mut evolved),
            Change::Revoked { secret, next_point } => self.revoked(secret, next_point, &mut evolved),
            Change::Dropped {} => self.dropped(&mut evolved),
            Change::ResolvedOnChain { htlc, outcome } => self.resolved_on_chain(*htlc, outcome, &mut evolved),
            Change::NoticeDone { notice } => self.notice_done(*notice),
        }
        evolved
    }

    fn our_add(&mut self, htlc: &OutgoingHtlc) {
        let id = self.ours.next_id;
        let OutgoingHtlc { amount, hash, expiry, .. } = *htlc;
        let pending = PendingOutgoing { amount, hash, expiry, origin: htlc.origin.clone() };
        self.outgoing.insert(id, pending);
        self.ours.proposed.push(Update::Add { htlc: as_received(id, htlc) });
        self.ours.next_id = id.next();
    }

    fn our_remove(&mut self, id: HtlcId, removal: &Removal, evolved: &mut Evolved) {
        if let Removal::Fulfill { preimage, claimed, .. } = removal {
            evolved.steps.push(MonitorStep::Preimage { preimage: preimage.clone() });
            if let (Some(total), Some(htlc)) = (*claimed, self.incoming.get(&id)) {
                let (hash, amount, preimage) = (htlc.hash, htlc.amount, preimage.clone());
                let claim = Claim { htlc: id, hash, amount, total, preimage };
                evolved.notices.push(claim.notice());
                self.claims.insert(id, claim);
            }
        }
        self.ours.proposed.push(Update::Remove { htlc: id, removal: removal.clone() });
    }

    fn their_add(&mut self, htlc: &IncomingHtlc) {
        self.theirs.next_id = htlc.id.next();
        self.theirs.proposed.push(Update::Add { htlc: htlc.clone() });
    }

    fn their_remove(&mut self, id: HtlcId, removal: &Removal, evolved: &mut Evolved) {
        if matches!(removal, Removal::Fulfill { .. }) && !self.settlements.contains_key(&id) {
            // BOLT 2: "a node MAY have already used the `payment_preimage` value from the `update_fulfill_htlc`": it is told at
            // once, and stays told should the update be reversed.
            self.settle(id, removal.clone().into(), false, evolved);
        }
        self.theirs.proposed.push(Update::Remove { htlc: id, removal: removal.clone() });
    }

    /// Notes how an HTLC of ours ends, and tells it.
    fn settle(&mut self, id: HtlcId, outcome: Outcome, is_final: bool, evolved: &mut Evolved) {
        let Some(pending) = self.outgoing.get(&id) else { return };
        let settlement = Settlement {
            htlc: id,
            origin: pending.origin.clone(),
            hash: pending.hash,
            amount: pending.amount,
            expiry: pending.expiry,
            outcome,
            is_final,
            is_done: false,
        };
        evolved.notices.push(settlement.notice());
        self.settlements.insert(id, settlement);
    }

    /// The HTLC of ours is irrevocably gone. What was told before stays: a preimage, once known, is worth its amount
    /// whatever the peer sends later.
    fn finish(&mut self, id: HtlcId, outcome: Outcome, evolved: &mut Evolved) {
        match self.settlements.get_mut(&id) {
            None => self.settle(id, outcome, true, evolved),
            Some(known) if known.is_done => {
                self.settlements.remove(&id);
            }
            Some(known) => known.is_final = true,
        }
        self.outgoing.remove(&id);
    }

    fn signed(&mut self, evolved: &mut Evolved) {
        let Turn::MaySign { next_point } = self.turn else { return };
        let theirs = &mut self.funding.theirs;
        let number = theirs.number.next();
        let change = advance(
            &mut theirs.spec,
            number,
            (&self.theirs.acked, TxSide::Broadcaster),
            (&self.ours.proposed, TxSide::Countersigner),
        );
        self.turn =
            Turn::AwaitingRevocation { revoked_point: theirs.point, signed_after: self.funding.ours.number };
        theirs.number = number;
        theirs.point = next_point;
        self.theirs.signed = mem::take(&mut self.theirs.acked);
        self.ours.signed = mem::take(&mut self.ours.proposed);
        evolved.steps.push(MonitorStep::TheirCommitment { change, point: next_point });
    }

    fn committed(&mut self, proof: &Proof, next_point: &PublicKey, evolved: &mut Evolved) {
        let ours = &mut self.funding.ours;
        let number = ours.number.next();
        let change = advance(
            &mut ours.spec,
            number,
            (&self.ours.acked, TxSide::Broadcaster),
            (&self.theirs.proposed, TxSide::Countersigner),
        );
        ours.number = number;
        ours.next_point = *next_point;
        for id in mem::take(&mut self.ours.acked).iter().filter_map(Update::removed) {
            self.incoming.remove(&id);
        }
        self.theirs.acked.append(&mut self.theirs.proposed);
        if let Proof::Fresh { signature, htlc_signatures } = proof {
            let (signature, htlc_signatures) = (*signature, htlc_signatures.clone());
            evolved.steps.push(MonitorStep::OurCommitment { change, signature, htlc_signatures });
        }
    }

    fn revoked(&mut self, secret: &CommitmentSecret, next_point: &PublicKey, evolved: &mut Evolved) {
        let Some(number) = self.funding.theirs.number.previous() else { return };
        // `accept_revocation` has tried it, so it fits.
        let _ = self.secrets.insert(number, secret.clone());
        self.turn = Turn::MaySign { next_point: *next_point };
        self.ours.acked.append(&mut self.ours.signed);
        for update in mem::take(&mut self.theirs.signed) {
            match update {
                Update::Add { htlc } => {
                    evolved.incoming.push(htlc.clone());
                    self.incoming.insert(htlc.id, htlc);
                }
                Update::Remove { htlc, removal } => self.finish(htlc, removal.into(), evolved),
                Update::Fee { .. } => {}
            }
        }
        evolved.steps.push(MonitorStep::TheirRevocation { number, secret: secret.clone() });
    }

    /// BOLT 2: "MUST reverse any uncommitted updates sent by the other side". Ours that were not signed for go too, but for
    /// removals, which must be sent again: a preimage is out of our hands, and nobody else would fail the HTLC.
    fn dropped(&mut self, evolved: &mut Evolved) {
        let theirs = mem::take(&mut self.theirs.proposed);
        if let Some(first) = theirs.iter().find_map(Update::added) {
            self.theirs.next_id = first.id;
        }
        let ours = mem::take(&mut self.ours.proposed);
        if let Some(first) = ours.iter().find_map(Update::added) {
            self.ours.next_id = first.id;
        }
        for update in ours {
            match update {
                Update::Add { htlc } => self.take_back(htlc, evolved),
                Update::Remove { .. } => self.ours.proposed.push(update),
                Update::Fee { .. } => {}
            }
        }
    }

    fn take_back(&mut self, htlc: IncomingHtlc, evolved: &mut Evolved) {
        let Some(pending) = self.outgoing.remove(&htlc.id) else { return };
        evolved.unsent.push((htlc.id, OutgoingHtlc::again(htlc, pending.origin)));
    }

    fn resolved_on_chain(&mut self, id: HtlcId, outcome: &HtlcOutcome, evolved: &mut Evolved) {
        let outcome = match outcome {
            HtlcOutcome::Claimed { preimage } => {
                Outcome::Fulfilled { preimage: preimage.clone(), attribution: None }
            }
            HtlcOutcome::Failed {} => Outcome::FailedOnChain {},
        };
        // A failure that nobody has acted on yet gives way to a preimage.
        if let (Some(known), Outcome::Fulfilled { .. }) = (self.settlements.get_mut(&id), &outcome)
            && !matches!(known.outcome, Outcome::Fulfilled { .. })
            && !known.is_done
        {
            known.outcome = outcome.clone();
            evolved.notices.push(known.notice());
        }
        self.finish(id, outcome, evolved);
    }

    fn notice_done(&mut self, notice: NoticeKey) {
        match notice {
            NoticeKey::Claimed { htlc } => {
                self.claims.remove(&htlc);
            }
            NoticeKey::Settled { htlc } => match self.settlements.get_mut(&htlc) {
                Some(known) if known.is_final => {
                    self.settlements.remove(&htlc);
                }
                Some(known) => known.is_done = true,
                None => {}
            },
        }
    }

    /// Notices that are not done with, for a restart.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let settled = self.settlements.values().filter(|known| !known.is_done).map(Settlement::notice);
        settled.chain(self.claims.values().map(Claim::notice)).collect()
    }
}

/// Updates, and the side of the commitment that sent them.
type Sent<'a> = (&'a [Update], TxSide);

/// Turns a commitment into the next of the same side, and says how they differ.
fn advance(
    spec: &mut CommitmentSpec,
    number: CommitmentNumber,
    first: Sent<'_>,
    then: Sent<'_>,
) -> CommitmentChange {
    let (mut added, mut removed): (Vec<HtlcSpec>, Vec<(TxSide, HtlcId)>) = (Vec::new(), Vec::new());
    for (updates, by) in [first, then] {
        reduce(spec, updates, by);
        added.extend(updates.iter().filter_map(Update::added).map(|htlc| htlc_spec(htlc, by)));
        removed.extend(updates.iter().filter_map(Update::removed).map(|id| (by.other(), id)));
    }
    CommitmentChange {
        number,
        feerate: spec.feerate,
        to_broadcaster: spec.to_broadcaster,
        to_countersigner: spec.to_countersigner,
        added,
        removed,
    }
}
