//! The commitment transaction (BOLT 3, "Commitment Transaction Construction").
//!
//! [`build`] turns a [`CommitmentSpec`] into the transaction that both sides must come to, bit by bit, or
//! their signatures do not fit.
//!
//! # Invariants
//! - outputs, fee and trimmed amounts add up to the funding output's value
//! - HTLCs are listed in output order: the order of `htlc_signature`s
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use secp256k1::Message;
use thiserror::Error;

use super::format::ANCHOR_VALUE;
use super::funding::ObscureFactor;
use super::keys::CommitmentKeys;
use super::script::{self, HtlcScripts};
use super::sighash::SoleInput;
use super::spec::{CommitmentParams, CommitmentSpec, HtlcSpec, TxSide};
use super::trim;
use crate::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use crate::id::CommitmentNumber;
use crate::units::{FeeratePerKw, Msat};

/// An HTLC and where its output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HtlcOutput {
    /// The HTLC.
    pub htlc: HtlcSpec,
    /// Index of its output in the commitment transaction.
    pub vout: u32,
}

crate::record!(struct HtlcOutput { htlc, vout });

/// A commitment transaction, not yet signed, and what each of its outputs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitmentTx {
    /// The commitment's number.
    pub number: CommitmentNumber,
    /// The feerate that fees of this and of the second-stage transactions come from.
    pub feerate: FeeratePerKw,
    /// The transaction, its witness empty.
    pub tx: Transaction,
    /// The transaction's id, computed once.
    pub txid: Txid,
    /// Untrimmed HTLCs in output order.
    pub htlcs: Vec<HtlcOutput>,
    /// Index of the broadcaster's balance.
    pub to_broadcaster: Option<u32>,
    /// Index of the countersigner's balance.
    pub to_countersigner: Option<u32>,
    /// Index of the broadcaster's anchor.
    pub broadcaster_anchor: Option<u32>,
    /// Index of the countersigner's anchor.
    pub countersigner_anchor: Option<u32>,
}

/// Why a spec is no commitment transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitmentError {
    /// There are HTLCs, and the keys are those of a commitment without.
    #[error("the keys are those of a commitment without HTLCs")]
    NoHtlcKeys,
    /// The opener's balance does not reach for the anchors, and the other outputs leave nothing for them.
    #[error("the outputs need {needed}, the channel holds {capacity}")]
    Overdrawn {
        /// What the outputs add up to.
        needed: Amount,
        /// What the funding output holds.
        capacity: Amount,
    },
    /// Balances and HTLCs do not add up to what the funding output holds.
    #[error("balances and HTLCs are not {capacity} in sum")]
    Unbalanced {
        /// What the funding output holds.
        capacity: Amount,
    },
}

/// The commitment transaction `number` that says `spec`.
///
/// # Errors
/// [`CommitmentError`] when the spec's amounts are not those of the channel.
pub fn build(
    params: &CommitmentParams,
    keys: &CommitmentKeys,
    spec: &CommitmentSpec,
    number: CommitmentNumber,
) -> Result<CommitmentTx, CommitmentError> {
    let capacity = params.funding.value;
    if spec.total() != Some(Msat::from_amount(capacity)) {
        return Err(CommitmentError::Unbalanced { capacity });
    }
    let mut drafts = drafts(params, keys, spec)?;
    let needed = drafts.iter().map(|draft| draft.output.value.to_sat()).fold(0, u64::saturating_add);
    let needed = Amount::from_sat(needed);
    if needed > capacity {
        return Err(CommitmentError::Overdrawn { needed, capacity });
    }
    drafts.sort_by(Draft::in_bip69_cltv_order);
    Ok(assemble(params, spec.feerate, number, drafts))
}

/// What an output is.
#[derive(Clone, Copy)]
enum Role<'a> {
    Balance(TxSide),
    Anchor(TxSide),
    Htlc(&'a HtlcSpec),
}

/// An output that has no place yet.
struct Draft<'a> {
    output: TxOut,
    role: Role<'a>,
}

