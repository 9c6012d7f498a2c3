//! What a tower signs: statements of what is durable, each of which names the one before (RELIABILITY L18).
//!
//! Two statements with one count, or a later one that keeps less than an earlier one, are a proof that anybody can check who
//! knows the tower's key.
//!
//! # Invariants
//! - nothing is stated before it is durable, and no statement leaves before the chain's own head is
//! - a tower never signs two statements with one count, not even after a restart from an old backup: every start leaps
use bitcoin::BlockHash;
use lightning_traits::Secp;
use lightning_traits::codec::{Encode, TlvRecords, decode_versioned, encode_versioned};
use lightning_traits::id::{ChannelId, NodeId, UpdateId};
use lightning_traits::record;
use lightning_traits::units::BlockHeight;
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SecretKey};
use thiserror::Error;

use super::{Head, tagged};

/// A channel and how far it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The channel.
    pub channel: ChannelId,
    /// How far: this update and all before it.
    pub head: Head,
}
record!(struct Kept { channel, head });

/// What kind of list a statement carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// These have become durable.
    Durable {},
    /// A page of all that is kept at the beginning of a session.
    Standing {
        /// Counts the pages of a session from 0.
        page: u32,
        /// Whether it is the last page; then what was in no page is not kept.
        last: bool,
    },
}
record!(enum Statement { 0 => Durable {}, 1 => Standing { page, last } });

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Whom it is for.
    pub client: NodeId,
    /// Counts up; never the same twice.
    pub count: u64,
    /// The digest of the one before; zero before the first.
    pub previous: [u8; 32],
    /// The client's number of the session: what is stated was true then.
    pub session: u64,
    /// What kind of list follows.
    pub statement: Statement,
    /// What is kept.
    pub kept: Vec<Kept>,
    /// Up to which block the tower has looked (RELIABILITY L21).
    pub tip: Option<(BlockHash, BlockHeight)>,
}
record!(struct Acknowledgement { client, count, previous, session, statement, kept list, tip });

impl Acknowledgement {
    /// What is signed, and what the next one names as the one before.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        tagged("lightning-remote acknowledgement", &self.to_bytes())
    }
}

/// A statement with the tower's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The statement.
    pub acknowledgement: Acknowledgement,
    /// The tower's signature of its digest.
    pub signature: Signature,
}
record!(struct Signed { acknowledgement, signature });

impl Signed {
    /// Whether the tower with this key has signed it.
    #[must_use]
    pub fn is_by(&self, secp: &Secp, tower: &PublicKey) -> bool {
        let message = Message::from_digest(self.acknowledgement.digest());
        secp.verify_ecdsa(&message, &self.signature, tower).is_ok()
    }
}

/// Signs statements: the tower's key.
pub trait StatementSigner {
    /// Signs a digest.
    fn sign_statement(&self, digest: &[u8; 32]) -> Signature;
}

impl<T: StatementSigner + ?Sized> StatementSigner for &T {
    fn sign_statement(&self, digest: &[u8; 32]) -> Signature {
        (**self).sign_statement(digest)
    }
}

impl<T: StatementSigner + ?Sized> StatementSigner for std::sync::Arc<T> {
    fn sign_statement(&self, digest: &[u8; 32]) -> Signature {
        (**self).sign_statement(digest)
    }
}

/// A signer with the key at hand.
pub struct KeyAtHand {
    secp: Secp,
    key: SecretKey,
}

impl core::fmt::Debug for KeyAtHand {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyAtHand(..)")
    }
}

impl KeyAtHand {
    /// Signs with `key`.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self { secp: Secp::new(), key }
    }
}

impl Drop for KeyAtHand {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

impl StatementSigner for KeyAtHand {
    fn sign_statement(&self, digest: &[u8; 32]) -> Signature {
        self.secp.sign_ecdsa(&Message::from_digest(*digest), &self.key)
    }
}

/// What a tower must remember for each client, durably, before a statement leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The last count that was signed.
    pub count: u64,
    /// The digest of that statement.
    pub link: [u8; 32],
    /// The highest incarnation that was served.
    pub incarnation: u64,
}
record!(struct Memory { count, link, incarnation });

impl Memory {
    /// Before the first statement.
    pub const NONE: Self = Self { count: 0, link: [0; 32], incarnation: 0 };

    /// The versioned encoding.
    #[must_use]
    pub fn to_versioned(&self) -> Vec<u8> {
        encode_versioned(1, self, &TlvRecords::new())
    }

    /// Reads the versioned encoding.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn from_versioned(bytes: &[u8]) -> Result<Self, lightning_traits::codec::DecodeError> {
        decode_versioned(1, bytes).map(|(memory, _)| memory)
    }

    /// As it is after a start: the counts that a backup may not know of are left out, so that none is signed twice.
    #[must_use]
    pub const fn at_start(self) -> Self {
        let count = if self.count == 0 { 0 } else { (self.count | 0xffff_ffff).saturating_add(1) };
        Self { count, ..self }
    }
}

