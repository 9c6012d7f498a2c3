//! Client, follower and broadcaster against a real bitcoind.
//!
//! Needs one: see `scripts/has_bitcoind.rs`. Without it each test is reported as ignored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
use std::path::Path;
use std::sync::Mutex;

use bitcoin::absolute::LockTime;
use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, BlockHash, CompressedPublicKey, KnownHrp, Network, OutPoint, ScriptBuf, Sequence,
    Transaction, TxIn, TxOut, Witness,
};
use lightning_chain_bitcoind::{
    Auth, BitcoindBroadcaster, BitcoindClient, BitcoindFees, ChainFollower, Progress, RegtestBitcoind,
};
use lightning_traits::interface::{
    BlockSource, Broadcast, BroadcasterInterface, ChainListener, ConfirmedTransaction, SourceError,
};
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use serde_json::json;

/// Keeps the chain and checks that it is one.
#[derive(Default)]
struct Recorder(Mutex<Vec<(BlockHash, BlockHeight)>>);

impl ChainListener for Recorder {
    fn filtered_block_connected(&self, header: &Header, _: &[ConfirmedTransaction<'_>], height: BlockHeight) {
        let mut chain = self.0.lock().unwrap();
        if let Some((hash, below)) = chain.last() {
            assert_eq!((header.prev_blockhash, height), (*hash, below.plus(1)));
        }
        chain.push((header.block_hash(), height));
    }
    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        assert_eq!(self.0.lock().unwrap().pop(), Some((header.block_hash(), height)));
    }
    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.0.lock().unwrap().last().copied()
    }
}

/// Fields drop in this order: the daemon before its folder.
struct Setup {
    bitcoind: RegtestBitcoind,
    client: BitcoindClient,
    _folder: tempfile::TempDir,
}

fn start() -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let exe = Path::new(env!("BITCOIND_FOUND"));
    let bitcoind = RegtestBitcoind::start(exe, folder.path(), &[]).unwrap();
    Setup { client: bitcoind.client(), bitcoind, _folder: folder }
}

fn key() -> SecretKey {
    SecretKey::from_slice(&[7; 32]).unwrap()
}

fn address() -> Address {
    let key = CompressedPublicKey(key().public_key(&Secp256k1::new()));
    Address::p2wpkh(&key, KnownHrp::Regtest)
}

/// Spends an output of ours to ourselves.
fn spend(coin: OutPoint, value: Amount, fee: u64) -> Transaction {
    let script = address().script_pubkey();
    let mut tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: coin,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: value - Amount::from_sat(fee), script_pubkey: script.clone() }],
    };
    let hash =
        SighashCache::new(&tx).p2wpkh_signature_hash(0, &script, value, EcdsaSighashType::All).unwrap();
    let secp = Secp256k1::new();
    let signature = secp.sign_ecdsa(&Message::from_digest(hash.to_byte_array()), &key());
    let signature = bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
    tx.input[0].witness = Witness::p2wpkh(&signature, &key().public_key(&secp));
    tx
}

