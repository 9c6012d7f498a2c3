//! For tests: two nodes with a channel, the wire between them, and their disks.
//!
//! Every change goes through bytes; a restart replays what was durable; after every step the money is counted.
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::OnceLock;

use lightning_traits::Secp;
use lightning_traits::codec::{Decode, Encode};
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::sphinx::OnionPacket;
use lightning_traits::tx::{CommitmentFormat, CommitmentSpec};
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
use lightning_traits::wire::Message;

use crate::commitments::*;
use crate::testing::{TestSigner, terms};

/// What can go wrong when a message is taken.
#[derive(Debug)]
pub(super) enum Trouble {
    Violation(Violation),
    Signer,
}

impl From<Violation> for Trouble {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl Trouble {
    pub(super) fn violation(self) -> Violation {
        match self {
            Self::Violation(violation) => violation,
            Self::Signer => panic!("the signer was slow"),
        }
    }
}

pub(super) struct Node {
    pub(super) state: Commitments,
    pub(super) signer: TestSigner,
    pub(super) policy: Policy,
    /// The record: a snapshot, changes after it, and how many of them are durable.
    snapshot: Vec<u8>,
    changes: Vec<Vec<u8>>,
    durable: usize,
    /// On the wire to the other node.
    pub(super) wire: VecDeque<Message>,
    /// How each HTLC that this node offered ended, by its origin.
    pub(super) outcomes: BTreeMap<u64, Outcome>,
    /// All that was ever offered and not dropped: origin to amount.
    pub(super) offered: BTreeMap<u64, Msat>,
    /// What the monitor believes both commitments to be.
    monitor: (CommitmentSpec, CommitmentSpec),
}

impl Node {
    fn new(state: Commitments, signer: TestSigner, policy: Policy) -> Self {
        let monitor = (state.our_spec().clone(), state.their_spec().clone());
        signer.may_release.set(0);
        Self {
            snapshot: state.to_bytes(),
            changes: Vec::new(),
            durable: 0,
            state,
            signer,
            policy,
            wire: VecDeque::new(),
            outcomes: BTreeMap::new(),
            offered: BTreeMap::new(),
            monitor,
        }
    }

    pub(super) fn evolve(&mut self, change: Change) {
        let bytes = change.to_bytes();
        let read = Change::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes, "a change must survive its bytes");
        if !matches!(change, Change::Committed { .. }) {
            assert_eq!(read, change);
        }
        self.changes.push(bytes);
        let evolved = self.state.evolve(&change);
        // All but our own proposals is durable at once, and with it all before.
        if !evolved.steps.is_empty() || matches!(change, Change::NoticeDone { .. }) {
            self.durable = self.changes.len();
        }
        for step in evolved.steps {
            self.learn(step);
        }
        for notice in evolved.notices {
            self.note(notice);
        }
        for (_, unsent) in evolved.unsent {
            self.offered.remove(&serial(&unsent.origin)).unwrap();
        }
        self.check();
    }

    /// The monitor's side of the bargain: deltas must give the specs.
    fn learn(&mut self, step: MonitorStep) {
        let apply = |spec: &mut CommitmentSpec, change: &lightning_traits::monitor::CommitmentChange| {
            for (side, id) in &change.removed {
                let found = spec.htlcs.iter().position(|htlc| htlc.offered_by == *side && htlc.id == *id);
                spec.htlcs.remove(found.expect("the monitor knows what is removed"));
            }
            spec.htlcs.extend(&change.added);
            spec.feerate = change.feerate;
            spec.to_broadcaster = change.to_broadcaster;
            spec.to_countersigner = change.to_countersigner;
        };
        match step {
            MonitorStep::OurCommitment { change, .. } => apply(&mut self.monitor.0, &change),
            MonitorStep::TheirCommitment { change, .. } => apply(&mut self.monitor.1, &change),
            _ => {}
        }
        assert_eq!(sorted(&self.monitor.0), sorted(self.state.our_spec()));
        assert_eq!(sorted(&self.monitor.1), sorted(self.state.their_spec()));
    }

