//! Restarts in the middle of things, and data that is gone: ours from an old backup, LDK's altogether.
use std::fs;
use std::path::Path;

use interop_ldk::net::{COINS, FEES, Net, PAYMENT_MSAT, PUSH, shares};
use interop_ldk::node::Node;
use interop_ldk::wait::wait_until;

use bitcoin::Amount;

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn both_restart_in_the_middle_of_payments() {
    let mut net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    // Ours is cut off in the middle of its work.
    let begun = net.begin(10);
    net.ours.kill();
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    net.settle_after_all(&begun, funding);
    // LDK goes and comes back.
    let begun = net.begin(10);
    net.ldk = net.ldk.restart(&net.chain);
    net.ours().connect_to(net.ldk().id(), net.ldk().address());
    net.settle_after_all(&begun, funding);
    // Both at once, ours by its own wish.
    let begun = net.begin(10);
    net.ours.stop();
    net.ldk = net.ldk.restart(&net.chain);
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    net.settle_after_all(&begun, funding);
    net.pay_both_ways();
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn our_stale_backup_closes_nothing_and_loses_nothing() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
    net.wait_idle(funding);
    net.ours.stop();
    let backup = net.ours.back_up();
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    net.ldk().wait_usable(funding);
    net.ours().wait_usable(funding);
    for _ in 0..3 {
        net.ldk().pay(net.ours(), PAYMENT_MSAT);
    }
    net.wait_idle(funding);
    let theirs = net.ldk.latest_commitment(funding).compute_txid();
    net.ours.stop();
    net.ours.put_back(&backup);
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    // LDK proves to us that we are late and closes with its commitment; ours would be a revoked one (BOLT 2).
    net.confirm_close(funding);
    let close = net.chain.spender(funding, net.chain.height()).unwrap();
    assert_eq!(close.compute_txid(), theirs, "{}\n{}", net.ours, net.ldk);
    let paid = Amount::from_sat(4 * PAYMENT_MSAT / 1000);
    net.mine_until_swept([COINS + PUSH + paid - FEES, COINS - PUSH - paid - FEES]);
}

/// LDK comes back with nothing but its seed. It cannot close what it does not know: we must, and pay out its share.
/// Then it gets that with the monitors of an old backup and no manager, which is what its documentation advises.
fn ldk_loses_its_data(we_open: bool) {
    let mut net = Net::start();
    let (opener, accepter) = if we_open { (net.ours(), net.ldk()) } else { (net.ldk(), net.ours()) };
    let funding = net.open(opener, accepter);
    let backup = tempfile::tempdir().unwrap();
    // A backup of a moment that is past when the data is lost.
    net.ldk = net.ldk.restart_with(&net.chain, |store| copy(&store.join("monitors"), backup.path()));
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    net.ldk().wait_usable(funding);
    net.ours().wait_usable(funding);
    net.settle(&net.begin(3), funding);
    net.ldk = net.ldk.restart_with(&net.chain, |store| fs::remove_dir_all(store).unwrap());
    assert!(net.ldk.channels().is_empty(), "{}", net.ldk);
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    net.confirm_close(funding);
    let close = net.chain.spender(funding, net.chain.height()).unwrap();
    assert!(close.output.len() > 2, "a commitment with its anchors: {close:?}");
    net.ldk = net.ldk.restart_with(&net.chain, |store| copy(backup.path(), &store.join("monitors")));
    wait_until("LDK to know that something is to be had", || net.ldk(), || !net.ldk.is_settled());
    net.mine_until_swept(shares(we_open));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn an_ldk_without_its_data_gets_its_share_of_our_channel() {
    ldk_loses_its_data(true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn an_ldk_without_its_data_gets_its_share_of_its_channel() {
    ldk_loses_its_data(false);
}
