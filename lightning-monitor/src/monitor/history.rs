//! What is kept of their commitments.
//!
//! The latest one or two in full, since they may confirm and pay us. Of all before, only what punishing needs:
//! for each HTLC the interval of commitments that had it (their number is public in the transaction, the
//! revocation secret comes from the secret tree). So the size grows with HTLCs, not with states times HTLCs.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::Amount;
use lightning_traits::codec::{DecodeError, Encode as _, Reader, decode_list, encode_list};
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::monitor::CommitmentChange;
use lightning_traits::record;
use lightning_traits::tx::{CommitmentSpec, HtlcSpec, TxSide};
use lightning_traits::units::Msat;
use secp256k1::PublicKey;

use super::past::{Interval, Past};

/// A commitment of theirs that is not revoked, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TheirCommitment {
    pub(crate) number: CommitmentNumber,
    pub(crate) point: PublicKey,
    pub(crate) spec: CommitmentSpec,
}
record!(struct TheirCommitment { number, point, spec });

/// Their commitments, as far as they matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TheirCommitments {
    /// Signed by us and not revoked by them.
    pub(crate) current: TheirCommitment,
    /// The one after, when we have signed it and they have not yet revoked `current`.
    pub(crate) next: Option<TheirCommitment>,
    /// HTLCs of the latest commitment, with the number of the first that had them.
    live: BTreeMap<(TxSide, HtlcId), (HtlcSpec, CommitmentNumber)>,
    /// HTLCs that a commitment before the latest had.
    pub(super) past: Past,
}

impl TheirCommitments {
    pub(crate) fn new(spec: CommitmentSpec, point: PublicKey) -> Self {
        let current = TheirCommitment { number: CommitmentNumber(0), point, spec };
        let past = Past::default();
        Self { current, next: None, live: BTreeMap::new(), past }
    }

    /// The newest that we signed.
    pub(crate) fn latest(&self) -> &TheirCommitment {
        self.next.as_ref().unwrap_or(&self.current)
    }

    /// Takes the next commitment; `None` when it does not follow, and then nothing changed.
    pub(crate) fn extend(
        &mut self,
        change: &CommitmentChange,
        point: PublicKey,
        capacity: Amount,
    ) -> Option<()> {
        if self.next.is_some() || change.number != self.current.number.next() {
            return None;
        }
        let spec = advance(&self.current.spec, change).filter(|spec| is_whole(spec, capacity))?;
        for key in &change.removed {
            if let Some((htlc, from)) = self.live.remove(key) {
                self.past.push(&Interval { htlc, from, until: change.number });
            }
        }
        for htlc in &change.added {
            self.live.insert((htlc.offered_by, htlc.id), (*htlc, change.number));
        }
        self.next = Some(TheirCommitment { number: change.number, point, spec });
        Some(())
    }

    /// The current one is revoked; `None` when there is no next to take its place.
    pub(crate) fn revoke_current(&mut self) -> Option<()> {
        self.current = self.next.take()?;
        Some(())
    }

    /// The HTLCs of the revoked commitment `number`.
    pub(crate) fn htlcs_of(&self, number: CommitmentNumber) -> Vec<HtlcSpec> {
        let past =
            self.past.iter().filter(|past| past.from <= number && number < past.until).map(|past| past.htlc);
        let live = self.live.values().filter(|(_, from)| *from <= number).map(|(htlc, _)| *htlc);
        past.chain(live).collect()
    }
}

impl TheirCommitments {
    /// All but the parts of the past that are full.
    pub(super) fn encode_state(&self, out: &mut Vec<u8>) {
        self.current.encode(out);
        self.next.encode(out);
        let live: Vec<(HtlcSpec, CommitmentNumber)> = self.live.values().copied().collect();
        encode_list(&live, out);
        self.past.encode_rest(out);
    }

    /// Reads what [`TheirCommitments::encode_state`] wrote; `past` is the parts that are full.
    pub(super) fn decode_state(reader: &mut Reader<'_>, past: Vec<Vec<u8>>) -> Result<Self, DecodeError> {
        let (current, next) = (reader.read()?, reader.read()?);
        let live: Vec<(HtlcSpec, CommitmentNumber)> = decode_list(reader)?;
        let live = live.into_iter().map(|entry| ((entry.0.offered_by, entry.0.id), entry)).collect();
        Ok(Self { current, next, live, past: Past::decode_rest(reader, past)? })
    }
}

/// Whether the amounts are those of the channel, so that the commitment can be built.
pub(super) fn is_whole(spec: &CommitmentSpec, capacity: Amount) -> bool {
    spec.total() == Some(Msat::from_amount(capacity))
}

/// The spec after a change; `None` when the change removes what is not there or adds what is.
pub(crate) fn advance(spec: &CommitmentSpec, change: &CommitmentChange) -> Option<CommitmentSpec> {
    let mut htlcs = spec.htlcs.clone();
    for &(side, id) in &change.removed {
        let at = htlcs.iter().position(|htlc| htlc.offered_by == side && htlc.id == id)?;
        htlcs.swap_remove(at);
    }
    for added in &change.added {
        if htlcs.iter().any(|htlc| htlc.offered_by == added.offered_by && htlc.id == added.id) {
            return None;
        }
        htlcs.push(*added);
    }
    Some(CommitmentSpec {
        feerate: change.feerate,
        to_broadcaster: change.to_broadcaster,
        to_countersigner: change.to_countersigner,
        htlcs,
    })
}
