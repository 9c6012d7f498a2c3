//! A tower that keeps blobs and no keys: the client is gone for ever, and what opens with the breach is all there is.
use std::str::FromStr as _;

use bitcoin::{Address, Amount, OutPoint, Transaction, TxOut};
use lightning_monitor::blind::{BLOB, Scribe, SealedState};
use lightning_remote::serve::Backing as _;
use lightning_remote::wire::blind::{AUDIT, AUDITED, Audit, Audited, Entry, LaneContent, RELEASE};
use lightning_remote::wire::state::ChannelState;
use lightning_traits::Secp;
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::interface::KeysInterface as _;
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorRefusal, Persist, StoredChannel};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::FeeratePerKw;
use lightning_watchtower::clients::Mode;
use lightning_watchtower::health::Trouble;

use crate::justice::{FORMATS, htlcs};
use crate::pair::{Htlc, Pair, anyone, destination, pay};
use crate::world::{World, wait};

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

/// The client's end of one channel.
pub struct Client {
    pair: Pair,
    scribe: Scribe,
    secp: Secp,
    lane: ChannelId,
    next: u64,
}

impl Client {
    fn open(world: &World, index: u8, format: CommitmentFormat) -> Self {
        let pair = Pair::open(world.chain(), index, format);
        world.seen();
        let scribe = Scribe::new(&pair.init);
        Self { pair, scribe, secp: Secp::new(), lane: ChannelId([index ^ 0xff; 32]), next: 0 }
    }

    /// The next state; what is made against the one before.
    fn step(&mut self, htlcs: &[Htlc]) -> Vec<ChannelMonitorUpdate> {
        let update = self.pair.commit(htlcs);
        let sealed = self.scribe.learn(&self.secp, &self.pair.us, &update).unwrap();
        sealed.into_iter().map(|state| self.packed(state)).collect()
    }

    fn packed(&mut self, state: SealedState) -> ChannelMonitorUpdate {
        let blobs = state.blobs.into_iter();
        let entries = blobs.map(|blob| Entry { locator: blob.locator.0, body: blob.body }).collect();
        self.next += 1;
        LaneContent { entries, tag: [9; 16] }.into_update(self.lane, UpdateId(self.next - 1))
    }

    fn commit(&mut self, world: &World, htlcs: &[Htlc]) {
        for update in self.step(htlcs) {
            world.learn(update);
        }
    }

    pub fn breach(&self, index: u64) -> Transaction {
        self.pair.their_commitment(index)
    }

    /// Everything in the breach that the tower can take.
    pub fn stake(&self, index: u64) -> Vec<OutPoint> {
        let mut stake = self.pair.at_stake(index);
        stake.push(self.pair.our_balance(index));
        stake
    }
}

/// Commitment 1 has HTLCs both ways and is revoked, so is the empty 2.
pub fn guarded(world: &World, index: u8, format: CommitmentFormat) -> Client {
    let mut client = Client::open(world, index, format);
    let expiry = world.chain().height() + 60;
    for state in [&htlcs(expiry)[..], &[], &[]] {
        client.commit(world, state);
    }
    client
}

fn each(test: impl Fn(World, CommitmentFormat)) {
    for format in FORMATS {
        test(World::new(Mode::Blind), format);
    }
}

/// Coins for the tower's fees.
fn fill(world: &World, coins: u32) {
    let deposit = world.tower.as_ref().unwrap().inner().wallet.deposit.clone();
    let script_pubkey = Address::from_str(&deposit).unwrap().assume_checked().script_pubkey();
    for _ in 0..coins {
        let output = TxOut { value: Amount::from_sat(500_000), script_pubkey: script_pubkey.clone() };
        world.chain().submit(&pay(world.chain(), output)).unwrap();
        world.chain().mine(1, &anyone().to_p2wsh());
    }
    world.seen();
}

/// The transaction in the chain that took an output.
fn taker(world: &World, outpoint: OutPoint) -> Option<Transaction> {
    let spends = |tx: &&Transaction| tx.input.iter().any(|input| input.previous_output == outpoint);
    let mut heights = (1..=world.chain().height()).rev();
    heights.find_map(|height| world.chain().block_at(height)?.txdata.iter().find(spends).cloned())
}

fn pays_client(world: &World, outpoint: OutPoint) -> bool {
    taker(world, outpoint).is_some_and(|tx| tx.output[0].script_pubkey == destination())
}

