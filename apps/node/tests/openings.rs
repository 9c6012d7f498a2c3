//! Ways to open a channel, as users go them: several at once, by another wallet, before the first block, asked first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
mod process;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{
    Address, Amount, CompressedPublicKey, Network, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Witness,
};
use lightning_traits::interface::BlockSource as _;
use process::{Chain, Daemon, wait};
use serde_json::Value;

fn funded(name: &'static str, chain: &Chain) -> Daemon {
    let daemon = Daemon::start(name, chain);
    let address = daemon.run(&["newaddr"])["address"].clone();
    chain.mine_to(3, &address);
    chain.mine(100);
    wait("money", 60, || daemon.run(&["balance"])["onchain_confirmed_sat"].as_u64() > Some(0));
    daemon
}

fn node_id(daemon: &Daemon) -> String {
    daemon.run(&["getinfo"])["node_id"].as_str().unwrap().to_owned()
}

fn is_open(daemon: &Daemon) -> bool {
    let channels = daemon.run(&["listchannels"]);
    channels["channels"].as_array().unwrap().iter().any(|row| row["state"] == "open")
}

fn reserved(daemon: &Daemon) -> u64 {
    daemon.run(&["balance"])["onchain_reserved_sat"].as_u64().unwrap()
}

#[test]
fn a16_several_channels_open_by_one_transaction_or_none_does_and_the_coins_are_free_again() {
    let chain = Chain::start();
    let alice = funded("alice", &chain);
    let [bob, carol] = ["bob", "carol"].map(|name| Daemon::start(name, &chain));
    // Carol takes no channel so small.
    carol.configure("[channels]\nmin_sat = 500_000\n");
    let both = format!("{}=100000,{}=200000", bob.address(), carol.address());
    let before = reserved(&alice);
    let (_, said) = alice.command(&["multiopen", &both]).unwrap_err();
    assert!(said.contains("LN0019") && said.contains("too small"), "{said}");
    for daemon in [&alice, &bob, &carol] {
        let open = || {
            let channels = daemon.run(&["listchannels"]);
            channels["channels"].as_array().unwrap().iter().any(|row| row["state"] != "closed")
        };
        wait("no channel", 30, || !open());
    }
    assert_eq!(reserved(&alice), before);

    let both = format!("{}=100000,{}=600000", bob.address(), carol.address());
    let opened = alice.run(&["multiopen", &both, "--announce"]);
    let txid = opened["txid"].as_str().unwrap();
    let channels = opened["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 2);
    for channel in channels {
        assert!(channel["funding_outpoint"].as_str().unwrap().starts_with(txid), "{channel}");
    }
    chain.mine(6);
    for daemon in [&bob, &carol] {
        wait("an open channel", 60, || is_open(daemon));
    }
    // After a kill nothing is promised to anybody.
    alice.kill();
    alice.start_again();
    wait("alice", 60, || alice.try_run(&["getinfo"]).is_some());
    assert_eq!(reserved(&alice), 0);
}

/// A wallet that is no node's.
struct Wallet {
    key: SecretKey,
    coin: (OutPoint, TxOut),
}

impl Wallet {
    fn new(chain: &Chain) -> Self {
        let key = SecretKey::from_slice(&[0x42; 32]).unwrap();
        let address = Address::p2wpkh(&Self::public(&key), Network::Regtest);
        chain.mine_to(1, &Value::from(address.to_string()));
        let client = chain.client();
        let tip = client.tip().unwrap();
        let coinbase = client.block(&tip.hash).unwrap().txdata[0].clone();
        chain.mine(100);
        let outpoint = OutPoint { txid: coinbase.compute_txid(), vout: 0 };
        Self { key, coin: (outpoint, coinbase.output[0].clone()) }
    }

    fn public(key: &SecretKey) -> CompressedPublicKey {
        CompressedPublicKey(key.public_key(&Secp256k1::new()))
    }

    /// Adds its coin, and change.
    fn fund(&self, template: &str) -> Psbt {
        let template: Psbt = template.parse().unwrap();
        let mut unsigned = template.unsigned_tx;
        let spent: Amount = unsigned.output.iter().map(|output| output.value).sum();
        unsigned.input.push(TxIn {
            previous_output: self.coin.0,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        });
        let change = self.coin.1.value - spent - Amount::from_sat(2_000);
        unsigned.output.insert(0, TxOut { value: change, script_pubkey: self.coin.1.script_pubkey.clone() });
        let mut psbt = Psbt::from_unsigned_tx(unsigned).unwrap();
        psbt.inputs[0].witness_utxo = Some(self.coin.1.clone());
        psbt
    }

    fn sign(&self, psbt: &Psbt) -> Psbt {
        let secp = Secp256k1::new();
        let mut cache = SighashCache::new(&psbt.unsigned_tx);
        let (script, value) = (&self.coin.1.script_pubkey, self.coin.1.value);
        let hash = cache.p2wpkh_signature_hash(0, script, value, EcdsaSighashType::All).unwrap();
        let message = Message::from_digest(hash.to_byte_array());
        let signature = bitcoin::ecdsa::Signature::sighash_all(secp.sign_ecdsa(&message, &self.key));
        let mut signed = psbt.clone();
        signed.inputs[0].final_script_witness =
            Some(Witness::p2wpkh(&signature, &self.key.public_key(&secp)));
        signed
    }
}

#[test]
fn another_wallet_funds_one_channel_or_several() {
    let chain = Chain::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Daemon::start(name, &chain));
    for several in [false, true] {
        let wallet = Wallet::new(&chain);
        let psbt = if several {
            let both = format!("{}=100000,{}=200000", bob.address(), carol.address());
            alice.run(&["multiopen", &both, "--psbt"])["psbt"].clone()
        } else {
            let opening = alice.run(&["openchannel", &bob.address(), "300000", "--psbt"]);
            assert!(opening["funding_address"].as_str().unwrap().starts_with("bcrt1q"), "{opening}");
            opening["psbt"].clone()
        };
        let psbt = wallet.fund(psbt.as_str().unwrap());

        // A coin whose signature is part of the transaction's id.
        let mut legacy = psbt.clone();
        legacy.inputs[0].witness_utxo.as_mut().unwrap().script_pubkey =
            ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::all_zeros());
        let (_, said) = alice.command(&["fundpsbt", &legacy.to_string()]).unwrap_err();
        assert!(said.contains("no native segwit"), "{said}");
        let (_, said) = alice.command(&["signedpsbt", &wallet.sign(&psbt).to_string()]).unwrap_err();
        assert!(said.contains("fundpsbt"), "{said}");

        let txid = psbt.unsigned_tx.compute_txid().to_string();
        let ready = alice.run(&["fundpsbt", &psbt.to_string()]);
        assert_eq!(ready["txid"], txid.as_str());
        assert_eq!(ready["channels"].as_array().unwrap().len(), if several { 2 } else { 1 });
        // What is safe stays so over a kill.
        alice.kill();
        alice.start_again();
        let mut other = wallet.sign(&psbt);
        other.unsigned_tx.output[0].value -= Amount::ONE_SAT;
        wait("alice", 60, || alice.try_run(&["getinfo"]).is_some());
        let (_, said) = alice.command(&["signedpsbt", &other.to_string()]).unwrap_err();
        assert!(said.contains("LN0016"), "{said}");
        let unsigned = alice.command(&["signedpsbt", &psbt.to_string()]).unwrap_err().1;
        assert!(unsigned.contains("not signed"), "{unsigned}");
        alice.run(&["signedpsbt", &wallet.sign(&psbt).to_string()]);
        let txid: bitcoin::Txid = txid.parse().unwrap();
        let mut mined: Option<Transaction> = None;
        wait("the funding transaction in a block", 60, || {
            chain.mine(1);
            let client = chain.client();
            let block = client.block(&client.tip().unwrap().hash).unwrap();
            mined = block.txdata.into_iter().find(|transaction| transaction.compute_txid() == txid);
            mined.is_some()
        });
        chain.mine(6);
        wait("an open channel", 60, || is_open(&bob) && (!several || is_open(&carol)));
    }
    // Called off before anything was handed over, and after.
    let opening = alice.run(&["openchannel", &bob.address(), "300000", "--psbt"]);
    alice.run(&["cancelfunding", opening["channel_id"].as_str().unwrap()]);
    let wallet = Wallet::new(&chain);
    let opening = alice.run(&["openchannel", &bob.address(), "300000", "--psbt"]);
    let psbt = wallet.fund(opening["psbt"].as_str().unwrap());
    let ready = alice.run(&["fundpsbt", &psbt.to_string()]);
    alice.run(&["cancelfunding", ready["channels"][0]["channel_id"].as_str().unwrap()]);
    let (_, said) = alice.command(&["signedpsbt", &wallet.sign(&psbt).to_string()]).unwrap_err();
    assert!(said.contains("LN0016") || said.contains("LN0024"), "{said}");
}

