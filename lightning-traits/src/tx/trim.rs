//! Which HTLCs are too small for an output, and what the opener pays: the one place that decides it.
//!
//! BOLT 3, "Trimmed Outputs" and "Fee Calculation". Limits, reserves, dust exposure and the transaction
//! itself all ask here; a second computation elsewhere once made channels fail (RELIABILITY C2).
use bitcoin::Amount;

use super::format::{CommitmentFormat, HTLC_OUTPUT_WEIGHT};
use super::spec::{CommitmentSpec, HtlcSpec, TxSide};
use crate::units::FeeratePerKw;

/// The fee of the second-stage transaction of an HTLC that `offered_by` offered: timeout if the broadcaster, else success.
#[must_use]
pub fn htlc_fee(format: CommitmentFormat, feerate: FeeratePerKw, offered_by: TxSide) -> Amount {
    let rules = format.rules();
    if rules.zero_fee_htlc {
        return Amount::ZERO;
    }
    feerate.fee(match offered_by {
        TxSide::Broadcaster => rules.htlc_timeout_weight,
        TxSide::Countersigner => rules.htlc_success_weight,
    })
}

/// The smallest amount, in whole satoshis, with which an HTLC that `offered_by` offered gets an output.
#[must_use]
pub fn htlc_threshold(
    format: CommitmentFormat,
    feerate: FeeratePerKw,
    dust_limit: Amount,
    offered_by: TxSide,
) -> Amount {
    let fee = htlc_fee(format, feerate, offered_by);
    Amount::from_sat(dust_limit.to_sat().saturating_add(fee.to_sat()))
}

/// Whether the HTLC has no output: its whole satoshis minus the second-stage fee are below the broadcaster's dust limit.
#[must_use]
pub fn is_trimmed(
    htlc: &HtlcSpec,
    format: CommitmentFormat,
    feerate: FeeratePerKw,
    dust_limit: Amount,
) -> bool {
    htlc.amount.to_amount_floor() < htlc_threshold(format, feerate, dust_limit, htlc.offered_by)
}

/// How many HTLCs of the commitment have an output.
#[must_use]
pub fn untrimmed_count(spec: &CommitmentSpec, format: CommitmentFormat, dust_limit: Amount) -> usize {
    spec.htlcs.iter().filter(|htlc| !is_trimmed(htlc, format, spec.feerate, dust_limit)).count()
}

/// The base fee of a commitment transaction with that many HTLC outputs; the opener pays it.
#[must_use]
pub fn commitment_fee(format: CommitmentFormat, feerate: FeeratePerKw, untrimmed: usize) -> Amount {
    let htlcs = HTLC_OUTPUT_WEIGHT.saturating_mul(untrimmed as u64);
    feerate.fee(format.rules().commitment_weight.saturating_add(htlcs))
}

/// All that is taken from the opener's balance: the base fee and both anchors.
#[must_use]
pub fn opener_cost(format: CommitmentFormat, feerate: FeeratePerKw, untrimmed: usize) -> Amount {
    let fee = commitment_fee(format, feerate, untrimmed);
    Amount::from_sat(fee.to_sat().saturating_add(format.anchors_cost().to_sat()))
}
