//! Keys, coins and transactions for the tests of the embedded chain.
#![allow(dead_code, reason = "each test file uses its part")]
pub(crate) mod recorder;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, TapTweak};
use bitcoin::opcodes::all::{
    OP_CHECKMULTISIG, OP_CHECKSIG, OP_CLTV, OP_CSV, OP_DROP, OP_ELSE, OP_ENDIF, OP_IF,
};
use bitcoin::script::Builder;
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, PublicKey, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use lightning_chain_embedded::EmbeddedChain;

/// One coin of 50 BTC, spendable by [`key`]`(1)`.
pub(crate) struct Funds {
    pub(crate) chain: EmbeddedChain,
    pub(crate) coins: Vec<(OutPoint, TxOut)>,
}

pub(crate) fn secp() -> Secp256k1<All> {
    Secp256k1::new()
}

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_slice(&[number; 32]).unwrap()
}

pub(crate) fn public(number: u8) -> PublicKey {
    PublicKey::new(key(number).public_key(&secp()))
}

/// Pays to key `number` by its hash.
pub(crate) fn p2wpkh(number: u8) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&public(number).wpubkey_hash().unwrap())
}

pub(crate) fn p2tr(number: u8) -> ScriptBuf {
    ScriptBuf::new_p2tr(&secp(), key(number).x_only_public_key(&secp()).0, None)
}

/// A chain with `count` mature coins of key 1.
pub(crate) fn funded(count: u32) -> Funds {
    let chain = EmbeddedChain::new();
    chain.mine(count, &p2wpkh(1));
    chain.mine(100, &p2wpkh(9));
    let coins = (1..=count)
        .map(|height| {
            let coinbase = chain.block_at(height).unwrap().txdata[0].clone();
            (OutPoint { txid: coinbase.compute_txid(), vout: 0 }, coinbase.output[0].clone())
        })
        .collect();
    Funds { chain, coins }
}

pub(crate) fn input(outpoint: OutPoint, sequence: Sequence) -> TxIn {
    TxIn { previous_output: outpoint, script_sig: ScriptBuf::new(), sequence, witness: Witness::new() }
}

pub(crate) fn output(sat: u64, script: &ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(sat), script_pubkey: script.clone() }
}

pub(crate) fn unsigned(inputs: Vec<TxIn>, outputs: Vec<TxOut>) -> Transaction {
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: inputs, output: outputs }
}

/// Spends `coin` of key `number` to one output that leaves `fee`.
pub(crate) fn spend(coin: &(OutPoint, TxOut), number: u8, to: &ScriptBuf, fee: u64) -> Transaction {
    let value = coin.1.value.to_sat() - fee;
    let mut tx = unsigned(vec![input(coin.0, Sequence::MAX)], vec![output(value, to)]);
    sign_p2wpkh(&mut tx, 0, &coin.1, number);
    tx
}

/// Output `vout` of `tx` as a coin.
pub(crate) fn coin_of(tx: &Transaction, vout: u32) -> (OutPoint, TxOut) {
    (OutPoint { txid: tx.compute_txid(), vout }, tx.output[vout as usize].clone())
}

pub(crate) fn sign_p2wpkh(tx: &mut Transaction, index: usize, spent: &TxOut, number: u8) {
    let hash = SighashCache::new(&*tx)
        .p2wpkh_signature_hash(index, &spent.script_pubkey, spent.value, EcdsaSighashType::All)
        .unwrap();
    let signature = secp().sign_ecdsa(&Message::from_digest(hash.to_byte_array()), &key(number));
    let signature = bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
    tx.input[index].witness = Witness::p2wpkh(&signature, &key(number).public_key(&secp()));
}

/// A signature with its hash type over a P2WSH input.
pub(crate) fn p2wsh_signature(
    tx: &Transaction,
    index: usize,
    script: &ScriptBuf,
    value: Amount,
    number: u8,
) -> Vec<u8> {
    let hash =
        SighashCache::new(tx).p2wsh_signature_hash(index, script, value, EcdsaSighashType::All).unwrap();
    let signature = secp().sign_ecdsa(&Message::from_digest(hash.to_byte_array()), &key(number));
    bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All }.to_vec()
}

pub(crate) fn sign_p2tr(tx: &mut Transaction, index: usize, spent: &[TxOut], number: u8) {
    let hash = SighashCache::new(&*tx)
        .taproot_key_spend_signature_hash(index, &Prevouts::All(spent), TapSighashType::Default)
        .unwrap();
    let pair = Keypair::from_secret_key(&secp(), &key(number)).tap_tweak(&secp(), None);
    let signature =
        secp().sign_schnorr_no_aux_rand(&Message::from_digest(hash.to_byte_array()), &pair.to_keypair());
    let signature = bitcoin::taproot::Signature { signature, sighash_type: TapSighashType::Default };
    tx.input[index].witness = Witness::p2tr_key_spend(&signature);
}

/// BOLT 3's funding script.
pub(crate) fn multisig(a: u8, b: u8) -> ScriptBuf {
    Builder::new()
        .push_int(2)
        .push_key(&public(a))
        .push_key(&public(b))
        .push_int(2)
        .push_opcode(OP_CHECKMULTISIG)
        .into_script()
}

/// BOLT 3's to_local: a revocation key at once, or a key after `delay` blocks.
pub(crate) fn delayed(revocation: u8, own: u8, delay: i64) -> ScriptBuf {
    Builder::new()
        .push_opcode(OP_IF)
        .push_key(&public(revocation))
        .push_opcode(OP_ELSE)
        .push_int(delay)
        .push_opcode(OP_CSV)
        .push_opcode(OP_DROP)
        .push_key(&public(own))
        .push_opcode(OP_ENDIF)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}

/// A key from `height` on.
pub(crate) fn locked_until(number: u8, height: i64) -> ScriptBuf {
    Builder::new()
        .push_int(height)
        .push_opcode(OP_CLTV)
        .push_opcode(OP_DROP)
        .push_key(&public(number))
        .push_opcode(OP_CHECKSIG)
        .into_script()
}

pub(crate) fn ids(transactions: &[Transaction]) -> Vec<Txid> {
    transactions.iter().map(Transaction::compute_txid).collect()
}
