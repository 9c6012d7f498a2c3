//! Commitment formats as data: what differs between `option_static_remotekey` and `option_anchors`.
//!
//! BOLT 3 names each difference in a side sentence ("if `option_anchors` applies ..."). Here they are
//! one table a format, so that no other file asks which format it is.
//!
//! # Invariants
//! - a new format is a new row; scripts, fees and witnesses read the row
use bitcoin::EcdsaSighashType;
use bitcoin::{Amount, Sequence};

/// How commitment and HTLC transactions of a channel look; fixed by `channel_type` (BOLT 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommitmentFormat {
    /// `option_static_remotekey` without anchors: fees fixed when signed, on both stages.
    StaticRemoteKey,
    /// `option_anchors`: two anchors for bumping; second-stage transactions pay no fee of their own.
    AnchorsZeroFeeHtlc,
}

crate::record!(enum CommitmentFormat { 0 => StaticRemoteKey {}, 1 => AnchorsZeroFeeHtlc {} });

/// The differences between formats, one row each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatRules {
    /// Expected weight of a commitment transaction without HTLC outputs (BOLT 3, "Fee Calculation").
    pub commitment_weight: u64,
    /// Expected weight of an HTLC-timeout transaction.
    pub htlc_timeout_weight: u64,
    /// Expected weight of an HTLC-success transaction.
    pub htlc_success_weight: u64,
    /// Whether second-stage transactions pay no fee, and so do not count for trimming.
    pub zero_fee_htlc: bool,
    /// Whether the commitment transaction has anchor outputs, paid for by the opener.
    pub anchors: bool,
    /// Whether every output but the anchors waits at least one block: keeps third parties from pinning
    /// the commitment by a child of an HTLC or of the countersigner's output.
    pub one_block_csv: bool,
    /// What the countersigner's signature on a second-stage transaction commits to.
    pub countersigner_htlc_sighash: EcdsaSighashType,
}

impl FormatRules {
    const STATIC_REMOTE_KEY: Self = Self {
        commitment_weight: 724,
        htlc_timeout_weight: 663,
        htlc_success_weight: 703,
        zero_fee_htlc: false,
        anchors: false,
        one_block_csv: false,
        countersigner_htlc_sighash: EcdsaSighashType::All,
    };

    // BOLT 5, "Generation of HTLC Transactions": with anchors the countersigner signs SINGLE|ANYONECANPAY, so
    // that the broadcaster can add inputs and outputs that pay the fee.
    const ANCHORS_ZERO_FEE_HTLC: Self = Self {
        commitment_weight: 1124,
        htlc_timeout_weight: 666,
        htlc_success_weight: 706,
        zero_fee_htlc: true,
        anchors: true,
        one_block_csv: true,
        countersigner_htlc_sighash: EcdsaSighashType::SinglePlusAnyoneCanPay,
    };
}

impl CommitmentFormat {
    /// This format's row.
    #[must_use]
    pub const fn rules(self) -> &'static FormatRules {
        match self {
            Self::StaticRemoteKey => &FormatRules::STATIC_REMOTE_KEY,
            Self::AnchorsZeroFeeHtlc => &FormatRules::ANCHORS_ZERO_FEE_HTLC,
        }
    }

    /// Sequence of an input that spends an HTLC output of the commitment, or the countersigner's own output.
    ///
    /// BOLT 3: "`txin[0]` sequence: `0` (set to `1` for `option_anchors`)".
    #[must_use]
    pub const fn commitment_spend_sequence(self) -> Sequence {
        if self.rules().one_block_csv { Sequence(1) } else { Sequence::ZERO }
    }

    /// What the opener pays for both anchors together; nothing without anchors.
    ///
    /// BOLT 3: "also subtract two times the fixed anchor size of 330 sats from the funder".
    #[must_use]
    pub fn anchors_cost(self) -> Amount {
        if self.rules().anchors {
            Amount::from_sat(ANCHOR_VALUE.to_sat().saturating_mul(2))
        } else {
            Amount::ZERO
        }
    }
}

/// "The amount of the output is fixed at 330 sats, the default dust limit for P2WSH" (BOLT 3).
pub const ANCHOR_VALUE: Amount = Amount::from_sat(330);

/// Expected weight that each untrimmed HTLC output adds to the commitment transaction (BOLT 3).
pub const HTLC_OUTPUT_WEIGHT: u64 = 172;
