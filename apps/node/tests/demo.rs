//! The demo, as the README promises it: it holds, and a real bitcoind gives the same sums.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::path::Path;

use lightning_chain_bitcoind::{Auth, RegtestBitcoind};
use lightning_node::demo::{self, DemoChain, Ledger};

fn on_the_embedded_chain() -> Ledger {
    demo::run(&DemoChain::Embedded).unwrap()
}

#[test]
fn every_millisatoshi_is_accounted_for_on_the_embedded_chain() {
    let ledger = on_the_embedded_chain();
    assert_eq!(ledger.rows.len(), 3);
    assert!(ledger.miners_msat > 0 && ledger.anchors_msat == 660_000);
    ledger.check().unwrap();
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or put one on PATH")]
fn a_real_bitcoind_gives_the_same_table() {
    let folder = tempfile::tempdir().unwrap();
    let bitcoind = RegtestBitcoind::start(Path::new(env!("BITCOIND_FOUND")), folder.path(), &[]).unwrap();
    let chain = DemoChain::Bitcoind { url: bitcoind.url(), auth: Auth::Cookie(bitcoind.cookie()) };
    let real = demo::run(&chain).unwrap();
    assert_eq!(real, on_the_embedded_chain());
}
