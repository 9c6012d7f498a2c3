//! The monitor does not take an update.
//!
//! Of a first update nothing comes, as if it had never been. Of a later one there is one honest reason: it has gone to the chain by itself, since an HTLC came too near its expiry, while a new
//! commitment of ours was on its way to it. Whoever took that one would revoke the one that is out. So the channel steps back
//! to before it and follows to the chain; what it learnt meanwhile goes to the monitor under the id that has become free.
//!
//! # Invariants
//! - nothing that waited for the refused update leaves, ever (I3)
//! - what the peer has given meanwhile is kept: its preimages, its revocations, its outcomes
use lightning_traits::id::UpdateId;
use lightning_traits::interface::{KeysInterface, Level};
use lightning_traits::monitor::MonitorRefusal;

use super::context::Context;
use super::phase::Ending;
use super::{Channel, Phase};
use crate::commitments::Commitments;

impl<K: KeysInterface> Channel<K> {
    /// Update `id`, and with it every later one that was handed out, can never be durable.
    pub fn on_refused(&mut self, cx: &Context<'_, K>, id: UpdateId, why: MonitorRefusal) {
        let kept = (why == MonitorRefusal::OnChain).then(|| self.journal.take_retreat(id)).flatten();
        if id == UpdateId(0) {
            // The channel cannot be stored: its id or funding output is another's (RELIABILITY A7, A8), or was. Nothing that waited
            // for it has left, so there is no channel.
            self.outbox.take_back(id);
            self.abandon(cx, "the channel cannot be stored", true);
            return;
        }
        let Some(kept) = kept else {
            // Its receipt never comes, so nothing leaves any more; the chain is still watched.
            cx.log(
                Level::Error,
                self.peer,
                self.id,
                format_args!("update {id} was refused, the channel is frozen: {why}"),
            );
            return;
        };
        cx.log(
            Level::Warn,
            self.peer,
            self.id,
            format_args!("the monitor has gone to the chain: commitments since update {id} are taken back"),
        );
        self.outbox.take_back(id);
        self.step_back(cx, kept);
    }

    fn step_back(&mut self, cx: &Context<'_, K>, kept: Commitments) {
        let unsent = self.commitments().map(|now| now.offered_beyond(&kept)).unwrap_or_default();
        let (phase, mut step) = self.split(cx);
        for (htlc, offered) in unsent {
            step.effects.unsent(htlc, offered);
        }
        match phase {
            Phase::Funded(link) => {
                link.any().0.step_back(kept);
                self.follow(cx, Ending::HtlcDeadline {});
            }
            Phase::Resolving(state) => {
                state.step_back(kept);
                state.persist(&mut step);
            }
            // There are no commitments to take back.
            Phase::Opening(_) | Phase::Closed(_) => {}
        }
    }
}
