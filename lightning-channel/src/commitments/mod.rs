//! Commitments: both sides' latest commitments, the updates on their way, and what may be done to them.
//!
//! BOLT 2, "Normal Operation" and "Message Retransmission". Two kinds of methods: **decide** (`offer_*`, `accept_*`,
//! `sign_next`, `retransmit`) borrows, may refuse and changes nothing; [`Commitments::evolve`] is the only mutator
//! and cannot fail. Pure: the signer and the curve are arguments.
//!
//! | file | what |
//! | --- | --- |
//! | `htlc.rs` `onion.rs` `notice.rs` `change.rs` | the values that others see |
//! | `refusal.rs` `violation.rs` | why we, or they, may not |
//! | `log.rs` | updates on their way, and `reduce` |
//! | `limits.rs` `dust.rs` | balances, reserve, fees; value without outputs |
//! | `offer.rs` | decide on ours |
//! | `accept.rs` | decide on theirs |
//! | `sign.rs` | sign, verify, revoke |
//! | `resync.rs` | reconnection |
//! | `evolve.rs` | the only mutator |
//! | `view.rs` | getters |
//!
//! # Invariants
//! - decide changes nothing, evolve cannot fail (I5); replaying the record's changes gives the state (I6)
//! - balances, and HTLCs in flight, add up to the capacity to the millisatoshi in both commitments
//! - a commitment's keys are derived once, when it is signed or verified
#![deny(clippy::arithmetic_side_effects)]

mod accept;
mod change;
mod dust;
mod evolve;
mod htlc;
mod limits;
mod log;
mod notice;
mod offer;
mod onion;
mod refusal;
mod resync;
mod sign;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "tests count small numbers")]
mod tests;
mod view;
mod violation;

pub use change::{Change, Evolved, Proof};
pub use htlc::{BADONION, IncomingHtlc, Origin, OutgoingHtlc, PendingOutgoing, Removal, SessionKey};
pub use limits::Policy;
pub use notice::{Notice, NoticeKey, Outcome};
pub use onion::Onion;
pub(crate) use onion::Recipe;
pub use refusal::{CommitRefused, Desync, FeeRefused, NotNow, OfferRefused, RemovalRefused};
pub use resync::Resend;
pub use violation::Violation;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::record;
use lightning_traits::tx::{CommitmentSpec, SecretStore};
use secp256k1::PublicKey;

use crate::terms::Terms;
use log::Updates;
use notice::{Claim, Settlement};

/// Both sides' commitments of one channel.
///
/// - getters: see `view.rs`
/// - decide: `offer_add`, `offer_removal`, `offer_fee`, `sign_next`; `accept_add`, `accept_fulfill`, `accept_fail`,
///   `accept_malformed`, `accept_fee`, `accept_ready`, `accept_commit`, `accept_revocation`, `accept_chain_outcome`;
///   `reestablish`, `retransmit`
/// - mutator: `evolve`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments {
    terms: Terms,
    /// What belongs to the funding transaction. A splice will put more of these behind it.
    funding: Funding,
    /// Updates that we sent.
    ours: Updates,
    /// Updates that they sent.
    theirs: Updates,
    turn: Turn,
    /// What they revoked by.
    secrets: SecretStore,
    /// HTLCs that we offered, from the offer to the irrevocable removal.
    outgoing: BTreeMap<HtlcId, PendingOutgoing>,
    /// HTLCs that they offered, from the irrevocable addition to the irrevocable removal.
    incoming: BTreeMap<HtlcId, IncomingHtlc>,
    settlements: BTreeMap<HtlcId, Settlement>,
    claims: BTreeMap<HtlcId, Claim>,
}

/// The pair of latest commitments on one funding transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Funding {
    ours: OurCommitment,
    theirs: TheirCommitment,
}
record!(struct Funding { ours, theirs });

/// Our latest commitment: signed by them, all before it revoked by us.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OurCommitment {
    number: CommitmentNumber,
    /// Its broadcaster is us.
    spec: CommitmentSpec,
    /// The point of the commitment after it.
    next_point: PublicKey,
}
record!(struct OurCommitment { number, spec, next_point });

/// The latest commitment of theirs that we signed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TheirCommitment {
    number: CommitmentNumber,
    /// Its broadcaster is them.
    spec: CommitmentSpec,
    point: PublicKey,
}
record!(struct TheirCommitment { number, spec, point });

/// Whether we may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Their `channel_ready` has not come.
    AwaitingReady {},
    /// We may sign the next commitment of theirs, for this point.
    MaySign { next_point: PublicKey },
    /// They must revoke the commitment before the latest we signed; `revoked_point` is its point.
    AwaitingRevocation {
        revoked_point: PublicKey,
        /// The number of our own commitment when we signed: tells whether our signature or our last revocation
        /// went out first, should both have to be sent again.
        signed_after: CommitmentNumber,
    },
}
record!(enum Turn {
    0 => AwaitingReady {}, 1 => MaySign { next_point }, 2 => AwaitingRevocation { revoked_point, signed_after }
});

impl Commitments {
    /// The commitments of a channel whose first pair is signed.
    ///
    /// `our_spec` is our commitment 0 (see [`Terms::first_spec`]), `their_point` the point of theirs, from the opening
    /// messages; `our_next_point` the point of our commitment 1, which `channel_ready` carries.
    #[must_use]
    pub fn new(
        terms: Terms,
        our_spec: CommitmentSpec,
        their_point: PublicKey,
        our_next_point: PublicKey,
    ) -> Self {
        let number = CommitmentNumber(0);
        let theirs = TheirCommitment { number, spec: our_spec.mirror(), point: their_point };
        let ours = OurCommitment { number, spec: our_spec, next_point: our_next_point };
        Self {
            terms,
            funding: Funding { ours, theirs },
            ours: Updates::default(),
            theirs: Updates::default(),
            turn: Turn::AwaitingReady {},
            secrets: SecretStore::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            settlements: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }
}

/// The whole state, for the snapshot of the channel's record.
impl Encode for Commitments {
    fn encode(&self, out: &mut Vec<u8>) {
        self.terms.encode(out);
        self.funding.encode(out);
        self.ours.encode(out);
        self.theirs.encode(out);
        self.turn.encode(out);
        self.secrets.encode(out);
        encode_list(&self.outgoing.iter().collect::<Vec<_>>(), out);
        encode_list(&self.incoming.values().collect::<Vec<_>>(), out);
        encode_list(&self.settlements.values().collect::<Vec<_>>(), out);
        encode_list(&self.claims.values().collect::<Vec<_>>(), out);
    }
}

impl Decode for Commitments {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            terms: reader.read()?,
            funding: reader.read()?,
            ours: reader.read()?,
            theirs: reader.read()?,
            turn: reader.read()?,
            secrets: reader.read()?,
            outgoing: decode_list::<(HtlcId, PendingOutgoing)>(reader)?.into_iter().collect(),
            incoming: keyed(decode_list::<IncomingHtlc>(reader)?, |htlc| htlc.id),
            settlements: keyed(decode_list::<Settlement>(reader)?, |settlement| settlement.htlc),
            claims: keyed(decode_list::<Claim>(reader)?, |claim| claim.htlc),
        })
    }
}

fn keyed<T>(items: Vec<T>, key: impl Fn(&T) -> HtlcId) -> BTreeMap<HtlcId, T> {
    items.into_iter().map(|item| (key(&item), item)).collect()
}
