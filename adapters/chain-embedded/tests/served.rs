//! The client of bitcoind against the embedded chain behind its JSON-RPC server: real sockets, real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
mod funds;

use bitcoin::{Address, Amount, BlockHash, Network, OutPoint};
use funds::recorder::Recorder;
use funds::*;
use lightning_chain_bitcoind::{Auth, BitcoindClient, ChainFollower, FollowError, Progress};
use lightning_chain_embedded::{ChainServer, EmbeddedChain, ServeOptions};
use lightning_traits::interface::{BlockSource, Broadcast, SourceError};
use lightning_traits::units::FeeratePerKw;
use serde_json::{Value, json};

const FEE: u64 = 10_000;

struct Served {
    chain: EmbeddedChain,
    server: ChainServer,
    folder: tempfile::TempDir,
}

impl Served {
    fn new(chain: EmbeddedChain) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            cookie_file: Some(folder.path().join(".cookie")),
            password: Some(("alice".into(), "secret".into())),
        };
        let server = ChainServer::start(chain.clone(), options).unwrap();
        Self { chain, server, folder }
    }

    fn url(&self) -> String {
        self.server.address().to_string()
    }

    fn client(&self) -> BitcoindClient {
        let cookie = Auth::Cookie(self.folder.path().join(".cookie"));
        BitcoindClient::new(&self.url(), cookie, Network::Regtest)
    }

    fn with_password(&self, password: &str, network: Network) -> BitcoindClient {
        let auth = Auth::Password { user: "alice".into(), password: password.into() };
        BitcoindClient::new(&self.url(), auth, network)
    }
}

#[test]
fn the_client_sees_the_chain_as_it_is_in_process() {
    let Funds { chain, coins } = funded(2);
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    chain.submit(&tx).unwrap();
    chain.mine(1, &p2wpkh(9));
    let served = Served::new(chain.clone());
    let client = served.client();
    assert_eq!(client.tip(), BlockSource::tip(&chain));
    for height in [0, 1, 102, 103, 104, u32::MAX] {
        assert_eq!(client.hash_at(height), BlockSource::hash_at(&chain, height));
    }
    for height in [0, 1, 103] {
        let hash = chain.hash_at(height).unwrap();
        assert_eq!(client.header(&hash), chain.header(&hash));
        assert_eq!(client.block(&hash), chain.block(&hash));
    }
    for outpoint in [coins[0].0, coins[1].0, coin_of(&tx, 0).0, OutPoint::null()] {
        assert_eq!(client.unspent(&outpoint), chain.unspent(&outpoint));
    }
    assert_eq!(client.unspent(&coin_of(&tx, 0).0).unwrap().unwrap().confirmations, 1);
    let nowhere = <BlockHash as bitcoin::hashes::Hash>::all_zeros();
    assert_eq!(client.header(&nowhere), Ok(None));
    assert_eq!(client.block(&nowhere), Err(SourceError::UnknownBlock(nowhere)));
}

#[test]
fn fees_are_those_of_the_chain() {
    let served = Served::new(EmbeddedChain::new());
    let client = served.client();
    assert_eq!(client.feerate(6), Ok(None));
    assert_eq!(client.least_feerate(), Ok(FeeratePerKw::new(250)));
    served.chain.set_fee_estimate(Some(FeeratePerKw::new(12_345)));
    served.chain.set_min_relay_fee(4000);
    assert_eq!(client.feerate(6), Ok(Some(FeeratePerKw::new(12_345))));
    assert_eq!(client.least_feerate(), Ok(FeeratePerKw::new(1000)));
}

#[test]
fn broadcast_says_what_became_of_each() {
    let Funds { chain, coins } = funded(2);
    let served = Served::new(chain.clone());
    let client = served.client();
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    for source in [&client as &dyn BlockSource, &chain] {
        assert_eq!(source.broadcast(std::slice::from_ref(&tx)), Ok(vec![Broadcast::Accepted]));
    }
    let rival = spend(&coins[0], 1, &p2wpkh(3), FEE);
    let answer = client.broadcast(std::slice::from_ref(&rival)).unwrap();
    assert!(
        matches!(&answer[..], [Broadcast::Refused { code: -26, reason }] if reason.contains("insufficient fee"))
    );
    assert_eq!(chain.broadcast(&[rival]).unwrap(), answer);

    let parent = spend(&coins[1], 1, &p2wpkh(2), FEE);
    let child = spend(&coin_of(&parent, 0), 2, &p2wpkh(3), FEE);
    let orphan = client.broadcast(std::slice::from_ref(&child)).unwrap();
    assert!(matches!(&orphan[..], [Broadcast::Refused { code: -25, .. }]));
    assert_eq!(client.broadcast(&[parent, child]), Ok(vec![Broadcast::Accepted; 2]));
    assert_eq!(chain.mempool().len(), 3);
    chain.mine(1, &p2wpkh(9));
    assert_eq!(client.broadcast(std::slice::from_ref(&tx)), Ok(vec![Broadcast::Confirmed]));
    assert_eq!(chain.broadcast(&[tx]), Ok(vec![Broadcast::Confirmed]));
}

