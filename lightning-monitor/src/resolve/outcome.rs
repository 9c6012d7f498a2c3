//! What has become irrevocable: how HTLCs ended, and the end of it all.
//!
//! # Invariants
//! - an HTLC is reported only while some commitment that is not revoked has it: any other has ended off chain
//! - one that was reported claimed is never reported failed; nothing is reported twice
use bitcoin::OutPoint;
use lightning_traits::event::Event;
use lightning_traits::id::HtlcId;
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, SpendKind};
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::TxSide;
use lightning_traits::tx::trim::is_trimmed;
use lightning_traits::units::BlockHeight;

use super::{IRREVOCABLE_DEPTH, Todo};
use crate::claim::Output;
use crate::monitor::{ChannelMonitor, Closing, Stance};

impl ChannelMonitor {
    /// Reports the end of an HTLC that we offered, once.
    pub(super) fn report(&mut self, htlc: HtlcId, outcome: HtlcOutcome, todo: &mut Todo) {
        let is_open = self
            .valid_specs()
            .any(|(spec, us)| spec.htlcs.iter().any(|known| known.offered_by == us && known.id == htlc));
        let told = &mut self.told;
        let known = match &outcome {
            HtlcOutcome::Claimed { .. } => &mut told.claimed,
            HtlcOutcome::Failed {} if told.claimed.contains(&htlc) => return,
            HtlcOutcome::Failed {} => &mut told.failed,
        };
        if is_open && !known.contains(&htlc) {
            known.push(htlc);
            let channel = self.init.channel;
            todo.events.push(MonitorEvent::HtlcResolved { channel, htlc, outcome });
            todo.changed = true;
        }
    }

    /// Reports what has become irrevocable, and the end of it all.
    pub(super) fn settle(&mut self, tip: BlockHeight, todo: &mut Todo) {
        let Some(mut closing) = self.closing.take() else { return };
        let deep = |height: BlockHeight| height.depth_at(tip) >= IRREVOCABLE_DEPTH;
        let is_final = deep(closing.height);
        closing.missing.retain(|(htlc, hash)| {
            let outcome = self.outcome_of_unclaimed(hash);
            // BOLT 5: "if the payment preimage is known: MUST fulfill the corresponding incoming HTLC", and only
            // "otherwise: once the commitment transaction has reached reasonable depth: MUST fail"; "if no *valid* commitment
            // transaction contains an output corresponding to the HTLC: MAY fail the corresponding incoming HTLC sooner".
            let is_claimed = outcome != (HtlcOutcome::Failed {});
            // A commitment that is newer than all we know may have companions that we do not know either.
            let is_known = matches!(closing.kind, SpendKind::Ours { .. } | SpendKind::Theirs { .. });
            let is_over = is_final || is_claimed || is_known && self.is_trimmed_everywhere(*htlc);
            if is_over {
                self.report(*htlc, outcome, todo);
                todo.changed = true;
            }
            !is_over
        });
        for output in closing.outputs.iter().filter(|output| output.is_offered_by_us()) {
            let Some(htlc) = output.htlc else { continue };
            if output.spent.is_some_and(|spent| spent.by_us && deep(spent.height)) {
                self.report(htlc.id, HtlcOutcome::Failed {}, todo);
            } else if output.spent.is_none() && is_final && self.is_lost(output, tip) {
                self.report(htlc.id, self.outcome_of_unclaimed(&htlc.payment_hash), todo);
            }
        }
        self.release_coins(&mut closing, tip, todo);
        if is_final {
            self.release_children(todo);
        }
        let settled = |output: &Output| match output.spent {
            Some(spent) => deep(spent.height),
            None => self.is_lost(output, tip),
        };
        let is_settled = is_final && closing.outputs.iter().all(settled);
        if closing.resolved && !is_settled {
            // A preimage has come for what was given up, and nobody has taken it yet.
            closing.resolved = false;
            todo.changed = true;
        }
        if !closing.resolved && is_settled {
            closing.resolved = true;
            closing.history.truncate(1);
            todo.changed = true;
            if !self.told.resolved {
                self.told.resolved = true;
                let channel = self.init.channel;
                todo.events.push(MonitorEvent::Resolved { channel });
                todo.user_events.push(Event::Resolved { channel });
            }
        }
        self.closing = Some(closing);
    }

