//! What it costs to spend each output of `tx/`, and how long it must wait.
//!
//! BOLT 3, Appendix A, and BOLT 5, Appendix A. Witness weights are upper bounds with signatures of 73 bytes, the
//! longest DER form; ours have a low S and so at most 72 (both with the sighash byte).
//!
//! # Invariants
//! - no built witness is heavier than its bound here (tested against `witness.rs`)
use bitcoin::Sequence;

use super::format::CommitmentFormat;
use crate::units::CsvDelay;

/// A way to spend an output of a commitment, second-stage or funding transaction.
///
/// *Offered* and *received* are meant from the broadcaster of the commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spend {
    /// The anchor, by the key's owner.
    Anchor,
    /// The anchor, by anyone, 16 blocks later.
    AnchorByAnyone,
    /// The countersigner's balance.
    CountersignerBalance,
    /// The broadcaster's balance or second-stage output, by the broadcaster after the delay.
    Delayed,
    /// The funding output.
    Funding,
    /// An offered HTLC by an HTLC-timeout transaction.
    HtlcTimeout,
    /// A received HTLC by an HTLC-success transaction.
    HtlcSuccess,
    /// An offered HTLC by the countersigner, who has the preimage.
    OfferedWithPreimage,
    /// A received HTLC by the countersigner, after its expiry.
    ReceivedAfterExpiry,
    /// The broadcaster's balance or second-stage output, once revoked, by the countersigner.
    RevokedDelayed,
    /// An offered HTLC, once revoked, by the countersigner.
    RevokedOffered,
    /// A received HTLC, once revoked, by the countersigner.
    RevokedReceived,
}

crate::record!(enum Spend {
    0 => Anchor {},
    1 => AnchorByAnyone {},
    2 => CountersignerBalance {},
    3 => Delayed {},
    4 => Funding {},
    5 => HtlcTimeout {},
    6 => HtlcSuccess {},
    7 => OfferedWithPreimage {},
    8 => ReceivedAfterExpiry {},
    9 => RevokedDelayed {},
    10 => RevokedOffered {},
    11 => RevokedReceived {},
});

impl Spend {
    /// Upper bound of the witness's weight, its count of items included.
    #[must_use]
    pub const fn witness_weight(self, format: CommitmentFormat) -> u64 {
        let csv = if format.rules().one_block_csv { ONE_BLOCK_CSV } else { 0 };
        let (offered, received) =
            (item(OFFERED_SCRIPT.saturating_add(csv)), item(RECEIVED_SCRIPT.saturating_add(csv)));
        let items = match self {
            Self::Anchor => [SIGNATURE, item(ANCHOR_SCRIPT), 0, 0],
            Self::AnchorByAnyone => [EMPTY, item(ANCHOR_SCRIPT), 0, 0],
            Self::CountersignerBalance if csv == 0 => [SIGNATURE, KEY, 0, 0],
            Self::CountersignerBalance => [SIGNATURE, item(COUNTERSIGNER_CSV_SCRIPT), 0, 0],
            Self::Delayed => [SIGNATURE, EMPTY, item(DELAYED_SCRIPT), 0],
            Self::Funding => [EMPTY, TWO_SIGNATURES, item(FUNDING_SCRIPT), 0],
            Self::HtlcTimeout => [EMPTY, TWO_SIGNATURES, EMPTY, offered],
            Self::HtlcSuccess => [EMPTY, TWO_SIGNATURES, PREIMAGE, received],
            Self::OfferedWithPreimage => [SIGNATURE, PREIMAGE, offered, 0],
            Self::ReceivedAfterExpiry => [SIGNATURE, EMPTY, received, 0],
            Self::RevokedDelayed => [SIGNATURE, ONE, item(DELAYED_SCRIPT), 0],
            Self::RevokedOffered => [SIGNATURE, KEY, offered, 0],
            Self::RevokedReceived => [SIGNATURE, KEY, received, 0],
        };
        let [a, b, c, d] = items;
        ITEM_COUNT.saturating_add(a).saturating_add(b).saturating_add(c).saturating_add(d)
    }

    /// Upper bound of the whole input's weight.
    #[must_use]
    pub const fn input_weight(self, format: CommitmentFormat) -> u64 {
        (4 * INPUT_BYTES).saturating_add(self.witness_weight(format))
    }

    /// The input's sequence: the delay that the script asks for, and replaceable (BIP 125) in every case.
    ///
    /// `delay` is the `to_self_delay` of the commitment's broadcaster. A commitment or closing transaction has a
    /// sequence of its own and does not use this one.
    #[must_use]
    pub const fn sequence(self, format: CommitmentFormat, delay: CsvDelay) -> Sequence {
        match self {
            Self::AnchorByAnyone => Sequence(16),
            Self::Delayed => Sequence(delay.get() as u32),
            Self::CountersignerBalance
            | Self::HtlcTimeout
            | Self::HtlcSuccess
            | Self::OfferedWithPreimage
            | Self::ReceivedAfterExpiry => format.commitment_spend_sequence(),
            Self::Anchor
            | Self::Funding
            | Self::RevokedDelayed
            | Self::RevokedOffered
            | Self::RevokedReceived => Sequence::ENABLE_RBF_NO_LOCKTIME,
        }
    }
}

/// Upper bound of the weight of a closing transaction that pays to output scripts of these lengths.
#[must_use]
pub fn closing_tx(script_lengths: impl IntoIterator<Item = usize>) -> u64 {
    let output = |length: usize| OUTPUT_BYTES.saturating_add(length as u64);
    let outputs = script_lengths.into_iter().map(output).fold(0, u64::saturating_add);
    let bytes = TRANSACTION_BYTES.saturating_add(INPUT_BYTES).saturating_add(outputs);
    // The funding output's witness is the same in every format.
    let witness = Spend::Funding.witness_weight(CommitmentFormat::StaticRemoteKey);
    bytes.saturating_mul(4).saturating_add(SEGWIT_BYTES).saturating_add(witness)
}

/// Weight of an item with `length` bytes (below 253) and its length byte.
const fn item(length: u64) -> u64 {
    length.saturating_add(1)
}

/// An input without its witness: outpoint 36, length of the empty script 1, sequence 4.
pub const INPUT_BYTES: u64 = 41;
/// An output but for its script: value 8, script length 1.
pub const OUTPUT_BYTES: u64 = 9;
/// A transaction but for inputs and outputs: version 4, two counts 1 each, locktime 4.
pub const TRANSACTION_BYTES: u64 = 10;
/// Marker and flag, which weigh one each.
pub const SEGWIT_BYTES: u64 = 2;

const ITEM_COUNT: u64 = 1;
const EMPTY: u64 = item(0);
const ONE: u64 = item(1);
const KEY: u64 = item(33);
const PREIMAGE: u64 = item(32);
const SIGNATURE: u64 = item(73);
const TWO_SIGNATURES: u64 = 2 * SIGNATURE;

const ANCHOR_SCRIPT: u64 = 40;
const COUNTERSIGNER_CSV_SCRIPT: u64 = 37;
/// BOLT 5 counts 83, with a delay of 8 bytes; `to_self_delay` has 16 bits and so at most 3.
const DELAYED_SCRIPT: u64 = 78;
const FUNDING_SCRIPT: u64 = 71;
const OFFERED_SCRIPT: u64 = 133;
/// With an expiry of four bytes; up to height 8,388,607 it has three.
const RECEIVED_SCRIPT: u64 = 140;
/// `1 OP_CHECKSEQUENCEVERIFY OP_DROP`.
const ONE_BLOCK_CSV: u64 = 3;
