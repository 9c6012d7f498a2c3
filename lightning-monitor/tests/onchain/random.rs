//! Random channels, closes, peers and crashes: whatever happens, the chain at the end shows that nothing of ours was left.
//!
//! The judge knows nothing of the monitor: it walks the chain from the closing transaction, and asks of each output who
//! may have it and who has it.
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::{CommitmentTx, TxSide};
use proptest::prelude::*;

use crate::support::{BASE, Delta, FORMATS, Htlc, Pair, RESTARTS, Restart, World, adding, destination};

/// Which commitment confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Ours,
    Current,
    Next,
    Revoked,
}

/// What happens to an HTLC.
#[derive(Clone, Copy, Debug)]
struct Fate {
    sat: u64,
    secret: u8,
    expiry: u32,
    by_us: bool,
    /// Blocks after the close at which we learn the preimage (received), or at which the peer claims (offered); much
    /// later means never.
    when: u32,
    /// Whether it is gone from the newer of two commitments.
    dropped: bool,
}

#[derive(Clone, Debug)]
struct Plan {
    format: usize,
    restart: usize,
    we_opened: bool,
    close: Close,
    fates: Vec<Fate>,
    /// Blocks in which our transactions find no place.
    censored: BTreeSet<u32>,
    /// Blocks after which one block is taken back and mined again without the transactions that are ours.
    undone: BTreeSet<u32>,
}

fn fate() -> impl Strategy<Value = Fate> {
    (
        prop_oneof![Just(300), Just(40_000), 5_000_u64..200_000],
        1_u8..5,
        0_u32..4,
        any::<bool>(),
        0_u32..80,
        any::<bool>(),
    )
        .prop_map(|(sat, secret, expiry, by_us, when, dropped)| {
            // Both directions never share a hash: only we would know the preimage, or only they.
            let secret = if by_us { secret } else { secret + 100 };
            Fate { sat, secret, expiry: BASE + 40 + expiry * 7, by_us, when, dropped }
        })
}

fn plan() -> impl Strategy<Value = Plan> {
    let close = prop_oneof![Just(Close::Ours), Just(Close::Current), Just(Close::Next), Just(Close::Revoked)];
    (
        0_usize..2,
        0_usize..RESTARTS.len(),
        any::<bool>(),
        close,
        proptest::collection::vec(fate(), 0..9),
        proptest::collection::btree_set(0_u32..60, 0..12),
        proptest::collection::btree_set(1_u32..60, 0..3),
    )
        .prop_map(|(format, restart, we_opened, close, fates, censored, undone)| Plan {
            format,
            restart,
            we_opened,
            close,
            fates,
            censored,
            undone,
        })
}

/// The HTLCs by their fates, numbered each way.
fn htlcs(fates: &[Fate]) -> Vec<(Htlc, Fate)> {
    let mut next = [0_u64; 2];
    let number = |fate: &Fate| {
        let id = &mut next[usize::from(fate.by_us)];
        *id += 1;
        let Fate { sat, secret, expiry, by_us, .. } = *fate;
        (Htlc { by_us, id: *id - 1, msat: sat * 1000 + 7, secret, expiry }, *fate)
    };
    fates.iter().map(number).collect()
}

