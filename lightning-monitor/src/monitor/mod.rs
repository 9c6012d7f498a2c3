//! One channel's monitor: what it knows.
//!
//! `apply.rs` how it learns from the channel, `history.rs` what it keeps of their commitments, `past.rs` of the HTLCs that they
//! had, `snapshot.rs` its encoding, `balance.rs` what is still to come. What happens on chain is in
//! `../detect.rs`, `../claim/` and `../resolve.rs`.
//!
//! # Invariants
//! - update ids count up by one; a step that contradicts the state is refused and changes nothing
//! - once the monitor has gone to the chain it takes no new commitment of ours, so none that is broadcast
//!   can be revoked
mod apply;
mod balance;
mod history;
mod past;
mod snapshot;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::{Transaction, Txid};
use lightning_traits::id::{CommitmentNumber, HtlcId, UpdateId};
use lightning_traits::monitor::{MonitorInit, SpendKind};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::record;
use lightning_traits::tx::{CommitmentSpec, SecretStore, TxSide};
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use crate::claim::{Attempt, Child, Output};

pub use balance::{Balance, BalanceKind};
pub(crate) use history::{TheirCommitment, TheirCommitments, advance};

/// Our latest commitment with the signatures that make it ours to broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OurCommitment {
    pub(crate) number: CommitmentNumber,
    pub(crate) spec: CommitmentSpec,
    pub(crate) signature: Signature,
    pub(crate) htlc_signatures: Vec<Signature>,
}
record!(struct OurCommitment { number, spec, signature, htlc_signatures list });

/// What a monitor may do on the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// All that its channel is owed: go to the chain in time, claim, punish.
    #[default]
    Enforce,
    /// Punish revoked commitments of the peer, and nothing else: no commitment of ours is published or explained, nothing valid
    /// is claimed, and only breaches are reported (RELIABILITY L23). For a watchtower that is given no more keys than that takes.
    Punish,
}

/// How far the channel is from the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    /// The channel steps on.
    Open {},
    /// Our commitment is out, or must go out.
    ForceClosing {},
    /// Our state is proven old: we wait for theirs, whose per-commitment point this is.
    DataLoss { point: PublicKey },
    /// The channel was given up before it was funded.
    Abandoned {},
}
record!(enum Stance { 0 => Open {}, 1 => ForceClosing {}, 2 => DataLoss { point }, 3 => Abandoned {} });

/// A confirmed transaction and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) transaction: Transaction,
    pub(crate) height: BlockHeight,
}
record!(struct Confirmed { transaction, height });

/// The funding output is spent by a confirmed transaction, and this became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) txid: Txid,
    pub(crate) kind: SpendKind,
    pub(crate) height: BlockHeight,
    /// Outputs that are ours, or may be, of the closing transaction and of what spends it.
    pub(crate) outputs: Vec<Output>,
    /// Our claims of them that are out, until their outputs are irrevocably spent.
    pub(crate) claims: Vec<Attempt>,
    /// HTLCs we offered that have no output to watch: they fail once the closing transaction is irrevocable.
    pub(crate) missing: Vec<(HtlcId, PaymentHash)>,
    /// Whether nothing is left to do, as far as the chain goes now.
    pub(crate) resolved: bool,
    /// What spent the funding output; if it is a commitment that they have not revoked, also what spends it, in order. Should
    /// they revoke it now, all of it is looked at again.
    pub(crate) history: Vec<Confirmed>,
}
record!(struct Closing { txid, kind, height, outputs list, claims list, missing list, resolved, history list });

/// What has been reported. No reorganisation takes a report back, so it outlives the [`Closing`] that it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// HTLCs we offered that they claimed.
    pub(crate) claimed: Vec<HtlcId>,
    /// HTLCs we offered that came back.
    pub(crate) failed: Vec<HtlcId>,
    /// The end of it all.
    pub(crate) resolved: bool,
    /// That the channel was given up, and nothing need be watched.
    pub(crate) abandoned: bool,
}
record!(struct Told { claimed list, failed list, resolved, abandoned });

