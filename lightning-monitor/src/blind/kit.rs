//! What is signed against one revoked commitment, and what is claimed with it.
//!
//! A kit has the keys that the commitment's scripts are made of and one signature for each output, but nothing that the
//! commitment itself shows: values and places are read there. The value that a claim pays follows from the output's by a rule
//! ([`left_of`]), so both sides compute it.
//!
//! # Invariants
//! - a claim is made only of a signature that is valid for an output that is there: what is broadcast can confirm
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::ecdsa::Signature as BitcoinSignature;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_traits::Secp;
use lightning_traits::codec::{DecodeError, Reader};
use lightning_traits::id::HtlcId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::record;
use lightning_traits::tx::script::{HtlcScripts, countersigner_csv, countersigner_output, delayed};
use lightning_traits::tx::signature::p2wsh_sighash;
use lightning_traits::tx::weight::{OUTPUT_BYTES, SEGWIT_BYTES, TRANSACTION_BYTES};
use lightning_traits::tx::{CommitmentFormat, CommitmentKeys, HtlcSpec, Spend, TxSide};
use lightning_traits::units::{CltvExpiry, CsvDelay, FeeratePerKw, Msat};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

/// What is left for the fee at least, 20 sat/vB, so that a keeper needs coins of its own only when the chain is dearer.
pub const BASE_RATE: FeeratePerKw = FeeratePerKw::new(5_000);

/// Covers its own input and the output beside it; others may add inputs and outputs behind.
pub(super) const SIGHASH: EcdsaSighashType = EcdsaSighashType::SinglePlusAnyoneCanPay;

/// An output of the commitment, and the signature of its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) vout: u32,
    pub(super) signature: Signature,
}
record!(struct Signed { vout, signature });

/// An HTLC of the commitment: where it is, and what its script is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HtlcTerms {
    pub(super) vout: u16,
    pub(super) offered_by: TxSide,
    pub(super) expiry: CltvExpiry,
    pub(super) payment_hash: PaymentHash,
}
record!(struct HtlcTerms { vout, offered_by, expiry, payment_hash });

/// An HTLC of the commitment, and the signatures of its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HtlcStake {
    pub(super) terms: HtlcTerms,
    pub(super) signature: Signature,
    /// Of the claim of what its second stage pays, where the id of that is known beforehand.
    pub(super) second: Option<Signature>,
}
record!(struct HtlcStake { terms, signature, second });

/// Everything against one revoked commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    pub(super) format: CommitmentFormat,
    pub(super) delay: CsvDelay,
    pub(super) keys: CommitmentKeys,
    /// Where every claim pays.
    pub(super) destination: ScriptBuf,
    /// What is left for the fee of each claim.
    pub(super) rate: FeeratePerKw,
    /// The cheater's balance.
    pub(super) theirs: Option<Signed>,
    /// The client's own.
    pub(super) ours: Option<Signed>,
    pub(super) htlcs: Vec<HtlcStake>,
}
record!(struct Kit { format, delay, keys, destination, rate, theirs, ours, htlcs list });

/// One output, and the signature that takes it to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The output.
    pub outpoint: OutPoint,
    /// What it holds.
    pub value: Amount,
    /// What the signature says is paid, beside the input.
    pub pays: TxOut,
    /// How it is spent.
    pub spend: Spend,
    /// Upper bound of the weight of the claim alone.
    pub weight: u64,
    sequence: Sequence,
    witness: Vec<Vec<u8>>,
}

impl lightning_traits::codec::Encode for Claim {
    fn encode(&self, out: &mut Vec<u8>) {
        self.outpoint.encode(out);
        self.value.encode(out);
        self.pays.value.encode(out);
        self.pays.script_pubkey.encode(out);
        self.spend.encode(out);
        self.weight.encode(out);
        self.sequence.0.encode(out);
        lightning_traits::codec::encode_list(&self.witness, out);
    }
}

impl lightning_traits::codec::Decode for Claim {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            outpoint: reader.read()?,
            value: reader.read()?,
            pays: TxOut { value: reader.read()?, script_pubkey: reader.read()? },
            spend: reader.read()?,
            weight: reader.read()?,
            sequence: Sequence(reader.read()?),
            witness: lightning_traits::codec::decode_list(reader)?,
        })
    }
}

/// What a claim of `weight` pays out of `value`: all but `rate`, and half of it at least; `None` when that is no output.
#[must_use]
pub fn left_of(value: Amount, weight: u64, rate: FeeratePerKw, destination: &ScriptBuf) -> Option<Amount> {
    let fee = rate.fee(weight).min(value / 2);
    value.checked_sub(fee).filter(|left| *left >= destination.minimal_non_dust())
}

/// What stands behind a signature.
pub(super) struct Spent {
    pub(super) outpoint: OutPoint,
    pub(super) output: TxOut,
    pub(super) script: ScriptBuf,
    pub(super) spend: Spend,
}