#[test]
fn l05_a_blind_tower_takes_every_output_of_a_breach() {
    each(|world, format| {
        let client = guarded(&world, 1, format);
        assert_eq!(world.status().clients[0].channels, 1);
        world.mine_exactly(&[client.pair.their_commitment(1)]);
        world.expect_taken(&client.stake(1), 3);
        wait("the book", || world.status().claims.len() >= 6);
        let status = world.status();
        assert_eq!(status.breaches[0].txid, client.pair.their_commitment(1).compute_txid().to_string());
        assert_eq!((status.breaches.len(), status.clients[0].mode), (1, "blind"));
    });
}

#[test]
fn l04_a_blind_tower_pays_for_a_spike_out_of_its_own_pocket() {
    each(|world, format| {
        let client = guarded(&world, 1, format);
        fill(&world, 6);
        // 100 sat/vB to be mined, and nothing below 60 is even relayed; what was signed leaves 20.
        world.chain().set_fee_estimate(Some(FeeratePerKw::new(25_000)));
        world.chain().set_min_relay_fee(60_000);
        world.mine_exactly(&[client.pair.their_commitment(1)]);
        world.seen();
        // Half of an HTLC of 50,000 is enough for that; our own balance, too, is claimed at a price that is relayed.
        let stake = client.stake(1);
        for _ in 0..8 {
            world.mine(1);
        }
        for outpoint in stake {
            let tx = taker(&world, outpoint).unwrap_or_else(|| panic!("{outpoint}: {:#?}", world.status()));
            assert_eq!(tx.output[0].script_pubkey, destination(), "the client's, whole");
            assert!(tx.input.len() > 1, "with coins of the tower");
        }
    });
}

#[test]
fn l04_without_coins_a_blind_tower_says_so_and_pays_what_was_signed() {
    let world = World::new(Mode::Blind);
    let client = guarded(&world, 1, ANCHORS);
    world.chain().set_fee_estimate(Some(FeeratePerKw::new(25_000)));
    world.mine_exactly(&[client.pair.their_commitment(1)]);
    world.seen();
    wait("the alarm", || world.status().alarms.iter().any(|alarm| alarm.trouble == Trouble::Coins));
    assert!(!world.status().healthy);
    world.expect_taken(&client.stake(1), 3);
    world.mine(1);
    assert!(world.status().healthy, "{:?}", world.status().alarms);
}

#[test]
fn l06_a_blind_tower_takes_what_the_cheater_leaves() {
    each(|world, format| {
        let client = guarded(&world, 1, format);
        let expiry = client.pair.built_theirs(1).2.htlcs[0].htlc.expiry.get();
        let taken = Htlc { by_us: true, id: 0, expiry };
        let breach = client.pair.their_commitment(1);
        let stage = client.pair.their_second_stage(world.chain(), 1, &taken);
        if format == ANCHORS {
            world.mine_exactly(&[breach]);
            world.seen();
            world.mine_exactly(std::slice::from_ref(&stage));
        } else {
            world.mine_exactly(&[breach, stage.clone()]);
        }
        let mut stake = client.stake(1);
        stake.retain(|outpoint| *outpoint != stage.input[0].previous_output);
        assert_eq!(stake.len(), 5);
        let second = OutPoint::new(stage.compute_txid(), 0);
        if format == ANCHORS {
            world.expect_taken(&stake, 4);
            // This no signature could be made for: it is the node's to take, within its delay.
            world.mine(3);
            assert!(world.chain().utxo(&second).is_some());
        } else {
            stake.push(second);
            world.expect_taken(&stake, 4);
        }
    });
}

#[test]
fn l03_l07_claims_from_blobs_come_back_over_restarts_and_refusals() {
    each(|mut world, format| {
        let client = guarded(&world, 1, format);
        world.source.faults.lock().unwrap().refusals = vec![-25, -26, -27, -1, 0, -26, -26, -26];
        world.mine_exactly(&[client.pair.their_commitment(1)]);
        for _ in 0..3 {
            world.seen();
            for entry in world.chain().mempool() {
                world.chain().forget(entry.tx.compute_txid());
            }
            world.restart();
            world.chain().mine_empty(1, &anyone().to_p2wsh());
        }
        world.seen();
        world.expect_taken(&client.stake(1), 4);
    });
}

#[test]
fn l02_a_breach_while_a_blind_tower_was_down_is_found() {
    for blocks in [1, 100, 600] {
        let mut world = World::new(Mode::Blind);
        let client = guarded(&world, 1, ANCHORS);
        world.stop();
        world.chain().mine(blocks / 2, &anyone().to_p2wsh());
        world.mine_exactly(&[client.pair.their_commitment(1)]);
        world.chain().mine(blocks / 2, &anyone().to_p2wsh());
        world.start();
        world.seen();
        world.expect_taken(&client.stake(1), 3);
    }
}