fn coinbase(client: &BitcoindClient, height: u32) -> (OutPoint, Amount) {
    let block = client.block(&client.hash_at(height).unwrap().unwrap()).unwrap();
    (OutPoint { txid: block.txdata[0].compute_txid(), vout: 0 }, block.txdata[0].output[0].value)
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn the_client_reads_blocks_headers_outputs_and_fees() {
    let setup = start();
    let client = &setup.client;
    assert_eq!(client.hash_at(1), Ok(None));
    let hashes = client.generate(101, &address()).unwrap();
    let tip = client.tip().unwrap();
    assert_eq!((tip.hash, tip.height, tip.network), (hashes[100], 101, Network::Regtest));
    let block = client.block(&hashes[0]).unwrap();
    let info = client.header(&hashes[0]).unwrap().unwrap();
    assert_eq!((info.header, info.height), (block.header, 1));
    let genesis = client.header(&client.hash_at(0).unwrap().unwrap()).unwrap().unwrap();
    assert_eq!(info.work, genesis.work + block.header.work());
    let (coin, value) = coinbase(client, 1);
    let unspent = client.unspent(&coin).unwrap().unwrap();
    assert_eq!((unspent.output.value, unspent.confirmations, unspent.coinbase), (value, 101, true));
    assert_eq!(client.unspent(&OutPoint { vout: 9, ..coin }), Ok(None));
    let nowhere = BlockHash::all_zeros();
    assert_eq!(client.header(&nowhere), Ok(None));
    assert_eq!(client.block(&nowhere), Err(SourceError::UnknownBlock(nowhere)));
    assert_eq!(client.feerate(6), Ok(None));
    assert!(client.least_feerate().unwrap() >= FeeratePerKw::new(25));
    BitcoindFees::new().refresh(client).unwrap();
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn each_trouble_has_its_sentence() {
    let Setup { mut bitcoind, client, _folder } = start();
    let auth = Auth::Password { user: "x".into(), password: "y".into() };
    let wrong = BitcoindClient::new(&bitcoind.url(), auth, Network::Regtest).tip();
    assert!(matches!(wrong, Err(SourceError::Credentials { .. })));
    let cookie = Auth::Cookie(bitcoind.cookie());
    let main = BitcoindClient::new(&bitcoind.url(), cookie, Network::Bitcoin).tip();
    assert!(matches!(main, Err(SourceError::WrongNetwork { found, .. }) if found == "regtest"));
    let unknown = client.call("nosuchmethod", &json!([]));
    assert!(matches!(unknown, Err(SourceError::Rpc { code: -32601, .. })));
    bitcoind.stop().unwrap();
    // It takes its cookie along.
    assert!(matches!(client.tip(), Err(SourceError::Cookie { .. })));
    std::fs::write(bitcoind.cookie(), "__cookie__:stale").unwrap();
    assert!(matches!(client.tip(), Err(SourceError::Unreachable { .. })));
    bitcoind.restart().unwrap();
    assert!(client.tip().is_ok(), "the new cookie is read");
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn transactions_and_packages_are_broadcast() {
    let setup = start();
    let client = &setup.client;
    client.generate(103, &address()).unwrap();
    let (coin, value) = coinbase(client, 1);
    let tx = spend(coin, value, 10_000);
    let one = |tx: &Transaction| client.broadcast(std::slice::from_ref(tx)).unwrap().remove(0);
    assert_eq!(one(&tx), Broadcast::Accepted);
    assert_eq!(one(&tx), Broadcast::Accepted, "again");
    assert_eq!(client.waiting_spenders(&[OutPoint { vout: 7, ..coin }, coin]), Ok(vec![tx.clone()]));
    assert!(matches!(one(&spend(coin, value, 10_001)), Broadcast::Refused { code: -26, .. }));
    let (coin, value) = coinbase(client, 2);
    assert!(matches!(one(&spend(coin, value, 0)), Broadcast::Refused { code: -26, .. }));
    let parent = spend(coin, value, 10_000);
    let (coin, value) = (OutPoint { txid: parent.compute_txid(), vout: 0 }, parent.output[0].value);
    let child = spend(coin, value, 10_000);
    assert!(matches!(one(&child), Broadcast::Refused { code: -25, .. }));
    assert_eq!(client.broadcast(&[parent, child]), Ok(vec![Broadcast::Accepted; 2]));
    client.generate(1, &address()).unwrap();
    assert_eq!(one(&tx), Broadcast::Confirmed);
    assert_eq!(client.waiting_spenders(&[tx.input[0].previous_output]), Ok(vec![]));
    let unspent = client.unspent(&OutPoint { txid: tx.compute_txid(), vout: 0 }).unwrap().unwrap();
    assert_eq!((unspent.confirmations, unspent.coinbase), (1, false));
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn follower_and_broadcaster_survive_reorganisation_and_restart() {
    let Setup { mut bitcoind, client, _folder } = start();
    let hashes = client.generate(110, &address()).unwrap();
    let listener = Recorder::default();
    listener.0.lock().unwrap().push((client.hash_at(0).unwrap().unwrap(), BlockHeight::new(0)));
    let broadcaster = BitcoindBroadcaster::new(bitcoind.client());
    let mut follower = ChainFollower::new(bitcoind.client(), Network::Regtest);
    follower.poll(&[&listener, &broadcaster]).unwrap();
    assert_eq!(listener.best_block(), Some((hashes[109], BlockHeight::new(110))));

    let (coin, value) = coinbase(&client, 1);
    let tx = spend(coin, value, 10_000);
    broadcaster.broadcast(std::slice::from_ref(&tx));
    client.generate(1, &address()).unwrap();
    follower.poll(&[&listener, &broadcaster]).unwrap();
    assert!(broadcaster.unconfirmed().is_empty());

    // Backwards: waited for. Then another branch with as much work: followed.
    client.call("invalidateblock", &json!([hashes[105].to_string()])).unwrap();
    assert!(matches!(
        follower.poll(&[&listener, &broadcaster]),
        Ok(Progress::SourceBehind { ours: 111, .. })
    ));
    let other = Address::p2wsh(bitcoin::Script::new(), Network::Regtest);
    client.call("generateblock", &json!([other.to_string(), []])).unwrap();
    let fresh = client.generate(6, &other).unwrap();
    follower.poll(&[&listener, &broadcaster]).unwrap();
    assert_eq!(listener.best_block(), Some((fresh[5], BlockHeight::new(112))));
    for (height, (hash, _)) in (0..).zip(listener.0.lock().unwrap().iter()) {
        assert_eq!(client.hash_at(height).unwrap(), Some(*hash));
    }

    bitcoind.stop().unwrap();
    assert!(follower.poll(&[&listener, &broadcaster]).is_err());
    bitcoind.restart().unwrap();
    client.generate(1, &address()).unwrap();
    assert!(
        matches!(follower.poll(&[&listener, &broadcaster]), Ok(Progress::Synced(tip)) if tip.height == 113)
    );
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_pruned_block_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let exe = Path::new(env!("BITCOIND_FOUND"));
    let arguments = ["-prune=1", "-fastprune"];
    let bitcoind = RegtestBitcoind::start(exe, folder.path(), &arguments).unwrap();
    let client = bitcoind.client();
    client.generate(1000, &address()).unwrap();
    client.call("pruneblockchain", &json!([700])).unwrap();
    let early = client.hash_at(5).unwrap().unwrap();
    assert_eq!(client.block(&early), Err(SourceError::Pruned(early)));
}
