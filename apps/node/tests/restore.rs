//! A node that has only its seed comes back from its watchtowers, with its channels live; an old instance of it is fenced; and what may
//! be old goes the safe way.
//!
//! Needs the program `lntower` beside `lnode`: `cargo build -p lightning-watchtower`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests run processes")]

mod process;

use process::tower::{Tower, hold, program, secret};
use process::{Chain, Daemon, wait};
use serde_json::Value;

/// Alice has opened a channel to Bob, whom a tower guards.
struct World {
    chain: Chain,
    alice: Daemon,
    bob: Daemon,
    tower: Tower,
    channel: String,
}

fn id_of(node: &Daemon) -> String {
    node.run(&["getinfo"])["node_id"].as_str().unwrap().to_owned()
}

fn state(node: &Daemon, channel: &str) -> Value {
    node.channel(channel)["state"].clone()
}

fn fund(chain: &Chain, node: &Daemon) {
    chain.mine_to(101, &node.run(&["newaddr"])["address"]);
    wait("coins", 60, || node.run(&["balance"])["onchain_confirmed_sat"].as_u64() > Some(1_000_000));
}

/// A channel of 1,000,000 sat, of which the other side has 400,000.
fn open(chain: &Chain, from: &Daemon, to: &Daemon) -> String {
    let before = from.run(&["listchannels"])["channels"].as_array().unwrap().len();
    from.run(&["openchannel", &to.address(), "1000000", "--push", "400000sat"]);
    chain.mine(6);
    let find = || {
        let list = from.run(&["listchannels"])["channels"].as_array().unwrap().clone();
        let to = to.address().split('@').next().unwrap().to_owned();
        let found = list.iter().find(|row| row["peer_id"] == to && list.len() > before)?;
        found["channel_id"].as_str().map(str::to_owned)
    };
    wait("the channel", 60, || {
        find().is_some_and(|id| state(to, &id) == "open" && state(from, &id) == "open")
    });
    find().unwrap()
}

impl World {
    fn new(mode: &str, max_ahead: &str) -> Option<Self> {
        let Some(program) = program() else {
            println!("SKIPPED: no lntower beside lnode; `cargo build -p lightning-watchtower` makes one");
            return None;
        };
        let chain = Chain::start();
        let (alice, bob) = (Daemon::start("alice", &chain), Daemon::start("bob", &chain));
        let tower = Tower::start(program, &chain, &id_of(&bob), mode);
        bob.run(&["wtclient", "add", "--mode", mode, &tower.address().unwrap()]);
        bob.run(&["wtclient", "policy", "--needed", "2", "--max-ahead", max_ahead]);
        bob.kill();
        bob.start_again();
        wait("the tower is up", 60, || bob.run(&["wtclient", "towers"])["towers"][0]["up"] == true);
        fund(&chain, &alice);
        let channel = open(&chain, &alice, &bob);
        Some(Self { chain, alice, bob, tower, channel })
    }

    fn towers(&self) -> [String; 1] {
        [self.tower.address().unwrap()]
    }

    fn pay_both_ways(&self, sat: u64) {
        pay(&self.alice, &self.bob, sat);
        pay(&self.bob, &self.alice, sat / 2);
    }

    /// Bob's disk is gone; what is left of him are the words.
    fn lose_bob(&self) -> String {
        let seed = self.bob.seed();
        self.bob.kill();
        self.bob.lose_disk();
        seed
    }

    fn bob_is_back(&self) {
        self.bob.start_again();
        wait("bob is back", 60, || self.bob.try_run(&["getinfo"]).is_some());
        let is_usable = |node: &Daemon| node.channel(&self.channel)["state"] == "open";
        wait("the channel is live again", 60, || is_usable(&self.bob) && is_usable(&self.alice));
    }

    fn balances(&self) -> [Value; 2] {
        [&self.alice, &self.bob].map(|node| node.channel(&self.channel)["local_msat"].clone())
    }
}

fn pay(from: &Daemon, to: &Daemon, sat: u64) {
    let invoice = to.run(&["invoice", &format!("{sat}sat"), "test"])["invoice"].as_str().unwrap().to_owned();
    assert_eq!(from.run(&["pay", &invoice])["state"], "succeeded");
}

