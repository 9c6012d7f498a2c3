//! Consensus rules on one transaction.
//!
//! Shape, values, lock times (BIP 65 and 113), relative lock times (BIP 68), coinbase maturity, and every
//! script by Bitcoin Core's own code. Signature operations are not counted.
//!
//! # Invariants
//! - nothing here depends on policy: what passes may be mined
use std::collections::BTreeSet;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize;
use bitcoin::{Amount, OutPoint, Transaction, TxOut};

use crate::reject::RejectReason;

/// Blocks until a coinbase output may be spent.
pub(crate) const COINBASE_MATURITY: u32 = 100;

/// An unspent output and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The output itself.
    pub output: TxOut,
    /// Height of its block; for an unconfirmed one, the height of the next block.
    pub height: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// The block that a transaction is checked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Its height.
    pub(crate) height: u32,
    /// Median time past of every block below it, by height.
    pub(crate) median_times: &'a [u32],
}

impl Context<'_> {
    /// Median time past of the block at `height`, or of the highest block below the checked one.
    fn median_time_at(&self, height: u32) -> u32 {
        let index = height.min(self.height.saturating_sub(1));
        usize::try_from(index).ok().and_then(|i| self.median_times.get(i)).copied().unwrap_or_default()
    }
}

/// Rules that need no other transaction.
pub(crate) fn shape(tx: &Transaction) -> Result<(), RejectReason> {
    if tx.input.is_empty() {
        return Err(RejectReason::Malformed("bad-txns-vin-empty"));
    }
    if tx.output.is_empty() {
        return Err(RejectReason::Malformed("bad-txns-vout-empty"));
    }
    if tx.base_size().saturating_mul(4) > 4_000_000 {
        return Err(RejectReason::Malformed("bad-txns-oversize"));
    }
    output_sum(tx)?;
    let mut seen = BTreeSet::new();
    for input in &tx.input {
        if !seen.insert(input.previous_output) {
            return Err(RejectReason::Malformed("bad-txns-inputs-duplicate"));
        }
    }
    if tx.is_coinbase() {
        let length = tx.input.first().map_or(0, |input| input.script_sig.len());
        if !(2..=100).contains(&length) {
            return Err(RejectReason::Malformed("bad-cb-length"));
        }
    } else if seen.contains(&OutPoint::null()) {
        return Err(RejectReason::Malformed("bad-txns-prevout-null"));
    }
    Ok(())
}

/// The fee of a transaction that spends `coins`, in the order of its inputs.
pub(crate) fn fee(tx: &Transaction, coins: &[Coin], context: Context<'_>) -> Result<Amount, RejectReason> {
    let mut input = Amount::ZERO;
    for coin in coins {
        let depth = context.height.saturating_sub(coin.height);
        if coin.coinbase && depth < COINBASE_MATURITY {
            return Err(RejectReason::ImmatureCoinbase { depth });
        }
        input = input
            .checked_add(coin.output.value)
            .filter(|sum| *sum <= Amount::MAX_MONEY)
            .ok_or(RejectReason::Malformed("bad-txns-inputvalues-outofrange"))?;
    }
    let output = output_sum(tx)?;
    input.checked_sub(output).ok_or(RejectReason::InBelowOut { input, output })
}

/// Whether the lock time allows `tx` in the block of `context` (BIP 113: time is the median time past).
pub(crate) fn is_final(tx: &Transaction, context: Context<'_>) -> Result<(), RejectReason> {
    if tx.input.iter().all(|input| input.sequence.is_final()) {
        return Ok(());
    }
    let reached = match tx.lock_time {
        LockTime::Blocks(height) => height.to_consensus_u32() < context.height.max(1),
        LockTime::Seconds(time) => time.to_consensus_u32() < context.median_time_at(u32::MAX),
    };
    // A lock time of zero is a height below every block.
    if reached { Ok(()) } else { Err(RejectReason::NonFinal) }
}

/// BIP 68: every input's coin is old enough.
pub(crate) fn sequence_locks(
    tx: &Transaction,
    coins: &[Coin],
    context: Context<'_>,
) -> Result<(), RejectReason> {
    // Versions are compared without sign, as Core does.
    if tx.version.0.cast_unsigned() < 2 {
        return Ok(());
    }
    for (index, (input, coin)) in tx.input.iter().zip(coins).enumerate() {
        let sequence = input.sequence;
        if !sequence.is_relative_lock_time() {
            continue;
        }
        let value = sequence.to_consensus_u32() & 0xffff;
        let reached = if sequence.is_time_locked() {
            // From the median time of the block before the coin's own, in units of 512 seconds.
            let from = context.median_time_at(coin.height.saturating_sub(1));
            from.saturating_add(value.saturating_mul(512)) <= context.median_time_at(u32::MAX)
        } else {
            coin.height.saturating_add(value) <= context.height
        };
        if !reached {
            return Err(RejectReason::NonBip68Final { input: index });
        }
    }
    Ok(())
}

/// Every input satisfies the script of its coin, by all rules up to taproot.
pub(crate) fn scripts(tx: &Transaction, coins: &[Coin]) -> Result<(), RejectReason> {
    let bytes = serialize(tx);
    let spent = coins
        .iter()
        .map(|coin| {
            let script = coin.output.script_pubkey.as_bytes();
            Ok(bitcoinconsensus::Utxo {
                script_pubkey: script.as_ptr(),
                script_pubkey_len: u32::try_from(script.len())
                    .map_err(|_| RejectReason::Malformed("bad-txns-oversize"))?,
                value: i64::try_from(coin.output.value.to_sat())
                    .map_err(|_| RejectReason::Malformed("bad-txns-inputvalues-outofrange"))?,
            })
        })
        .collect::<Result<Vec<_>, RejectReason>>()?;
    for (input, coin) in coins.iter().enumerate() {
        bitcoinconsensus::verify_with_flags(
            coin.output.script_pubkey.as_bytes(),
            coin.output.value.to_sat(),
            &bytes,
            Some(&spent),
            input,
            bitcoinconsensus::VERIFY_ALL_PRE_TAPROOT | bitcoinconsensus::VERIFY_TAPROOT,
        )
        .map_err(|error| RejectReason::Script { input, reason: error.to_string() })?;
    }
    Ok(())
}

fn output_sum(tx: &Transaction) -> Result<Amount, RejectReason> {
    let mut sum = Amount::ZERO;
    for output in &tx.output {
        sum = sum
            .checked_add(output.value)
            .filter(|sum| *sum <= Amount::MAX_MONEY)
            .ok_or(RejectReason::Malformed("bad-txns-txouttotal-toolarge"))?;
    }
    Ok(sum)
}