/// What is wrong with a statement. Where two are named, they prove it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// Not by the tower's key.
    #[error("the tower's signature is not the tower's")]
    Signature,
    /// For somebody else, or of another session.
    #[error("the tower's statement is not for this session")]
    NotOurs,
    /// It does not follow on the one before: one is missing.
    #[error("the tower's statement {got} came where {expected} was expected")]
    Gap {
        /// The next count.
        expected: u64,
        /// The count that came.
        got: u64,
    },
    /// It comes again, or from before the last: nothing is proven by that.
    #[error("the tower's statement {got} came after {last}")]
    Backward {
        /// The last count.
        last: u64,
        /// The count that came.
        got: u64,
    },
    /// The tower has signed two histories.
    #[error("the tower has signed two histories")]
    Forked {
        /// What the tower had signed before, and what it signed now.
        proof: Box<(Signed, Signed)>,
    },
}

/// The client's end of the chain: the last statement, against which the next is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    last: Option<Signed>,
}

impl Follower {
    /// From the last statement that was kept, if one was.
    #[must_use]
    pub const fn new(last: Option<Signed>) -> Self {
        Self { last }
    }

    /// The last statement: worth keeping, it is the tower's word.
    #[must_use]
    pub const fn last(&self) -> Option<&Signed> {
        self.last.as_ref()
    }

    /// Checks the next statement and keeps it. The first of a session may leave counts out, which were signed and never
    /// arrived, or were leapt over by a tower that started anew.
    ///
    /// # Errors
    /// [`ChainFault`]; then nothing changed.
    pub fn follow(
        &mut self,
        secp: &Secp,
        tower: &PublicKey,
        (client, session): (NodeId, u64),
        is_first: bool,
        next: &Signed,
    ) -> Result<(), ChainFault> {
        let new = &next.acknowledgement;
        if !next.is_by(secp, tower) {
            return Err(ChainFault::Signature);
        }
        if new.client != client || new.session != session {
            return Err(ChainFault::NotOurs);
        }
        if let Some(last) = &self.last {
            let old = &last.acknowledgement;
            let expected = old.count.saturating_add(1);
            if is_fork(secp, tower, last, next) {
                return Err(ChainFault::Forked { proof: Box::new((last.clone(), next.clone())) });
            }
            // A tower hears with every hello how far it had counted.
            if new.count <= old.count {
                return Err(ChainFault::Backward { last: old.count, got: new.count });
            }
            if new.count != expected && !is_first {
                return Err(ChainFault::Gap { expected, got: new.count });
            }
        }
        self.last = Some(next.clone());
        Ok(())
    }
}

/// Whether two statements of one tower contradict each other: the proof of [`ChainFault::Forked`].
#[must_use]
pub fn is_fork(secp: &Secp, tower: &PublicKey, one: &Signed, other: &Signed) -> bool {
    let (a, b) = (&one.acknowledgement, &other.acknowledgement);
    let follows = |old: &Acknowledgement, new: &Acknowledgement| {
        old.count.checked_add(1) == Some(new.count) && new.previous != old.digest()
    };
    a.client == b.client
        && one.is_by(secp, tower)
        && other.is_by(secp, tower)
        && ((a.count == b.count && a.digest() != b.digest()) || follows(a, b) || follows(b, a))
}

/// Whether the tower has lost what it had acknowledged: `early` says it kept `update` of the channel, and the later `pages`,
/// all those of one session, do not. A client that told the tower to let go of the channel, by acknowledging that it is
/// resolved, can make such a list too: what must be proven besides is that the channel's funding output is not long spent.
#[must_use]
pub fn is_negligence(
    secp: &Secp,
    tower: &PublicKey,
    early: &Signed,
    pages: &[Signed],
    channel: ChannelId,
    update: UpdateId,
) -> bool {
    let first = &early.acknowledgement;
    let Some(last) = pages.last().map(|page| &page.acknowledgement) else { return false };
    let holds = |kept: &Kept| kept.channel == channel && kept.head.id >= update;
    let is_whole = pages.iter().zip(0_u32..).all(|(page, number)| {
        let ack = &page.acknowledgement;
        let is_last = number as usize == pages.len().saturating_sub(1);
        ack.statement == Statement::Standing { page: number, last: is_last }
            && ack.client == first.client
            && ack.session == last.session
            && ack.count > first.count
            && page.is_by(secp, tower)
    });
    let is_missing = !pages.iter().any(|page| page.acknowledgement.kept.iter().any(holds));
    first.kept.iter().any(holds) && early.is_by(secp, tower) && is_whole && is_missing
}
