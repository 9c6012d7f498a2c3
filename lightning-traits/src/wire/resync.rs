//! `channel_reestablish` (BOLT 2, "Message Retransmission").
use bitcoin::Txid;
use secp256k1::PublicKey;

use super::table::message;
use crate::id::{ChannelId, CommitmentNumber};
use crate::record;

message! {
    /// `channel_reestablish`: what the sender has of the channel, after a reconnection.
    ChannelReestablish = 136 {
        /// The channel.
        channel_id: ChannelId,
        /// Number of the commitment that the next `commitment_signed` *to* the sender is for.
        next_commitment_number: CommitmentNumber,
        /// Number of the commitment that the next `revoke_and_ack` *to* the sender revokes.
        next_revocation_number: CommitmentNumber,
        /// The last secret that the sender received; all zero when there was none.
        your_last_per_commitment_secret: [u8; 32],
        /// Point of the sender's current commitment; any valid point will do today.
        my_current_per_commitment_point: PublicKey,
    }
    tlvs {
        /// An interactive transaction for which the sender waits for `tx_signatures`.
        next_funding: NextFunding = 1,
        /// The last funding transaction for which the sender sent `splice_locked` or `channel_ready`.
        my_current_funding_locked: CurrentFundingLocked = 5,
    }
}

/// `next_funding` of `channel_reestablish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextFunding {
    /// The transaction.
    pub next_funding_txid: Txid,
    /// Bit 0: send `commitment_signed` again. The others are undefined and kept.
    pub retransmit_flags: u8,
}
record!(struct NextFunding { next_funding_txid, retransmit_flags });

impl NextFunding {
    /// Bit of `retransmit_flags`.
    pub const COMMITMENT_SIGNED: u8 = 1;
}

/// `my_current_funding_locked` of `channel_reestablish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentFundingLocked {
    /// The transaction.
    pub my_current_funding_locked_txid: Txid,
    /// Bit 0: send `announcement_signatures` again. The others are undefined and kept.
    pub retransmit_flags: u8,
}
record!(struct CurrentFundingLocked { my_current_funding_locked_txid, retransmit_flags });

impl CurrentFundingLocked {
    /// Bit of `retransmit_flags`.
    pub const ANNOUNCEMENT_SIGNATURES: u8 = 1;
}