#[test]
fn a_node_with_nothing_but_its_seed_comes_back_with_its_channel_and_pays_on_both_ways() {
    for mode in ["justice", "full"] {
        let Some(world) = World::new(mode, "0") else { return };
        for sat in [10_000, 20_000, 3_000] {
            world.pay_both_ways(sat);
        }
        // Made before the loss, paid after it.
        let early = world.bob.run(&["invoice", "7000sat", "early"])["invoice"].as_str().unwrap().to_owned();
        let (before, id) = (world.balances(), id_of(&world.bob));
        let seed = world.lose_bob();

        let dry = world.bob.restore_from(&world.towers(), &seed, &["--dry-run"]).unwrap();
        assert_eq!((&dry["restored"], &dry["channels"][0]["state"]), (&false.into(), &"live".into()));
        let restored = world.bob.restore_from(&world.towers(), &seed, &[]).unwrap();
        assert_eq!((&restored["node_id"], &restored["restored"]), (&id.into(), &true.into()), "{restored}");
        let row = &restored["channels"][0];
        assert_eq!(
            (&row["state"], &row["channel_id"], &row["held_by"]),
            (&"live".into(), &world.channel.clone().into(), &1.into())
        );
        assert_eq!(restored["towers"][0]["mode"], mode);
        world.bob_is_back();
        assert_eq!(world.balances(), before, "not a millisatoshi is missing");
        assert_eq!(world.alice.run(&["pay", &early])["state"], "succeeded");
        world.pay_both_ways(30_000);
        // The tower guards on, in the new life.
        wait("the tower has all", 60, || {
            let row = world.bob.run(&["wtclient", "coverage"])["channels"][0].clone();
            row["held_by"] == 1 && row["behind"] == 0
        });
        // And once more: the second restore fences the first.
        let seed = world.lose_bob();
        world.bob.restore_from(&world.towers(), &seed, &[]).unwrap();
        world.bob_is_back();
        world.pay_both_ways(1_000);

        // Its money comes to the wallet, which was found by the seed. Who closes pays the fee.
        let due = world.balances()[1].as_u64().unwrap() / 1_000;
        world.bob.run(&["closechannel", &world.channel]);
        wait("the close", 60, || {
            world.chain.mine(1);
            let balance = world.bob.run(&["balance"])["onchain_confirmed_sat"].as_u64().unwrap();
            assert!(balance <= due, "{balance} of {due}");
            balance > due - 2_000
        });
        assert_eq!(world.tower.status()["breaches"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn payments_that_were_on_the_way_at_the_loss_end_as_they_should() {
    let Some(world) = World::new("justice", "0") else { return };
    let World { chain, alice, bob, channel, .. } = &world;
    let carol = Daemon::start("carol", chain);
    fund(chain, bob);
    let further = open(chain, bob, &carol);
    // To Bob, from Bob, and through Bob.
    let to_bob = hold(alice, bob, 1, "50000sat");
    hold(bob, alice, 2, "60000sat");
    wait("alice knows the way", 60, || {
        let invoice = carol.run(&["invoice", "1000sat", "try"])["invoice"].as_str().unwrap().to_owned();
        alice.try_run(&["pay", &invoice]).is_some()
    });
    let through = hold(alice, &carol, 3, "70000sat");
    wait("all are there", 60, || {
        bob.channel(channel)["htlcs"] == 3 && bob.channel(&further)["htlcs"] == 1 && {
            let rows = bob.run(&["wtclient", "coverage"])["channels"].as_array().unwrap().clone();
            rows.len() == 2 && rows.iter().all(|row| row["behind"] == 0)
        }
    });
    let total = |node: &Daemon, id: &str| node.channel(id)["local_msat"].as_u64().unwrap();
    let seed = world.lose_bob();
    let restored = bob.restore_from(&world.towers(), &seed, &[]).unwrap();
    assert!(restored["channels"].as_array().unwrap().iter().all(|row| row["state"] == "live"), "{restored}");
    world.bob_is_back();
    // Nobody calls from there: Bob had called.
    bob.run(&["connect", &carol.address()]);
    wait("the other channel is live", 60, || bob.channel(&further)["state"] == "open");

    let paid = |node: &Daemon, hash: &str| node.run(&["getpayment", hash])["state"].clone();
    // The invoice is lost, what waits for it is not.
    wait("bob sees what waits", 60, || bob.command(&["settleinvoice", &secret(1).0]).is_ok());
    wait("what waited at bob is taken", 60, || paid(alice, &to_bob) == "succeeded");
    // What passes through goes through.
    carol.run(&["settleinvoice", &secret(3).0]);
    wait("what was forwarded arrives", 60, || paid(alice, &through) == "succeeded");
    // What Bob paid is paid.
    let before = total(alice, channel);
    alice.run(&["settleinvoice", &secret(2).0]);
    assert_eq!(bob.run(&["listchannels"])["channels"].as_array().unwrap().len(), 2);
    wait("no payment is on the way", 60, || {
        [alice, bob].iter().all(|node| node.channel(channel)["htlcs"] == 0)
            && bob.channel(&further)["htlcs"] == 0
    });
    assert_eq!(total(alice, channel), before + 60_000_000);
    pay(alice, &carol, 5_000);
    pay(&carol, alice, 2_000);
}

#[test]
fn b1_a_channel_of_which_the_tower_was_behind_is_closed_by_its_peer_and_never_published() {
    // Without proof; and with a user who says that there is none needed, and is wrong.
    for assume in [&[][..], &["--assume-newest"]] {
        let Some(mut world) = World::new("justice", "1000") else { return };
        world.pay_both_ways(10_000);
        wait("the tower has all", 60, || {
            world.bob.run(&["wtclient", "coverage"])["channels"][0]["behind"] == 0
        });
        world.tower.kill();
        for _ in 0..3 {
            world.pay_both_ways(50_000);
        }
        let due = world.balances()[1].as_u64().unwrap() / 1_000;
        let seed = world.lose_bob();
        world.tower.start_again();
        wait("the tower answers", 60, || {
            let asked = world.bob.restore_from(&world.towers(), &seed, &["--dry-run"]);
            asked.is_ok()
        });
        let restored = world.bob.restore_from(&world.towers(), &seed, assume).unwrap();
        let expected = if assume.is_empty() { "closing" } else { "live" };
        assert_eq!(restored["channels"][0]["state"], expected, "{restored}");
        world.bob.start_again();
        // Not even when its user asks for it.
        if assume.is_empty() {
            wait("bob answers", 60, || world.bob.try_run(&["getinfo"]).is_some());
            // It may be on its way already.
            let _refused = world.bob.command(&["closechannel", &world.channel, "--force"]);
        }
        let is_over = |state: Value| ["resolving", "closed"].iter().any(|over| state == *over);
        wait("bob is back", 60, || world.bob.try_run(&["getinfo"]).is_some());
        wait("alice was asked to close", 60, || is_over(state(&world.alice, &world.channel)));
        // All that was his at the end, but for the fee of the sweep.
        wait("bob has what was his at the end", 60, || {
            world.chain.mine(1);
            let balance = world.bob.run(&["balance"])["onchain_confirmed_sat"].as_u64().unwrap();
            assert!(balance <= due, "{balance} of {due}");
            balance > due - 2_000
        });
        assert_eq!(world.tower.status()["breaches"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn an_old_instance_freezes_and_says_why_while_the_new_one_pays_on() {
    let Some(mut world) = World::new("justice", "20") else { return };
    world.pay_both_ways(10_000);
    wait("the tower has all", 60, || world.bob.run(&["wtclient", "coverage"])["channels"][0]["behind"] == 0);
    // The machine was not dead after all: it runs on while the node is restored elsewhere.
    let seed = world.bob.seed();
    let new = Daemon::idle("new bob", &world.chain);
    let restored = new.restore_from(&world.towers(), &seed, &["--assume-newest"]).unwrap();
    assert_eq!(restored["channels"][0]["state"], "live");
    let is_frozen = |node: &Daemon| matches!(node.command(&["listchannels"]), Err((1, said)) if said.contains("LN0035") && said.contains("restored elsewhere"));
    wait("the old instance is frozen", 60, || is_frozen(&world.bob));
    new.start_again();
    wait("the new one is back", 60, || new.try_run(&["getinfo"]).is_some());
    new.run(&["connect", &world.alice.address()]);
    wait("the new one is live", 60, || new.channel(&world.channel)["state"] == "open");
    pay(&world.alice, &new, 20_000);
    // It stays so, also where no tower tells it.
    world.bob.kill();
    world.tower.kill();
    world.bob.start_again();
    wait("frozen again", 60, || is_frozen(&world.bob));
    for command in [&["getinfo"][..], &["closechannel", &world.channel, "--force"], &["newaddr"]] {
        let refused = world.bob.command(command).unwrap_err();
        assert!(refused.1.contains("LN0035"), "{refused:?}");
    }
    world.bob.run(&["stop"]);
    world.tower.start_again();
    pay(&new, &world.alice, 5_000);
    assert_eq!(state(&world.alice, &world.channel), "open");
}

#[test]
fn an_old_instance_that_comes_back_asks_its_tower_before_it_does_anything() {
    let Some(world) = World::new("justice", "0") else { return };
    world.pay_both_ways(10_000);
    // What would make it go to the chain: an HTLC that expires for it, and for nobody else.
    hold(&world.bob, &world.alice, 4, "30000sat");
    let seed = world.bob.seed();
    world.bob.kill();
    let old = world.bob.backup();
    world.bob.lose_disk();
    world.bob.restore_from(&world.towers(), &seed, &[]).unwrap();
    world.bob_is_back();
    world.alice.run(&["settleinvoice", &secret(4).0]);
    world.pay_both_ways(20_000);
    let is_quiet =
        || [&world.alice, &world.bob].iter().all(|node| node.channel(&world.channel)["htlcs"] == 0);
    wait("no payment is on the way", 60, is_quiet);
    // The old disk is found again, on another machine. What it holds is revoked by now.
    let found = Daemon::idle("old bob", &world.chain);
    found.restore(&old);
    found.start_again();
    wait(
        "it is frozen",
        60,
        || matches!(found.command(&["getinfo"]), Err((1, said)) if said.contains("LN0035")),
    );
    world.chain.mine(300);
    let height = |node: &Daemon| node.run(&["getinfo"])["block_height"].as_u64().unwrap();
    wait("both have seen it", 60, || height(&world.alice) == height(&world.bob) && height(&world.bob) > 400);
    world.pay_both_ways(2_000);
    assert_eq!(state(&world.alice, &world.channel), "open");
    assert_eq!(world.tower.status()["breaches"].as_array().unwrap().len(), 0);
}

#[test]
fn what_cannot_be_restored_is_refused_with_its_reason_and_changes_nothing() {
    let Some(mut world) = World::new("justice", "0") else { return };
    let refused = |node: &Daemon, towers: &[String], seed: &str, code: &str| {
        let (_, said) = node.restore_from(towers, seed, &[]).unwrap_err();
        assert!(said.contains(code), "{code}: {said}");
    };
    let (towers, seed) = (world.towers(), world.bob.seed());
    let elsewhere = Daemon::idle("elsewhere", &world.chain);
    // Alice's seed is no client's.
    refused(&elsewhere, &towers, &world.alice.seed(), "LN0037");
    refused(&elsewhere, &["no address".to_owned()], &seed, "LN0001");
    refused(&elsewhere, &towers, "abandon abandon", "LN0029");
    world.bob.kill();
    refused(&world.bob, &towers, &seed, "LN0038");
    world.bob_is_back();
    world.pay_both_ways(2_000);
    world.tower.kill();
    refused(&elsewhere, &towers, &seed, "LN0036");
    // A tower that knows the node, and has nothing of it.
    let empty = Tower::start(program().unwrap(), &world.chain, &id_of(&world.bob), "justice");
    refused(&elsewhere, &[empty.address().unwrap()], &seed, "LN0040");
    // None of this has fenced anybody.
    world.tower.start_again();
    world.pay_both_ways(2_000);
    // One of two is down: the other was waited for always.
    let both = [towers[0].clone(), format!("{}@127.0.0.1:9", id_of(&world.alice))];
    let restored = elsewhere.restore_from(&both, &seed, &[]).unwrap();
    assert_eq!(restored["channels"][0]["state"], "live");
    assert!(!restored["towers"][1]["trouble"].as_str().unwrap().is_empty());
    assert!(restored["notes"].to_string().contains("Not fenced"), "{restored}");
}
