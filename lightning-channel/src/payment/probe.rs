//! Probes: HTLCs that nobody can claim, sent to learn whether a path carries an amount.
//!
//! A probe's hash is derived from its id, so nothing is stored: after a restart an HTLC of a probe is known by its hash.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, PaymentId};
use lightning_traits::route::RouteHint;
use lightning_traits::units::{CltvDelta, Msat};

/// Ticks after which a question for a route counts as not answered.
const ANSWER_TICKS: u32 = 2;

/// What to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeParams {
    /// To whom.
    pub payee: NodeId,
    /// What should arrive.
    pub amount: Msat,
    /// The most that fees would cost.
    pub max_fee: Msat,
    /// Blocks that the last HTLC has.
    pub final_cltv_delta: CltvDelta,
    /// Private ways to the payee.
    pub hints: Vec<RouteHint>,
}

impl ProbeParams {
    /// Whether anything carries `amount` to `payee`, whatever it costs.
    #[must_use]
    pub const fn new(payee: NodeId, amount: Msat) -> Self {
        let final_cltv_delta = CltvDelta::new(24);
        Self { payee, amount, max_fee: Msat::MAX, final_cltv_delta, hints: Vec::new() }
    }
}

/// How far a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// A route is looked for, for so many ticks.
    Asking { ticks: u32 },
    /// It is under way.
    Sent,
}

/// Probes that this run has begun and that have not ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes(BTreeMap<PaymentId, Probe>);

impl Probes {
    /// A route is looked for.
    pub(crate) fn ask(&mut self, id: PaymentId) {
        self.0.insert(id, Probe::Asking { ticks: 0 });
    }

    /// An answer has come; `false` when nobody waits for it.
    pub(crate) fn answered(&mut self, id: PaymentId) -> bool {
        match self.0.get_mut(&id) {
            Some(probe @ Probe::Asking { .. }) => {
                *probe = Probe::Sent;
                true
            }
            Some(Probe::Sent) | None => false,
        }
    }

    /// It is under way.
    pub(crate) fn send(&mut self, id: PaymentId) {
        self.0.insert(id, Probe::Sent);
    }

    /// It has ended.
    pub(crate) fn end(&mut self, id: PaymentId) -> bool {
        self.0.remove(&id).is_some()
    }

    pub(crate) fn contains(&self, id: PaymentId) -> bool {
        self.0.contains_key(&id)
    }

    /// A tick has passed; returns those for which nobody has found a route in time.
    pub(crate) fn on_tick(&mut self) -> Vec<PaymentId> {
        let late = self.0.extract_if(.., |_, probe| match probe {
            Probe::Asking { ticks } => {
                *ticks = ticks.saturating_add(1);
                *ticks >= ANSWER_TICKS
            }
            Probe::Sent => false,
        });
        late.map(|(id, _)| id).collect()
    }
}
