//! What was seen: pairs of phase and message, counts, and a fingerprint of the whole run.
use std::collections::BTreeSet;

use lightning_channel::channel::{PhaseName, phase_table};

/// Messages of the phase table and their types (BOLT 2).
const TYPES: &[(u16, &str)] = &[
    (2, "Stfu"),
    (33, "AcceptChannel"),
    (34, "FundingCreated"),
    (35, "FundingSigned"),
    (36, "ChannelReady"),
    (38, "Shutdown"),
    (39, "ClosingSigned"),
    (40, "ClosingComplete"),
    (41, "ClosingSig"),
    (66, "TxAddInput"),
    (67, "TxAddOutput"),
    (68, "TxRemoveInput"),
    (69, "TxRemoveOutput"),
    (70, "TxComplete"),
    (71, "TxSignatures"),
    (72, "TxInitRbf"),
    (73, "TxAckRbf"),
    (74, "TxAbort"),
    (77, "SpliceLocked"),
    (80, "SpliceInit"),
    (81, "SpliceAck"),
    (127, "StartBatch"),
    (128, "UpdateAddHtlc"),
    (130, "UpdateFulfillHtlc"),
    (131, "UpdateFailHtlc"),
    (132, "CommitmentSigned"),
    (133, "RevokeAndAck"),
    (134, "UpdateFee"),
    (135, "UpdateFailMalformedHtlc"),
    (136, "ChannelReestablish"),
    (259, "AnnouncementSignatures"),
];

/// What a run has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pairs: BTreeSet<(PhaseName, &'static str)>,
    /// Messages that arrived.
    pub arrived: u64,
    /// Changes with every message and its place in the run.
    pub fingerprint: u64,
}

impl Coverage {
    /// A message of this type reaches a channel in this phase.
    pub(crate) fn saw(&mut self, phase: Option<PhaseName>, type_id: u16) {
        let name = TYPES.iter().find(|(known, _)| *known == type_id);
        if let (Some(phase), Some((_, name))) = (phase, name) {
            self.pairs.insert((phase, name));
        }
    }

    /// Makes bytes part of the fingerprint.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fingerprint = (self.fingerprint.rotate_left(5) ^ u64::from_le_bytes(word))
                .wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Self) {
        self.pairs.extend(&other.pairs);
        self.arrived += other.arrived;
        self.fingerprint ^= other.fingerprint;
    }

    /// How many pairs there are that a channel takes, and those of them that were never seen.
    #[must_use]
    pub fn unseen(&self) -> (usize, Vec<(PhaseName, &'static str)>) {
        let legal: BTreeSet<_> = phase_table().iter().map(|(phase, message, _)| (*phase, *message)).collect();
        (legal.len(), legal.into_iter().filter(|pair| !self.pairs.contains(pair)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_phase_table_has_a_type_here() {
        for (_, message, _) in phase_table() {
            assert!(TYPES.iter().any(|(_, name)| name == message), "{message}");
        }
    }
}