    fn note(&mut self, notice: Notice) {
        let Notice::Settled { origin, outcome, .. } = notice else { return };
        let known = self.outcomes.insert(serial(&origin), outcome.clone());
        assert!(known.is_none_or(|known| known == outcome), "an HTLC ended twice, differently");
    }

    /// Money, and the record.
    fn check(&self) {
        let capacity = self.state.terms().capacity();
        assert_eq!(self.state.our_spec().total(), Some(capacity), "our commitment");
        assert_eq!(self.state.their_spec().total(), Some(capacity), "their commitment");
    }

    /// What a restart would find.
    pub(super) fn replay(&self, changes: usize) -> Commitments {
        let mut state = Commitments::from_bytes(&self.snapshot).unwrap();
        for bytes in self.changes.iter().take(changes) {
            let _ = state.evolve(&Change::from_bytes(bytes).unwrap());
        }
        state
    }

    pub(super) fn check_record(&self) {
        assert_eq!(self.replay(self.changes.len()), self.state, "the record must give the state");
        assert_eq!(Commitments::from_bytes(&self.state.to_bytes()).unwrap(), self.state, "the snapshot too");
    }

    /// Forgets all that was not durable.
    fn restart(&mut self) {
        self.changes.truncate(self.durable);
        self.state = self.replay(self.durable);
        // A restart ends the connection too. What was not sent was perhaps dropped and offered elsewhere since.
        let _ = self.state.evolve(&Change::Dropped {});
        self.snapshot = self.state.to_bytes();
        self.changes.clear();
        self.durable = 0;
        let pending: Vec<_> = self.state.outgoing().map(|(_, htlc)| serial(&htlc.origin)).collect();
        let outcomes = self.outcomes.clone();
        self.offered.retain(|origin, _| pending.contains(origin) || outcomes.contains_key(origin));
        for notice in self.state.notices() {
            self.note(notice);
        }
    }

    pub(super) fn take(&mut self, secp: &Secp, message: &Message) -> Result<(), Trouble> {
        let before = self.state.clone();
        let taken = self.decide(secp, message);
        assert_eq!(self.state, before, "decide changes nothing");
        let (change, answer) = taken?;
        self.evolve(change);
        self.wire.extend(answer);
        Ok(())
    }

    fn decide(&self, secp: &Secp, message: &Message) -> Result<(Change, Option<Message>), Trouble> {
        let (state, policy) = (&self.state, &self.policy);
        let change = match message {
            Message::UpdateAddHtlc(message) => state.accept_add(message, policy)?,
            Message::UpdateFulfillHtlc(message) => state.accept_fulfill(message)?,
            Message::UpdateFailHtlc(message) => state.accept_fail(message)?,
            Message::UpdateFailMalformedHtlc(message) => state.accept_malformed(message)?,
            Message::UpdateFee(message) => state.accept_fee(message, policy)?,
            Message::RevokeAndAck(message) => state.accept_revocation(secp, message)?,
            Message::CommitmentSigned(message) => {
                self.signer.may_release.set(state.our_number().0);
                return match state.accept_commit(secp, &self.signer, message) {
                    Ok((change, revocation)) => Ok((change, Some(revocation.into()))),
                    Err(CommitRefused::Violation(violation)) => Err(violation.into()),
                    Err(CommitRefused::Signer(_)) => Err(Trouble::Signer),
                };
            }
            other => panic!("unexpected {other:?}"),
        };
        Ok((change, None))
    }

    pub(super) fn add(&mut self, htlc: OutgoingHtlc) -> Result<HtlcId, OfferRefused> {
        let (change, message) = self.state.offer_add(&htlc, &self.policy)?;
        let (id, origin) = (message.id, serial(&htlc.origin));
        self.offered.insert(origin, htlc.amount);
        self.wire.push_back(message.into());
        self.evolve(change);
        Ok(id)
    }

    pub(super) fn remove(&mut self, id: HtlcId, removal: Removal) -> Result<(), RemovalRefused> {
        let (change, message) = self.state.offer_removal(id, removal)?;
        self.wire.push_back(message);
        self.evolve(change);
        Ok(())
    }

    pub(super) fn fee(&mut self, feerate: u32) -> Result<(), FeeRefused> {
        let (change, message) = self.state.offer_fee(FeeratePerKw::new(feerate), &self.policy)?;
        self.wire.push_back(message.into());
        self.evolve(change);
        Ok(())
    }

