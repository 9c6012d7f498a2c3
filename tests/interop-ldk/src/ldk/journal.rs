//! What an LDK node's events told, kept for the tests; outlives the node, so that a restart loses nothing.
use std::collections::BTreeMap;
use std::sync::Mutex;

use lightning::events::{ClosureReason, PaymentFailureReason};
use lightning::ln::types::ChannelId;
use lightning::types::payment::{PaymentHash, PaymentPreimage};

/// Where a payment stands that the node made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// On its way.
    Pending,
    /// Paid, with proof and the fee.
    Sent {
        /// The proof.
        preimage: PaymentPreimage,
        /// What the route cost.
        fee_msat: Option<u64>,
    },
    /// Given up.
    Failed(Option<PaymentFailureReason>),
}

/// Where a payment stands that the node receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Arrived in full; not yet taken.
    Claimable {
        /// How much.
        amount_msat: u64,
        /// What takes it.
        preimage: PaymentPreimage,
    },
    /// Taken.
    Claimed {
        /// How much.
        amount_msat: u64,
    },
}

/// What is to happen to a payment that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Will {
    /// It is taken at once.
    Take,
    /// It waits until the test says so.
    Hold,
    /// It goes back at once.
    Refuse,
}

#[derive(Default)]
struct Pages {
    outgoing: BTreeMap<PaymentHash, Outgoing>,
    incoming: BTreeMap<PaymentHash, Incoming>,
    /// Hashes whose payments are not simply taken.
    wills: BTreeMap<PaymentHash, Will>,
    closed: Vec<(ChannelId, ClosureReason)>,
    forwarded: u64,
    swept_outputs: usize,
    troubles: Vec<String>,
    lines: Vec<String>,
}

/// The record of a node's events.
#[derive(Default)]
pub struct Journal(Mutex<Pages>);

impl Journal {
    fn with<T>(&self, act: impl FnOnce(&mut Pages) -> T) -> T {
        act(&mut self.0.lock().expect("journal"))
    }

    pub(super) fn note(&self, line: String) {
        self.with(|pages| pages.lines.push(line));
    }

    pub(super) fn trouble(&self, line: String) {
        self.with(|pages| pages.troubles.push(line.clone()));
        self.note(line);
    }

    pub(super) fn paying(&self, hash: PaymentHash) {
        self.with(|pages| pages.outgoing.insert(hash, Outgoing::Pending));
    }

    pub(super) fn paid(&self, hash: PaymentHash, preimage: PaymentPreimage, fee_msat: Option<u64>) {
        self.with(|pages| pages.outgoing.insert(hash, Outgoing::Sent { preimage, fee_msat }));
    }

    pub(super) fn gave_up(&self, hash: PaymentHash, reason: Option<PaymentFailureReason>) {
        self.with(|pages| pages.outgoing.insert(hash, Outgoing::Failed(reason)));
    }

    pub(super) fn decide(&self, hash: PaymentHash, will: Will) {
        self.with(|pages| pages.wills.insert(hash, will));
    }

    pub(super) fn will(&self, hash: &PaymentHash) -> Will {
        self.with(|pages| pages.wills.get(hash).copied().unwrap_or(Will::Take))
    }

    pub(super) fn received(&self, hash: PaymentHash, state: Incoming) {
        self.with(|pages| pages.incoming.insert(hash, state));
    }

    pub(super) fn channel_closed(&self, channel: ChannelId, reason: ClosureReason) {
        self.with(|pages| pages.closed.push((channel, reason)));
    }

    pub(super) fn forwarded(&self) {
        self.with(|pages| pages.forwarded += 1);
    }

    pub(super) fn sweeping(&self, outputs: usize) {
        self.with(|pages| pages.swept_outputs += outputs);
    }

    /// What became of a payment that the node makes.
    pub fn outgoing(&self, hash: &PaymentHash) -> Option<Outgoing> {
        self.with(|pages| pages.outgoing.get(hash).cloned())
    }

    /// What became of a payment that the node receives.
    pub fn incoming(&self, hash: &PaymentHash) -> Option<Incoming> {
        self.with(|pages| pages.incoming.get(hash).copied())
    }

    /// Why a channel is closed, if it is.
    pub fn closure(&self, channel: &ChannelId) -> Option<ClosureReason> {
        self.with(|pages| {
            let found = pages.closed.iter().find(|(closed, _)| closed == channel);
            found.map(|(_, reason)| reason.clone())
        })
    }

    /// How many payments the node has forwarded.
    pub fn forwards(&self) -> u64 {
        self.with(|pages| pages.forwarded)
    }

    /// How many outputs LDK has handed out to be swept.
    pub fn outputs_to_sweep(&self) -> usize {
        self.with(|pages| pages.swept_outputs)
    }

    /// What the node should have done at once and could not.
    pub fn troubles(&self) -> Vec<String> {
        self.with(|pages| pages.troubles.clone())
    }

    /// The last events, for messages.
    pub fn tail(&self, count: usize) -> String {
        self.with(|pages| {
            let from = pages.lines.len().saturating_sub(count);
            pages.lines[from..].join("\n")
        })
    }
}
