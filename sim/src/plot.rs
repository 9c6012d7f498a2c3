//! What villains do in a step.
use bitcoin::Amount;
use lightning_channel::channel::{ChannelDetails, CloseParams, PhaseName};
use lightning_traits::id::{CommitmentNumber, ShortChannelId};
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::units::Msat;
use lightning_traits::wire::{AnnouncementSignatures, Message};
use secp256k1::ecdsa::Signature;

use crate::lie::lie;
use crate::run::Run;
use crate::user::Plan;
use crate::villain::EVERYTHING;
use crate::wires::Frame;
use crate::world::Link;

/// Times that villains pay in one run.
const MAX_TRICKS: u64 = 6;
/// Parts of a flood of dust: together more than anybody may be made to lose.
const FLOOD: usize = 200;
/// As much as an output that is too small may have, in msat.
const DUST: u64 = 340_000;

impl Run {
    /// A channel of a villain with somebody who is none.
    pub(crate) fn front(&mut self) -> Option<(usize, usize, Link)> {
        let world = &self.world;
        let is_villain = |node: usize| world.villains.contains(&node);
        let fronts = world.links.iter().filter_map(|link| match link.ends {
            [a, b] if is_villain(a) && !is_villain(b) => Some((a, b, *link)),
            [a, b] if is_villain(b) && !is_villain(a) => Some((b, a, *link)),
            _ => None,
        });
        let fronts: Vec<_> = fronts.collect();
        self.dice.some(&fronts)
    }

    /// Holds back messages, of one type or all, or lets them go.
    pub(crate) fn stall(&mut self) {
        let Some((villain, victim, _)) = self.front() else { return };
        if self.dice.once_in(3) {
            self.world.mischief.muted.retain(|(from, to, _)| (*from, *to) != (villain, victim));
            return;
        }
        let types = [EVERYTHING, 130, 131, 132, 133, 133, 133, 136, 38, 39];
        let type_id = self.dice.of(&types);
        self.world.mischief.muted.insert((villain, victim, type_id));
        self.world.say(|| format!("{villain} holds back what it has to say to {victim}: {type_id}"));
    }

    /// Changes the next message on its way.
    pub(crate) fn lie(&mut self) {
        let Some((villain, victim, _)) = self.front() else { return };
        if self.world.wires.waiting(villain, victim) == 0 {
            // What is said first after a reconnection is worth a lie.
            self.world.cut(villain, victim, [true, true]);
            self.world.connect(villain, victim);
            self.world.collect(villain);
        }
        let dice = &mut self.dice;
        if let Some(Frame::Message(bytes)) = self.world.wires.next_mut(villain, victim) {
            *bytes = lie(bytes, dice);
        }
        self.world.say(|| format!("{villain} lies to {victim}"));
    }

    /// Says, without proof, that the other side has lost data, and leaves before it hears the answer.
    pub(crate) fn accuse(&mut self) {
        let Some((villain, victim, _)) = self.front() else { return };
        self.world.cut(villain, victim, [true, true]);
        self.world.connect(villain, victim);
        self.world.collect(villain);
        let ahead = self.dice.of(&[1, 2, 7, 1_000]);
        let secret = self.dice.of(&[[0; 32], [7; 32]]);
        while let Some(frame) = self.world.wires.next_mut(villain, victim) {
            let is_it = match frame {
                Frame::Message(bytes) => match Message::decode(bytes) {
                    Ok(Message::ChannelReestablish(mut said)) => {
                        let number = said.next_revocation_number.0.wrapping_add(ahead);
                        said.next_revocation_number = CommitmentNumber(number);
                        said.your_last_per_commitment_secret = secret;
                        *bytes = Message::from(said).to_wire().unwrap();
                        true
                    }
                    _ => false,
                },
                Frame::Close => return,
            };
            self.world.deliver(villain, victim);
            if is_it {
                break;
            }
        }
        self.world.cut(villain, victim, [true, true]);
    }

    /// Sends again what was said before.
    pub(crate) fn repeat(&mut self) {
        let Some((villain, victim, _)) = self.front() else { return };
        let Some(said) = self.world.mischief.said.get(&(villain, victim)) else { return };
        // The latest most of all.
        let most = if self.dice.once_in(2) { 3 } else { said.len() };
        let back = self.dice.pick(said.len().min(most));
        let bytes = said[said.len() - 1 - back].clone();
        self.world.wires.push(villain, victim, Frame::Message(bytes));
    }