#[test]
fn a_peer_that_is_asked_sees_all_and_a_trusted_one_is_paid_before_any_block() {
    let chain = Chain::start();
    let alice = funded("alice", &chain);
    let bob = Daemon::start("bob", &chain);
    alice.configure("[channels]\nzero_conf = true\n");
    bob.configure("[channels]\nask = true\nzero_conf = true\n");
    let address = bob.address();
    let id = node_id(&alice);
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            alice.run(&[
                "openchannel",
                &address,
                "300000",
                "--private",
                "--zero-conf",
                "--zero-reserve",
                "--push",
                "50000",
            ])
        });
        let mut request = Value::Null;
        wait("a proposal", 30, || {
            request = bob.run(&["listrequests"])["requests"][0].clone();
            !request.is_null()
        });
        assert_eq!(
            (request["peer_id"].as_str(), request["capacity_sat"].as_u64()),
            (Some(&*id), Some(300_000))
        );
        assert_eq!((request["zero_conf"].as_bool(), request["reserve_sat"].as_u64()), (Some(true), Some(0)));
        assert_eq!(request["channel_type"].to_string(), "[12,22,46,50]");
        let temporary = request["channel_id"].as_str().unwrap();
        let (_, said) = bob.command(&["acceptchannel", &id, temporary]).unwrap_err();
        assert!(said.contains("--zero-conf"), "{said}");
        bob.run(&["acceptchannel", &id, temporary, "--zero-conf", "--zero-reserve"]);
        opening.join().unwrap()
    });
    wait("an open channel", 30, || is_open(&alice) && is_open(&bob));
    let row = bob.run(&["listchannels"])["channels"][0].clone();
    assert_eq!(
        (row["confirmations"].as_u64(), row["zero_conf"].as_bool(), row["hidden"].as_bool()),
        (Some(0), Some(true), Some(true))
    );
    assert_eq!((row["local_reserve_msat"].as_u64(), row["remote_reserve_msat"].as_u64()), (Some(0), Some(0)));
    let invoice = bob.run(&["invoice", "70000", "before any block"])["invoice"].clone();
    let paid = alice.run(&["pay", invoice.as_str().unwrap()]);
    assert_eq!(paid["state"], "succeeded");
    let back = alice.run(&["invoice", "120000", "all of it"])["invoice"].clone();
    let paid = bob.run(&["pay", back.as_str().unwrap()]);
    assert_eq!(paid["state"], "succeeded", "no reserve is kept: {paid}");

    // Refused, with the reason.
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| alice.command(&["openchannel", &address, "100000"]));
        let mut request = Value::Null;
        wait("a proposal", 30, || {
            request = bob.run(&["listrequests"])["requests"][0].clone();
            !request.is_null()
        });
        bob.run(&["refusechannel", &id, request["channel_id"].as_str().unwrap(), "one is enough"]);
        let (_, said) = opening.join().unwrap().unwrap_err();
        assert!(said.contains("one is enough"), "{said}");
    });
}
