//! The manager's own record: a cache of intents, never the truth about money (I6).
//!
//! What it adds to the channels' records: payments that no channel has an HTLC of yet, the ids of events that will come
//! again, hashes that were paid already.
use alloc::vec::Vec;

use lightning_traits::codec::{DecodeError, TlvRecords, decode_versioned, encode_versioned};
use lightning_traits::id::{EventId, PaymentId};
use lightning_traits::payment::PaymentHash;
use lightning_traits::record;
use lightning_traits::units::Msat;

use crate::manager::events::Source;

const VERSION: u8 = 1;

/// A payment that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) id: PaymentId,
    pub(crate) hash: PaymentHash,
    pub(crate) total: Msat,
}
record!(struct Intent { id, hash, total });

/// A hash that was paid to us, until when an invoice may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paid {
    pub(crate) hash: PaymentHash,
    pub(crate) expires: u32,
}
record!(struct Paid { hash, expires });

/// An event that may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: EventId,
    pub(crate) source: Source,
}
record!(struct Told { id, source });

/// The whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ManagerRecord {
    /// Ids below may be in use.
    pub(crate) next_event: u64,
    pub(crate) announced_at: u32,
    pub(crate) intents: Vec<Intent>,
    pub(crate) paid: Vec<Paid>,
    pub(crate) told: Vec<Told>,
}
record!(struct ManagerRecord { next_event, announced_at, intents list, paid list, told list });

impl ManagerRecord {
    /// The versioned encoding.
    pub(crate) fn to_versioned(&self) -> Vec<u8> {
        encode_versioned(VERSION, self, &TlvRecords::default())
    }

    /// Reads the versioned encoding.
    pub(crate) fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_versioned(VERSION, bytes).map(|(record, _)| record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::id::ChannelId;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = ManagerRecord {
            next_event: 7,
            announced_at: 8,
            intents: alloc::vec![Intent {
                id: PaymentId([1; 32]),
                hash: PaymentHash([2; 32]),
                total: Msat::new(3)
            }],
            paid: alloc::vec![Paid { hash: PaymentHash([4; 32]), expires: 5 }],
            told: alloc::vec![
                Told { id: EventId(1), source: Source::Payment { id: PaymentId([1; 32]) } },
                Told { id: EventId(2), source: Source::Channel { channel: ChannelId([6; 32]), what: 1 } },
            ],
        };
        assert_eq!(ManagerRecord::from_versioned(&record.to_versioned()), Ok(record));
        assert!(ManagerRecord::from_versioned(&[9, 0]).is_err());
    }
}