impl Kit {
    /// The claim's transaction without witness; `None` when the output is not worth it.
    pub(super) fn unsigned(&self, spent: &Spent) -> Option<(Transaction, u64)> {
        let weight = self.weight_of(spent.spend);
        let value = left_of(spent.output.value, weight, self.rate, &self.destination)?;
        let input = TxIn {
            previous_output: spent.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: spent.spend.sequence(self.format, self.delay),
            witness: Witness::new(),
        };
        let output = TxOut { value, script_pubkey: self.destination.clone() };
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: alloc::vec![input],
            output: alloc::vec![output],
        };
        Some((transaction, weight))
    }

    fn weight_of(&self, spend: Spend) -> u64 {
        (TRANSACTION_BYTES + OUTPUT_BYTES)
            .saturating_add(self.destination.len() as u64)
            .saturating_mul(4)
            .saturating_add(SEGWIT_BYTES)
            .saturating_add(spend.input_weight(self.format))
    }

    /// The cheater's balance, or the output of a second stage, as it is in `transaction`.
    pub(super) fn delayed_in(&self, transaction: &Transaction, vout: u32) -> Option<Spent> {
        let script = delayed(&self.keys.revocation_key, self.delay, &self.keys.broadcaster_delayed_key);
        let spent = self.output_of(transaction, vout, script, Spend::RevokedDelayed)?;
        (spent.output.script_pubkey == spent.script.to_p2wsh()).then_some(spent)
    }

    /// The client's own balance.
    pub(super) fn ours_in(&self, transaction: &Transaction, vout: u32) -> Option<Spent> {
        let key = self.keys.countersigner_payment_key;
        let expected = countersigner_output(self.format, &key);
        // BIP 143: the script code of P2WPKH.
        let script = expected.p2wpkh_script_code().unwrap_or_else(|| countersigner_csv(&key));
        let spent = self.output_of(transaction, vout, script, Spend::CountersignerBalance)?;
        (spent.output.script_pubkey == expected).then_some(spent)
    }

    /// An HTLC's output.
    pub(super) fn htlc_in(&self, transaction: &Transaction, stake: &HtlcTerms) -> Option<Spent> {
        let spend = match stake.offered_by {
            TxSide::Broadcaster => Spend::RevokedOffered,
            TxSide::Countersigner => Spend::RevokedReceived,
        };
        // Neither id nor amount is in a script.
        let htlc = HtlcSpec {
            offered_by: stake.offered_by,
            id: HtlcId(0),
            amount: Msat::new(0),
            payment_hash: stake.payment_hash,
            expiry: stake.expiry,
        };
        let script = HtlcScripts::new(self.format, &self.keys)?.script(&htlc);
        let spent = self.output_of(transaction, u32::from(stake.vout), script, spend)?;
        (spent.output.script_pubkey == spent.script.to_p2wsh()).then_some(spent)
    }

    fn output_of(
        &self,
        transaction: &Transaction,
        vout: u32,
        script: ScriptBuf,
        spend: Spend,
    ) -> Option<Spent> {
        let output = transaction.output.get(usize::try_from(vout).ok()?)?.clone();
        let outpoint = OutPoint { txid: transaction.compute_txid(), vout };
        Some(Spent { outpoint, output, script, spend })
    }

    /// Every claim that the kit has against `commitment` and whose signature is good.
    #[must_use]
    pub fn claims(&self, secp: &Secp, commitment: &Transaction) -> Vec<Claim> {
        let theirs = self.theirs.and_then(|signed| {
            let spent = self.delayed_in(commitment, signed.vout)?;
            self.claim(secp, spent, &signed.signature)
        });
        let ours = self.ours.and_then(|signed| {
            let spent = self.ours_in(commitment, signed.vout)?;
            self.claim(secp, spent, &signed.signature)
        });
        let htlcs = self.htlcs.iter().filter_map(|stake| {
            let spent = self.htlc_in(commitment, &stake.terms)?;
            self.claim(secp, spent, &stake.signature)
        });
        theirs.into_iter().chain(ours).chain(htlcs).collect()
    }

    /// The claim of what `transaction` pays, which spends the commitment's output `vout`, an HTLC; `None` when it is none, and when
    /// its id was not known when the kit was made.
    #[must_use]
    pub fn second_stage(&self, secp: &Secp, vout: u32, transaction: &Transaction) -> Option<Claim> {
        let stake = self.htlcs.iter().find(|stake| u32::from(stake.terms.vout) == vout)?;
        let spent = self.delayed_in(transaction, 0)?;
        self.claim(secp, spent, &stake.second?)
    }

    fn claim(&self, secp: &Secp, spent: Spent, signature: &Signature) -> Option<Claim> {
        let (transaction, weight) = self.unsigned(&spent)?;
        let digest = p2wsh_sighash(&transaction, 0, &spent.script, spent.output.value, SIGHASH).ok()?;
        let (key, payment) = (&self.keys.revocation_key, &self.keys.countersigner_payment_key);
        let signer = if spent.spend == Spend::CountersignerBalance { payment } else { key };
        secp.verify_ecdsa(&digest, signature, signer).ok()?;
        let mut witness =
            alloc::vec![BitcoinSignature { signature: *signature, sighash_type: SIGHASH }.to_vec()];
        let script = spent.script.into_bytes();
        let key_bytes = |key: &PublicKey| key.serialize().to_vec();
        match spent.spend {
            Spend::RevokedDelayed => witness.extend([alloc::vec![1], script]),
            Spend::CountersignerBalance if self.format.rules().one_block_csv => witness.push(script),
            Spend::CountersignerBalance => witness.push(key_bytes(payment)),
            _ => witness.extend([key_bytes(key), script]),
        }
        let (input, pays) = (transaction.input.first()?, transaction.output.first()?.clone());
        Some(Claim {
            outpoint: spent.outpoint,
            value: spent.output.value,
            pays,
            spend: spent.spend,
            weight,
            sequence: input.sequence,
            witness,
        })
    }
}

impl Claim {
    /// The claim with nothing but its own output to pay its fee.
    #[must_use]
    pub fn alone(&self) -> Transaction {
        let input = TxIn {
            previous_output: self.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: self.sequence,
            witness: Witness::from_slice(&self.witness),
        };
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: alloc::vec![input],
            output: alloc::vec![self.pays.clone()],
        }
    }

    /// What is left for the fee.
    #[must_use]
    pub fn allowance(&self) -> Amount {
        self.value.checked_sub(self.pays.value).unwrap_or(Amount::ZERO)
    }
}