impl Draft<'_> {
    /// BOLT 3, "Transaction Output Ordering": value, then script (shorter first on a common prefix, which is the order of
    /// slices), then `cltv_expiry`. The id at the end only makes the order of equals our own one (I10).
    fn in_bip69_cltv_order(&self, other: &Self) -> core::cmp::Ordering {
        let value = self.output.value.cmp(&other.output.value);
        value
            .then_with(|| self.output.script_pubkey.as_bytes().cmp(other.output.script_pubkey.as_bytes()))
            .then_with(|| self.tie_break().cmp(&other.tie_break()))
    }

    const fn tie_break(&self) -> (u32, u64) {
        match self.role {
            Role::Htlc(htlc) => (htlc.expiry.get(), htlc.id.0),
            Role::Balance(_) | Role::Anchor(_) => (0, 0),
        }
    }
}

/// All outputs in no order: BOLT 3, "Commitment Transaction Construction", steps 2 to 8.
fn drafts<'a>(
    params: &CommitmentParams,
    keys: &CommitmentKeys,
    spec: &'a CommitmentSpec,
) -> Result<Vec<Draft<'a>>, CommitmentError> {
    let CommitmentParams { format, dust_limit, .. } = *params;
    let mut drafts = Vec::with_capacity(spec.htlcs.len().saturating_add(4));
    let mut push = |value, script_pubkey: ScriptBuf, role| {
        drafts.push(Draft { output: TxOut { value, script_pubkey }, role });
    };

    let scripts = HtlcScripts::new(format, keys);
    let mut untrimmed = 0_usize;
    for htlc in spec.htlcs.iter().filter(|htlc| !trim::is_trimmed(htlc, format, spec.feerate, dust_limit)) {
        let script = scripts.as_ref().ok_or(CommitmentError::NoHtlcKeys)?.script(htlc);
        push(htlc.amount.to_amount_floor(), script.to_p2wsh(), Role::Htlc(htlc));
        untrimmed = untrimmed.saturating_add(1);
    }

    let cost = trim::opener_cost(format, spec.feerate, untrimmed);
    for side in [TxSide::Broadcaster, TxSide::Countersigner] {
        let mut balance = spec.balance(side).to_amount_floor();
        if side == params.opener {
            // An opener who cannot pay the whole fee pays what it has (Appendix C, "fee greater than funder amount").
            balance = balance.checked_sub(cost).unwrap_or(Amount::ZERO);
        }
        let has_output = balance >= dust_limit;
        if has_output {
            push(balance, balance_script(params, keys, side), Role::Balance(side));
        }
        // "if `to_local` exists or there are untrimmed HTLCs, add a `to_local_anchor` output", and so for `to_remote`.
        if format.rules().anchors && (has_output || untrimmed > 0) {
            push(ANCHOR_VALUE, script::anchor(&funding_key(params, side)).to_p2wsh(), Role::Anchor(side));
        }
    }
    Ok(drafts)
}

/// The output script of one side's balance.
fn balance_script(params: &CommitmentParams, keys: &CommitmentKeys, side: TxSide) -> ScriptBuf {
    match side {
        TxSide::Broadcaster => {
            script::delayed(&keys.revocation_key, params.to_self_delay, &keys.broadcaster_delayed_key)
                .to_p2wsh()
        }
        TxSide::Countersigner => script::countersigner_output(params.format, &keys.countersigner_payment_key),
    }
}

fn funding_key(params: &CommitmentParams, side: TxSide) -> secp256k1::PublicKey {
    match side {
        TxSide::Broadcaster => params.broadcaster_funding_key,
        TxSide::Countersigner => params.countersigner_funding_key(),
    }
}

/// Turns sorted drafts into the transaction and notes where each output is.
fn assemble(
    params: &CommitmentParams,
    feerate: FeeratePerKw,
    number: CommitmentNumber,
    drafts: Vec<Draft<'_>>,
) -> CommitmentTx {
    let mut outputs = Vec::with_capacity(drafts.len());
    let mut htlcs = Vec::with_capacity(drafts.len());
    let (mut balances, mut anchors) = ((None, None), (None, None));
    for (vout, draft) in (0_u32..).zip(drafts) {
        match draft.role {
            Role::Balance(TxSide::Broadcaster) => balances.0 = Some(vout),
            Role::Balance(TxSide::Countersigner) => balances.1 = Some(vout),
            Role::Anchor(TxSide::Broadcaster) => anchors.0 = Some(vout),
            Role::Anchor(TxSide::Countersigner) => anchors.1 = Some(vout),
            Role::Htlc(htlc) => htlcs.push(HtlcOutput { htlc: *htlc, vout }),
        }
        outputs.push(draft.output);
    }
    let (lock_time, sequence) = marks(params.obscure, number);
    let tx = Transaction {
        version: Version::TWO,
        lock_time,
        input: alloc::vec![TxIn {
            previous_output: params.funding.outpoint,
            script_sig: ScriptBuf::new(),
            sequence,
            witness: Witness::new(),
        }],
        output: outputs,
    };
    CommitmentTx {
        number,
        feerate,
        txid: tx.compute_txid(),
        tx,
        htlcs,
        to_broadcaster: balances.0,
        to_countersigner: balances.1,
        broadcaster_anchor: anchors.0,
        countersigner_anchor: anchors.1,
    }
}

