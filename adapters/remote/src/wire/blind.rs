//! What is said of blobs: a lane's updates, questions for one of them, and signed answers.
//!
//! To a blind tower a channel is a *lane* under a name that means nothing to it. A lane's update teaches nothing (`steps` is
//! empty) and carries blobs in an odd record, so that sessions, names and statements are those of any other channel.
use alloc::vec::Vec;

use lightning_traits::Secp;
use lightning_traits::codec::{Decode as _, Encode, TlvRecords};
use lightning_traits::id::{ChannelId, NodeId, UpdateId};
use lightning_traits::monitor::{ChannelMonitorUpdate, RecordChange};
use lightning_traits::record;
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey};

use super::chain::{Signed, StatementSigner};
use super::{Name, tagged};

/// The record of an update that carries blobs.
const BLOBS: u64 = 0xb10b;
/// The kind of [`Request::Other`](super::Request::Other) that asks for one update of a lane: [`Audit`].
pub const AUDIT: u16 = 3;
/// The kind of its answer: [`Audited`].
pub const AUDITED: u16 = 4;
/// The kind that says that a lane is done with; its body is the lane.
pub const RELEASE: u16 = 5;

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is looked for.
    pub locator: [u8; 16],
    /// What opens with the breach.
    pub body: Vec<u8>,
}
record!(struct Entry { locator, body });

/// What an update of a lane carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneContent {
    /// The blobs against one or more revoked commitments.
    pub entries: Vec<Entry>,
    /// The client's mark, by which it knows its own.
    pub tag: [u8; 16],
}
record!(struct LaneContent { entries list, tag });

impl LaneContent {
    /// The update of a lane that carries this.
    #[must_use]
    pub fn into_update(self, lane: ChannelId, id: UpdateId) -> ChannelMonitorUpdate {
        let mut extra = TlvRecords::new();
        extra.put_raw(BLOBS, self.to_bytes());
        ChannelMonitorUpdate { channel: lane, id, steps: Vec::new(), record: RecordChange::Same {}, extra }
    }

    /// What an update carries; `None` when it is no update of a lane.
    #[must_use]
    pub fn of(update: &ChannelMonitorUpdate) -> Option<Self> {
        let is_lane = update.steps.is_empty() && update.record == (RecordChange::Same {});
        let bytes = update.extra.clone().take_raw(BLOBS).filter(|_| is_lane)?;
        Self::from_bytes(&bytes).ok()
    }
}

/// A question for one update of a lane (RELIABILITY L18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Told back, so that no old answer can be given.
    pub nonce: u64,
    /// Of which lane.
    pub lane: ChannelId,
    /// Which.
    pub id: UpdateId,
}
record!(struct Audit { nonce, lane, id });

/// A signed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Whom it is for.
    pub client: NodeId,
    /// What was asked.
    pub audit: Audit,
    /// The update, in its versioned encoding, if the tower has it.
    pub found: Option<Vec<u8>>,
    /// The tower's signature.
    pub signature: Signature,
}
record!(struct Audited { client, audit, found, signature });

impl Audited {
    /// What a tower answers.
    #[must_use]
    pub fn sign(client: NodeId, audit: Audit, found: Option<Vec<u8>>, signer: &impl StatementSigner) -> Self {
        let signature = signer.sign_statement(&digest(client, &audit, found.as_deref()));
        Self { client, audit, found, signature }
    }

    /// Whether the tower with this key has said so.
    #[must_use]
    pub fn is_by(&self, secp: &Secp, tower: &PublicKey) -> bool {
        let digest = digest(self.client, &self.audit, self.found.as_deref());
        secp.verify_ecdsa(&Message::from_digest(digest), &self.signature, tower).is_ok()
    }
}

fn digest(client: NodeId, audit: &Audit, found: Option<&[u8]>) -> [u8; 32] {
    let mut text = client.to_bytes();
    audit.encode(&mut text);
    found.map(|bytes| Name::of_stored(bytes).0).encode(&mut text);
    tagged("lightning-remote audit", &text)
}

/// Whether the tower has lost what it had acknowledged: `early` says that it kept the lane up to the asked update or further, and
/// `answer` that it has not got it. A client that told the tower to let go of the lane can bring this about too, so what must be
/// shown besides is that the channel is open.
#[must_use]
pub fn is_loss(secp: &Secp, tower: &PublicKey, early: &Signed, answer: &Audited) -> bool {
    let said = &early.acknowledgement;
    let kept =
        said.kept.iter().any(|kept| kept.channel == answer.audit.lane && kept.head.id >= answer.audit.id);
    kept && said.client == answer.client
        && answer.found.is_none()
        && early.is_by(secp, tower)
        && answer.is_by(secp, tower)
}
