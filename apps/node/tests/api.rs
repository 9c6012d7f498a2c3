//! The API over HTTP: who may ask, every method of the table, and what is said when something is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
mod mock;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lightning_node::api::methods::{METHODS, Place};
use lightning_node::api::{ApiServer, ServerOptions};
use lightning_node::error::Code;
use mock::{ADDRESS, CHANNEL, GetInfo, NODE, Served, example_request};
use serde_json::{Value, json};

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}

#[test]
fn nothing_is_answered_without_the_token() {
    let served = Served::start();
    let wrong = "0".repeat(64);
    let short = served.token.get(..63).unwrap();
    for token in [None, Some(""), Some("x"), Some(wrong.as_str()), Some(short)] {
        for path in ["/v1/getinfo", "/v1/nonsense", "/v1/help"] {
            let (status, body) = served.request("POST", path, token, "");
            assert_eq!((status, code(&body)), (401, "LN0003"), "{token:?} {path}");
            assert!(!body.to_string().contains(&served.token));
        }
    }
    assert_eq!(served.request("GET", "/v1/getinfo", Some(&served.token), "").0, 200);
    // Basic instead of Bearer.
    let answer = bitreq::get(format!("http://{}/v1/getinfo", served.address))
        .with_header("Authorization", format!("Basic {}", served.token))
        .send()
        .unwrap();
    assert_eq!(answer.status_code, 401);
}

#[test]
fn every_method_takes_what_the_table_says() {
    let served = Served::start();
    let mut called = 0;
    for method in METHODS.iter().filter(|method| method.name != "stop") {
        let request = Value::Object(example_request(method)).to_string();
        for name in method.aliases.iter().chain([&method.name]) {
            let (status, body) = served.post(name, &request);
            assert_eq!(status, 200, "{name} {request}: {body}");
            called += 1;
        }
        let empty = served.post(method.name, "{}");
        let required = method.params.iter().find(|param| param.place == Place::Required);
        match required {
            None => assert_eq!(empty.0, 200, "{}", method.name),
            Some(param) => {
                assert_eq!((empty.0, code(&empty.1)), (400, "LN0001"), "{}", method.name);
                assert!(empty.1["message"].as_str().unwrap().contains(param.name), "{}", empty.1);
            }
        }
    }
    let names: usize = METHODS.iter().map(|method| 1 + method.aliases.len()).sum();
    assert_eq!(called, names - 1);
}

#[test]
fn values_arrive_typed() {
    let served = Served::start();
    served.post("send", &json!({ "address": ADDRESS, "amount_sat": "all" }).to_string());
    assert!(served.mock.last().contains("amount_sat: All"), "{}", served.mock.last());
    let open = json!({ "peer": format!("{NODE}@host:1"), "amount_sat": "0.001btc", "push_msat": 7 });
    served.post("openchannel", &open.to_string());
    let seen = served.mock.last();
    assert!(seen.contains("Amount(100000 SAT)"), "{seen}");
    assert!(seen.contains("push_msat: 7 msat") && seen.contains("announce: None"), "{seen}");
    served.post("forceclose", &json!({ "channel": "812x4x0" }).to_string());
    assert!(served.mock.last().contains("force: true"), "{}", served.mock.last());
    served.post("pay", &json!({ "invoice": "LIGHTNING:lnx", "amount_msat": null }).to_string());
    let seen = served.mock.last();
    assert!(seen.contains("invoice: \"lnx\"") && seen.contains("amount_msat: None"), "{seen}");
}

#[test]
fn get_reads_and_never_changes() {
    let served = Served::start();
    let token = Some(served.token.as_str());
    let (status, body) = served.request("GET", &format!("/v1/getpayment?payment_hash={CHANNEL}"), token, "");
    assert_eq!((status, body["payment_hash"].as_str()), (200, Some(CHANNEL)));
    for method in METHODS {
        let (status, body) = served.request("GET", &format!("/v1/{}", method.name), token, "");
        if method.read_only {
            assert!(status == 200 || code(&body) == "LN0001", "{}: {body}", method.name);
        } else {
            assert_eq!((status, code(&body)), (405, "LN0004"), "{}", method.name);
        }
    }
    assert_eq!(served.request("PUT", "/v1/getinfo", token, "").0, 405);
    assert!(!served.shutdown.is_triggered());
}

