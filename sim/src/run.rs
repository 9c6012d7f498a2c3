//! One run: a network, the steps of its script, the end of all trouble, and what must be true then.
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use lightning_channel::channel::{ChannelDetails, PhaseName};
use lightning_traits::event::{CloseReason, Event};

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::disk::Durable;
use crate::journal::Journal;
use crate::node::Node;
use crate::oracle::{Broken, Oracle, breach, broken, hold, money, tower};
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::script::Script;
use crate::topology::Shape;
use crate::towers::{Policy, Towers};
use crate::trouble::Trouble;
use crate::user::Plan;
use crate::world::{Link, World};

/// Blocks within which everything on chain must be settled: the longest lock time, the delays of two stages, and the
/// depth at which a channel is forgotten.
const MAX_WIND_DOWN: u32 = 900;
/// Blocks within which whoever insists on a feerate is heard or loses the channel, and one more.
const INSISTING: u32 = 7;

/// Blocks that may go without anything final among them.
const DEEP: u64 = 6;

/// What happened in a run that kept all promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Payments begun.
    pub payments: u64,
    /// Payments that arrived.
    pub arrived: u64,
    /// Crashes.
    pub crashes: u64,
    /// Times that blocks went again.
    pub reorgs: u64,
    /// Writes that became durable.
    pub writes: u64,
    /// Channels that users opened on the way.
    pub opened: u64,
    /// Channels that were closed, and paid out as they should.
    pub closed: u64,
    /// Commitments that villains published, of whatever age.
    pub published: u64,
    /// Revoked commitments that somebody punished.
    pub breaches: u64,
    /// Other tricks of villains.
    pub tricks: u64,
    /// Clients of towers that went for ever.
    pub absent: u64,
    /// Times that a tower died.
    pub tower_crashes: u64,
    /// Revoked commitments of which towers had to punish every output, and did.
    pub guarded: u64,
    /// Those of them whose client was gone: towers alone.
    pub punished_alone: u64,
    /// The most blocks that went at once.
    pub deepest: u64,
    /// What was seen.
    pub coverage: Coverage,
}

impl Outcome {
    /// What must happen to towers, and did not.
    #[must_use]
    pub fn missing_of_towers(&self) -> Vec<&'static str> {
        let all = [
            (self.guarded, "a breach that towers had to punish"),
            (self.punished_alone, "a breach that towers punished alone"),
            (self.absent, "a client that is gone for ever"),
            (self.tower_crashes, "a tower that died"),
            (self.deepest.saturating_sub(DEEP), "a reorganisation that takes back what was final"),
        ];
        all.into_iter().filter(|(count, _)| *count == 0).map(|(_, what)| what).collect()
    }

    /// Adds what happened in another run.
    pub fn add(&mut self, more: &Self) {
        self.payments += more.payments;
        self.arrived += more.arrived;
        self.crashes += more.crashes;
        self.reorgs += more.reorgs;
        self.writes += more.writes;
        self.opened += more.opened;
        self.closed += more.closed;
        self.published += more.published;
        self.breaches += more.breaches;
        self.tricks += more.tricks;
        self.absent += more.absent;
        self.tower_crashes += more.tower_crashes;
        self.guarded += more.guarded;
        self.punished_alone += more.punished_alone;
        self.deepest = self.deepest.max(more.deepest);
        self.coverage.add(&more.coverage);
    }
}

/// A run, as far as it has come.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) profile: Profile,
    pub(crate) outcome: Outcome,
    /// Copies of disks.
    pub(crate) backups: Vec<(usize, Durable)>,
    /// The height at which the steps began.
    pub(crate) start: u32,
    /// The dice of the step.
    pub(crate) dice: Dice,
    pub(crate) trouble: Trouble,
    known: usize,
    before: Vec<i128>,
}

/// Runs a script.
///
/// # Errors
/// What was promised and not kept.
pub fn run(script: &Script, loud: bool) -> Result<Outcome, Broken> {
    run_with(script, &Journal::new(loud))
}

/// Runs a script, and says in the journal what happens.
pub(crate) fn run_with(script: &Script, journal: &Journal) -> Result<Outcome, Broken> {
    listen_to_panics();
    IS_RUNNING.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| Run::new(script, journal).finish(script)));
    IS_RUNNING.set(false);
    result.map_err(|panic| match panic.downcast::<Broken>() {
        Ok(broken) => *broken,
        Err(_) => Broken { oracle: Oracle::NoAbort, what: LAST_PANIC.take() },
    })
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    /// Whether a panic of this thread is one of a run, and not of whoever asked for it.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Panics of runs become results, with the place where they happened, and print nothing.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_RUNNING.get() {
                LAST_PANIC.set(info.to_string());
            } else {
                others(info);
            }
        }));
    });
}

