//! Transactions of outside wallets (BIP 174), read and checked.
//!
//! # Invariants
//! - only outputs of witness programs are spent: any other signature changes the transaction's id, and with it the channel that
//!   the peer has signed for (RELIABILITY A17)
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Psbt, Transaction};

use crate::error::ApiError;

type Answer<T> = Result<T, ApiError>;

/// In base64, as wallets exchange it.
#[must_use]
pub fn encode(psbt: &Psbt) -> String {
    psbt.to_string()
}

/// Reads base64.
///
/// # Errors
/// `BadRequest`: it is none, or nothing pays for it.
pub fn decode(text: &str) -> Answer<Psbt> {
    text.trim().parse().map_err(|error| ApiError::bad(format!("this is no PSBT in base64: {error}")))
}

/// Checks that signing the inputs does not change the transaction's id.
///
/// # Errors
/// `BadRequest`, naming the input.
pub fn check_inputs(psbt: &Psbt) -> Answer<()> {
    if psbt.inputs.is_empty() {
        return Err(ApiError::bad("the PSBT has no inputs").hint("let the wallet add coins, and change"));
    }
    for (index, (input, spent)) in psbt.inputs.iter().zip(&psbt.unsigned_tx.input).enumerate() {
        let of_transaction = input.non_witness_utxo.as_ref().map(|transaction| {
            if transaction.compute_txid() != spent.previous_output.txid {
                return Err(ApiError::bad(format!(
                    "input {index}: another transaction than it spends is attached"
                )));
            }
            let vout = usize::try_from(spent.previous_output.vout).ok();
            let output = vout.and_then(|vout| transaction.output.get(vout));
            output.ok_or_else(|| ApiError::bad(format!("input {index} spends an output that is not there")))
        });
        let output = match (of_transaction, &input.witness_utxo) {
            (Some(output), _) => output?,
            (None, Some(output)) => output,
            (None, None) => {
                let message = format!("input {index}: the PSBT does not say what it spends");
                return Err(ApiError::bad(message).hint("the wallet must fill in witness_utxo"));
            }
        };
        if !output.script_pubkey.is_witness_program() {
            let message =
                format!("input {index} spends no native segwit output: signing it would change the txid");
            return Err(
                ApiError::bad(message).hint("use coins of addresses that begin with bc1, tb1 or bcrt1")
            );
        }
    }
    Ok(())
}

/// Reads a signed transaction: a finalized PSBT, or the transaction itself in hexadecimal.
///
/// # Errors
/// `BadRequest`.
pub fn decode_signed(text: &str) -> Answer<Transaction> {
    let text = text.trim();
    if let Ok(transaction) = deserialize_hex::<Transaction>(text) {
        return Ok(transaction);
    }
    let psbt = decode(text)?;
    // The fee is between the user and its wallet.
    Ok(psbt.extract_tx_unchecked_fee_rate())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use bitcoin::hashes::Hash as _;
    use bitcoin::{
        Amount, OutPoint, PubkeyHash, ScriptBuf, ScriptHash, Sequence, TxIn, TxOut, WPubkeyHash, WScriptHash,
        Witness, absolute, transaction,
    };

    use super::*;

    fn spending(script_pubkey: ScriptBuf, whole: bool) -> Psbt {
        let funding = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![],
            output: vec![TxOut { value: Amount::from_sat(50_000), script_pubkey }],
        };
        let spent = TxIn {
            previous_output: OutPoint { txid: funding.compute_txid(), vout: 0 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let unsigned = Transaction { input: vec![spent], ..funding.clone() };
        let mut psbt = Psbt::from_unsigned_tx(unsigned).unwrap();
        if whole {
            psbt.inputs[0].non_witness_utxo = Some(funding);
        } else {
            psbt.inputs[0].witness_utxo = funding.output.first().cloned();
        }
        psbt
    }

    #[test]
    fn a17_only_native_segwit_inputs_are_taken_whatever_way_they_are_described() {
        let taproot = ScriptBuf::from_bytes([vec![0x51, 32], vec![7; 32]].concat());
        let good = [
            ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros()),
            ScriptBuf::new_p2wsh(&WScriptHash::all_zeros()),
            taproot,
        ];
        let bad = [
            ScriptBuf::new_p2pkh(&PubkeyHash::all_zeros()),
            // Nested segwit: its script signature is part of the id.
            ScriptBuf::new_p2sh(&ScriptHash::all_zeros()),
            ScriptBuf::from_bytes(vec![0x51]),
        ];
        for whole in [true, false] {
            for script in &good {
                assert!(check_inputs(&spending(script.clone(), whole)).is_ok(), "{script}");
            }
            for script in &bad {
                assert!(check_inputs(&spending(script.clone(), whole)).is_err(), "{script}");
            }
        }
    }

    #[test]
    fn a17_what_an_input_spends_must_be_said_and_true() {
        let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros());
        let mut silent = spending(script.clone(), false);
        silent.inputs[0].witness_utxo = None;
        assert!(check_inputs(&silent).is_err());
        let mut lying = spending(script.clone(), true);
        lying.inputs[0].non_witness_utxo.as_mut().unwrap().output[0].value = Amount::ONE_SAT;
        assert!(check_inputs(&lying).is_err(), "another transaction");
        let mut beyond = spending(script.clone(), true);
        beyond.unsigned_tx.input[0].previous_output.vout = 1;
        assert!(check_inputs(&beyond).is_err());
        let mut empty = spending(script, false);
        empty.unsigned_tx.input.clear();
        empty.inputs.clear();
        assert!(check_inputs(&empty).is_err());
    }

    #[test]
    fn texts_of_wallets_are_read_and_others_refused() {
        let psbt = spending(ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros()), false);
        assert_eq!(decode(&format!(" {}\n", encode(&psbt))).unwrap(), psbt);
        let hex = bitcoin::consensus::encode::serialize_hex(&psbt.unsigned_tx);
        for signed in [encode(&psbt), hex] {
            assert_eq!(decode_signed(&signed).unwrap().compute_txid(), psbt.unsigned_tx.compute_txid());
        }
        for wrong in ["", "cHNidP8", "00", "a psbt"] {
            assert!(decode(wrong).is_err() && decode_signed(wrong).is_err(), "{wrong}");
        }
    }
}
