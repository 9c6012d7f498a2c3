//! When a channel must go to the chain by itself (BOLT 2, "`cltv_expiry_delta` Selection").
//!
//! # Invariants
//! - the earliest deadline is known without waiting for it, so a block looks only at channels whose time has come (I13)
use bitcoin::Transaction;
use lightning_traits::Secp;
use lightning_traits::interface::{ChannelSigner, CommitmentToSign, SignError};
use lightning_traits::tx::witness;
use lightning_traits::units::BlockHeight;

use crate::detect::Built;
use crate::monitor::{ChannelMonitor, Duty, Stance};

/// Blocks that the peer has, after an HTLC that we offered expired, to remove it without the chain.
///
/// BOLT 2: "the deadline for offered HTLCs: the deadline after which the channel has to be failed and timed out
/// on-chain. This is G blocks after the HTLC's `cltv_expiry`: 1 or 2 blocks is reasonable." One more for block races.
const OFFERED_GRACE: u32 = 3;

/// Blocks before its expiry by which an HTLC whose preimage we know must be removed, or claimed on the chain.
///
/// BOLT 2: "2R+G+S blocks before `cltv_expiry`", 18 with its reasonable values R = 2, G = 2, S = 12.
const RECEIVED_MARGIN: u32 = 18;

impl ChannelMonitor {
    /// The height at which the channel must go to the chain if nothing changes until then.
    pub(crate) fn deadline(&self) -> Option<BlockHeight> {
        let mut soonest = None;
        for (spec, us) in self.valid_specs() {
            for htlc in &spec.htlcs {
                let (expiry, is_offered) = (BlockHeight::new(htlc.expiry.get()), htlc.offered_by == us);
                let by = if is_offered { expiry.plus(OFFERED_GRACE) } else { expiry.minus(RECEIVED_MARGIN) };
                // Every update asks: of many HTLCs only those that could be the soonest are looked up.
                let is_sooner = soonest.is_none_or(|soonest| by < soonest);
                // Without the preimage it is the peer's to time out; it costs us nothing to wait.
                if is_sooner && (is_offered || self.preimages.contains_key(&htlc.payment_hash)) {
                    soonest = Some(by);
                }
            }
        }
        soonest
    }

    /// Whether our commitment is to be published, and nothing has spent the funding output yet.
    pub(crate) fn is_going_to_chain(&self) -> bool {
        self.stance == (Stance::ForceClosing {}) && self.closing.is_none() && self.duty == Duty::Enforce
    }

    /// The next height at which this monitor has something to do; `None` when only a transaction can wake it.
    pub(crate) fn next_attention(&self, tip: BlockHeight) -> Option<BlockHeight> {
        match (&self.closing, self.stance) {
            _ if !self.pending.is_empty() => Some(tip.plus(1)),
            (Some(closing), _) => (!closing.resolved).then(|| tip.plus(1)),
            (None, Stance::Open {} | Stance::ForceClosing {}) if self.duty == Duty::Punish => None,
            (None, _) if self.undone.is_some() => Some(tip.plus(1)),
            (None, Stance::ForceClosing {}) => Some(tip.plus(1)),
            (None, Stance::DataLoss { .. }) => None,
            // To be archived.
            (None, Stance::Abandoned {}) => Some(tip.plus(1)),
            (None, Stance::Open {}) => self.deadline(),
        }
    }

    /// Our latest commitment, unsigned, and ready to broadcast.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    pub(crate) fn signed_commitment(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
    ) -> Result<(Built, Transaction), SignError> {
        let built = self.build_ours(secp, signer)?;
        let params = self.init.our_params();
        let request = CommitmentToSign { params: &params, keys: &built.keys, commitment: &built.tx };
        let signature = signer.sign_ours(&request)?;
        let mut transaction = built.tx.tx.clone();
        let key = &self.init.ours.keys.funding;
        if let Some(input) = transaction.input.first_mut() {
            input.witness = witness::funding(&self.init.funding, key, &signature, &self.ours.signature);
        }
        Ok((built, transaction))
    }
}
