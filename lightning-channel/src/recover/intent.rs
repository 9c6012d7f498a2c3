//! What the manager's record says of a payment of ours: enough to go on with it after a restart (RELIABILITY F12).
//!
//! What is in flight of it stands in the records of the channels. Here is what it is for, how often it was tried, and whether
//! it was given up, which is written before the user hears of it.
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, TlvRecords};
use lightning_traits::event::PaymentFailure;
use lightning_traits::id::{NodeId, PaymentId};
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::record;
use lightning_traits::route::RouteHint;
use lightning_traits::units::{CltvDelta, Msat};

use crate::payment::PayParams;
use crate::payment::onion::Recipient;

/// A payment of ours that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) id: PaymentId,
    pub(crate) hash: PaymentHash,
    pub(crate) total: Msat,
    /// What trying again needs; absent for a payment along a given route.
    pub(crate) plan: Option<Plan>,
}

/// How a payment looks for its way, and how far it is with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) params: PayParams,
    /// Questions for a route so far.
    pub(crate) attempts: u32,
    /// Ticks so far.
    pub(crate) ticks: u32,
    /// Why nothing more is tried.
    pub(crate) given_up: Option<PaymentFailure>,
}

/// A payment along a given route.
#[derive(Clone, Copy, Debug)]
struct Given {
    hash: PaymentHash,
    total: Msat,
}
record!(struct Given { hash, total });

/// A payment with a plan, field by field. The user's records fill the rest.
#[derive(Clone, Debug)]
struct Planned {
    hash: PaymentHash,
    amount: Msat,
    payee: NodeId,
    final_cltv_delta: CltvDelta,
    secret: Option<PaymentSecret>,
    metadata: Option<Vec<u8>>,
    keysend: Option<Preimage>,
    hints: Vec<RouteHint>,
    max_fee: Option<Msat>,
    max_parts: u16,
    max_ticks: Option<u32>,
    attempts: u32,
    ticks: u32,
    given_up: Option<GivenUp>,
    custom: TlvRecords,
}
record!(struct Planned {
    hash, amount, payee, final_cltv_delta, secret, metadata, keysend, hints list, max_fee, max_parts, max_ticks, attempts, ticks,
    given_up, custom,
});

/// Why nothing more is tried, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GivenUp {
    Refused { text: Vec<u8> },
    NoRoute { text: Vec<u8> },
    Exhausted { attempts: u32, text: Vec<u8> },
    Abandoned {},
    TimedOut { text: Vec<u8> },
    Lost {},
}
record!(enum GivenUp {
    0 => Refused { text }, 1 => NoRoute { text }, 2 => Exhausted { attempts, text }, 3 => Abandoned {}, 4 => TimedOut { text },
    5 => Lost {},
});

impl From<&PaymentFailure> for GivenUp {
    fn from(failure: &PaymentFailure) -> Self {
        let bytes = |text: &String| text.as_bytes().to_vec();
        match failure {
            PaymentFailure::RefusedByPayee(text) => Self::Refused { text: bytes(text) },
            PaymentFailure::NoRoute(text) => Self::NoRoute { text: bytes(text) },
            PaymentFailure::RetriesExhausted { attempts, last } => {
                Self::Exhausted { attempts: *attempts, text: bytes(last) }
            }
            PaymentFailure::Abandoned => Self::Abandoned {},
            PaymentFailure::TimedOut { last } => Self::TimedOut { text: bytes(last) },
            PaymentFailure::LostBeforeSending => Self::Lost {},
            // One that this version does not make: what it says is kept, and that it is the end.
            other => Self::NoRoute { text: other.to_string().into_bytes() },
        }
    }
}

impl From<GivenUp> for PaymentFailure {
    fn from(stored: GivenUp) -> Self {
        let read = |text: Vec<u8>| String::from_utf8_lossy(&text).into_owned();
        match stored {
            GivenUp::Refused { text } => Self::RefusedByPayee(read(text)),
            GivenUp::NoRoute { text } => Self::NoRoute(read(text)),
            GivenUp::Exhausted { attempts, text } => Self::RetriesExhausted { attempts, last: read(text) },
            GivenUp::Abandoned {} => Self::Abandoned,
            GivenUp::TimedOut { text } => Self::TimedOut { last: read(text) },
            GivenUp::Lost {} => Self::LostBeforeSending,
        }
    }
}

const GIVEN: u8 = 0;
const PLANNED: u8 = 1;

/// What stands behind the id.
pub(super) struct Body<'a>(pub(super) &'a Intent);

impl Encode for Body<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        let Intent { hash, total, plan, .. } = self.0;
        let Some(Plan { params, attempts, ticks, given_up }) = plan else {
            out.push(GIVEN);
            return Given { hash: *hash, total: *total }.encode(out);
        };
        out.push(PLANNED);
        let PayParams { payee, amount, hash, recipient, final_cltv_delta, .. } = params.clone();
        let Recipient { secret, metadata, keysend, custom } = recipient;
        let planned = Planned {
            hash,
            amount,
            payee,
            final_cltv_delta,
            secret,
            metadata,
            keysend,
            hints: params.hints.clone(),
            max_fee: params.max_fee,
            max_parts: params.max_parts,
            max_ticks: params.max_ticks,
            attempts: *attempts,
            ticks: *ticks,
            given_up: given_up.as_ref().map(GivenUp::from),
            custom,
        };
        planned.encode(out);
    }
}

/// What was read from behind the id.
pub(super) struct Stored {
    hash: PaymentHash,
    total: Msat,
    plan: Option<Plan>,
}

impl Stored {
    pub(super) fn of(self, id: PaymentId) -> Intent {
        Intent { id, hash: self.hash, total: self.total, plan: self.plan }
    }
}

impl Decode for Stored {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read::<u8>()? {
            GIVEN => {
                let Given { hash, total } = reader.read()?;
                Ok(Self { hash, total, plan: None })
            }
            PLANNED => {
                let planned: Planned = reader.read()?;
                let recipient = Recipient {
                    secret: planned.secret,
                    metadata: planned.metadata,
                    keysend: planned.keysend,
                    custom: planned.custom,
                };
                let params = PayParams {
                    hints: planned.hints,
                    max_fee: planned.max_fee,
                    max_parts: planned.max_parts,
                    max_ticks: planned.max_ticks,
                    ..PayParams::new(
                        planned.payee,
                        planned.amount,
                        planned.hash,
                        recipient,
                        planned.final_cltv_delta,
                    )
                };
                let plan = Plan {
                    params,
                    attempts: planned.attempts,
                    ticks: planned.ticks,
                    given_up: planned.given_up.map(PaymentFailure::from),
                };
                Ok(Self { hash: planned.hash, total: planned.amount, plan: Some(plan) })
            }
            _ => Err(DecodeError::InvalidValue("tag of a payment")),
        }
    }
}