impl Run {
    fn new(script: &Script, journal: &Journal) -> Self {
        let mut dice = Dice::new(!script.seed);
        let shape = match script.profile.scenario() {
            Some(scenario) => Shape::of_kinds(scenario.kinds, scenario.is_trusting(), &mut dice),
            None => Shape::of_seed(&mut dice),
        };
        let profile = script.profile.base();
        let saved = shape.saved();
        let mut world = World::load(&saved, &mut dice, journal);
        world.is_war = profile.allows_force();
        // A client that waits for its towers may have to let deadlines pass.
        world.may_force = matches!(profile, Profile::Chain | Profile::Towers);
        // What a spike cost, and nobody took in time, may end channels without anchors.
        let has_plain = (0..world.nodes.len()).any(|node| world.shape.is_plain(node));
        world.tree.is_kept = world.may_force || profile == Profile::Spikes && has_plain;
        if profile.is_cheap() {
            world.fees.rate.set(500);
        }
        if script.profile.scenario().is_some_and(Scenario::has_towers) {
            world.nodes.iter_mut().enumerate().for_each(|(at, node)| node.guard(Policy::two(), 2 * at));
        }
        world.nodes.iter_mut().for_each(Node::start);
        for (a, b) in world.pairs() {
            world.connect(a, b);
        }
        world.settle();
        let before = (0..world.nodes.len()).map(|node| money::wealth(&world, node)).collect();
        let mut run = Self {
            known: world.links.len(),
            start: world.chain.height(),
            world,
            profile,
            trouble: Trouble::default(),
            outcome: Outcome::default(),
            backups: Vec::new(),
            dice,
            before,
        };
        if profile.has_villains() {
            run.cast();
        }
        if profile == Profile::Towers {
            run.guard_some();
            run.start = run.world.chain.height();
            run.before = (0..run.world.nodes.len()).map(|node| money::wealth(&run.world, node)).collect();
        }
        run
    }

    fn finish(mut self, script: &Script) -> Outcome {
        for (number, step) in script.steps.iter().enumerate() {
            self.world.say(|| format!("-- {number}: {step}"));
            self.world.journal.begin(number);
            self.dice = Dice::new(step.roll);
            self.trouble.roll = step.roll;
            self.step(step.act);
            (0..self.world.nodes.len()).for_each(|node| self.world.judge_broadcasts(node));
            self.world.keep_history();
        }
        self.dice = Dice::new(script.seed);
        self.world.say(|| "-- the trouble is over".to_owned());
        self.world.journal.begin(script.steps.len());
        self.heal();
        for node in self.world.nodes.iter().filter(|node| !node.is_gone()) {
            let is_spent = |channel| self.world.is_spent(channel);
            let fault = node.towers.as_ref().and_then(|towers| towers.fault(&node.disk.channels(), is_spent));
            hold(Oracle::Durable, fault.is_none(), || {
                format!("node {} and its towers: {fault:?}", node.number)
            });
        }
        self.wind_down();
        let punished = tower::check_punished(&self.world);
        (self.outcome.guarded, self.outcome.punished_alone) = (punished.breaches, punished.alone);
        let towers = self.world.nodes.iter().filter_map(|node| node.towers.as_ref());
        self.outcome.tower_crashes = towers.map(|towers| towers.crashes).sum();
        self.world.check_batches();
        self.outcome.payments = self.world.payments.len() as u64;
        self.outcome.opened = (self.world.links.len() - self.known) as u64;
        if self.world.is_war {
            breach::check(&self.world);
            self.outcome.arrived = money::check_war(&self.world, &self.before, self.known);
        } else {
            self.outcome.arrived = money::check_peace(&self.world, &self.before, self.known);
            self.outcome.closed = money::close(&mut self.world, &mut self.dice);
        }
        let breach =
            |event: &&Event| matches!(event, Event::ChannelClosed { reason: CloseReason::Breach, .. });
        let seen = self.world.nodes.iter().map(|node| node.user.seen.iter().filter(breach).count());
        self.outcome.breaches = seen.sum::<usize>() as u64;
        self.outcome.writes = self.world.nodes.iter().map(|node| node.disk.written()).sum();
        self.outcome.coverage = self.world.coverage.clone();
        self.outcome
    }