#[test]
fn l09_a_blob_that_comes_after_its_breach_opens_it() {
    for blocks in [0, 1, 10, 500] {
        let world = World::new(Mode::Blind);
        let mut client = Client::open(&world, 1, ANCHORS);
        let expiry = world.chain().height() + 60;
        let mut late = client.step(&htlcs(expiry));
        late.extend(client.step(&[]));
        let breach = client.pair.their_commitment(1);
        world.mine_exactly(&[breach]);
        // Meanwhile somebody else has taken one of the outputs.
        world.chain().mine_empty(blocks, &anyone().to_p2wsh());
        world.seen();
        for update in late {
            world.learn(update);
        }
        wait("the breach", || world.status().breaches.len() == 1);
        world.expect_taken(&client.stake(1), 3);
    }
}

#[test]
fn l15_another_breach_after_a_reorganisation_is_opened_instead() {
    each(|world, format| {
        let client = guarded(&world, 1, format);
        world.mine_exactly(&[client.pair.their_commitment(1)]);
        world.seen();
        world.mine(2);
        for _ in 0..3 {
            world.chain().disconnect_tip();
        }
        for entry in world.chain().mempool() {
            world.chain().forget(entry.tx.compute_txid());
        }
        world.mine_exactly(&[client.pair.their_commitment(2)]);
        world.chain().mine_empty(4, &anyone().to_p2wsh());
        world.seen();
        world.expect_taken(&client.stake(2), 3);
        assert_eq!(world.status().breaches.len(), 2);
    });
}

#[test]
fn l23_a_blind_tower_leaves_all_else_alone() {
    each(|world, format| {
        let client = guarded(&world, 1, format);
        world.mine_exactly(&[client.pair.their_commitment(3)]);
        world.mine(5);
        assert!(world.chain().mempool().is_empty());
        assert_eq!((world.status().breaches.len(), world.status().claims.len()), (0, 0));
    });
}

#[test]
fn l12_l14_blobs_go_when_the_client_lets_go_but_not_inside_a_breach_and_else_when_it_is_buried() {
    let mut world = World::new(Mode::Blind);
    let (client, other) = (guarded(&world, 1, ANCHORS), guarded(&world, 2, ANCHORS));
    let rows = |world: &World| world.guard().store().list("blind/").unwrap().len();
    let release = |world: &World, lane: ChannelId| {
        assert_eq!(world.guard().on_other(RELEASE, lane.0.to_vec()), None);
    };
    let all = rows(&world);
    release(&world, other.lane);
    assert_eq!(world.guard().next_gone(), Some(other.lane));
    wait("the rows' end", || rows(&world) < all);
    assert_eq!(world.status().clients[0].channels, 1);
    // Of the other nothing is left, so nothing is done for it.
    world.mine_exactly(&[client.pair.their_commitment(1), other.pair.their_commitment(1)]);
    world.seen();
    assert_eq!(world.status().breaches.len(), 1);
    // Its subscription ends, its client lets go, the tower restarts: what was begun goes on.
    lightning_watchtower::clients::remove(world.folder.path(), world.client).unwrap();
    release(&world, client.lane);
    for entry in world.chain().mempool() {
        world.chain().forget(entry.tx.compute_txid());
    }
    world.chain().mine_empty(1, &anyone().to_p2wsh());
    world.restart();
    world.seen();
    release(&world, client.lane);
    assert_eq!(world.status().clients[0].channels, 1);
    world.expect_taken(&client.stake(1), 4);
    world.mine(98);
    assert_eq!(world.status().clients[0].channels, 1, "not buried yet");
    world.mine(3);
    assert_eq!(world.status().clients[0].channels, 0);
    wait("no rows", || rows(&world) <= 1);
}

