//! Two funding outputs of which only one can be in the chain, as when a funding transaction is replaced (RELIABILITY D28). Each has a
//! monitor of its own; claims follow the one that is there, also when a reorganisation puts the other in its place.
use bitcoin::OutPoint;
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{MonitorEvent, MonitorStep, Persist, SpendKind};
use lightning_traits::tx::CommitmentFormat;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Htlc, Pair, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 60;
const HTLCS: [Htlc; 2] = [offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY + 50)];

/// Who publishes what of the candidate that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Theirs,
    Revoked,
}

const KINDS: [Kind; 3] = [Kind::Ours, Kind::Theirs, Kind::Revoked];

/// Both candidates in one set; the first is the world's own.
struct Two {
    world: World,
    pairs: [Pair; 2],
}

impl Two {
    fn new(format: CommitmentFormat) -> Self {
        let pairs = [Pair::new(format, 1, true), Pair::new(format, 2, true)];
        let mut world = World::with(pairs[0].clone(), Restart::Never);
        assert!(matches!(world.set.add_channel(pairs[1].new_monitor()), Persist::InProgress));
        world.after();
        let mut two = Self { world, pairs };
        for at in 0..2 {
            let pair = &mut two.pairs[at];
            let mut steps = pair.commit(&adding(&HTLCS));
            steps.extend(pair.commit(&Delta::default()));
            steps.push(MonitorStep::Preimage { preimage: HTLCS[1].preimage() });
            two.learn(at, steps);
        }
        two
    }

    fn learn(&mut self, at: usize, steps: Vec<MonitorStep>) {
        let update = self.pairs[at].update(steps);
        assert!(matches!(self.world.set.update_channel(update), Persist::InProgress));
        self.world.env.store.flush();
        self.world.after();
    }

    fn funding(&self, at: usize) -> OutPoint {
        self.pairs[at].init.funding.outpoint
    }

    /// From now on this candidate is in the chain, and the other is not.
    fn there(&mut self, at: usize) {
        let (here, gone) = (self.funding(at), self.funding(1 - at));
        self.world.chain.coins.remove(&gone);
        self.world.chain.grant(here, self.pairs[at].init.funding.txout());
        self.world.absent = vec![gone];
        self.world.mempool.clear();
    }

    fn confirm(&mut self, at: usize, kind: Kind) {
        let close = match kind {
            Kind::Ours => {
                self.learn(at, vec![MonitorStep::ForceClose {}]);
                self.pairs[at].our_commitment()
            }
            Kind::Theirs => self.pairs[at].their_commitment(2),
            Kind::Revoked => self.pairs[at].their_commitment(1),
        };
        self.world.mempool.clear();
        self.world.mine(vec![close]);
        let expected = match kind {
            Kind::Ours => SpendKind::Ours { number: number(2) },
            Kind::Theirs => SpendKind::Theirs { number: number(2) },
            Kind::Revoked => SpendKind::Revoked { number: number(1) },
        };
        assert_eq!((self.closed_by(at), self.closed_by(1 - at)), (Some(expected), None));
    }

    fn closed_by(&self, at: usize) -> Option<SpendKind> {
        self.world.set.closed_by(self.pairs[at].init.channel).map(|(_, kind)| kind)
    }

    /// All that the candidate's commitment had for us is spent.
    fn assert_claimed(&self, at: usize, kind: Kind, context: &str) {
        let (commitment, ours) = match kind {
            Kind::Ours => (self.pairs[at].built_ours().2, true),
            Kind::Theirs => (self.pairs[at].built_theirs(2).2, false),
            Kind::Revoked => (self.pairs[at].built_theirs(1).2, false),
        };
        let balance = if ours { commitment.to_broadcaster } else { commitment.to_countersigner };
        let theirs = commitment.to_broadcaster.filter(|_| kind == Kind::Revoked);
        let htlcs = commitment.htlcs.iter().map(|htlc| htlc.vout);
        for vout in htlcs.chain(balance).chain(theirs) {
            let place = OutPoint { txid: commitment.txid, vout };
            assert!(self.world.chain.spender(place).is_some(), "{context}: {place}");
        }
    }
}

/// Whichever candidate is there, whoever publishes what of it, and whatever confirmed of the other before a reorganisation.
#[test]
fn d28_claims_follow_the_candidate_that_is_in_the_chain() {
    // Nothing; or the other candidate was there before, closed like this, so deep.
    let others = KINDS.into_iter().flat_map(|other| [1, 5, 30].map(|depth| Some((other, depth))));
    let histories: Vec<Option<(Kind, u32)>> = [None].into_iter().chain(others).collect();
    for format in FORMATS {
        for at in 0..2 {
            for (kind, before) in KINDS.into_iter().flat_map(|kind| histories.iter().map(move |b| (kind, *b)))
            {
                let context = format!("{format:?} {at} {kind:?} after {before:?}");
                let mut two = Two::new(format);
                if let Some((other, depth)) = before {
                    two.there(1 - at);
                    two.confirm(1 - at, other);
                    two.world.mine_blocks(depth - 1);
                    // Its claims are made anew on the way back, of what is not there any more.
                    two.world.absent.push(two.funding(1 - at));
                    (0..depth).for_each(|_| drop(two.world.disconnect()));
                    assert_eq!(two.closed_by(1 - at), None, "{context}");
                }
                two.there(at);
                two.confirm(at, kind);
                // The channel hears which candidate it is.
                two.learn(1 - at, vec![MonitorStep::Abandoned {}]);
                two.world.crash();
                two.world.mine_blocks(340);
                two.assert_claimed(at, kind, &context);
                let lost = two.pairs[1 - at].init.channel;
                let is_over = |event: &MonitorEvent| *event == MonitorEvent::Resolved { channel: lost };
                assert!(two.world.events.iter().any(is_over), "{context}");
                let mut archived = two.world.env.store.archived();
                archived.sort_unstable();
                let mut both = two.pairs.each_ref().map(|pair| pair.init.channel);
                both.sort_unstable();
                assert_eq!(archived, both, "{context}");
                assert!(two.world.env.wallet.lent().is_empty(), "{context}");
            }
        }
    }
}
