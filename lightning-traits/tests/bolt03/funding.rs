//! Appendices B and G: the funding output.
use bitcoin::{Amount, OutPoint, Transaction};
use lightning_traits::tx::FundingOutput;

use super::vectors::{bytes, key, load, number};

#[test]
fn appendix_b_script_and_output() {
    let Some(vectors) = load("bolt03/appendix-b-funding.json") else { return };
    let (local, remote) = (key(&vectors["local_funding_pubkey"]), key(&vectors["remote_funding_pubkey"]));
    let tx: Transaction = bitcoin::consensus::deserialize(&bytes(&vectors["funding_tx"])).unwrap();
    assert_eq!(tx.compute_txid().to_string(), vectors["funding_txid"].as_str().unwrap());
    let outpoint = OutPoint { txid: tx.compute_txid(), vout: number(&vectors["funding_output"]) as u32 };
    let value = Amount::from_sat(number(&vectors["funding_satoshis"]));
    let funding = FundingOutput::new(outpoint, value, local, remote);
    assert_eq!(funding, FundingOutput::new(outpoint, value, remote, local));
    assert_eq!(funding.script().to_bytes(), bytes(&vectors["funding_witness_script"]));
    assert_eq!(tx.output[outpoint.vout as usize], funding.txout());
    assert_eq!(funding.other_key(&local), remote);
    assert_eq!(funding.other_key(&remote), local);
}

#[test]
fn appendix_g_script_and_output() {
    let Some(vectors) = load("bolt03/appendix-g-dual-funding.json") else { return };
    let stated = &vectors["outputs"]["funding"];
    let tx: Transaction = bitcoin::consensus::deserialize(&bytes(&vectors["unsigned_funding_tx"])).unwrap();
    let sum = number(&vectors["opener_funding_satoshis"]) + number(&vectors["accepter_funding_satoshis"]);
    let (one, other) = (key(&stated["pubkey2"]), key(&stated["pubkey1"]));
    let funding = FundingOutput::new(OutPoint::null(), Amount::from_sat(sum), one, other);
    assert_eq!(funding.script().to_bytes(), bytes(&stated["script"]));
    assert_eq!(funding.txout().script_pubkey.to_bytes(), bytes(&stated["script_pubkey"]));
    assert_eq!(tx.output.iter().filter(|output| **output == funding.txout()).count(), 1);
}