#[test]
fn l13_nobody_overwrites_a_blob_and_what_is_no_blob_is_refused() {
    let world = World::new(Mode::Blind);
    let mut client = Client::open(&world, 1, ANCHORS);
    let guard = world.guard();
    let expiry = world.chain().height() + 60;
    // Junk under each locator that the honest lane will use, in another lane, before and behind it.
    let mut honest = client.step(&htlcs(expiry));
    honest.extend(client.step(&[]));
    let junk = |lane: u8, id: u64| {
        let entries = honest.iter().flat_map(|update| LaneContent::of(update).unwrap().entries);
        let entries = entries.map(|entry| Entry { body: vec![lane; BLOB], ..entry }).collect();
        LaneContent { entries, tag: [0; 16] }.into_update(ChannelId([lane; 32]), UpdateId(id))
    };
    world.learn(junk(1, 0));
    honest.iter().for_each(|update| world.learn(update.clone()));
    world.learn(junk(2, 0));
    world.learn(junk(1, 1));
    // What is none, and what does not follow.
    let sized = |length: usize, count: usize| {
        let entries = vec![Entry { locator: [0; 16], body: vec![0; length] }; count];
        LaneContent { entries, tag: [0; 16] }.into_update(ChannelId([3; 32]), UpdateId(0))
    };
    for wrong in
        [sized(BLOB - 1, 1), sized(BLOB + 1, 1), sized(BLOB, 0), sized(BLOB, 257), client.pair.update(vec![])]
    {
        assert_eq!(guard.update(wrong), Persist::Refused(MonitorRefusal::Contradiction));
    }
    assert!(matches!(guard.update(junk(4, 7)), Persist::Refused(MonitorRefusal::OutOfOrder { .. })));
    assert!(matches!(guard.add(client.pair.new_monitor()), Persist::Refused(_)), "no channels, no keys");
    assert!(!guard.give_keys(client.pair.init.keys, client.pair.lent(lightning_keys::Power::Enforce)));
    for lane in 5..12 {
        world.learn(junk(lane, 0));
    }
    assert!(
        matches!(guard.update(junk(12, 0)), Persist::Refused(MonitorRefusal::UnknownChannel)),
        "ten lanes"
    );
    let updates = vec![junk(12, 0).to_versioned()];
    let stored = StoredChannel { updates, ..StoredChannel::default() };
    guard.replace(ChannelId([12; 32]), ChannelState { stored, seen: guard.tip().unwrap().1 });
    let answer = Some((ChannelId([12; 32]), Err(MonitorRefusal::UnknownChannel)));
    assert_eq!(guard.next_replaced(), answer, "nor as a whole");
    world.mine_exactly(&[client.pair.their_commitment(1)]);
    world.expect_taken(&client.stake(1), 3);
}

#[test]
fn l13_blobs_count_against_the_quota() {
    let world = World::new(Mode::Blind);
    let before = world.guard().used();
    let _client = guarded(&world, 1, ANCHORS);
    let guard = world.guard();
    wait("the sum", || {
        !guard.has_room(guard.client().max_bytes as usize) && guard.used() >= before + 3 * BLOB as u64
    });
}

#[test]
fn l18_an_answer_is_signed_whether_the_blob_is_there_or_not() {
    let world = World::new(Mode::Blind);
    let client = guarded(&world, 1, ANCHORS);
    let (guard, key) = (world.guard(), world.tower.as_ref().unwrap().inner().keys.node_id());
    let ask = |id: u64| {
        let audit = Audit { nonce: id + 7, lane: client.lane, id: UpdateId(id) };
        let (kind, body) = guard.on_other(AUDIT, audit.to_bytes()).unwrap();
        let answer = Audited::from_bytes(&body).unwrap();
        assert_eq!((kind, answer.audit), (AUDITED, audit));
        assert!(answer.is_by(&client.secp, &key));
        let forged = Audited { found: None, ..answer.clone() };
        assert_eq!(forged.is_by(&client.secp, &key), answer.found.is_none());
        answer.found
    };
    for id in 0..3 {
        let update = ChannelMonitorUpdate::from_versioned(&ask(id).unwrap()).unwrap();
        assert_eq!(LaneContent::of(&update).unwrap().tag, [9; 16]);
    }
    assert_eq!(ask(3), None);
}

#[test]
fn l16_fifty_breaches_in_one_block_are_all_punished() {
    let world = World::new(Mode::Blind);
    let quota = lightning_watchtower::clients::Client {
        max_channels: 1_000,
        max_bytes: 100_000_000,
        ..world.guard().client()
    };
    world.admit(quota);
    wait("the quota", || world.guard().client().max_channels == 1_000);
    world.chain().mine(120, &anyone().to_p2wsh());
    let clients: Vec<Client> = (0..50)
        .map(|index| {
            let mut client = Client::open(&world, index, FORMATS[usize::from(index % 2)]);
            let expiry = world.chain().height() + 60;
            client.commit(&world, &htlcs(expiry));
            client.commit(&world, &[]);
            client
        })
        .collect();
    let breaches: Vec<Transaction> = clients.iter().map(|client| client.pair.their_commitment(1)).collect();
    world.mine_exactly(&breaches);
    let stake: Vec<OutPoint> = clients.iter().flat_map(|client| client.stake(1)).collect();
    assert_eq!(stake.len(), 300);
    world.expect_taken(&stake, 12);
    assert!(stake.iter().all(|outpoint| pays_client(&world, *outpoint)));
}
