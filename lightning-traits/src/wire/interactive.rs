//! Interactive transaction construction (BOLT 2): `tx_add_input` to `tx_abort`.
use alloc::string::String;
use alloc::vec::Vec;

use bitcoin::{Amount, ScriptBuf, SignedAmount, Transaction, Txid, Witness};
use secp256k1::ecdsa::Signature;

use super::table::{message, put_counted};
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::id::ChannelId;
use crate::units::FeeratePerKw;

message! {
    /// `tx_add_input`: adds an input to the transaction under construction.
    TxAddInput = 66 {
        /// The channel.
        channel_id: ChannelId,
        /// Names the input; even from the initiator, odd from the other side.
        serial_id: u64,
        /// The transaction whose output is spent, in consensus encoding; empty for the channel's own funding output.
        prevtx: Vec<u8> as Counted,
        /// The output that is spent.
        prevtx_vout: u32,
        /// `nSequence` of the input.
        sequence: u32,
    }
    tlvs {
        /// The funding transaction that a splice spends, instead of `prevtx`.
        shared_input_txid: Txid = 0,
    }
}

impl TxAddInput {
    /// The transaction in `prevtx`.
    ///
    /// # Errors
    /// When the bytes are not one transaction.
    pub fn previous_transaction(&self) -> Result<Transaction, DecodeError> {
        bitcoin::consensus::deserialize(&self.prevtx).map_err(|_| DecodeError::InvalidValue("prevtx"))
    }
}

message! {
    /// `tx_add_output`: adds an output to the transaction under construction.
    TxAddOutput = 67 {
        /// The channel.
        channel_id: ChannelId,
        /// Names the output; even from the initiator, odd from the other side.
        serial_id: u64,
        /// Value of the output.
        sats: Amount,
        /// Script of the output.
        script: ScriptBuf as Counted,
    }
    tlvs {}
}

message! {
    /// `tx_remove_input`: takes an input back.
    TxRemoveInput = 68 {
        /// The channel.
        channel_id: ChannelId,
        /// The input.
        serial_id: u64,
    }
    tlvs {}
}

message! {
    /// `tx_remove_output`: takes an output back.
    TxRemoveOutput = 69 {
        /// The channel.
        channel_id: ChannelId,
        /// The output.
        serial_id: u64,
    }
    tlvs {}
}

message! {
    /// `tx_complete`: the sender has nothing to add.
    TxComplete = 70 {
        /// The channel.
        channel_id: ChannelId,
    }
    tlvs {}
}

message! {
    /// `tx_signatures`: the sender's witnesses.
    TxSignatures = 71 {
        /// The channel.
        channel_id: ChannelId,
        /// The transaction that they sign.
        txid: Txid,
        /// One for each input of the sender, in the order of their serial ids.
        witnesses: Vec<TxWitness> as CountedList,
    }
    tlvs {
        /// Signature for the channel's own funding output (splices).
        shared_input_signature: Signature = 0,
    }
}

message! {
    /// `tx_init_rbf`: asks to build the transaction again at a higher feerate.
    TxInitRbf = 72 {
        /// The channel.
        channel_id: ChannelId,
        /// `nLockTime` of the new transaction.
        locktime: u32,
        /// Feerate of the new transaction.
        feerate: FeeratePerKw,
    }
    tlvs {
        /// What the sender adds to the funding output, or takes from it.
        funding_output_contribution: SignedAmount = 0,
        /// The receiver must add confirmed inputs only.
        require_confirmed_inputs: () = 2,
    }
}

message! {
    /// `tx_ack_rbf`: agrees to that.
    TxAckRbf = 73 {
        /// The channel.
        channel_id: ChannelId,
    }
    tlvs {
        /// What the sender adds to the funding output, or takes from it.
        funding_output_contribution: SignedAmount = 0,
        /// The receiver must add confirmed inputs only.
        require_confirmed_inputs: () = 2,
    }
}

message! {
    /// `tx_abort`: ends the construction.
    TxAbort = 74 {
        /// The channel.
        channel_id: ChannelId,
        /// Text for people, of any bytes.
        data: Vec<u8> as Counted,
    }
    tlvs {}
}

impl TxAbort {
    /// The text with everything that is not printable ASCII replaced.
    #[must_use]
    pub fn text(&self) -> String {
        super::control::printable(&self.data)
    }
}

/// `witness_data` of `tx_signatures`: a witness in its consensus encoding behind a 2-byte length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxWitness(pub Witness);

impl Encode for TxWitness {
    fn encode(&self, out: &mut Vec<u8>) {
        put_counted(&bitcoin::consensus::serialize(&self.0), out);
    }
}

impl Decode for TxWitness {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.read::<u16>()?;
        let mut inner = Reader::new(reader.take(usize::from(length))?);
        // Read here and not by the decoder of `Witness`, which reserves memory for as many elements as are promised (I9).
        let count = compact_size(&mut inner)?;
        let mut elements = Vec::new();
        for _ in 0..count {
            let length = compact_size(&mut inner)?;
            elements.push(inner.take(usize::from(length))?);
        }
        inner.finish()?;
        Ok(Self(Witness::from_slice(&elements)))
    }
}

/// Bitcoin's little-endian `CompactSize`, of which a 2-byte length leaves room for two forms only.
fn compact_size(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    match reader.read::<u8>()? {
        0xfd => match u16::from_le_bytes(reader.array()?) {
            0..=0xfc => Err(DecodeError::NotMinimal),
            value => Ok(value),
        },
        0xfe | 0xff => Err(DecodeError::UnexpectedEnd),
        small => Ok(u16::from(small)),
    }
}
