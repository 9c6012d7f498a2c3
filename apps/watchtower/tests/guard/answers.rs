//! What a bitcoind may say to a broadcast, and what may stand between: two hundred answers, after each of which the claim goes on.
use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bitcoin::Network;
use lightning_chain_bitcoind::{Auth, BitcoindClient};
use lightning_chain_embedded::{ChainServer, EmbeddedChain, ServeOptions};
use lightning_traits::interface::BlockSource as _;
use lightning_traits::tx::CommitmentFormat;
use lightning_watchtower::clients::Mode;

use crate::justice::guarded;
use crate::pair::anyone;
use crate::world::{Flaky, World};

/// What Bitcoin Core and others say when they do not take a transaction, and what they have said in other versions.
const REASONS: [&str; 44] = [
    "min relay fee not met, 100 < 300",
    "mempool min fee not met, 999 < 1000",
    "insufficient fee, rejecting replacement; new feerate 0.00001000 BTC/kvB <= old feerate 0.00002000 BTC/kvB",
    "insufficient fee (including sibling eviction)",
    "too many potential replacements, rejecting replacement; too many conflicts",
    "replacement-adds-unconfirmed",
    "bad-txns-spends-conflicting-tx",
    "txn-mempool-conflict",
    "txn-already-in-mempool",
    "txn-already-known",
    "txn-same-nonwitness-data-in-mempool",
    "bad-txns-inputs-missingorspent",
    "missing-inputs",
    "Missing inputs",
    "Transaction outputs already in utxo set",
    "Transaction already in block chain",
    "transaction already in block chain",
    "non-final",
    "non-BIP68-final",
    "premature-version2-tx",
    "too-long-mempool-chain, too many descendants for tx",
    "too-long-mempool-chain, exceeds ancestor size limit",
    "mempool full",
    "max-fee-exceeded",
    "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
    "absurdly-high-fee",
    "dust",
    "scriptpubkey",
    "scriptsig-not-pushonly",
    "bad-witness-nonstandard",
    "tx-size",
    "tx-size-small",
    "version",
    "TRUC-violation",
    "v3-rule-violation",
    "mandatory-script-verify-flag-failed (Signature must be zero for failed CHECK(MULTI)SIG operation)",
    "non-mandatory-script-verify-flag (Witness program hash mismatch)",
    "TX decode failed. Make sure the tx has at least one input.",
    "Loading block index...",
    "Verifying blocks...",
    "Work queue depth exceeded",
    "Peer-to-peer functionality missing or disabled",
    "Method not found",
    "Rescanning...",
];
const CODES: [i64; 16] =
    [-25, -26, -27, -1, -8, -22, -28, -32_601, -32_603, -7, -10, -31, 0, 1, i64::MIN, i64::MAX];

/// One answer to a broadcast: a status line and a body.
type Said = (&'static str, Vec<u8>);

fn answers() -> Vec<Said> {
    let error = |code: i64, message: &str| {
        let body =
            serde_json::json!({ "result": null, "error": { "code": code, "message": message }, "id": 0 });
        ("500 Internal Server Error", body.to_string().into_bytes())
    };
    let mut answers: Vec<Said> = Vec::new();
    for (index, reason) in REASONS.iter().enumerate() {
        // Each with the code that it comes with as a rule, and with three that it does not.
        answers.extend((0..4).map(|turn| error(CODES[(index + turn * 5) % CODES.len()], reason)));
    }
    let long = "x".repeat(100_000);
    for message in ["", " ", "\0", "null", "\u{202e}\u{1f4a5}", "0", "\n\n\n", long.as_str()] {
        answers.push(error(-26, message));
    }
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "42",
        "\"already confirmed\"",
        "{\"result\":null,\"error\":\"already in block chain\",\"id\":0}",
        "{\"result\":null,\"error\":{},\"id\":0}",
        "{\"result\":null,\"error\":{\"code\":\"-27\",\"message\":7},\"id\":0}",
        "{\"result\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"error\":null,\"id\":0}",
        "{\"result\":{\"txid\":1},\"error\":null,\"id\":0}",
        "{\"result\":",
        "<html><body><h1>502 Bad Gateway</h1></body></html>",
    ] {
        answers.push(("200 OK", body.as_bytes().to_vec()));
    }
    for status in [
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "404 Not Found",
        "418 I am a teapot",
    ] {
        answers.push((status, b"gone".to_vec()));
    }
    answers.push(("200 OK", vec![0xff; 300]));
    answers
}