    /// Sends a commitment to the chain: the latest, the one before, or any.
    pub(crate) fn publish(&mut self) {
        let Some((villain, _, link)) = self.front() else { return };
        let states = self.world.mischief.states(villain, link.channel);
        if states == 0 || self.world.chain.utxo(&link.funding).is_none() {
            return;
        }
        let back = match self.dice.roll(4) {
            0 => 0,
            1 => 1 + self.dice.pick(3),
            _ => self.dice.pick(states),
        };
        let by_miner = self.dice.once_in(2);
        self.world.publish(villain, link.channel, (states - 1).saturating_sub(back), by_miner);
        self.outcome.published += 1;
    }

    /// A way from one villain to another through somebody who is none, or back to itself.
    fn through(&mut self) -> Option<Vec<usize>> {
        let (villain, victim, link) = self.front()?;
        let world = &self.world;
        let others = world.links.iter().filter(|other| other.channel != link.channel);
        let ends = others.filter_map(|other| match other.ends {
            [a, b] if a == victim && world.villains.contains(&b) => Some(b),
            [a, b] if b == victim && world.villains.contains(&a) => Some(a),
            _ => None,
        });
        let ends: Vec<usize> = ends.collect();
        Some(vec![villain, victim, self.dice.some(&ends)?])
    }

    /// Pays the same amount several times to the same hash: to another villain, or to somebody who is none.
    pub(crate) fn twins(&mut self) {
        if !self.has_tricks_left() {
            return;
        }
        let way = if self.dice.once_in(3) { None } else { self.through() };
        let way = way.or_else(|| self.front().map(|(villain, victim, _)| vec![villain, victim]));
        let (Some(way), count) = (way, 2 + self.dice.pick(4)) else { return };
        let (from, to) = (way[0], way[way.len() - 1]);
        let msat = self.dice.of(&[700_000, 30_000_000, 60_000_000]);
        let preimage = Preimage::new(self.dice.bytes32());
        let expires = self.world.now() + 400_000;
        let node = &mut self.world.nodes[to];
        let total = Some(Msat::new(msat * count as u64));
        let invoice = node.manager().create_inbound_payment_for_hash(preimage.hash(), total, expires, None);
        node.user.held.insert(preimage.hash(), preimage.clone());
        let plan = self.dice.of(&[Plan::Claim, Plan::Wait, Plan::Wait, Plan::Refuse]);
        node.user.plans.insert(preimage.hash(), plan);
        if self.world.villains.contains(&to) {
            self.world.mischief.learn(&preimage);
        } else {
            self.world.invoices.insert(preimage.hash(), (to, msat * count as u64));
        }
        let Some(path) = self.world.path(&way, msat) else { return };
        self.world.send_along(from, vec![path; count], invoice.hash, invoice.secret);
        self.world.collect(from);
    }

    /// Pays another villain the same several times, each time over another channel with the one between them: it offers them on one
    /// after the other, so that some states of its channel have only some of them. They stay until somebody has enough.
    pub(crate) fn drip(&mut self) {
        if !self.has_tricks_left() {
            return;
        }
        let Some(way) = self.through() else { return };
        let (villain, victim, to) = (way[0], way[1], way[2]);
        let (count, msat) = (2 + self.dice.pick(3), self.dice.of(&[20_000_000, 60_000_000]));
        let peer = self.world.nodes[victim].id();
        let channels = self.world.nodes[villain].manager().list_channels();
        let funded = channels.into_iter().filter(|channel| channel.peer == peer).filter_map(|c| c.funded);
        let scids: Vec<ShortChannelId> = funded.filter_map(|funded| funded.scid).collect();
        let Some(path) = self.world.path(&way, msat).filter(|_| !scids.is_empty()) else { return };
        let preimage = Preimage::new(self.dice.bytes32());
        let expires = self.world.now() + 400_000;
        let payee = &mut self.world.nodes[to];
        let total = Some(Msat::new(msat * count as u64));
        let invoice = payee.manager().create_inbound_payment_for_hash(preimage.hash(), total, expires, None);
        payee.user.held.insert(preimage.hash(), preimage.clone());
        payee.user.plans.insert(preimage.hash(), Plan::Wait);
        if self.dice.once_in(2) {
            self.world.mischief.learn(&preimage);
        }
        let paths = (0..count).map(|at| {
            let mut path = path.clone();
            path.hops[0].scid = scids[at % scids.len()];
            path
        });
        self.world.send_along(villain, paths.collect(), invoice.hash, invoice.secret);
        self.world.collect(villain);
    }