    /// The trouble stops: everything is quick, everybody is connected, and users decide what they have let wait.
    fn heal(&mut self) {
        self.world.calm();
        let was_short = self.world.market.was_short();
        self.world.set_floor(1_000);
        self.world.nodes.iter_mut().for_each(Node::be_quick);
        self.world.nodes.iter_mut().filter_map(|node| node.towers.as_mut()).for_each(Towers::heal);
        self.world.scan();
        (0..self.world.nodes.len()).for_each(|node| self.world.mend(node));
        // Villains are never heard of again, or go on as before.
        let vanish = self.dice.once_in(2);
        for round in 0..6 {
            self.connect_all(vanish);
            if round == 3 {
                self.leave_villains();
            }
            self.world.catch_up();
            self.world.tick();
            self.world.settle();
            if round == 1 {
                self.ask_again();
                self.world.settle();
                for node in (0..self.world.nodes.len())
                    .filter(|node| !self.world.absent.contains(node))
                    .collect::<Vec<_>>()
                {
                    for hash in self.world.nodes[node].user.waiting.clone() {
                        let plan = if self.dice.once_in(3) { Plan::Refuse } else { Plan::Claim };
                        self.world.decide(node, hash, plan);
                    }
                }
                self.world.settle();
            }
        }
        if was_short {
            self.insist(vanish);
        }
    }

    fn connect_all(&mut self, vanish: bool) {
        for (a, b) in self.world.pairs() {
            if vanish && [a, b].iter().any(|end| self.world.villains.contains(end)) {
                self.world.cut(a, b, [true, true]);
            } else {
                self.world.connect(a, b);
            }
        }
    }

    /// Whoever keeps to the rules wants to see the money that villains have a hand on.
    fn leave_villains(&mut self) {
        for link in self.world.links.clone() {
            for end in link.ends.into_iter().filter(|end| self.world.is_trusty(*end)) {
                let world = &self.world;
                // Who waits for towers that are gone for ever meets nobody.
                let is_stuck = |node: &usize| world.may_force && !world.nodes[*node].is_settled();
                let is_lost = |node: &usize| {
                    world.villains.contains(node) || world.absent.contains(node) || is_stuck(node)
                };
                if link.ends.iter().any(is_lost) {
                    let closed = self.world.nodes[end].manager().force_close(link.channel);
                    self.outcome.closed += u64::from(closed.is_ok());
                }
            }
        }
    }

    /// Who has signed for what a spike cost, on a channel without anchors, insists on it when all is cheap again. Its peer waits for
    /// some blocks, in which estimates could follow; then that is over, one way or the other.
    fn insist(&mut self, vanish: bool) {
        for _ in 0..INSISTING {
            if !self.world.links.iter().any(|link| self.is_apart(link)) {
                return;
            }
            self.world.mine(1);
            self.world.catch_up();
            self.connect_all(vanish);
            self.world.settle();
        }
    }

    /// Whether a channel without anchors is offline though its peers were just connected.
    fn is_apart(&self, link: &Link) -> bool {
        let is_plain = link.ends.iter().any(|end| self.world.shape.is_plain(*end));
        let channels = self.world.nodes[link.ends[0]].manager().list_channels();
        let is_offline =
            |known: &ChannelDetails| known.channel == link.channel && known.phase == PhaseName::Offline;
        is_plain && channels.iter().any(is_offline)
    }

    /// Users whose nodes have lost a payment, before any of it was durable, begin it again.
    fn ask_again(&mut self) {
        for payment in self.world.payments.clone() {
            if [&self.world.villains, &self.world.absent].iter().any(|others| others.contains(&payment.payer))
            {
                continue;
            }
            let node = &self.world.nodes[payment.payer];
            let is_known = node.manager().list_payments().iter().any(|known| known.id == payment.id);
            if !is_known && node.user.ending(payment.id).is_none() {
                let begun = node.manager().pay(payment.id, payment.params);
                hold(Oracle::Events, begun.is_ok(), || format!("a lost payment is refused: {begun:?}"));
            }
        }
    }

    /// Blocks come until everything that went to the chain is settled.
    fn wind_down(&mut self) {
        for block in 0..MAX_WIND_DOWN {
            if block >= 6 && money::noise(&self.world).is_empty() && tower::unpunished(&self.world).is_empty()
            {
                return;
            }
            self.world.mine(1);
            self.world.catch_up();
            if block % 10 == 0 {
                for (a, b) in self.world.pairs() {
                    if ![a, b].iter().any(|end| self.world.villains.contains(end)) {
                        self.world.connect(a, b);
                    }
                }
                self.world.tick();
                self.world.settle();
            }
        }
        let waits = tower::unpunished(&self.world);
        if !waits.is_empty() {
            broken(Oracle::Punished, waits.join("\n"));
        }
        for node in &self.world.nodes {
            if let Some(towers) = &node.towers {
                self.world.say(|| format!("the towers of {}: {}", node.number, towers.standing()));
            }
        }
        let noise = money::noise(&self.world).join("\n");
        broken(Oracle::Live, format!("not settled on chain after {MAX_WIND_DOWN} blocks:\n{noise}"));
    }
}
