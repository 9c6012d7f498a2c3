//! Messages of splicing, which is not built (BOLT 2, "Channel Splicing", "Interactive Transaction Construction", "Batching
//! channel messages"): refused as the BOLT says, and never by a close (RELIABILITY B12, B18, K11).
//!
//! # Invariants
//! - a `tx_abort` of ours is not answered again when the peer echoes it: else both would echo for ever
use lightning_traits::interface::KeysInterface;
use lightning_traits::wire::{SpliceInit, StartBatch, Stfu, TxAbort, TxInitRbf};

use super::Channel;
use super::context::Context;
use super::record::Stage;
use super::step::Stop;
use super::violation::Violation;

/// `message_type` of `start_batch`: `commitment_signed`.
const COMMITMENT_SIGNED: u16 = 132;
/// "MUST set `batch_size` to a value lower than or equal to 20."
const MAX_BATCH: u16 = 20;

/// `tx_abort`s that are echoed on one connection.
const MAX_ECHOES: u32 = 16;

impl<K: KeysInterface> Channel<K> {
    pub(super) fn on_stfu(&mut self, cx: &Context<'_, K>, message: Stfu) -> Result<(), Stop> {
        let (state, online, step) = self.online(cx)?;
        Ok(state.on_stfu(&message, online, &step)?)
    }

    /// There is one commitment to sign: the messages that follow are taken one by one, and those for other funding transactions
    /// are warned about.
    pub(super) fn on_start_batch(&mut self, _: &Context<'_, K>, message: StartBatch) -> Result<(), Stop> {
        match (message.batch_size, message.message_type) {
            (size @ MAX_BATCH.., _) if size > MAX_BATCH => Err(Violation::BatchTooLarge(size).into()),
            (size @ ..=1, _) | (size, Some(COMMITMENT_SIGNED)) => Err(Violation::BatchUnneeded(size).into()),
            // "If `message_type` is missing or not set to the type for `commitment_signed`: MUST ignore".
            _ => Ok(()),
        }
    }

    /// "If the channel is not quiescent: MUST ..."; "If the sending node is not the quiescence initiator: MUST ..."; "If it has
    /// received `shutdown`: MUST send a `warning` and close the connection"; "Otherwise (it rejects the splice): MUST respond
    /// with `tx_abort`."
    pub(super) fn on_splice_init(&mut self, cx: &Context<'_, K>, _: SpliceInit) -> Result<(), Stop> {
        self.reject_splice(cx)
    }

    /// The same of the replacement of a splice transaction.
    pub(super) fn on_tx_init_rbf(&mut self, cx: &Context<'_, K>, _: TxInitRbf) -> Result<(), Stop> {
        self.reject_splice(cx)
    }

    fn reject_splice(&mut self, cx: &Context<'_, K>) -> Result<(), Stop> {
        let (state, online, _) = self.online(cx)?;
        let closing = !matches!(state.facts().stage, Stage::Open {});
        if closing || !online.quiet.is_theirs(state.terms().we_opened) {
            return Err(Violation::SpliceUnexpected.into());
        }
        self.abort(cx, "splicing is not supported")
    }

    /// "Otherwise (it has not sent `splice_init`): MUST send a `warning` and close the connection"; the same for `splice_locked` of
    /// a transaction that there is not.
    pub(super) fn on_splice_unexpected<M>(&mut self, _: &Context<'_, K>, _: M) -> Result<(), Stop> {
        Err(Violation::SpliceUnexpected.into())
    }

    /// There is no transaction under construction.
    pub(super) fn on_no_construction<M>(&mut self, cx: &Context<'_, K>, _: M) -> Result<(), Stop> {
        self.abort(cx, "no transaction is under construction")
    }

    /// "if they have not sent `tx_abort`: MUST echo back `tx_abort`".
    pub(super) fn on_tx_abort(&mut self, cx: &Context<'_, K>, _: TxAbort) -> Result<(), Stop> {
        let (_, online, _) = self.online(cx)?;
        if online.aborts > 0 {
            online.aborts = online.aborts.saturating_sub(1);
            return Ok(());
        }
        // Two nodes that lost count of what they owe each other would echo for ever.
        if online.echoes >= MAX_ECHOES {
            return Ok(());
        }
        online.echoes = online.echoes.saturating_add(1);
        self.abort(cx, "")?;
        let (_, online, _) = self.online(cx)?;
        // The peer has sent its own already and owes none.
        online.aborts = online.aborts.saturating_sub(1);
        Ok(())
    }

    fn abort(&mut self, cx: &Context<'_, K>, text: &str) -> Result<(), Stop> {
        let channel_id = self.id;
        let (_, online, mut step) = self.online(cx)?;
        online.aborts = online.aborts.saturating_add(1);
        let data = text.as_bytes().to_vec();
        step.effects.after_all().send(TxAbort { channel_id, data, unknown: Default::default() });
        Ok(())
    }
}
