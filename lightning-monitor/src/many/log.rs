//! How long what is stored of a monitor is, and so when a snapshot is due.
//!
//! # Invariants
//! - counted without encoding anything, and the same whether the updates came just now or were read after a restart
//! - a restart reads a few times what the monitor is, and snapshots add a quarter to what updates write (I13)
use lightning_traits::monitor::{CommitmentChange, MonitorStep};

/// The fewest updates between two snapshots.
const UPDATES_PER_SNAPSHOT: u32 = 64;
/// How many times as long as the snapshot the updates behind it become. A snapshot names the HTLCs in flight, and of the past
/// those of the part that is not full: so, however many are in flight, it adds a quarter to what updates write (I13); and a
/// restart reads five times the snapshot at most.
const UPDATES_TO_SNAPSHOT: usize = 4;

/// How long the snapshot and the updates behind it are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    snapshot: usize,
    updates: u32,
    bytes: usize,
}

impl Log {
    /// A snapshot of so many bytes, 0 before the first, and nothing behind it.
    pub(super) const fn starting_with(snapshot: usize) -> Self {
        Self { snapshot, updates: 0, bytes: 0 }
    }

    /// Counts an update with these steps.
    pub(super) fn append(&mut self, steps: &[MonitorStep]) {
        self.updates = self.updates.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length_of(steps));
    }

    /// Whether the updates are long enough to be replaced.
    pub(super) const fn is_long(&self) -> bool {
        self.updates >= UPDATES_PER_SNAPSHOT
            && self.bytes >= self.snapshot.saturating_mul(UPDATES_TO_SNAPSHOT)
    }
}

/// How many bytes the steps are when they are encoded, but for a byte or two where lists are long.
fn length_of(steps: &[MonitorStep]) -> usize {
    steps.iter().fold(1, |sum, step| sum.saturating_add(length_of_step(step)))
}

const SIGNATURE: usize = 64;
const POINT: usize = 33;
const SECRET: usize = 32;
const NUMBER: usize = 8;
/// Side and id; amount, hash and expiry.
const HTLC_ID: usize = 1 + 8;
const HTLC: usize = HTLC_ID + 8 + 32 + 4;

fn length_of_step(step: &MonitorStep) -> usize {
    1_usize.saturating_add(match step {
        MonitorStep::OurCommitment { change, htlc_signatures, .. } => {
            let signatures = htlc_signatures.len().saturating_add(1).saturating_mul(SIGNATURE);
            length_of_change(change).saturating_add(signatures).saturating_add(LIST)
        }
        MonitorStep::TheirCommitment { change, .. } => length_of_change(change).saturating_add(POINT),
        MonitorStep::TheirRevocation { .. } => NUMBER + SECRET,
        MonitorStep::Preimage { .. } => SECRET,
        MonitorStep::DataLoss { .. } => POINT,
        MonitorStep::ShutdownStarted {} | MonitorStep::ForceClose {} | MonitorStep::Abandoned {} => 0,
    })
}

/// The length of a list stands before it.
const LIST: usize = 1;

fn length_of_change(change: &CommitmentChange) -> usize {
    let CommitmentChange { number: _, feerate: _, to_broadcaster: _, to_countersigner: _, added, removed } =
        change;
    let htlcs = added.len().saturating_mul(HTLC).saturating_add(removed.len().saturating_mul(HTLC_ID));
    htlcs.saturating_add(NUMBER + 4 + 8 + 8 + 2 * LIST)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use lightning_traits::codec::encode_list;
    use lightning_traits::id::{CommitmentNumber, HtlcId};
    use lightning_traits::payment::{PaymentHash, Preimage};
    use lightning_traits::tx::{CommitmentSecret, HtlcSpec, TxSide};
    use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
    use secp256k1::PublicKey;
    use secp256k1::ecdsa::Signature;

    use super::*;

    fn change(added: u64, removed: u64) -> CommitmentChange {
        let htlc = |id| HtlcSpec {
            offered_by: TxSide::Broadcaster,
            id: HtlcId(id),
            amount: Msat::new(1),
            payment_hash: PaymentHash([1; 32]),
            expiry: CltvExpiry::new(2),
        };
        CommitmentChange {
            number: CommitmentNumber(1),
            feerate: FeeratePerKw::new(253),
            to_broadcaster: Msat::new(1),
            to_countersigner: Msat::new(2),
            added: (0..added).map(htlc).collect(),
            removed: (0..removed).map(|id| (TxSide::Broadcaster, HtlcId(id))).collect(),
        }
    }

    #[test]
    fn the_length_is_that_of_the_encoding() {
        let point = PublicKey::from_slice(&[2; 33]).unwrap();
        let signature = Signature::from_compact(&[1; 64]).unwrap();
        let (number, secret) = (CommitmentNumber(0), CommitmentSecret::new([3; 32]));
        let steps = vec![
            MonitorStep::OurCommitment {
                change: change(2, 3),
                signature,
                htlc_signatures: vec![signature; 7],
            },
            MonitorStep::OurCommitment { change: change(0, 0), signature, htlc_signatures: vec![] },
            MonitorStep::TheirCommitment { change: change(40, 50), point },
            MonitorStep::TheirRevocation { number, secret },
            MonitorStep::Preimage { preimage: Preimage::new([4; 32]) },
            MonitorStep::ShutdownStarted {},
            MonitorStep::ForceClose {},
            MonitorStep::DataLoss { point },
            MonitorStep::Abandoned {},
        ];
        let mut encoded = Vec::new();
        encode_list(&steps, &mut encoded);
        assert_eq!(length_of(&steps), encoded.len());
        for step in steps {
            let (mut encoded, step) = (Vec::new(), [step]);
            encode_list(&step, &mut encoded);
            assert_eq!(length_of(&step), encoded.len(), "{step:?}");
        }
    }
}
