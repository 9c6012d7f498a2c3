//! Policy rules on one transaction: what a bitcoind relays by default.
//!
//! Versions, sizes, output forms, dust, input forms, low-S signatures, and what a version 3 transaction
//! may weigh (BIP 431). Fees and replacement, which concern the mempool as a whole, are in `mempool.rs`.
//! Not checked: MINIMALIF, CLEANSTACK of bare scripts, signature operations, limits that follow the mempool's size.
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Instruction;
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::{Amount, Script, Transaction, Witness};

use crate::check::Coin;
use crate::reject::RejectReason;

/// What a mempool asks of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Minimum feerate in satoshi per 1000 virtual bytes: what each transaction pays by itself, but for version 3.
    pub min_relay_fee: u64,
    /// What a mempool that has been full asks beyond that, by itself or together with a child.
    pub mempool_min_fee: u64,
    /// What a replacement adds for its own size, in satoshi per 1000 virtual bytes.
    pub incremental_relay_fee: u64,
    /// Longest chain of unconfirmed transactions, the transaction itself included.
    pub max_chain: usize,
    /// Bytes of an OP_RETURN script.
    pub max_data_carrier: usize,
    /// Whether outputs that cost more than they are worth are let through.
    pub relay_dust: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_relay_fee: 1000,
            mempool_min_fee: 0,
            incremental_relay_fee: 1000,
            max_chain: 25,
            max_data_carrier: 83,
            relay_dust: false,
        }
    }
}

/// A version 3 transaction may have this many virtual bytes (BIP 431).
const TRUC_MAX_VSIZE: u64 = 10_000;
const MAX_WEIGHT: u64 = 400_000;
const MAX_SCRIPT_SIG: usize = 1650;
const MIN_BASE_SIZE: usize = 65;
const MAX_WITNESS_SCRIPT: usize = 3600;
const MAX_WITNESS_ITEMS: usize = 100;
const MAX_WITNESS_ITEM: usize = 80;

/// A fee at `rate` satoshi per 1000 virtual bytes, rounded up.
pub(crate) fn fee_at(rate: u64, vsize: u64) -> Amount {
    Amount::from_sat(rate.saturating_mul(vsize).div_ceil(1000))
}

/// Virtual size: weight in quarters, rounded up.
pub(crate) fn vsize(tx: &Transaction) -> u64 {
    tx.weight().to_wu().div_ceil(4)
}

/// Rules that need no coin. Answers the outputs that are dust, for the caller knows the fee.
pub(crate) fn standard(tx: &Transaction, policy: &Policy) -> Result<Vec<usize>, RejectReason> {
    if !(1..=3).contains(&tx.version.0) {
        return Err(RejectReason::NonStandard("version"));
    }
    if tx.weight().to_wu() > MAX_WEIGHT {
        return Err(RejectReason::NonStandard("tx-size"));
    }
    if tx.version.0 == 3 && vsize(tx) > TRUC_MAX_VSIZE {
        return Err(RejectReason::Truc("version=3 tx is too big"));
    }
    // CVE-2017-12842: 64 bytes could pass for two hashes of a merkle tree.
    if tx.base_size() < MIN_BASE_SIZE {
        return Err(RejectReason::NonStandard("tx-size-small"));
    }
    for input in &tx.input {
        if input.script_sig.len() > MAX_SCRIPT_SIG {
            return Err(RejectReason::NonStandard("scriptsig-size"));
        }
        if !input.script_sig.is_push_only() {
            return Err(RejectReason::NonStandard("scriptsig-not-pushonly"));
        }
    }
    let mut dust = Vec::new();
    let mut data_carriers = 0_usize;
    for (index, output) in tx.output.iter().enumerate() {
        let script = &output.script_pubkey;
        if is_data_carrier(script) {
            data_carriers = data_carriers.saturating_add(1);
            if script.len() > policy.max_data_carrier || data_carriers > 1 {
                return Err(RejectReason::NonStandard("datacarrier"));
            }
        } else if !is_standard_output(script) {
            return Err(RejectReason::NonStandard("scriptpubkey"));
        } else if output.value < script.minimal_non_dust() {
            dust.push(index);
        }
    }
    Ok(dust)
}

