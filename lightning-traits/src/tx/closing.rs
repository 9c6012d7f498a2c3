//! Closing transactions, which both sides agree on (BOLT 3, "Legacy Closing Transaction" and "Closing Transaction").
//!
//! Here the sides are the **payer** of the fee (the opener in the legacy negotiation, the closer of
//! `closing_complete`) and the **other**.
//!
//! # Invariants
//! - only the payer's output is smaller for the fee
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey};
use thiserror::Error;

use super::funding::FundingOutput;
use super::sighash::SoleInput;
use super::{weight, witness};
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::units::Msat;

/// Which negotiation the transaction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosingKind {
    /// `closing_signed`: no locktime, not replaceable.
    Legacy,
    /// `closing_complete` / `closing_sig` (`option_simple_close`): replaceable, with the closer's locktime.
    Simple {
        /// `locktime` of `closing_complete`.
        lock_time: u32,
    },
}

crate::record!(enum ClosingKind { 0 => Legacy {}, 1 => Simple { lock_time } });

/// What one side takes out of the channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClosingOutput {
    /// The side's balance, before the fee; rounded down to whole satoshis.
    pub balance: Msat,
    /// The script of its `shutdown`, or `None` when it gives up its output ("MAY eliminate its own output").
    pub script: Option<ScriptBuf>,
}

crate::record!(struct ClosingOutput { balance, script });

/// What a closing transaction says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClosingSpec {
    /// The negotiation it comes from.
    pub kind: ClosingKind,
    /// The side that pays the fee.
    pub payer: ClosingOutput,
    /// The side that does not.
    pub other: ClosingOutput,
    /// The fee that the payer's output is smaller for.
    pub fee: Amount,
    /// Outputs below are left out; the limit of the side that signs.
    pub dust_limit: Amount,
}

crate::record!(struct ClosingSpec { kind, payer, other, fee, dust_limit });

/// Why there is no such closing transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClosingError {
    /// The fee is above the payer's balance.
    #[error("the fee of {fee} is above the payer's balance of {balance}")]
    FeeAboveBalance {
        /// The fee.
        fee: Amount,
        /// What the payer has.
        balance: Amount,
    },
    /// Every output is dust or given up.
    #[error("no output is left")]
    NoOutput,
    /// The balances are more than the funding output holds.
    #[error("the outputs need {needed}, the channel holds {capacity}")]
    Overdrawn {
        /// What the outputs add up to.
        needed: Amount,
        /// What the funding output holds.
        capacity: Amount,
    },
}

/// A closing transaction, not yet signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosingTx {
    funding: FundingOutput,
    kind: ClosingKind,
    tx: Transaction,
}

impl ClosingTx {
    /// The transaction that says `spec`.
    ///
    /// # Errors
    /// [`ClosingError`] when the fee cannot be paid or nothing would be paid out.
    pub fn build(funding: &FundingOutput, spec: &ClosingSpec) -> Result<Self, ClosingError> {
        let (balance, fee) = (spec.payer.balance.to_amount_floor(), spec.fee);
        let paid = balance.checked_sub(fee).ok_or(ClosingError::FeeAboveBalance { fee, balance })?;
        let amounts = [(&spec.payer, paid), (&spec.other, spec.other.balance.to_amount_floor())];
        let output: Vec<TxOut> =
            amounts.into_iter().filter_map(|(side, value)| output(side, value, spec.dust_limit)).collect();
        let tx = Transaction {
            version: Version::TWO,
            lock_time: spec.kind.lock_time(),
            input: alloc::vec![spec.kind.input(funding)],
            output: sorted(output),
        };
        let needed = tx.output.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
        let (needed, capacity) = (Amount::from_sat(needed), funding.value);
        match tx.output.as_slice() {
            [] => Err(ClosingError::NoOutput),
            _ if needed > capacity => Err(ClosingError::Overdrawn { needed, capacity }),
            _ => Ok(Self { funding: *funding, kind: spec.kind, tx }),
        }
    }

    /// The transaction without its witness.
    #[must_use]
    pub const fn tx(&self) -> &Transaction {
        &self.tx
    }

    /// What both sides sign.
    #[must_use]
    pub fn sighash(&self) -> Message {
        let script = self.funding.script();
        let input = SoleInput {
            outpoint: self.funding.outpoint,
            sequence: self.kind.sequence(),
            script: &script,
            value: self.funding.value,
            outputs: &self.tx.output,
            lock_time: self.kind.lock_time(),
        };
        input.digest(EcdsaSighashType::All)
    }

    /// The transaction as it goes out; `signature` was made with `key`, `other_signature` with the other funding key.
    #[must_use]
    pub fn signed(
        mut self,
        key: &PublicKey,
        signature: &Signature,
        other_signature: &Signature,
    ) -> Transaction {
        for input in &mut self.tx.input {
            input.witness = witness::funding(&self.funding, key, signature, other_signature);
        }
        self.tx
    }

    /// Upper bound of the weight once signed.
    #[must_use]
    pub fn signed_weight(&self) -> u64 {
        weight::closing_tx(self.tx.output.iter().map(|output| output.script_pubkey.len()))
    }
}

impl Encode for ClosingTx {
    fn encode(&self, out: &mut Vec<u8>) {
        self.funding.encode(out);
        self.kind.encode(out);
        self.tx.encode(out);
    }
}

impl Decode for ClosingTx {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (funding, kind, tx): (FundingOutput, ClosingKind, Transaction) =
            (reader.read()?, reader.read()?, reader.read()?);
        let fits = matches!(tx.input.as_slice(), [input] if *input == kind.input(&funding))
            && tx.lock_time == kind.lock_time()
            && tx.version == Version::TWO;
        if fits {
            Ok(Self { funding, kind, tx })
        } else {
            Err(DecodeError::InvalidValue("closing transaction"))
        }
    }
}

impl ClosingKind {
    fn input(self, funding: &FundingOutput) -> TxIn {
        TxIn {
            previous_output: funding.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: self.sequence(),
            witness: Witness::new(),
        }
    }

    fn lock_time(self) -> LockTime {
        match self {
            Self::Legacy => LockTime::ZERO,
            Self::Simple { lock_time } => LockTime::from_consensus(lock_time),
        }
    }

    const fn sequence(self) -> Sequence {
        match self {
            Self::Legacy => Sequence::MAX,
            Self::Simple { .. } => Sequence::ENABLE_RBF_NO_LOCKTIME,
        }
    }
}

/// The output of one side, if it has one.
fn output(side: &ClosingOutput, value: Amount, dust_limit: Amount) -> Option<TxOut> {
    let script_pubkey = side.script.clone()?;
    if script_pubkey.is_op_return() {
        // BOLT 3: "MUST set the output amount to 0 if the `scriptpubkey` is `OP_RETURN`", which is never dust.
        return Some(TxOut { value: Amount::ZERO, script_pubkey });
    }
    (value >= dust_limit).then_some(TxOut { value, script_pubkey })
}

/// BOLT 3, "Transaction Output Ordering".
fn sorted(mut outputs: Vec<TxOut>) -> Vec<TxOut> {
    outputs.sort_by(|a, b| {
        a.value.cmp(&b.value).then_with(|| a.script_pubkey.as_bytes().cmp(b.script_pubkey.as_bytes()))
    });
    outputs
}