    /// Whether no commitment that could confirm has an output for an HTLC of ours: whichever does, nobody can claim it on the
    /// chain, so waiting for one to be deep only brings the incoming HTLC nearer to its own end (RELIABILITY C12).
    fn is_trimmed_everywhere(&self, id: HtlcId) -> bool {
        let (format, ours, theirs) = (self.init.format, self.init.our_params(), self.init.their_params());
        let previous = self.previous.iter().map(|other| (&other.spec, TxSide::Broadcaster));
        self.valid_specs().chain(previous).all(|(spec, us)| {
            let dust_limit = if us == TxSide::Broadcaster { ours.dust_limit } else { theirs.dust_limit };
            let mut same = spec.htlcs.iter().filter(|htlc| htlc.offered_by == us && htlc.id == id);
            same.all(|htlc| is_trimmed(htlc, format, spec.feerate, dust_limit))
        })
    }

    /// How an HTLC of ours ended that nobody claimed on chain and nobody can any more.
    fn outcome_of_unclaimed(&self, hash: &PaymentHash) -> HtlcOutcome {
        match self.preimages.get(hash) {
            Some(preimage) => HtlcOutcome::Claimed { preimage: preimage.clone() },
            None => HtlcOutcome::Failed {},
        }
    }

    /// Gives up the claims of outputs that are irrevocably spent, and the coins set aside for them.
    fn release_coins(&self, closing: &mut Closing, tip: BlockHeight, todo: &mut Todo) {
        let needs_coins = self.init.format.rules().zero_fee_htlc;
        let deep = |output: &&mut Output| {
            output.spent.is_some_and(|spent| spent.height.depth_at(tip) >= IRREVOCABLE_DEPTH)
        };
        let mut is_done = false;
        for output in closing.outputs.iter_mut().filter(deep) {
            if output.offered.take().is_some() {
                (is_done, todo.changed) = (true, true);
                todo.released.extend((needs_coins && output.is_second_stage()).then_some(output.outpoint));
            }
        }
        if !is_done {
            return;
        }
        // Every claim has outputs, and every output of a claim was offered a fee for.
        let outputs = &closing.outputs;
        let is_open = |outpoint: &OutPoint| {
            outputs.iter().any(|output| output.outpoint == *outpoint && output.offered.is_some())
        };
        closing.claims.retain(|attempt| attempt.outpoints.iter().any(is_open));
    }

    /// No commitment needs a child any more.
    pub(super) fn release_children(&mut self, todo: &mut Todo) {
        if !self.children.is_empty() {
            self.children.clear();
            todo.changed = true;
            todo.released.push(self.init.funding.outpoint);
        }
    }

    /// Whether an unspent output is not worth waiting for: the peer's to time out, or never worth its fee.
    fn is_lost(&self, output: &Output, tip: BlockHeight) -> bool {
        let is_expired =
            output.htlc.is_none_or(|htlc| tip.get() > htlc.expiry.get().saturating_add(IRREVOCABLE_DEPTH));
        let is_theirs = output.needs_preimage() && self.preimage_of(output).is_none();
        is_expired && (is_theirs || self.is_dust(output))
    }

    /// Whether the channel was given up before it was funded, and nothing spent a funding output since.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.stance == (Stance::Abandoned {}) && !self.is_on_chain()
    }

    /// The height of the last block that settled something, once all is settled.
    pub(crate) fn settled_at(&self) -> Option<BlockHeight> {
        if self.is_abandoned() {
            return Some(self.init.birth);
        }
        let closing = self.closing.as_ref().filter(|closing| closing.resolved)?;
        let spends = closing.outputs.iter().filter_map(|output| output.spent.map(|spent| spent.height));
        spends.chain([closing.height]).max()
    }
}