/// One channel, watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelMonitor {
    pub(crate) init: MonitorInit,
    pub(crate) last_update: UpdateId,
    /// Our latest, or the one before it while that is on the chain.
    pub(crate) ours: OurCommitment,
    /// The one before it; or our latest, while that one is on the chain. A watchtower that went to the chain in time takes nothing
    /// newer, and the channel then does not revoke what is out there, though we here may know its successor already.
    pub(crate) previous: Option<Box<OurCommitment>>,
    pub(crate) theirs: TheirCommitments,
    pub(crate) secrets: SecretStore,
    pub(crate) preimages: BTreeMap<PaymentHash, Preimage>,
    pub(crate) shutdown_started: bool,
    pub(crate) stance: Stance,
    pub(crate) closing: Option<Closing>,
    /// Transactions of the channel that could not be understood yet, as the signer has not answered; in order.
    pub(crate) pending: Vec<Confirmed>,
    pub(crate) told: Told,
    /// What spent the funding output before its block was taken back, where it is better than a commitment of ours: broadcast
    /// until something spends it again.
    pub(crate) undone: Option<Transaction>,
    /// Said by whoever runs the monitor, at each start; not stored.
    pub(crate) duty: Duty,
    /// Children that pay for commitments on their way, until the funding output is irrevocably spent.
    pub(crate) children: Vec<Child>,
}

impl ChannelMonitor {
    /// The monitor of a new channel.
    #[must_use]
    pub fn new(init: MonitorInit) -> Self {
        Self {
            last_update: UpdateId(0),
            ours: OurCommitment {
                number: CommitmentNumber(0),
                spec: init.our_spec.clone(),
                signature: init.their_signature,
                htlc_signatures: Vec::new(),
            },
            previous: None,
            theirs: TheirCommitments::new(init.their_spec.clone(), init.their_point),
            secrets: SecretStore::new(),
            preimages: BTreeMap::new(),
            shutdown_started: false,
            stance: Stance::Open {},
            closing: None,
            pending: Vec::new(),
            told: Told::default(),
            undone: None,
            duty: Duty::default(),
            children: Vec::new(),
            init,
        }
    }

    /// What the monitor started from.
    #[must_use]
    pub const fn init(&self) -> &MonitorInit {
        &self.init
    }

    /// The last update that was applied.
    #[must_use]
    pub const fn last_update(&self) -> UpdateId {
        self.last_update
    }

    /// What spent the funding output, once that is confirmed.
    #[must_use]
    pub fn closed_by(&self) -> Option<(Txid, SpendKind)> {
        self.closing.as_ref().map(|closing| (closing.txid, closing.kind))
    }

    /// Whether the peer has published a commitment that it had revoked.
    #[must_use]
    pub fn is_breached(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| matches!(closing.kind, SpendKind::Revoked { .. }))
    }

    /// Whether nothing of the channel is left to do.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.resolved)
    }

    /// Whether something on chain spends what the channel has there.
    pub(crate) fn is_on_chain(&self) -> bool {
        self.closing.is_some() || !self.pending.is_empty()
    }

    /// Whether all that the monitor knows it knows from the channel, and the chain has had nothing to say.
    pub(crate) fn is_idle(&self) -> bool {
        let is_quiet = self.stance == (Stance::Open {}) && self.told == Told::default();
        is_quiet && !self.is_on_chain() && self.undone.is_none()
    }

    /// The three commitments of the channel that may confirm without having been revoked, each with the side that is us.
    pub(crate) fn valid_specs(&self) -> impl Iterator<Item = (&CommitmentSpec, TxSide)> {
        let theirs = [Some(&self.theirs.current), self.theirs.next.as_ref()].into_iter().flatten();
        core::iter::once((&self.ours.spec, TxSide::Broadcaster))
            .chain(theirs.map(|commitment| (&commitment.spec, TxSide::Countersigner)))
    }

    /// Whether our commitment before the latest is on the chain.
    pub(crate) fn is_on_previous(&self) -> bool {
        self.previous.as_ref().is_some_and(|other| other.number > self.ours.number)
    }

    /// Puts our commitment with this number in the place of the latest, or the latest back; `false` when there is none such.
    pub(crate) fn turn_to(&mut self, number: CommitmentNumber) -> bool {
        match &mut self.previous {
            Some(other) if other.number == number => {
                core::mem::swap(&mut self.ours, other);
                true
            }
            _ => self.ours.number == number,
        }
    }

    /// Our latest commitment is again the one that goes out.
    pub(crate) fn turn_back(&mut self) {
        if self.is_on_previous() {
            self.turn_to(self.ours.number.next());
        }
    }

    /// Feerate of our latest commitment.
    #[must_use]
    pub const fn our_feerate(&self) -> FeeratePerKw {
        self.ours.spec.feerate
    }
}
