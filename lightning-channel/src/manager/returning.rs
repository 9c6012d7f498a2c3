//! What goes back through us: the secrets that it is wrapped with, and how long it was held (BOLT 4, "Returning Errors", "Hold
//! times for successful payments").
//!
//! There is no clock here (I1): the user says what time it is, or nobody is told hold times.
use lightning_traits::feature::Feature;
use lightning_traits::interface::Environment;
use lightning_traits::payment::Preimage;
use lightning_traits::sphinx::SharedSecret;
use lightning_traits::units::Msat;

use super::ChannelManager;
use crate::commitments::Removal;
use crate::forward::onion::{self, Back};
use crate::payment::inbound::HtlcKey;

/// Milliseconds in a unit of hold time (BOLT 4).
const UNIT: u64 = 100;

/// An incoming HTLC whose onion was read.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) secret: SharedSecret,
    /// When, on the user's clock, if it was set by then.
    at: Option<u64>,
}

impl<E: Environment> ChannelManager<E> {
    /// Says what time it is, in milliseconds on any clock that does not go back, as often as is convenient: about once for each
    /// batch of messages. Payers are told from it how long we held their HTLCs (`option_attribution_data`); without, they are
    /// told nothing.
    pub fn note_time(&self, millis: u64) {
        let mut table = self.table.lock();
        table.clock = table.clock.max(Some(millis));
    }

    /// Remembers what the onion of an HTLC gave.
    pub(super) fn note_arrival(&self, key: HtlcKey, secret: &SharedSecret) {
        let mut table = self.table.lock();
        let at = table.clock;
        table.arrivals.entry(key).or_insert_with(|| Arrival { secret: secret.clone(), at });
    }

    /// How something goes back to the peer that an HTLC came from.
    pub(super) fn back(&self, key: HtlcKey) -> Back {
        let table = self.table.lock();
        let arrival = table.arrivals.get(&key);
        let features = table.channel(key.0).and_then(|slot| table.peers.get(&slot.peer));
        // A peer that is away will say when it comes back; until then it is taken to know.
        let is_attributed = features.is_none_or(|features| features.supports(Feature::AttributionData));
        let times = arrival.and_then(|arrival| Some((table.clock?, arrival.at?)));
        let held = times.map_or(0, |(now, at)| now.saturating_sub(at));
        let units = u32::try_from(held.checked_div(UNIT).unwrap_or(0)).unwrap_or(u32::MAX);
        Back {
            secret: arrival.map(|arrival| arrival.secret.clone()),
            hold_time: is_attributed.then_some(units),
        }
    }

    /// The claim of one part of a payment to us.
    pub(super) fn claim_of(&self, key: HtlcKey, preimage: Preimage, total: Msat) -> Removal {
        let back = self.back(key);
        let htlc = if back.secret.is_some() { None } else { self.incoming(key) };
        onion::fulfill(self.env.keys(), htlc.as_ref(), preimage, None, Some(total), &back)
    }
}