    pub(super) fn sign(&mut self, secp: &Secp) -> Result<(), NotNow> {
        let (change, message) = self.state.sign_next(secp, &self.signer)?;
        self.wire.push_back(message.into());
        self.evolve(change);
        Ok(())
    }
}

/// The curve's context and table, read once for all tests of this process.
fn shared_secp() -> Secp {
    static SECP: OnceLock<Secp> = OnceLock::new();
    SECP.get_or_init(Secp::new).clone()
}

/// Two nodes: `nodes[0]` opened the channel.
pub(super) struct Pair {
    pub(super) secp: Secp,
    pub(super) nodes: [Node; 2],
    onion: Arc<OnionPacket>,
    next_origin: u64,
}

impl Pair {
    /// 1,000,000 sat, of which the accepter has 400,000; 1000 sat/kw.
    pub(super) fn new(format: CommitmentFormat) -> Self {
        Self::with(format, Msat::from_sat(400_000), |_, _| ())
    }

    pub(super) fn with(
        format: CommitmentFormat,
        pushed: Msat,
        change_terms: impl Fn(&mut crate::terms::Terms, &mut crate::terms::Terms),
    ) -> Self {
        let secp = shared_secp();
        let signers = [TestSigner::new(&secp, 1), TestSigner::new(&secp, 2)];
        let (mut opened, mut accepted) = terms(&signers[0], &signers[1], format);
        change_terms(&mut opened, &mut accepted);
        let point = |node: usize, number| signers[node].commitment_point(CommitmentNumber(number)).unwrap();
        let feerate = FeeratePerKw::new(1_000);
        let policy = Policy {
            max_dust_exposure: Msat::from_sat(1_000_000),
            min_feerate: FeeratePerKw::new(253),
            max_feerate: FeeratePerKw::new(20_000),
            fair_feerate: FeeratePerKw::new(20_000),
        };
        let spec = opened.first_spec(feerate, pushed).unwrap();
        let mut first = Commitments::new(opened, spec.clone(), point(1, 0), point(0, 1));
        let mut second = Commitments::new(accepted, spec.mirror(), point(0, 0), point(1, 1));
        let signed =
            [first.sign_again(&secp, &signers[0]).unwrap(), second.sign_again(&secp, &signers[1]).unwrap()];
        first.verify_current(&secp, &signers[0], point(0, 0), &signed[1].signature, &[]).unwrap();
        second.verify_current(&secp, &signers[1], point(1, 0), &signed[0].signature, &[]).unwrap();
        let _ = first.evolve(&first.accept_ready(point(1, 1)).unwrap());
        let _ = second.evolve(&second.accept_ready(point(0, 1)).unwrap());
        let [a, b] = signers;
        Self {
            secp,
            nodes: [Node::new(first, a, policy), Node::new(second, b, policy)],
            onion: Arc::new(OnionPacket {
                version: 0,
                ephemeral_key: [2; 33],
                payloads: [5; 1300],
                hmac: [9; 32],
            }),
            next_origin: 0,
        }
    }

    pub(super) fn htlc(&mut self, amount: Msat, secret: u8) -> OutgoingHtlc {
        self.next_origin += 1;
        OutgoingHtlc {
            amount,
            hash: hash(secret),
            expiry: CltvExpiry::new(800_100),
            onion: self.onion.clone().into(),
            path_key: None,
            origin: Origin::Forward { channel: ChannelId([0; 32]), htlc: HtlcId(self.next_origin) },
        }
    }

    pub(super) fn add(&mut self, from: usize, amount: Msat, secret: u8) -> Result<HtlcId, OfferRefused> {
        let htlc = self.htlc(amount, secret);
        self.nodes[from].add(htlc)
    }

    pub(super) fn sign(&mut self, node: usize) -> Result<(), NotNow> {
        let Self { secp, nodes, .. } = self;
        nodes[node].sign(secp)
    }

    /// Hands the next message of `from` over.
    pub(super) fn deliver(&mut self, from: usize) -> Option<Result<(), Trouble>> {
        let message = self.nodes[from].wire.pop_front()?;
        let taken = self.nodes[1 - from].take(&self.secp, &message);
        self.check_mirror();
        Some(taken)
    }

