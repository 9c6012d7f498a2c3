//! Which message is taken in which phase, by which method: one flat table.
//!
//! What is not in the table is [`Violation::Unexpected`]. `docs/channel-phases.md` prints it; a test compares.
use lightning_traits::interface::KeysInterface;
use lightning_traits::wire::ChannelMessage;

use super::Channel;
use super::context::Context;
use super::phase::PhaseName;
use super::step::Stop;
use super::violation::Violation;

macro_rules! table {
    ($($phase:ident: $($message:ident => $method:ident),* $(,)?;)*) => {
        /// Every (phase, message, method) that there is.
        #[must_use]
        pub const fn phase_table() -> &'static [(PhaseName, &'static str, &'static str)] {
            &[$($((PhaseName::$phase, stringify!($message), stringify!($method))),*),*]
        }

        impl<K: KeysInterface> Channel<K> {
            pub(super) fn dispatch(&mut self, cx: &Context<'_, K>, message: ChannelMessage) -> Result<(), Stop> {
                match (self.phase(), message) {
                    $($((PhaseName::$phase, ChannelMessage::$message(message)) => self.$method(cx, message),)*)*
                    (phase, message) => Err(Violation::Unexpected { phase, message: message.type_id() }.into()),
                }
            }
        }
    };
}

table! {
    Offered:
        AcceptChannel => on_accept_channel;
    AwaitingSigned:
        FundingSigned => on_funding_signed;
    AwaitingCreated:
        FundingCreated => on_funding_created;
    Syncing:
        ChannelReestablish => on_channel_reestablish,
        ChannelReady => on_channel_ready;
    AwaitingReady:
        ChannelReady => on_channel_ready,
        AnnouncementSignatures => on_announcement_signatures,
        Shutdown => on_shutdown;
    Open:
        ChannelReady => on_channel_ready,
        UpdateAddHtlc => on_update_add,
        UpdateFulfillHtlc => on_update_fulfill,
        UpdateFailHtlc => on_update_fail,
        UpdateFailMalformedHtlc => on_update_malformed,
        UpdateFee => on_update_fee,
        CommitmentSigned => on_commitment_signed,
        RevokeAndAck => on_revoke_and_ack,
        AnnouncementSignatures => on_announcement_signatures,
        Shutdown => on_shutdown,
        Stfu => on_stfu,
        StartBatch => on_start_batch,
        SpliceInit => on_splice_init,
        SpliceAck => on_splice_unexpected,
        SpliceLocked => on_splice_unexpected,
        TxInitRbf => on_tx_init_rbf,
        TxAckRbf => on_splice_unexpected,
        TxAddInput => on_no_construction,
        TxAddOutput => on_no_construction,
        TxRemoveInput => on_no_construction,
        TxRemoveOutput => on_no_construction,
        TxComplete => on_no_construction,
        TxSignatures => on_no_construction,
        TxAbort => on_tx_abort;
    ShuttingDown:
        ChannelReady => on_channel_ready,
        UpdateAddHtlc => on_update_add,
        UpdateFulfillHtlc => on_update_fulfill,
        UpdateFailHtlc => on_update_fail,
        UpdateFailMalformedHtlc => on_update_malformed,
        UpdateFee => on_update_fee,
        CommitmentSigned => on_commitment_signed,
        RevokeAndAck => on_revoke_and_ack,
        AnnouncementSignatures => on_announcement_signatures,
        Shutdown => on_shutdown,
        Stfu => on_stfu,
        StartBatch => on_start_batch,
        SpliceInit => on_splice_init,
        SpliceAck => on_splice_unexpected,
        SpliceLocked => on_splice_unexpected,
        TxInitRbf => on_tx_init_rbf,
        TxAckRbf => on_splice_unexpected,
        TxAddInput => on_no_construction,
        TxAddOutput => on_no_construction,
        TxRemoveInput => on_no_construction,
        TxRemoveOutput => on_no_construction,
        TxComplete => on_no_construction,
        TxSignatures => on_no_construction,
        TxAbort => on_tx_abort;
    Negotiating:
        ChannelReady => on_channel_ready,
        AnnouncementSignatures => on_announcement_signatures,
        Shutdown => on_shutdown,
        ClosingSigned => on_closing_signed,
        ClosingComplete => on_closing_complete,
        ClosingSig => on_closing_sig;
}
