//! The funding output: the 2-of-2 that every commitment and closing transaction spends (BOLT 3).
//!
//! # Invariants
//! - the two keys are kept in the order of the script, so both sides hold equal values
use alloc::vec::Vec;

use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut};
use secp256k1::PublicKey;

use super::script;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::id::CommitmentNumber;

/// The output that a channel lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FundingOutput {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it holds: the channel's capacity.
    pub value: Amount,
    /// Both `funding_pubkey`s, lesser first.
    keys: [PublicKey; 2],
}

impl FundingOutput {
    /// The output of `value` at `outpoint` that both sides' keys open together; the keys in any order.
    #[must_use]
    pub fn new(outpoint: OutPoint, value: Amount, one: PublicKey, other: PublicKey) -> Self {
        // BOLT 3: "`pubkey1` is the lexicographically lesser of the two `funding_pubkey` in compressed format".
        let keys = if one.serialize() <= other.serialize() { [one, other] } else { [other, one] };
        Self { outpoint, value, keys }
    }

    /// Both keys in the order of the script.
    #[must_use]
    pub const fn keys(&self) -> &[PublicKey; 2] {
        &self.keys
    }

    /// The key that is not `key`.
    #[must_use]
    pub fn other_key(&self, key: &PublicKey) -> PublicKey {
        let [first, second] = self.keys;
        if first == *key { second } else { first }
    }

    /// The witness script.
    #[must_use]
    pub fn script(&self) -> ScriptBuf {
        let [first, second] = &self.keys;
        script::funding(first, second)
    }

    /// The output as its transaction has it.
    #[must_use]
    pub fn txout(&self) -> TxOut {
        TxOut { value: self.value, script_pubkey: self.script().to_p2wsh() }
    }
}

impl Encode for FundingOutput {
    fn encode(&self, out: &mut Vec<u8>) {
        let [first, second] = &self.keys;
        self.outpoint.encode(out);
        self.value.encode(out);
        first.encode(out);
        second.encode(out);
    }
}

impl Decode for FundingOutput {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (outpoint, value) = (reader.read()?, reader.read()?);
        let keys = [reader.read()?, reader.read()?];
        let [first, second] = keys;
        let output = Self::new(outpoint, value, first, second);
        if output.keys == keys { Ok(output) } else { Err(DecodeError::InvalidValue("order of funding keys")) }
    }
}

/// What commitment numbers are XORed with, so that only the two sides can read them off a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObscureFactor(u64);

impl ObscureFactor {
    /// The lower 48 bits of `SHA256(payment_basepoint of the opener || payment_basepoint of the accepter)`.
    #[must_use]
    pub fn new(opener_payment_basepoint: &PublicKey, accepter_payment_basepoint: &PublicKey) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(&opener_payment_basepoint.serialize());
        engine.input(&accepter_payment_basepoint.serialize());
        let [.., a, b, c, d, e, f] = sha256::Hash::from_engine(engine).to_byte_array();
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The number as the transaction shows it: 48 bits.
    #[must_use]
    pub const fn obscure(self, number: CommitmentNumber) -> u64 {
        (self.0 ^ number.0) & CommitmentNumber::LAST.0
    }

    /// The number behind what a transaction shows.
    #[must_use]
    pub const fn reveal(self, obscured: u64) -> CommitmentNumber {
        CommitmentNumber((self.0 ^ obscured) & CommitmentNumber::LAST.0)
    }
}

impl Encode for ObscureFactor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for ObscureFactor {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read::<u64>()? {
            factor if factor <= CommitmentNumber::LAST.0 => Ok(Self(factor)),
            _ => Err(DecodeError::InvalidValue("obscure factor")),
        }
    }
}