/// Locktime and sequence of commitment `number`: "upper 8 bits are 0x20, lower 24 bits are the lower 24 bits of the obscured
/// commitment number", "upper 8 bits are 0x80, lower 24 bits are upper 24 bits".
fn marks(obscure: ObscureFactor, number: CommitmentNumber) -> (LockTime, Sequence) {
    let obscured = obscure.obscure(number);
    let lower = (obscured & 0x00ff_ffff) as u32;
    let upper = ((obscured >> 24) & 0x00ff_ffff) as u32;
    (LockTime::from_consensus(0x2000_0000 | lower), Sequence(0x8000_0000 | upper))
}

/// The number of the commitment that `tx` is, if its locktime and sequence are those of one.
///
/// Says nothing about whether `tx` spends the channel's funding output: the caller looks at that first.
#[must_use]
pub fn number_of(tx: &Transaction, obscure: ObscureFactor) -> Option<CommitmentNumber> {
    let [input] = tx.input.as_slice() else { return None };
    let (lock_time, sequence) = (tx.lock_time.to_consensus_u32(), input.sequence.0);
    if lock_time >> 24 != 0x20 || sequence >> 24 != 0x80 {
        return None;
    }
    let obscured = (u64::from(sequence & 0x00ff_ffff) << 24) | u64::from(lock_time & 0x00ff_ffff);
    Some(obscure.reveal(obscured))
}

impl CommitmentTx {
    /// What both sides sign, always with `SIGHASH_ALL`.
    #[must_use]
    pub fn sighash(&self, params: &CommitmentParams) -> Message {
        let (lock_time, sequence) = marks(params.obscure, self.number);
        let script = params.funding.script();
        let input = SoleInput {
            outpoint: params.funding.outpoint,
            sequence,
            script: &script,
            value: params.funding.value,
            outputs: &self.tx.output,
            lock_time,
        };
        input.digest(EcdsaSighashType::All)
    }

    /// What the transaction pays to miners: the base fee, and all that was trimmed or rounded away.
    #[must_use]
    pub fn fee(&self, params: &CommitmentParams) -> Amount {
        let outputs = self.tx.output.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
        Amount::from_sat(params.funding.value.to_sat().saturating_sub(outputs))
    }
}

impl Encode for CommitmentTx {
    fn encode(&self, out: &mut Vec<u8>) {
        self.number.encode(out);
        self.feerate.encode(out);
        self.tx.encode(out);
        encode_list(&self.htlcs, out);
        self.to_broadcaster.encode(out);
        self.to_countersigner.encode(out);
        self.broadcaster_anchor.encode(out);
        self.countersigner_anchor.encode(out);
    }
}

/// Every index must name an output, so that holders of a decoded value need not doubt them.
impl Decode for CommitmentTx {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, feerate, tx): (_, _, Transaction) = (reader.read()?, reader.read()?, reader.read()?);
        let htlcs: Vec<HtlcOutput> = decode_list(reader)?;
        let commitment = Self {
            number,
            feerate,
            txid: tx.compute_txid(),
            tx,
            htlcs,
            to_broadcaster: reader.read()?,
            to_countersigner: reader.read()?,
            broadcaster_anchor: reader.read()?,
            countersigner_anchor: reader.read()?,
        };
        let Self { to_broadcaster, to_countersigner, broadcaster_anchor, countersigner_anchor, .. } =
            commitment;
        let named = [to_broadcaster, to_countersigner, broadcaster_anchor, countersigner_anchor];
        let mut indices =
            named.into_iter().flatten().chain(commitment.htlcs.iter().map(|output| output.vout));
        if indices.all(|vout| (vout as usize) < commitment.tx.output.len()) {
            Ok(commitment)
        } else {
            Err(DecodeError::InvalidValue("output index of a commitment"))
        }
    }
}