#[test]
fn what_waits_and_spends_an_output_is_found() {
    let Funds { chain, coins } = funded(3);
    let served = Served::new(chain.clone());
    let client = served.client();
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let rival = spend(&coins[0], 1, &p2wpkh(3), 2 * FEE);
    let [asked, other] =
        [tx.input[0].previous_output, spend(&coins[1], 1, &p2wpkh(2), FEE).input[0].previous_output];
    for source in [&client as &dyn BlockSource, &chain] {
        assert_eq!(source.waiting_spenders(&[]), Ok(vec![]));
        assert_eq!(source.waiting_spenders(&[asked, other]), Ok(vec![]));
    }
    for waits in [&tx, &rival] {
        assert_eq!(client.broadcast(std::slice::from_ref(waits)), Ok(vec![Broadcast::Accepted]));
        for source in [&client as &dyn BlockSource, &chain] {
            assert_eq!(source.waiting_spenders(&[other, asked, asked]), Ok(vec![waits.clone()]));
            assert_eq!(source.waiting_spenders(&[other]), Ok(vec![]));
        }
    }
    chain.mine(1, &p2wpkh(9));
    assert_eq!(client.waiting_spenders(&[asked]), Ok(vec![]), "it waits no more");
}

#[test]
fn a_package_that_is_none_is_offered_one_by_one() {
    let Funds { chain, coins } = funded(2);
    let served = Served::new(chain.clone());
    let one = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let two = spend(&coins[1], 1, &p2wpkh(2), 0);
    let answer = served.client().broadcast(&[one, two]).unwrap();
    assert!(matches!(&answer[..], [Broadcast::Accepted, Broadcast::Refused { .. }]));
}

#[test]
fn each_trouble_has_its_sentence() {
    let served = Served::new(EmbeddedChain::new());
    let url = format!("http://{}", served.url());
    assert!(served.with_password("secret", Network::Regtest).tip().is_ok());
    let wrong = served.with_password("guess", Network::Regtest).tip();
    assert_eq!(wrong, Err(SourceError::Credentials { url: url.clone() }));
    let other = served.with_password("secret", Network::Signet).tip();
    assert_eq!(other, Err(SourceError::WrongNetwork { expected: Network::Signet, found: "regtest".into() }));
    let path = served.folder.path().join("nothing");
    let nothing = BitcoindClient::new(&served.url(), Auth::Cookie(path.clone()), Network::Regtest).tip();
    assert!(
        matches!(nothing, Err(SourceError::Cookie { path: named, .. }) if named == path.display().to_string())
    );
    assert!(matches!(
        served.client().call("getwalletinfo", &json!([])),
        Err(SourceError::Rpc { code: -32601, .. })
    ));
    let client = served.with_password("secret", Network::Regtest);
    drop(served);
    assert!(matches!(client.tip(), Err(SourceError::Unreachable { url: named, .. }) if named == url));
}

#[test]
fn a_restarted_server_writes_another_cookie_which_the_client_reads() {
    let served = Served::new(EmbeddedChain::new());
    let cookie = served.folder.path().join(".cookie");
    let before = std::fs::read_to_string(&cookie).unwrap();
    let Served { chain, server, folder } = served;
    server.stop();
    assert!(!cookie.exists());
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cookie_file: Some(cookie.clone()),
        password: None,
    };
    let server = ChainServer::start(chain.clone(), options).unwrap();
    assert_ne!(std::fs::read_to_string(&cookie).unwrap(), before);
    let served = Served { chain, server, folder };
    assert!(served.client().tip().is_ok());
}