    /// Whoever is offered several HTLCs sends a state to the chain that is only a little older, and has fewer of them.
    pub(crate) fn half(&mut self) {
        let Some((villain, _, link)) = self.front() else { return };
        let channels = self.world.nodes[villain].manager().list_channels();
        let is_it = |channel: &ChannelDetails| channel.channel == link.channel;
        let incoming = channels.into_iter().find(is_it).and_then(|channel| channel.funded);
        let states = self.world.mischief.states(villain, link.channel);
        let is_there = self.world.chain.utxo(&link.funding).is_some();
        if states < 2 || !is_there || incoming.is_none_or(|funded| funded.incoming_htlcs < 2) {
            return;
        }
        let back = 1 + self.dice.pick(6);
        self.world.publish(villain, link.channel, (states - 1).saturating_sub(back), true);
        self.outcome.published += 1;
    }

    /// Sends through somebody what is locked to the hash of that somebody's own invoice, beside a part of what it asks for.
    pub(crate) fn borrow(&mut self) {
        if !self.has_tricks_left() {
            return;
        }
        let Some(way) = self.through() else { return };
        let (villain, victim) = (way[0], way[1]);
        let expires = self.world.now() + 400_000;
        let amount = Msat::new(90_000_000);
        let invoice = self.world.nodes[victim].manager().create_inbound_payment(Some(amount), expires);
        self.world.nodes[victim].user.plans.insert(invoice.hash, Plan::Claim);
        self.world.invoices.insert(invoice.hash, (victim, amount.to_msat()));
        if self.dice.once_in(2) {
            // A part, with a secret that is right or one that is not; of what comes, some is missing.
            let secret = if self.dice.once_in(2) {
                invoice.secret.clone()
            } else {
                PaymentSecret::new(self.dice.bytes32())
            };
            let part = self.world.path(&[villain, victim], 30_000_000);
            let mut paths: Vec<_> = part.into_iter().collect();
            if let Some(mut missing) = paths.first().cloned() {
                missing.hops[0].amount = Msat::new(60_000_000);
                missing.hops[0].scid = ShortChannelId(1);
                paths.push(missing);
                self.world.send_along(villain, paths, invoice.hash, secret);
            }
        }
        // Nobody pays one hash twice at once, so the forward comes from the other one.
        let back = [way[2], victim, villain];
        if let (Some(path), true) = (self.world.path(&back, 1_000_000), way[2] != villain) {
            let secret = PaymentSecret::new(self.dice.bytes32());
            self.world.send_along(way[2], vec![path], invoice.hash, secret);
            self.world.collect(way[2]);
        }
        self.world.collect(villain);
    }

    fn has_tricks_left(&mut self) -> bool {
        self.outcome.tricks += 1;
        self.outcome.tricks <= MAX_TRICKS
    }

    /// Opens a channel on the output of another.
    pub(crate) fn reuse(&mut self) {
        let Some((villain, victim, link)) = self.front() else { return };
        let of_victim: Vec<_> =
            self.world.links.iter().filter(|other| other.ends.contains(&victim)).map(|l| l.funding).collect();
        let output = self.dice.some(&of_victim).unwrap_or(link.funding);
        self.world.mischief.borrowed_output = Some(output);
        self.open_with(villain, victim, 1);
    }

