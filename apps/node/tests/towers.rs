//! A node with a watchtower: B's channels are on `lntower`, B loses its disk for ever, A publishes a revoked state with HTLCs
//! pending in both directions, and the tower alone punishes every output of it.
//!
//! Needs the program `lntower` beside `lnode`: `cargo build -p lightning-watchtower`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests run processes")]

mod process;

use std::process::Command;

use lightning_traits::interface::BlockSource as _;
use process::tower::{Tower, hold, program};
use process::{Chain, Daemon, wait};

#[test]
fn the_tower_alone_punishes_a_breach_with_htlcs_for_a_node_that_is_gone() {
    let Some(program) = program() else {
        println!("SKIPPED: no lntower beside lnode; `cargo build -p lightning-watchtower` makes one");
        return;
    };
    for mode in ["justice", "full", "blind"] {
        let chain = Chain::start();
        let (alice, bob) = (Daemon::start("alice", &chain), Daemon::start("bob", &chain));
        let bob_id = bob.run(&["getinfo"])["node_id"].as_str().unwrap().to_owned();
        let tower = Tower::start(program.clone(), &chain, &bob_id, mode);
        let added = bob.run(&["wtclient", "add", "--mode", mode, &tower.address().unwrap()]);
        assert_eq!((&added["restart_needed"], &added["needed"]), (&true.into(), &2.into()));
        bob.kill();
        bob.start_again();
        wait("the tower is up", 60, || bob.run(&["wtclient", "towers"])["towers"][0]["up"] == true);

        chain.mine_to(101, &alice.run(&["newaddr"])["address"]);
        wait("coins", 60, || alice.run(&["balance"])["onchain_confirmed_sat"].as_u64() > Some(1_000_000));
        alice.run(&["openchannel", &bob.address(), "1000000", "--push", "400000sat"]);
        chain.mine(6);
        let id = || alice.run(&["listchannels"])["channels"][0]["channel_id"].as_str().map(str::to_owned);
        wait("the channel", 60, || id().is_some_and(|id| bob.channel(&id)["state"] == "open"));
        let channel = id().unwrap();
        wait("alice's too", 60, || alice.channel(&channel)["state"] == "open");

        // What Alice will publish: HTLCs pending both ways.
        let pending = [hold(&alice, &bob, 1, "50000sat"), hold(&bob, &alice, 2, "60000sat")];
        wait("all HTLCs are in", 60, || alice.channel(&channel)["htlcs"] == 2);
        alice.kill();
        let backup = alice.backup();
        alice.start_again();
        bob.run(&["cancelinvoice", &pending[0]]);
        alice.run(&["cancelinvoice", &pending[1]]);
        wait("no HTLC is left", 60, || {
            alice.channel(&channel)["htlcs"] == 0 && bob.channel(&channel)["htlcs"] == 0
        });
        let invoice = bob.run(&["invoice", "1000sat", "after"])["invoice"].as_str().unwrap().to_owned();
        alice.run(&["pay", &invoice]);
        wait("the tower has all", 60, || {
            let row = bob.run(&["wtclient", "coverage"])["channels"][0].clone();
            row["held_by"] == 1 && row["behind"] == 0
        });
        assert_eq!(bob.run(&["listtowers"])["towers"][0]["behind"], 0);

        // Bob is gone, disk and all. Alice comes back from a backup of then, and publishes it.
        bob.kill();
        bob.lose_disk();
        alice.kill();
        alice.restore(&backup);
        alice.start_again();
        alice.run(&["closechannel", &channel, "--force"]);
        let breach = || tower.status()["breaches"][0]["txid"].as_str().map(str::to_owned);
        wait("the breach", 60, || {
            chain.mine(1);
            breach().is_some()
        });
        let txid: bitcoin::Txid = breach().unwrap().parse().unwrap();
        // Alice's balance and both HTLCs; but for justice mode Bob's balance too.
        let expected = if mode == "justice" { 3 } else { 4 };
        wait("every output is taken", 60, || {
            chain.mine(1);
            tower.status()["claims"].as_array().unwrap().len() >= expected
        });
        let values: u64 = tower.status()["claims"]
            .as_array()
            .unwrap()
            .iter()
            .map(|claim| claim["value_sat"].as_u64().unwrap())
            .sum();
        let stake = match mode {
            "full" => 980_000,
            // What is left for fees was fixed with the signatures: 20 sat/vB.
            "blind" => 975_000,
            _ => 640_000,
        };
        assert!(values > stake, "{mode}: {values} sat");
        let left =
            (0..8).filter_map(|vout| chain.client().unspent(&bitcoin::OutPoint::new(txid, vout)).unwrap());
        let left: Vec<u64> =
            left.map(|unspent| unspent.output.value.to_sat()).filter(|value| *value > 330).collect();
        assert_eq!(
            left.len(),
            usize::from(mode == "justice"),
            "only Bob's own balance waits for its key: {left:?}"
        );
        assert_eq!(tower.status()["healthy"], true);
    }
}

#[test]
fn the_demo_with_a_watchtower_holds() {
    if program().is_none() {
        println!("SKIPPED: no lntower beside lnode; `cargo build -p lightning-watchtower` makes one");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_lnode")).args(["demo", "--watchtower"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("The tower saw the breach") && said.matches("and took").count() == 3, "{said}");
}
