//! The client's side: follows the peer's commitments of one channel, and signs against each that is revoked.
//!
//! It keeps the one or two commitments that are not revoked, in full, and nothing of those before. Steps may come twice, as an
//! update that a monitor refused leaves its id to another: what was signed before is passed over.
//!
//! Methods: input [`Scribe::learn`]; getter [`Scribe::covers_from`].
use alloc::boxed::Box;
use alloc::vec::Vec;

use bitcoin::Txid;
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{ChannelSigner, InputToSign, SignError, SigningKey};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorInit, MonitorStep};
use lightning_traits::tx::{CommitmentKeys, CommitmentSecret, CommitmentTx, HtlcOutput, SecondStage, build};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;
use thiserror::Error;

use super::kit::{HtlcStake, HtlcTerms, Kit, SIGHASH, Signed, Spent};
use super::{BASE_RATE, Blob, seal};
use crate::monitor::{ChannelMonitor, TheirCommitment, advance};

/// Why nothing was signed against a revoked state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScribeError {
    /// The steps do not follow on what is known, or what is known is no commitment.
    #[error("the peer's commitments do not follow one another")]
    Contradiction,
    /// No signature.
    #[error(transparent)]
    Signer(#[from] SignError),
}

/// What was made against one revoked commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedState {
    /// Its number.
    pub number: CommitmentNumber,
    /// Its id, which opens the blobs.
    pub txid: Txid,
    /// What a keeper gets.
    pub blobs: Vec<Blob>,
}

/// The peer's commitments of one channel.
#[derive(Clone, Debug)]
pub struct Scribe {
    init: Box<MonitorInit>,
    current: TheirCommitment,
    next: Option<TheirCommitment>,
    covers_from: CommitmentNumber,
}

impl Scribe {
    /// Of a channel as it starts.
    #[must_use]
    pub fn new(init: &MonitorInit) -> Self {
        let (point, spec) = (init.their_point, init.their_spec.clone());
        let current = TheirCommitment { number: CommitmentNumber(0), point, spec };
        Self { init: Box::new(init.clone()), current, next: None, covers_from: CommitmentNumber(0) }
    }

    /// Of a channel as its monitor knows it. States that were revoked before are not covered.
    #[must_use]
    pub fn of(monitor: &ChannelMonitor) -> Self {
        let (current, next) = (monitor.theirs.current.clone(), monitor.theirs.next.clone());
        let covers_from = current.number;
        Self { init: Box::new(monitor.init.clone()), current, next, covers_from }
    }

    /// The name of our keys, of which a signer is made.
    #[must_use]
    pub const fn keys(&self) -> &ChannelKeysId {
        &self.init.keys
    }

    /// The first of their commitments against which it signs.
    #[must_use]
    pub const fn covers_from(&self) -> CommitmentNumber {
        self.covers_from
    }

    /// Takes an update; what it revokes is signed against.
    ///
    /// # Errors
    /// [`ScribeError`]; then nothing changed.
    pub fn learn(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        update: &ChannelMonitorUpdate,
    ) -> Result<Vec<SealedState>, ScribeError> {
        let mut after = self.clone();
        let mut sealed = Vec::new();
        for step in &update.steps {
            match step {
                MonitorStep::TheirCommitment { change, point } if change.number > after.current.number => {
                    if change.number != after.current.number.next() {
                        return Err(ScribeError::Contradiction);
                    }
                    let spec = advance(&after.current.spec, change).ok_or(ScribeError::Contradiction)?;
                    after.next = Some(TheirCommitment { number: change.number, point: *point, spec });
                }
                MonitorStep::TheirRevocation { number, secret } if *number >= after.current.number => {
                    let next = after.next.take().filter(|_| *number == after.current.number);
                    let next = next.ok_or(ScribeError::Contradiction)?;
                    sealed.push(after.seal_current(secp, signer, secret)?);
                    after.current = next;
                }
                MonitorStep::TheirCommitment { .. }
                | MonitorStep::TheirRevocation { .. }
                | MonitorStep::OurCommitment { .. }
                | MonitorStep::Preimage { .. }
                | MonitorStep::ShutdownStarted {}
                | MonitorStep::ForceClose {}
                | MonitorStep::DataLoss { .. }
                | MonitorStep::Abandoned {} => {}
            }
        }
        *self = after;
        Ok(sealed)
    }

