//! The on-chain money that channels need: shown, and warned of when the wallet has less.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests run processes")]

mod process;

use process::{Chain, Daemon, wait};

fn kinds(node: &Daemon) -> Vec<String> {
    let events = node.run(&["listevents"])["events"].as_array().unwrap().clone();
    let of_reserve = |kind: &str| kind.starts_with("reserve_").then(|| kind.to_owned());
    events.iter().filter_map(|event| of_reserve(event["kind"].as_str().unwrap())).collect()
}

#[test]
fn who_has_channels_and_no_coins_is_warned_once_and_told_when_it_is_enough() {
    let chain = Chain::start();
    let (alice, bob) = (Daemon::start("alice", &chain), Daemon::start("bob", &chain));
    let needed = |node: &Daemon| {
        let balance = node.run(&["balance"]);
        (balance["needed_reserve_sat"].as_u64().unwrap(), balance["needed_reserve_coins"].as_u64().unwrap())
    };
    assert_eq!(needed(&bob), (0, 0), "without channels nothing is needed");
    chain.mine_to(101, &alice.run(&["newaddr"])["address"]);
    wait("coins", 60, || alice.run(&["balance"])["onchain_confirmed_sat"].as_u64() > Some(1_000_000));
    alice.run(&["openchannel", &bob.address(), "1000000", "--push", "400000sat"]);
    chain.mine(6);
    wait("bob is warned", 60, || kinds(&bob) == ["reserve_low"]);
    let (amount, coins) = needed(&bob);
    assert!(amount > 1_000 && coins > 0, "{amount} in {coins}");
    chain.mine(3);
    bob.run(&["getinfo"]);
    assert_eq!(kinds(&bob), ["reserve_low"], "once");
    assert_eq!(needed(&alice), (amount, coins));
    alice.run(&["send", bob.run(&["newaddr"])["address"].as_str().unwrap(), &format!("{amount}sat")]);
    wait("it is enough", 60, || {
        chain.mine(1);
        kinds(&bob) == ["reserve_low", "reserve_ok"]
    });
    assert!(kinds(&alice).is_empty(), "{:?}", kinds(&alice));
}
