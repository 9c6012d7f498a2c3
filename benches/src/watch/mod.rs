//! Very many channels that are only watched: what a block costs, what they hold, and what becomes of them all at once.
//!
//! `ours.rs` our monitors, `ldk.rs` LDK's. One channel is real, with real payments; ours are copies of it under other names, as monitors
//! are values; LDK's are opened one by one.
mod breach;
mod ldk;
mod ours;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, WPubkeyHash,
    Witness,
};

use crate::chain::header;

pub use breach::Cheated;
pub use ldk::LdkWatch;
pub use ours::{Copies, Watch};

/// A full block: so many transactions of two or three inputs, none of which anybody watches.
#[must_use]
pub fn unrelated(transactions: u32) -> Vec<Transaction> {
    let hash = |label: u8, index: u32| sha256::Hash::hash(&[&[label][..], &index.to_be_bytes()].concat());
    let transaction = |index: u32| {
        let input = (0..2 + index % 2).map(|vout| TxIn {
            previous_output: OutPoint {
                txid: Txid::from_byte_array(hash(vout as u8, index).to_byte_array()),
                vout,
            },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::from_slice(&[&[0x30; 71][..], &[2; 33]]),
        });
        let script = |label| ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(hash(label, index).as_byte_array()));
        let output = |label| TxOut { value: Amount::from_sat(100_000), script_pubkey: script(label) };
        Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: input.collect(),
            output: vec![output(10), output(11)],
        }
    };
    (0..transactions).map(transaction).collect()
}

/// The block with these transactions on `parent`.
#[must_use]
pub fn block(parent: BlockHash, time: u32, txdata: Vec<Transaction>) -> Block {
    Block { header: header(parent, time), txdata }
}