struct Run {
    world: World,
    htlcs: Vec<(Htlc, Fate)>,
    close: Close,
    /// The commitment that confirms, if theirs.
    index: u64,
    /// Transactions of the peer.
    peers: BTreeSet<Txid>,
    known: BTreeSet<u8>,
    /// The closing transaction.
    built: CommitmentTx,
    /// What the peer may publish of each HTLC that has an output there.
    claims: BTreeMap<OutPoint, (Htlc, Transaction)>,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        // Until the close nothing restarts; the families of restarts start there.
        let pair = Pair::new(FORMATS[plan.format], 1, plan.we_opened);
        let mut world = World::with(pair, Restart::Never);
        let htlcs = htlcs(&plan.fates);
        let all: Vec<Htlc> = htlcs.iter().map(|(htlc, _)| *htlc).collect();
        let steps = world.pair.commit(&adding(&all));
        world.learn(steps);
        let dropped = htlcs.iter().filter(|(_, fate)| fate.dropped).map(|(htlc, _)| *htlc).collect();
        let drop = Delta { fail: dropped, ..Delta::default() };
        let index = match plan.close {
            Close::Ours | Close::Current => 1,
            Close::Next => {
                let step = world.pair.sign_theirs(&drop);
                world.learn(vec![step]);
                2
            }
            Close::Revoked => {
                let steps = world.pair.commit(&drop);
                world.learn(steps);
                1
            }
        };
        world.restart = RESTARTS[plan.restart];
        let (us, built) = match plan.close {
            Close::Ours => (TxSide::Broadcaster, world.pair.built_ours().2),
            _ => (TxSide::Countersigner, world.pair.built_theirs(index).2),
        };
        let mut claims = BTreeMap::new();
        for (htlc, _) in &htlcs {
            let output = built.htlcs.iter().find(|output| output.htlc == htlc.seen_by(us));
            let Some(output) = output else { continue };
            let claim = match plan.close {
                Close::Ours => world.pair.their_claim_of_ours(htlc),
                _ => world.pair.their_second_stage(index, &[*htlc], &[], &[]),
            };
            claims.insert(OutPoint { txid: built.txid, vout: output.vout }, (*htlc, claim));
        }
        let (peers, known) = (BTreeSet::new(), BTreeSet::new());
        Self { world, htlcs, close: plan.close, index, peers, known, built, claims }
    }

    /// Where the closing transaction has the HTLC, if it has.
    fn place(&self, htlc: &Htlc) -> Option<OutPoint> {
        self.claims.iter().find(|(_, (known, _))| known == htlc).map(|(place, _)| *place)
    }

    fn close(&mut self) {
        let tx = match self.close {
            Close::Ours => {
                self.world.learn(vec![MonitorStep::ForceClose {}]);
                self.world.mempool.values().next().expect("our commitment is out").clone()
            }
            _ => self.world.pair.their_commitment(self.index),
        };
        self.world.mine(vec![tx]);
        let fits = matches!(
            (self.close, self.world.kinds().last()),
            (Close::Ours, Some(SpendKind::Ours { .. }))
                | (Close::Current | Close::Next, Some(SpendKind::Theirs { .. }))
                | (Close::Revoked, Some(SpendKind::Revoked { .. }))
        );
        assert!(fits, "{:?}", self.world.kinds());
    }

    /// What the peer puts into the block `blocks` after the close: claims of what it may have, if nobody was faster.
    fn peer_acts(&mut self, blocks: u32) -> Vec<Transaction> {
        let next = self.world.chain.height() + 1;
        let mut transactions = Vec::new();
        for (htlc, fate) in self.htlcs.clone() {
            let Some(place) = self.place(&htlc) else { continue };
            let due = if htlc.by_us { blocks == fate.when } else { next > htlc.expiry + fate.when % 5 };
            if !due || !self.world.chain.coins.contains_key(&place) {
                continue;
            }
            let tx = self.claims[&place].1.clone();
            if self.world.chain.check(&tx).is_ok() {
                self.peers.insert(tx.compute_txid());
                transactions.push(tx);
            }
        }
        transactions
    }

    fn we_learn(&mut self, blocks: u32) {
        for (htlc, fate) in self.htlcs.clone() {
            if !htlc.by_us && fate.when == blocks && self.known.insert(htlc.secret) {
                self.world.learn_preimage(&htlc);
            }
        }
    }

    fn run(&mut self, plan: &Plan) {
        self.close();
        for blocks in 0..90 {
            self.we_learn(blocks);
            self.world.censored = plan.censored.contains(&blocks);
            let transactions = self.peer_acts(blocks);
            self.world.mine(transactions);
            if plan.undone.contains(&blocks) && self.world.restart == Restart::Never {
                let block = self.world.disconnect();
                let again = block.txdata.into_iter().filter(|tx| self.peers.contains(&tx.compute_txid()));
                let again = again.collect();
                self.world.censored = true;
                self.world.mine(again);
            }
        }
        self.world.censored = false;
        self.world.settle();
        self.world.mine_blocks(7);
    }

    /// Nothing that is ours is left, or in other hands.
    fn judge_money(&self) {
        let built = &self.built;
        for (vout, output) in (0..).zip(&built.tx.output) {
            let outpoint = OutPoint { txid: built.txid, vout };
            if [built.broadcaster_anchor, built.countersigner_anchor].contains(&Some(vout)) {
                continue;
            }
            let theirs = match self.close {
                Close::Ours => built.to_countersigner == Some(vout),
                Close::Current | Close::Next => built.to_broadcaster == Some(vout),
                Close::Revoked => false,
            };
            if theirs {
                continue;
            }
            let spender = self.world.chain.spender(outpoint);
            match (self.claims.get(&outpoint).map(|(htlc, _)| htlc), spender) {
                (Some(htlc), None) => {
                    assert!(!htlc.by_us && !self.known.contains(&htlc.secret), "{htlc:?} is left");
                    assert_ne!(self.close, Close::Revoked);
                }
                (None, None) => panic!("our balance of {output:?} is left"),
                (Some(_), Some(spender)) if self.peers.contains(&spender.compute_txid()) => {
                    if self.close == Close::Revoked {
                        self.is_ours_in_the_end(&OutPoint { txid: spender.compute_txid(), vout: 0 });
                    }
                }
                (Some(_), Some(_)) if self.close == Close::Ours => {
                    let spender = self.world.chain.spender(outpoint).unwrap().compute_txid();
                    self.is_ours_in_the_end(&OutPoint { txid: spender, vout: 0 });
                }
                (_, Some(_)) => self.is_ours_in_the_end(&outpoint),
            }
        }
    }

    fn is_ours_in_the_end(&self, outpoint: &OutPoint) {
        let spender = self.world.chain.spender(*outpoint).unwrap_or_else(|| panic!("{outpoint} is left"));
        assert_eq!(spender.output.len(), 1);
        assert_eq!(spender.output[0].script_pubkey, destination());
    }

    /// Each HTLC that we offered and that is still in the channel is told once, and rightly.
    fn judge_reports(&self) {
        let claimed_on_chain: BTreeSet<u64> = self
            .htlcs
            .iter()
            .filter(|(htlc, _)| {
                let spender = self.place(htlc).and_then(|place| self.world.chain.spender(place));
                htlc.by_us && spender.is_some_and(|tx| self.peers.contains(&tx.compute_txid()))
            })
            .map(|(htlc, _)| htlc.id)
            .collect();
        let outcomes = self.world.sorted_outcomes();
        let told: Vec<u64> = outcomes.iter().map(|(id, _)| *id).collect();
        let in_channel = self
            .htlcs
            .iter()
            .filter(|(htlc, fate)| htlc.by_us && !(self.close == Close::Revoked && fate.dropped));
        let expected: Vec<u64> = in_channel.map(|(htlc, _)| htlc.id).collect();
        assert_eq!(told, expected, "each is told, once");
        for (id, claimed) in outcomes {
            if claimed_on_chain.contains(&id) {
                assert!(claimed, "{id} was claimed");
                continue;
            }
            if claimed {
                // Without an output of its own it is claimed by the preimage that another showed.
                let (htlc, _) = self.htlcs.iter().find(|(htlc, _)| htlc.by_us && htlc.id == id).unwrap();
                let shown = self.htlcs.iter().any(|(other, _)| {
                    other.by_us && claimed_on_chain.contains(&other.id) && other.secret == htlc.secret
                });
                assert!(shown || self.undone_claim(htlc), "{id} was not claimed");
            }
        }
        assert_eq!(self.world.resolved_events(), 1);
        assert!(self.world.env.wallet.lent().is_empty(), "no coins stay set aside");
    }

    /// Whether the peer ever showed the preimage, in a block that may have been taken back.
    fn undone_claim(&self, htlc: &Htlc) -> bool {
        self.htlcs.iter().any(|(other, fate)| other.secret == htlc.secret && fate.when < 90)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_of_ours_is_left(plan in plan()) {
        let mut run = Run::new(&plan);
        run.run(&plan);
        run.judge_money();
        run.judge_reports();
    }
}
