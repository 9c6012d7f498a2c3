//! What chain, monitor and clock bring.
use lightning_traits::id::EventId;
use lightning_traits::interface::{ConfirmedTransaction, KeysInterface, Level};
use lightning_traits::monitor::{MonitorEvent, SpendKind};
use lightning_traits::units::BlockHeight;

use super::context::Context;
use super::opening::Opening;
use super::phase::Ending;
use super::record::{Ready, Stage};
use super::violation::Violation;
use super::{Channel, Phase};

/// Ticks for which a connected peer may owe an answer before we hang up (RELIABILITY B11).
const PATIENCE: u32 = 2;
/// Ticks after which an opening is given up.
const OPENING_PATIENCE: u32 = 10;
/// Ticks without agreement on a closing fee, over all connections, after which the channel goes to the chain (BOLT 2: "if it
/// doesn't receive a `closing_signed` response after a reasonable amount of time: MUST fail the channel").
const CLOSING_PATIENCE: u32 = 1_440;

impl<K: KeysInterface> Channel<K> {
    /// A block extends the tip; `cx.height` is its height already. `transactions` are those that concern us, or all.
    pub fn block_connected(&mut self, cx: &Context<'_, K>, transactions: &[ConfirmedTransaction<'_>]) {
        let (phase, mut step) = self.split(cx);
        if let Phase::Resolving(state) = phase {
            state.on_block(transactions, &mut step);
            return;
        }
        let Phase::Funded(link) = phase else { return };
        let state = link.any().0;
        if state.on_block(transactions, &mut step).is_err() {
            // Nobody can spend an output that is not there: there is nothing to go to the chain with.
            let text = alloc::format!("{}", Violation::FundingOutput).into_bytes();
            self.leave(cx, Ending::NeverFunded { text });
            return;
        }
        if state.is_overdue(cx.height, cx.config.handshake.forget_unfunded_after) {
            let text = b"the funding transaction never confirmed".to_vec();
            // A channel that was used may hold something of ours: should it confirm after all, we want to be there.
            let used = state.facts().ready == (Ready::Both {});
            let ending = if used { Ending::PeerViolation { text } } else { Ending::NeverFunded { text } };
            self.leave(cx, ending);
            return;
        }
        if state.is_hopeless(cx.height) {
            let text = b"another transaction has spent what the funding transaction was to spend".to_vec();
            self.leave(cx, Ending::NeverFunded { text });
            return;
        }
        state.note_fees(&step);
        if link.any().1.is_some_and(|online| online.quiet.is_over_by_blocks()) && !self.deaf {
            self.react(cx, &Violation::QuietTooLong);
            return;
        }
        self.advance(cx);
    }

    /// The block at `height` is no longer part of the best chain; `cx.height` is its parent's already.
    pub fn block_disconnected(&mut self, cx: &Context<'_, K>, height: BlockHeight) {
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Funded(link) => link.any().0.on_block_disconnected(height, &mut step),
            Phase::Resolving(state) => state.on_block_disconnected(height, &mut step),
            Phase::Opening(_) | Phase::Closed(_) => {}
        }
        self.rebroadcast(cx);
    }

    /// The monitor reports. [`Output::MonitorEventTaken`](super::Output::MonitorEventTaken) follows once what came of it is
    /// durable.
    pub fn on_monitor_event(&mut self, cx: &Context<'_, K>, id: EventId, event: &MonitorEvent) {
        cx.log(Level::Info, self.peer, self.id, format_args!("the monitor reports {event:?}"));
        if let Phase::Funded(_) = &self.phase {
            // Whatever else it says, the channel is over.
            self.follow(cx, ending_of(event));
        }
        let (phase, mut step) = self.split(cx);
        match (phase, event) {
            (Phase::Resolving(state), MonitorEvent::HtlcResolved { htlc, outcome, .. }) => {
                state.on_htlc_resolved(id, *htlc, outcome, &mut step);
            }
            (Phase::Resolving(state), MonitorEvent::Resolved { .. }) => state.on_resolved(id, &mut step),
            // A leave above is written already; anything else says nothing new.
            _ => {
                step.effects.after_all().monitor_event_taken(id);
            }
        }
    }

    /// Some time has passed: about a minute is meant. Retries what a slow signer left, counts what a silent peer owes.
    pub fn timer_tick(&mut self, cx: &Context<'_, K>) {
        self.take_held(cx);
        self.rebroadcast(cx);
        self.advance(cx);
        match &self.phase {
            // Our user pays for it, and knows that it does.
            Phase::Opening(Opening::AwaitingTransaction(_)) => {}
            Phase::Opening(opening) => {
                // What a stranger has proposed must not be kept for as long as it stays connected (RELIABILITY A4).
                let patience = match opening {
                    Opening::Requested(_) => cx.config.handshake.forget_request_after,
                    _ => OPENING_PATIENCE,
                };
                self.waited = self.waited.saturating_add(1);
                if self.waited > patience {
                    self.abandon(cx, "no answer in time", true);
                }
            }
            Phase::Funded(_) => self.tick_funded(cx),
            Phase::Resolving(_) | Phase::Closed(_) => {}
        }
    }

    fn tick_funded(&mut self, cx: &Context<'_, K>) {
        let deaf = self.deaf;
        // What the peer has to answer may still wait for our own disk.
        let frozen = self.is_frozen();
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return };
        if link.tick() > PATIENCE && !deaf {
            self.react(cx, &Violation::Overdue("channel_reestablish"));
            return;
        }
        let (state, online) = link.any();
        let negotiating =
            matches!(&state.facts().stage, Stage::Negotiating { agreed, .. } if agreed.is_empty());
        if negotiating {
            state.closing_ticks = state.closing_ticks.saturating_add(1);
            if state.closing_ticks > CLOSING_PATIENCE {
                let text = b"no agreement on a closing fee".to_vec();
                self.leave(cx, Ending::PeerViolation { text });
                return;
            }
        }
        state.note_fees(&step);
        let Some(online) = online else { return };
        if online.quiet.is_over() && !deaf {
            self.react(cx, &Violation::QuietTooLong);
            return;
        }
        let owed = if state.commitments().awaits_revocation() {
            Some("commitment_signed")
        } else if online.exchange.awaits_answer() {
            // BOLT 2: "SHOULD close the connection if it doesn't receive `closing_sig`."
            Some("closing_complete")
        } else {
            None
        };
        let owed = owed.filter(|_| !frozen);
        online.waited = if owed.is_some() { online.waited.saturating_add(1) } else { 0 };
        if let Some(owed) = owed
            && online.waited > PATIENCE
            && !deaf
        {
            self.react(cx, &Violation::Overdue(owed));
            return;
        }
        state.refresh_update(&mut step);
        if !online.quiet.holds_ours()
            && let Some(feerate) = state.wanted_feerate(cx)
            && state.offer_fee(feerate, &mut step).is_ok()
        {
            let _waits = state.commit(&mut step);
        }
    }
}

/// The end that a report of the monitor means for a channel that we took to be alive.
fn ending_of(event: &MonitorEvent) -> Ending {
    match event {
        MonitorEvent::ForceClosed { .. } => Ending::HtlcDeadline {},
        MonitorEvent::FundingSpent { kind, .. } => match kind {
            SpendKind::Mutual {} => Ending::Cooperative {},
            SpendKind::Ours { .. } => Ending::ForcedByUser {},
            SpendKind::Theirs { .. } | SpendKind::Unknown {} => Ending::ByPeerOnChain {},
            SpendKind::Revoked { .. } => Ending::Breach {},
            SpendKind::Future { .. } => Ending::FutureOnChain {},
        },
        // Only a channel that is on chain has these; should the news of the spend be missing, this is it.
        MonitorEvent::HtlcResolved { .. } | MonitorEvent::Resolved { .. } => Ending::ByPeerOnChain {},
    }
}
