//! Committing updates (BOLT 2): `commitment_signed`, `revoke_and_ack`, `start_batch`.
use alloc::vec::Vec;

use bitcoin::Txid;
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::table::message;
use crate::id::ChannelId;

message! {
    /// `commitment_signed`: signatures for the receiver's next commitment.
    CommitmentSigned = 132 {
        /// The channel.
        channel_id: ChannelId,
        /// Signature for the commitment transaction.
        signature: Signature,
        /// One for each HTLC output, in the order of the outputs.
        htlc_signature: Vec<Signature> as CountedList,
    }
    tlvs {
        /// The funding transaction that the commitment spends, where there are several (splices).
        funding_txid: Txid = 1,
    }
}

message! {
    /// `revoke_and_ack`: revokes the sender's previous commitment.
    RevokeAndAck = 133 {
        /// The channel.
        channel_id: ChannelId,
        /// Secret of the revoked commitment, not checked to be a valid scalar.
        per_commitment_secret: [u8; 32],
        /// Point of the sender's next commitment.
        next_per_commitment_point: PublicKey,
    }
    tlvs {}
}

message! {
    /// `start_batch`: the next messages belong together.
    StartBatch = 127 {
        /// The channel.
        channel_id: ChannelId,
        /// How many messages follow.
        batch_size: u16,
    }
    tlvs {
        /// Their type.
        message_type: u16 = 1,
    }
}