/// Rules on what is spent and how.
pub(crate) fn standard_inputs(tx: &Transaction, coins: &[Coin]) -> Result<(), RejectReason> {
    for (input, coin) in tx.input.iter().zip(coins) {
        let script = &coin.output.script_pubkey;
        if !is_standard_output(script) || is_future_program(script) {
            return Err(RejectReason::NonStandard("bad-txns-nonstandard-inputs"));
        }
        let inner = if script.is_p2sh() { last_push(&input.script_sig) } else { Some(script.clone().into()) };
        if inner.as_deref().is_some_and(|bytes| Script::from_bytes(bytes).is_p2wsh()) {
            witness_script_limits(&input.witness)?;
        }
        if is_anchor(script) && !input.witness.is_empty() {
            return Err(RejectReason::NonStandard("bad-witness-nonstandard"));
        }
        let script_sig_pushes = input.script_sig.instructions().filter_map(|instruction| match instruction {
            Ok(Instruction::PushBytes(bytes)) => Some(bytes.as_bytes()),
            _ => None,
        });
        if input.witness.iter().chain(script_sig_pushes).any(is_high_s) {
            return Err(RejectReason::NonStandard(
                "mandatory-script-verify-flag-failed (Non-canonical signature: S value is unnecessarily high)",
            ));
        }
    }
    Ok(())
}

fn witness_script_limits(witness: &Witness) -> Result<(), RejectReason> {
    let script_length = witness.last().map_or(0, <[u8]>::len);
    let items = witness.len().saturating_sub(1);
    let fits = script_length <= MAX_WITNESS_SCRIPT
        && items <= MAX_WITNESS_ITEMS
        && witness.iter().take(items).all(|item| item.len() <= MAX_WITNESS_ITEM);
    if fits { Ok(()) } else { Err(RejectReason::NonStandard("bad-witness-nonstandard")) }
}

/// A DER signature with its hash type whose S is in the upper half. libsecp256k1 never makes one, but a
/// peer may send one, which BOLT 2 has us refuse: such a commitment would not relay.
fn is_high_s(item: &[u8]) -> bool {
    let Some((_hash_type, der)) = item.split_last() else { return false };
    if der.first() != Some(&0x30) {
        return false;
    }
    let Ok(signature) = Signature::from_der(der) else { return false };
    let mut low = signature;
    low.normalize_s();
    low != signature
}

fn last_push(script: &Script) -> Option<Vec<u8>> {
    match script.instructions().last()? {
        Ok(Instruction::PushBytes(bytes)) => Some(bytes.as_bytes().to_vec()),
        _ => None,
    }
}

/// OP_RETURN followed by pushes only.
fn is_data_carrier(script: &Script) -> bool {
    match script.as_bytes().split_first() {
        Some((first, rest)) => *first == OP_RETURN.to_u8() && Script::from_bytes(rest).is_push_only(),
        None => false,
    }
}

fn is_standard_output(script: &Script) -> bool {
    script.is_p2pkh()
        || script.is_p2sh()
        || script.is_p2pk()
        || script.is_p2wpkh()
        || script.is_p2wsh()
        || script.is_p2tr()
        || is_anchor(script)
        || (script.is_multisig() && script.len() <= 3 + 3 * 66)
        || is_future_program(script)
}

/// A witness program without meaning yet: may be paid, though not spent.
fn is_future_program(script: &Script) -> bool {
    script.is_witness_program()
        && !(script.is_p2wpkh() || script.is_p2wsh() || script.is_p2tr() || is_anchor(script))
}

/// Pay to anchor: OP_1 <4e73>, spent by an empty witness.
fn is_anchor(script: &Script) -> bool {
    script.as_bytes() == [0x51, 0x02, 0x4e, 0x73]
}