    fn seal_current(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        secret: &CommitmentSecret,
    ) -> Result<SealedState, ScribeError> {
        let TheirCommitment { number, point, spec } = &self.current;
        let (keys, built) = self.build(secp, *point, spec, *number).ok_or(ScribeError::Contradiction)?;
        let mut kit = Kit {
            format: self.init.format,
            delay: self.init.theirs.to_self_delay,
            keys,
            destination: self.init.destination.clone(),
            rate: spec.feerate.max(BASE_RATE),
            theirs: None,
            ours: None,
            htlcs: Vec::new(),
        };
        let pen = Pen { signer, revocation: SigningKey::Revocation(secret.clone()) };
        if let Some(vout) = built.to_broadcaster {
            let spent = kit.delayed_in(&built.tx, vout);
            kit.theirs = pen.sign(&kit, spent)?.map(|signature| Signed { vout, signature });
        }
        if let Some(vout) = built.to_countersigner {
            let spent = kit.ours_in(&built.tx, vout);
            kit.ours = pen.sign(&kit, spent)?.map(|signature| Signed { vout, signature });
        }
        for output in &built.htlcs {
            kit.htlcs.extend(self.stake(&kit, &built, output, &pen)?);
        }
        Ok(SealedState { number: *number, txid: built.txid, blobs: seal(&built.txid, &kit) })
    }

    fn build(
        &self,
        secp: &Secp,
        point: PublicKey,
        spec: &lightning_traits::tx::CommitmentSpec,
        number: CommitmentNumber,
    ) -> Option<(CommitmentKeys, CommitmentTx)> {
        let (theirs, ours) = (&self.init.theirs.keys, &self.init.ours.keys);
        let keys = CommitmentKeys::derive(secp, point, theirs, ours).ok()?;
        Some((keys, build(&self.init.their_params(), &keys, spec, number).ok()?))
    }

    fn stake(
        &self,
        kit: &Kit,
        built: &CommitmentTx,
        output: &HtlcOutput,
        pen: &Pen<'_, impl ChannelSigner>,
    ) -> Result<Option<HtlcStake>, ScribeError> {
        let htlc = output.htlc;
        // BOLT 2: at most 483 HTLCs of each side are in a commitment.
        let vout = u16::try_from(output.vout).map_err(|_| ScribeError::Contradiction)?;
        let terms = HtlcTerms {
            vout,
            offered_by: htlc.offered_by,
            expiry: htlc.expiry,
            payment_hash: htlc.payment_hash,
        };
        let Some(signature) = pen.sign(kit, kit.htlc_in(&built.tx, &terms))? else { return Ok(None) };
        // With anchors whoever sends the second stage adds inputs to it, and so chooses its id.
        let second = if kit.format.rules().zero_fee_htlc {
            None
        } else {
            let params = self.init.their_params();
            let stage = SecondStage::new(&params, &kit.keys, built).ok_or(ScribeError::Contradiction)?;
            pen.sign(kit, kit.delayed_in(&stage.tx(output), 0))?
        };
        Ok(Some(HtlcStake { terms, signature, second }))
    }
}

/// Signs claims.
struct Pen<'a, S> {
    signer: &'a S,
    revocation: SigningKey,
}

impl<S: ChannelSigner> Pen<'_, S> {
    /// The signature of the claim of an output; `None` when it is not worth one.
    fn sign(&self, kit: &Kit, spent: Option<Spent>) -> Result<Option<Signature>, ScribeError> {
        let spent = spent.ok_or(ScribeError::Contradiction)?;
        let Some((transaction, _)) = kit.unsigned(&spent) else { return Ok(None) };
        let is_ours = spent.spend == lightning_traits::tx::Spend::CountersignerBalance;
        let request = InputToSign {
            transaction: &transaction,
            input: 0,
            value: spent.output.value,
            script: &spent.script,
            sighash: SIGHASH,
            key: if is_ours { &SigningKey::Payment } else { &self.revocation },
        };
        Ok(Some(self.signer.sign_input(&request)?))
    }
}