    /// Hands everything over until both wires are empty.
    pub(super) fn deliver_all(&mut self) {
        while !self.nodes.iter().all(|node| node.wire.is_empty()) {
            for from in [0, 1] {
                if let Some(taken) = self.deliver(from) {
                    taken.unwrap();
                }
            }
        }
    }

    /// Hands over and signs until nothing is left to do.
    pub(super) fn settle(&mut self) {
        loop {
            self.deliver_all();
            let signed = [self.sign(0).is_ok(), self.sign(1).is_ok()];
            if signed == [false, false] {
                break;
            }
        }
        for node in &self.nodes {
            assert!(!node.state.has_uncommitted());
            node.check_record();
        }
        let [a, b] = &self.nodes;
        assert_eq!(sorted(a.state.our_spec()), sorted(&b.state.our_spec().mirror()), "both sides agree");
        assert_eq!(sorted(a.state.our_spec()), sorted(&a.state.their_spec().mirror()));
    }

    /// The connection ends, whoever is named restarts, and the connection comes back.
    pub(super) fn reconnect(&mut self, restarts: [bool; 2]) {
        for (node, restarts) in self.nodes.iter_mut().zip(restarts) {
            node.wire.clear();
            if restarts {
                node.restart();
            }
            node.evolve(Change::Dropped {});
        }
        let hello = self.nodes.each_ref().map(|node| node.state.reestablish(&node.signer));
        let [to_second, to_first] = hello;
        for (node, message) in self.nodes.iter_mut().zip([to_first, to_second]) {
            let resend = node.state.retransmit(&self.secp, &node.signer, &message).unwrap();
            for resend in resend {
                let message = match resend {
                    Resend::Update(message) => message,
                    Resend::Revocation => node.state.revoke_again(&node.signer).unwrap().unwrap().into(),
                    Resend::Signed => node.state.sign_again(&self.secp, &node.signer).unwrap().into(),
                };
                node.wire.push_back(message);
            }
        }
    }

    /// Where both have the same commitment, they have it alike.
    fn check_mirror(&self) {
        for (owner, signer) in [(0, 1), (1, 0)] {
            let (owner, signer) = (&self.nodes[owner].state, &self.nodes[signer].state);
            if owner.our_number() == signer.their_number() {
                assert_eq!(sorted(owner.our_spec()), sorted(signer.their_spec()));
            } else {
                assert_eq!(owner.our_number().next(), signer.their_number());
            }
        }
    }
}

pub(super) fn preimage(secret: u8) -> Preimage {
    Preimage::new([secret; 32])
}

pub(super) fn hash(secret: u8) -> PaymentHash {
    preimage(secret).hash()
}

pub(super) fn fulfil(secret: u8) -> Removal {
    Removal::Fulfill { preimage: preimage(secret), attribution: None, claimed: Some(Msat::new(1)) }
}

pub(super) fn fail() -> Removal {
    Removal::Fail { reason: alloc::vec![1; 292], attribution: None }
}

pub(super) fn serial(origin: &Origin) -> u64 {
    match origin {
        Origin::Forward { htlc, .. } => htlc.0,
        Origin::Payment { .. } => panic!("tests forward"),
    }
}

pub(super) fn sorted(spec: &CommitmentSpec) -> CommitmentSpec {
    let mut spec = spec.clone();
    spec.htlcs.sort_by_key(|htlc| (htlc.offered_by, htlc.id));
    spec
}

/// The violation that `message` is for node `to`, now and after a restart.
pub(super) fn violation(pair: &mut Pair, to: usize, message: impl Into<Message>) -> Violation {
    let message = message.into();
    let (secp, node) = (pair.secp.clone(), &mut pair.nodes[to]);
    node.check_record();
    let restarted = Commitments::from_bytes(&node.state.to_bytes()).unwrap();
    let live = core::mem::replace(&mut node.state, restarted);
    let after = node.take(&secp, &message).expect_err("a violation after a restart").violation();
    node.state = live;
    let now = node.take(&secp, &message).expect_err("a violation").violation();
    assert_eq!(now, after);
    now
}
