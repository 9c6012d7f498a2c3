//! One node with a channel to each of two others, and a thread for each channel: what the node's locks cost.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lightning_traits::event::{Event, MessageSendEvent};
use lightning_traits::id::{EventId, NodeId, ShortChannelId};
use lightning_traits::interface::{EventsProvider as _, MessageSendEventsProvider as _};
use lightning_traits::payment::PaymentHash;
use lightning_traits::wire::Message;

use super::net::{Invoice, Manager, Net, answer, hand_over, send};

/// A hub (node 0) and two others.
pub struct Star {
    net: Net,
    scids: [ShortChannelId; 2],
}

/// What threads spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// How often one slept, as it does when another holds a lock that it needs for longer than it spins.
    pub sleeps: u64,
    /// CPU time.
    pub cpu: Duration,
}

impl Spent {
    fn plus(self, other: Self) -> Self {
        Self { sleeps: self.sleeps + other.sleeps, cpu: self.cpu + other.cpu }
    }
}

/// What the threads share.
struct Wires {
    /// What each node is to hear, by node and sender.
    inboxes: BTreeMap<(usize, usize), Mutex<VecDeque<Message>>>,
    /// Who has taken messages or events of the hub out of it last: one at a time, so that their order stays.
    hub: Mutex<Option<EventId>>,
    /// Whose payment it is.
    payments: Mutex<BTreeMap<PaymentHash, usize>>,
    /// Payments of the hub that arrived, by payee.
    sent: [AtomicUsize; 3],
}

impl Star {
    /// Opens both channels.
    #[must_use]
    pub fn open() -> Self {
        let mut net = Net::new(3, false);
        net.connect(0, 2);
        let scids = [net.open(0, 1, 1)[0], net.open(0, 2, 1)[0]];
        Self { net, scids }
    }

    /// `rounds` times `in_flight` payments from the hub to each of the payees, whose threads run at the same time. What
    /// the threads spent on it.
    pub fn pay(&mut self, payees: &[usize], rounds: usize, in_flight: usize) -> Spent {
        let inboxes = (1..3).flat_map(|node| [((0, node), Mutex::default()), ((node, 0), Mutex::default())]);
        let wires = Wires {
            inboxes: inboxes.collect(),
            hub: Mutex::new(None),
            payments: Mutex::default(),
            sent: Default::default(),
        };
        let this = &*self;
        let slept = std::thread::scope(|scope| {
            let threads: Vec<_> = payees
                .iter()
                .map(|&payee| {
                    let wires = &wires;
                    scope.spawn(move || {
                        for round in 1..=rounds {
                            this.round(wires, payee, in_flight, round * in_flight);
                        }
                        Spent { sleeps: sleeps(), cpu: crate::cpu::thread_time() }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).fold(Spent::default(), Spent::plus)
        });
        self.net.settle();
        slept
    }

    fn round(&self, wires: &Wires, payee: usize, in_flight: usize, until: usize) {
        let invoices: Vec<Invoice> = (0..in_flight).map(|_| self.net.invoice(payee)).collect();
        let hashes = invoices.iter().map(|invoice| (invoice.hash, payee));
        wires.payments.lock().unwrap().extend(hashes);
        let hub = self.net.manager(0);
        for invoice in &invoices {
            let route = self.net.route(&[(payee, self.scids[payee - 1])], invoice.final_cltv);
            send(hub, invoice, route);
        }
        while wires.sent[payee].load(Ordering::Acquire) < until {
            self.turn(wires, payee);
        }
    }

    /// Moves what there is between the hub and one payee.
    fn turn(&self, wires: &Wires, payee: usize) {
        let (hub, other) = (self.net.manager(0), self.net.manager(payee));
        let ids: Vec<NodeId> = (0..3).map(|node| self.net.id(node)).collect();
        hub.process();
        self.hub_events(wires, hub);
        {
            let _order = wires.hub.lock().unwrap();
            wires.collect(hub, 0, &ids);
            let _record = hub.take_record();
        }
        other.process();
        while let Some((id, event)) = other.next_event(None) {
            answer(other, event);
            other.acknowledge_event(id);
        }
        wires.collect(other, payee, &ids);
        let _record = other.take_record();
        for (to, from) in [(0, payee), (payee, 0)] {
            while let Some(message) = { wires.inboxes[&(to, from)].lock().unwrap().pop_front() } {
                hand_over(self.net.manager(to), ids[from], message);
            }
        }
    }

    fn hub_events(&self, wires: &Wires, hub: &Manager) {
        loop {
            let next = {
                let mut cursor = wires.hub.lock().unwrap();
                let next = hub.next_event(*cursor);
                *cursor = next.as_ref().map(|(id, _)| *id).or(*cursor);
                next
            };
            let Some((id, event)) = next else { return };
            if let Event::PaymentSent { hash, .. } = &event {
                let payee = wires.payments.lock().unwrap()[hash];
                wires.sent[payee].fetch_add(1, Ordering::AcqRel);
            }
            answer(hub, event);
            hub.acknowledge_event(id);
        }
    }
}

/// How often this thread gave up its core of itself.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

impl Wires {
    fn collect(&self, manager: &Manager, from: usize, ids: &[NodeId]) {
        while let Some(event) = manager.next_message() {
            match event {
                MessageSendEvent::Send { to, message } => {
                    let to = ids.iter().position(|id| *id == to).unwrap();
                    self.inboxes[&(to, from)].lock().unwrap().push_back(message);
                }
                MessageSendEvent::Broadcast { .. } => {}
                MessageSendEvent::Disconnect { last, .. } => panic!("{from} hangs up: {last:?}"),
            }
        }
    }
}