    /// Opens many channels that never get money, or sends much dust through somebody.
    pub(crate) fn flood(&mut self) {
        if !self.has_tricks_left() {
            return;
        }
        if self.dice.once_in(3) {
            let Some((villain, victim, _)) = self.front() else { return };
            self.world.mischief.is_broke = true;
            return self.open_with(villain, victim, 12);
        }
        let Some(way) = self.through() else { return };
        let Some(path) = self.world.path(&way, DUST) else { return };
        let preimage = Preimage::new(self.dice.bytes32());
        let (hash, expires) = (preimage.hash(), self.world.now() + 400_000);
        let payee = &mut self.world.nodes[way[2]];
        let total = Some(Msat::new(DUST * FLOOD as u64));
        let invoice = payee.manager().create_inbound_payment_for_hash(hash, total, expires, None);
        payee.user.held.insert(hash, preimage.clone());
        payee.user.plans.insert(hash, Plan::Claim);
        self.world.mischief.learn(&preimage);
        self.world.send_along(way[0], vec![path; FLOOD], hash, invoice.secret);
        self.world.collect(way[0]);
    }

    /// Sends signatures for an announcement while the channel is still to open, or already to close; or begins such an opening
    /// or closing, and lets it hang.
    pub(crate) fn announce(&mut self) {
        let Some((villain, victim, link)) = self.front() else { return };
        let (world, peer) = (&self.world, self.world.nodes[villain].id());
        let phase = |link: &&Link| world.nodes[victim].manager().channel_phase(peer, link.channel);
        let between =
            world.links.iter().filter(|other| other.ends.contains(&villain) && other.ends.contains(&victim));
        let odd = |link: &&Link| {
            phase(link).is_some_and(|phase| {
                matches!(phase, PhaseName::AwaitingReady | PhaseName::ShuttingDown | PhaseName::Negotiating)
            })
        };
        let odd: Vec<Link> = between.filter(odd).copied().collect();
        if let Some(link) = self.dice.some(&odd) {
            let nobody = Signature::from_compact(&[1; 64]).unwrap();
            let message = AnnouncementSignatures {
                channel_id: link.channel,
                short_channel_id: ShortChannelId(self.dice.next()),
                node_signature: nobody,
                bitcoin_signature: nobody,
                unknown: Default::default(),
            };
            let bytes = Message::from(message).to_wire().unwrap();
            self.world.wires.push(villain, victim, Frame::Message(bytes));
        } else if self.dice.once_in(2) {
            self.world.mischief.muted.insert((villain, victim, 36));
            self.open_with(villain, victim, 1);
        } else {
            self.world.mischief.muted.extend([39, 40, 41].map(|type_id| (villain, victim, type_id)));
            let _refused =
                self.world.nodes[villain].manager().close_channel(link.channel, CloseParams::default());
            self.world.collect(villain);
        }
    }

    /// Pays with an onion that nobody can read; the channel may be closed under it.
    pub(crate) fn spoil(&mut self) {
        let Some((villain, victim, link)) = self.front() else { return };
        let Some(path) = self.world.path(&[villain, victim], 2_000_000) else { return };
        let (hash, secret) = (PaymentHash(self.dice.bytes32()), PaymentSecret::new(self.dice.bytes32()));
        self.world.mischief.is_spoiled = true;
        self.world.send_along(villain, vec![path], hash, secret);
        self.world.collect(villain);
        if self.dice.once_in(2) {
            let _refused =
                self.world.nodes[victim].manager().close_channel(link.channel, CloseParams::default());
            self.world.collect(victim);
        }
    }

    fn open_with(&mut self, villain: usize, victim: usize, count: usize) {
        let peer = self.world.nodes[victim].id();
        for _ in 0..count {
            let value = Amount::from_sat(50_000);
            let _refused = self.world.nodes[villain].manager().open_channel(peer, value, Msat::ZERO, true);
        }
        self.world.collect(villain);
    }

    /// Picks the villains of a run: one, or two with somebody between them.
    pub(crate) fn cast(&mut self) {
        let count = self.world.nodes.len();
        let first = self.dice.pick(count);
        self.world.villains.insert(first);
        let peers_of = |node: usize| {
            let links = self.world.links.iter().filter(move |link| link.ends.contains(&node));
            links.map(move |link| if link.ends[0] == node { link.ends[1] } else { link.ends[0] })
        };
        let beyond: Vec<usize> = peers_of(first).flat_map(peers_of).filter(|other| *other != first).collect();
        if let (Some(second), false) = (self.dice.some(&beyond), self.dice.once_in(3)) {
            self.world.villains.insert(second);
        }
        if self.world.villains.len() == count {
            self.world.villains.remove(&first);
        }
    }
}
