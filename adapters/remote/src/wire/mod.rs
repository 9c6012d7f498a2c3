//! What a node and a tower say to each other, as values with versioned encodings.
//!
//! `frame.rs` cuts what is said into messages of the transport, `chain.rs` is what the tower signs, `state.rs` a whole
//! channel as one value.
//!
//! # Invariants
//! - an update is named by channel, id and [`Name`]: the id alone can come twice, after a disk that was too old
//! - what decodes was bounded by its length before (I9)
pub mod blind;
pub mod chain;
pub mod frame;
pub mod state;

use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use lightning_traits::codec::{DecodeError, Encode, TlvRecords, decode_versioned, encode_versioned};
use lightning_traits::id::{ChannelId, EventId, UpdateId};
use lightning_traits::monitor::{ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, RecordChange};
use lightning_traits::record;

use chain::Signed;
use state::ChannelState;

/// The type of the one custom message that carries everything. BOLT 1: "Custom (types `32768`-`65535`): experimental and
/// application-specific messages"; odd, so that a peer that does not know it ignores it.
pub const MESSAGE_TYPE: u16 = 0xb10d;

/// The version of what is said here. A tower that speaks another says [`Goodbye::Version`].
pub const PROTOCOL: u16 = 1;

/// Names an update by what it teaches, so that two updates with one id are told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub [u8; 32]);

impl core::fmt::Debug for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Encode for Name {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl lightning_traits::codec::Decode for Name {
    fn decode(reader: &mut lightning_traits::codec::Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self)
    }
}

impl Name {
    /// Of a new channel. Its record does not count: it may be left out, or be sealed, and stores keep it apart.
    #[must_use]
    pub fn of_new(new: &NewMonitor) -> Self {
        Self::of_stored(&NewMonitor { record: RecordChange::Same {}, ..new.clone() }.to_versioned())
    }

    /// Of an update, without its record.
    #[must_use]
    pub fn of_update(update: &ChannelMonitorUpdate) -> Self {
        Self::of_stored(
            &ChannelMonitorUpdate { record: RecordChange::Same {}, ..update.clone() }.to_versioned(),
        )
    }

    /// Of the versioned encoding, without record, that a store has kept.
    #[must_use]
    pub fn of_stored(bytes: &[u8]) -> Self {
        Self(tagged("lightning-remote update", bytes))
    }
}

/// Whose purpose is in the hash: nothing that was signed or named for one can stand for another.
pub(crate) fn tagged(purpose: &str, bytes: &[u8]) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(sha256::Hash::hash(purpose.as_bytes()).as_byte_array());
    engine.input(bytes);
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// How far a channel is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last durable update.
    pub id: UpdateId,
    /// Its name, where it is still known: a snapshot may have swallowed the update.
    pub name: Option<Name>,
}
record!(struct Head { id, name });

/// What the tower is asked to do with what it gets. What each needs of keys travels in [`Request::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Enforces everything, with keys that were given for it.
    Full {},
    /// Punishes revoked commitments and does nothing else.
    Justice {},
    /// Keeps blobs that open with the breach.
    Blind {},
}
record!(enum Mode { 0 => Full {}, 1 => Justice {}, 2 => Blind {} });

/// What a node says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Of [`PROTOCOL`].
    pub version: u16,
    /// What is asked of the tower.
    pub mode: Mode,
    /// Which life of the node this is: raised when a node is restored elsewhere. The tower serves none that is lower than the
    /// highest it has served, so the node that was replaced can do nothing more (a fence).
    pub incarnation: u64,
    /// The last that the tower signed, so that one restored from a backup goes on behind it.
    pub last: Option<Signed>,
}
record!(struct Hello { version, mode, incarnation, last });

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first of every session.
    Hello {
        /// Who, and what for.
        hello: Hello,
    },
    /// Starts to monitor a channel.
    New {
        /// [`NewMonitor`] in its versioned encoding, its record sealed or empty.
        new: Vec<u8>,
    },
    /// The next update of a channel.
    Update {
        /// [`ChannelMonitorUpdate`] in its versioned encoding, its record sealed or [`RecordChange::Same`].
        update: Vec<u8>,
    },
    /// The whole channel, in the place of whatever the tower has of it.
    Replace {
        /// The channel.
        channel: ChannelId,
        /// All of it.
        state: ChannelState,
    },
    /// What followed from a monitor event is durable.
    Acknowledge {
        /// The event.
        event: EventId,
    },
    /// What is kept of this channel?
    Fetch {
        /// The channel.
        channel: ChannelId,
    },
    /// Something of a certain mode.
    Other {
        /// Which.
        kind: u16,
        /// Its own encoding.
        body: Vec<u8>,
    },
}
record!(enum Request {
    0 => Hello { hello }, 1 => New { new }, 2 => Update { update }, 3 => Replace { channel, state },
    4 => Acknowledge { event }, 5 => Fetch { channel }, 6 => Other { kind, body },
});

/// Why a tower serves no longer; the session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Goodbye {
    /// It speaks other versions.
    Version {
        /// The highest it speaks.
        spoken: u16,
    },
    /// Nobody has let this node in.
    Stranger {},
    /// The tower does not do this here.
    Mode {},
    /// A later life of the node was served.
    Fenced {
        /// Which.
        incarnation: u64,
    },
    /// No more is kept for this node.
    Quota {},
    /// What came makes no sense.
    Garbled {},
}
record!(enum Goodbye {
    0 => Version { spoken }, 1 => Stranger {}, 2 => Mode {}, 3 => Fenced { incarnation }, 4 => Quota {}, 5 => Garbled {},
});

/// What a tower says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first of every session; statements of all that is kept follow ([`chain::Statement::Standing`]).
    Welcome {
        /// Of [`PROTOCOL`].
        version: u16,
    },
    /// Signed: this is durable.
    Kept {
        /// What, and the tower's word.
        statement: Signed,
    },
    /// The tower does not take an update, nor what came behind it.
    Refused {
        /// Which, and why.
        refusal: LateRefusal,
    },
    /// A monitor reports.
    Event {
        /// The tower's id of the event.
        id: EventId,
        /// What.
        event: MonitorEvent,
    },
    /// What is kept of a channel.
    Found {
        /// The channel.
        channel: ChannelId,
        /// All of it, or `None` when it is not kept.
        state: Option<ChannelState>,
    },
    /// Something of a certain mode.
    Other {
        /// Which.
        kind: u16,
        /// Its own encoding.
        body: Vec<u8>,
    },
    /// The end of the session.
    Goodbye {
        /// Why.
        why: Goodbye,
    },
}
record!(enum Answer {
    0 => Welcome { version }, 1 => Kept { statement }, 2 => Refused { refusal }, 3 => Event { id, event },
    4 => Found { channel, state }, 5 => Other { kind, body }, 6 => Goodbye { why },
});

const VERSION: u8 = 1;

macro_rules! versioned {
    ($($name:ident),*) => {$(
        impl $name {
            /// The versioned encoding.
            #[must_use]
            pub fn to_versioned(&self) -> Vec<u8> {
                encode_versioned(VERSION, self, &TlvRecords::new())
            }

            /// Reads the versioned encoding; odd records of a later age are passed over.
            ///
            /// # Errors
            /// When the bytes are of another version or damaged.
            pub fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
                decode_versioned(VERSION, bytes).map(|(value, _)| value)
            }
        }
    )*};
}
versioned!(Request, Answer);