#[test]
fn the_methods_around_it_answer_as_bitcoind_does() {
    let Funds { chain, coins } = funded(1);
    let served = Served::new(chain.clone());
    let client = served.client();
    let call = |method: &str, params: Value| client.call(method, &params).unwrap();
    assert_eq!(call("getblockcount", json!([])), json!(101));
    assert_eq!(call("getbestblockhash", json!([])), json!(chain.tip().0.to_string()));
    assert_eq!(call("getnetworkinfo", json!([]))["relayfee"], json!(0.000_01));
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let hex = bitcoin::consensus::encode::serialize_hex(&tx);
    let txid = tx.compute_txid().to_string();
    let verdict = call("testmempoolaccept", json!([[hex]]));
    assert_eq!((&verdict[0]["allowed"], &verdict[0]["fees"]["base"]), (&json!(true), &json!(0.0001)));
    assert_eq!(call("sendrawtransaction", json!([hex])), json!(txid));
    assert_eq!(call("getrawmempool", json!([])), json!([txid]));
    assert_eq!(call("getrawtransaction", json!([txid])), json!(hex));
    assert_eq!(call("gettxout", json!([coins[0].0.txid.to_string(), 0])), Value::Null);
    assert_eq!(call("gettxout", json!([txid, 0]))["confirmations"], json!(0));
    assert_eq!(call("gettxout", json!([txid, 0, false])), Value::Null);
    let address = Address::from_script(&p2wpkh(9), Network::Regtest).unwrap();
    let hashes = client.generate(2, &address).unwrap();
    assert_eq!(chain.tip(), (hashes[1], 103));
    let block = call("getblock", json!([hashes[0].to_string(), 1]));
    assert_eq!((&block["tx"][1], &block["confirmations"]), (&json!(txid), &json!(2)));
    let header = call("getblockheader", json!([hashes[1].to_string(), false]));
    assert_eq!(header.as_str().unwrap().len(), 160);
    let (block, _) = chain.block_by_hash(&hashes[1]).unwrap();
    assert_eq!(client.submit_block(&block.block), Ok(Some("duplicate".into())));
    call("invalidateblock", json!([hashes[1].to_string()]));
    assert_eq!(chain.height(), 102);
    assert_eq!(call("getblockheader", json!([hashes[1].to_string()]))["confirmations"], json!(-1));
    assert_eq!(client.submit_block(&block.block), Ok(None));
    assert_eq!(chain.height(), 103);
    assert_eq!(call("waitfornewblock", json!([20]))["height"], json!(103));
}

#[test]
fn the_follower_goes_through_reorganisations_over_the_wire() {
    let Funds { chain, coins } = funded(1);
    let served = Served::new(chain.clone());
    let mut follower = ChainFollower::new(served.client(), Network::Regtest);
    let genesis = chain.hash_at(0).unwrap();
    let early = Recorder::at(genesis, 0);
    let fresh = Recorder::default();
    let tip = follower.source().tip().unwrap();
    assert_eq!(follower.poll(&[&early, &fresh]), Ok(Progress::Synced(tip)));
    assert_eq!((early.hashes().len(), fresh.hashes()), (102, vec![chain.tip().0]));
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    chain.submit(&tx).unwrap();
    chain.mine(3, &p2wpkh(9));
    follower.poll(&[&early, &fresh]).unwrap();
    assert!(early.saw(tx.compute_txid()) && fresh.saw(tx.compute_txid()));
    chain.reorg_empty(4, &p2wpkh(9));
    follower.poll(&[&early, &fresh]).unwrap();
    assert_eq!((early.disconnected(), fresh.disconnected()), (4, 4));
    let best: Vec<BlockHash> = (0..=chain.height()).map(|height| chain.hash_at(height).unwrap()).collect();
    assert_eq!(early.hashes(), best);
    assert_eq!(chain.utxo(&coins[0].0).unwrap().output.value, Amount::from_sat(50_0000_0000));
}

#[test]
fn another_chain_is_refused_before_anyone_hears_of_it() {
    let served = Served::new(EmbeddedChain::new());
    let mut follower = ChainFollower::new(served.client(), Network::Signet);
    let listener = Recorder::default();
    assert!(matches!(follower.poll(&[&listener]), Err(FollowError::WrongChain { .. })));
    assert!(listener.hashes().is_empty());
}

#[test]
fn a_stranger_gets_nothing() {
    use std::io::{Read, Write};
    let served = Served::new(EmbeddedChain::new());
    let ask = |request: &str| {
        let mut stream = std::net::TcpStream::connect(served.server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(ask("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(ask("POST / HTTP/1.1\r\n\r\n"), "HTTP/1.1 411 Length Required");
    assert_eq!(
        ask("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"),
        "HTTP/1.1 413 Content Too Large"
    );
    assert_eq!(ask("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"), "HTTP/1.1 401 Unauthorized");
    let right = "Basic YWxpY2U6c2VjcmV0";
    let request = format!("POST / HTTP/1.1\r\nauthorization: {right}\r\ncontent-length: 1\r\n\r\n{{");
    assert_eq!(ask(&request), "HTTP/1.1 500 Internal Server Error");
}