#[test]
fn wrong_requests_are_named() {
    let served = Served::start();
    let peer = format!("{NODE}@host:1");
    let cases = [
        ("nonsense", json!({}), "LN0002", "there is no method"),
        ("getinfo", json!({ "verbose": 1 }), "LN0001", "getinfo has no parameter \"verbose\""),
        ("openchannel", json!({ "peer": peer, "amount_sats": 1 }), "LN0001", "amount_sats"),
        ("openchannel", json!({ "peer": peer, "amount_sat": -1 }), "LN0001", "amount_sat must be an amount"),
        ("openchannel", json!({ "peer": peer, "amount_sat": 1.5 }), "LN0001", "amount_sat must be an amount"),
        (
            "openchannel",
            json!({ "peer": "host:1", "amount_sat": 1 }),
            "LN0001",
            "peer must be node_id@host:port",
        ),
        (
            "send",
            json!({ "address": "nowhere", "amount_sat": 1 }),
            "LN0001",
            "address must be a bitcoin address",
        ),
        ("getpayment", json!({ "payment_hash": "12" }), "LN0001", "64 hexadecimal digits"),
        ("pay", json!({ "invoice": 5 }), "LN0001", "invoice must be a BOLT 11 invoice"),
        ("invoice", json!({ "amount_msat": "2100000000btc" }), "LN0001", "amount_msat must be an amount"),
    ];
    for (method, request, expected, words) in cases {
        let (_, body) = served.post(method, &request.to_string());
        assert_eq!(code(&body), expected, "{body}");
        assert!(body["message"].as_str().unwrap().contains(words), "{body}");
    }
    for body in ["{", "[1]", "\"a\"", "\u{0}"] {
        let (status, answer) = served.post("getinfo", body);
        assert_eq!((status, code(&answer)), (400, "LN0001"), "{body}");
    }
    let (_, body) = served.post("getinof", "");
    assert_eq!(body["hint"], "did you mean getinfo?");
    let (status, body) = served.request("GET", "/", Some(&served.token), "");
    assert_eq!((status, code(&body)), (404, "LN0002"));
    assert!(served.mock.seen.lock().unwrap().is_empty(), "a wrong request reached the backend");
}

#[test]
fn errors_of_the_node_arrive_whole() {
    let served = Served::start();
    let (status, body) = served.post("send", &json!({ "address": ADDRESS, "amount_sat": 1000 }).to_string());
    assert_eq!(status, 409);
    assert_eq!(
        body,
        json!({ "code": "LN0012", "message": "1000 sat are needed and 10 sat are there", "hint": "receive some with `lnode newaddr`" })
    );
}

#[test]
fn help_is_the_table() {
    let served = Served::start();
    let (_, help) = served.request("GET", "/v1/help", Some(&served.token), "");
    let listed: Vec<&str> =
        help["methods"].as_array().unwrap().iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(listed, METHODS.iter().map(|method| method.name).collect::<Vec<_>>());
}

#[test]
fn large_request_is_refused() {
    let served = Served::start();
    let (status, body) = served.post("decode", &json!({ "invoice": "l".repeat(100_000) }).to_string());
    assert_eq!((status, code(&body)), (413, "LN0005"));
}

#[test]
fn starting_node_says_so_and_can_be_stopped() {
    let served = Served::start_with(false, Duration::from_secs(5));
    let (status, body) = served.post("balance", "");
    assert_eq!((status, code(&body)), (503, "LN0008"));
    assert_eq!(served.post("stop", "").0, 200);
    let address_file = served.data_dir().join("api.address");
    let dir = served.data_dir();
    assert!(served.shutdown.is_triggered());
    assert!(served.wait_for_end());
    assert!(!address_file.exists(), "{} is left behind", dir.display());
}

#[test]
fn slow_method_is_finished_though_nobody_waits() {
    let served = Served::start_with(true, Duration::from_millis(100));
    *served.mock.getinfo.lock().unwrap() = GetInfo::Sleep(Duration::from_millis(400));
    let (status, body) = served.post("getinfo", "");
    assert_eq!((status, code(&body)), (504, "LN0006"));
    // Other methods are not held up by it.
    let asked = Instant::now();
    assert_eq!(served.post("balance", "").0, 200);
    assert!(asked.elapsed() < Duration::from_millis(300));
    // A client that hangs up does not stop it either.
    let mut socket = TcpStream::connect(&served.address).unwrap();
    let head = format!(
        "POST /v1/getinfo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
        served.token
    );
    socket.write_all(head.as_bytes()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while served.mock.begun.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline, "the method does not begin");
        std::thread::yield_now();
    }
    drop(socket);
    while served.mock.finished.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline, "a method was broken off");
        std::thread::yield_now();
    }
}

#[test]
fn panic_in_a_method_is_an_error_of_that_call_only() {
    let served = Served::start();
    *served.mock.getinfo.lock().unwrap() = GetInfo::Panic;
    let (status, body) = served.post("getinfo", "");
    assert_eq!((status, code(&body)), (500, "LN0007"));
    assert_eq!(served.post("balance", "").0, 200);
}

#[test]
fn idle_connection_does_not_hold_up_the_end() {
    let served = Served::start();
    let mut idle = TcpStream::connect(&served.address).unwrap();
    idle.write_all(b"POST /v1/getinfo HTTP/1.1\r\nHost: a\r\n").unwrap();
    served.shutdown.trigger();
    let began = Instant::now();
    assert!(served.wait_for_end());
    assert!(began.elapsed() < Duration::from_secs(8));
    let mut rest = Vec::new();
    let _closed = idle.read_to_end(&mut rest);
}

#[test]
fn used_port_and_foreign_address_are_said() {
    let served = Served::start();
    let other = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bind = |address: &str| {
        let options = ServerOptions::new(address.parse().unwrap(), other.path());
        runtime.block_on(ApiServer::bind(options)).unwrap_err()
    };
    let error = bind(&served.address);
    assert_eq!(error.code, Code::PortInUse);
    assert!(error.to_string().contains(&served.address) && error.to_string().contains("--api-listen"));
    assert_eq!(bind("198.51.100.1:9740").code, Code::CannotListen);
}