/// Stands before the chain's RPC, and answers broadcasts itself as long as it has something to say.
struct Proxy {
    address: SocketAddr,
    left: Arc<Mutex<VecDeque<Said>>>,
    said: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl Proxy {
    fn start(server: SocketAddr, answers: Vec<Said>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(Mutex::new(VecDeque::from(answers)));
        let said = Arc::new(Mutex::new(BTreeSet::new()));
        let (of_thread, to_note) = (Arc::clone(&left), Arc::clone(&said));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), left, said) = (stream, Arc::clone(&of_thread), Arc::clone(&to_note)) else {
                    return;
                };
                // A client that hangs up in the middle is the client's affair.
                thread::spawn(move || serve(stream, server, &left, &said).ok());
            }
        });
        Self { address, left, said }
    }
}

fn serve(
    mut stream: TcpStream,
    server: SocketAddr,
    left: &Mutex<VecDeque<Said>>,
    said: &Mutex<BTreeSet<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if lower.starts_with("connection:") {
            continue;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let text = String::from_utf8_lossy(&body);
    let is_broadcast = text.contains("sendrawtransaction") || text.contains("submitpackage");
    let answer = if is_broadcast { left.lock().unwrap().pop_front() } else { None };
    if let Some((status, answer)) = answer {
        said.lock().unwrap().insert([status.as_bytes(), &answer].concat());
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len())?;
        return stream.write_all(&answer);
    }
    let mut onward = TcpStream::connect(server)?;
    write!(onward, "{head}Connection: close\r\n\r\n")?;
    onward.write_all(&body)?;
    let mut answer = Vec::new();
    onward.read_to_end(&mut answer)?;
    stream.write_all(&answer)
}

#[test]
fn d16_l07_after_any_of_two_hundred_answers_a_claim_is_offered_again_and_confirms() {
    for mode in [Mode::Justice, Mode::Blind] {
        let chain = EmbeddedChain::new();
        chain.mine(130, &anyone().to_p2wsh());
        let options = ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            cookie_file: None,
            password: Some(("user".into(), "secret".into())),
        };
        let server = ChainServer::start(chain.clone(), options).unwrap();
        let proxy = Proxy::start(server.address(), Vec::new());
        let auth = Auth::Password { user: "user".into(), password: "secret".into() };
        let wire = Arc::new(BitcoindClient::new(&proxy.address.to_string(), auth, Network::Regtest));
        wire.tip().expect("the way to the chain is open");
        let source = Flaky { chain: chain.clone(), wire: Some(wire), faults: Arc::default() };
        let world = World::of(source, mode);
        let (breach, stake) = if mode == Mode::Blind {
            let client = crate::blind::guarded(&world, 1, CommitmentFormat::AnchorsZeroFeeHtlc);
            (client.breach(1), client.stake(1))
        } else {
            let pair = guarded(&world, 1, CommitmentFormat::AnchorsZeroFeeHtlc);
            (pair.their_commitment(1), pair.at_stake(1))
        };
        let answers = answers();
        let different: BTreeSet<Vec<u8>> =
            answers.iter().map(|(status, body)| [status.as_bytes(), body].concat()).collect();
        assert!(different.len() >= 200, "{} answers", different.len());
        *proxy.left.lock().unwrap() = answers.into();
        world.mine_exactly(&[breach]);
        world.seen();
        for _ in 0..400 {
            if proxy.left.lock().unwrap().is_empty() {
                break;
            }
            // Others' blocks: none of our claims is in them.
            chain.mine_empty(1, &anyone().to_p2wsh());
            world.seen();
        }
        assert_eq!(*proxy.said.lock().unwrap(), different, "each was said");
        world.mine(1);
        world.expect_taken(&stake, 8);
    }
}
