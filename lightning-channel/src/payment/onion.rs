//! The onion of one path: what each node on it is told (BOLT 4, "`payload` format").
use alloc::sync::Arc;
use alloc::vec::Vec;

use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::interface::EntropySource;
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::route::Path;
use lightning_traits::sphinx::{
    self, FIRST_CUSTOM_RECORD, FinalPayload, ForwardPayload, HopPayload, KEYSEND_RECORD, OnionError,
    OnionPacket, PaymentData, SharedSecret,
};
use lightning_traits::units::Msat;
use secp256k1::{PublicKey, SecretKey};
use thiserror::Error;

use super::params::PayError;
use crate::commitments::{Onion, Recipe, SessionKey};

/// What the payee's own layer of the onion says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipient {
    /// `payment_secret` of the invoice.
    pub secret: Option<PaymentSecret>,
    /// `payment_metadata` of the invoice.
    pub metadata: Option<Vec<u8>>,
    /// The preimage, sent along since the payee does not have it ("keysend", bLIP 3).
    pub keysend: Option<Preimage>,
    /// Records of applications (bLIP 2), of type 65536 and above.
    pub custom: TlvRecords,
}

impl Recipient {
    /// The payee of an invoice with this `payment_secret`.
    #[must_use]
    pub const fn invoice(secret: PaymentSecret) -> Self {
        Self { secret: Some(secret), metadata: None, keysend: None, custom: TlvRecords::new() }
    }

    /// A payee who has not asked for the payment.
    #[must_use]
    pub const fn spontaneous(preimage: Preimage) -> Self {
        Self { secret: None, metadata: None, keysend: Some(preimage), custom: TlvRecords::new() }
    }

    /// With records of applications.
    #[must_use]
    pub fn with_custom(mut self, custom: TlvRecords) -> Self {
        self.custom = custom;
        self
    }

    /// What makes an onion that its payee would refuse.
    pub(crate) fn check(&self, hash: PaymentHash) -> Result<(), PayError> {
        let mut kinds = self.custom.as_slice().iter().map(|record| record.kind);
        if let Some(kind) = kinds.find(|kind| *kind < FIRST_CUSTOM_RECORD || *kind == KEYSEND_RECORD) {
            return Err(PayError::BadRecord(kind));
        }
        match &self.keysend {
            Some(preimage) if preimage.hash() != hash => Err(PayError::WrongPreimage(hash)),
            _ => Ok(()),
        }
    }

    /// With the `payment_metadata` of the invoice. BOLT 4: "MUST include `payment_metadata` with every HTLC".
    #[must_use]
    pub fn with_metadata(mut self, metadata: Option<Vec<u8>>) -> Self {
        self.metadata = metadata;
        self
    }
}

/// Why a path has no onion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PathError {
    #[error("a node of the path is no point of the curve")]
    BadNode,
    #[error("{0}")]
    Onion(OnionError),
}

/// A fresh key for one onion.
pub(crate) fn session_key(entropy: &impl EntropySource) -> SessionKey {
    loop {
        let bytes = entropy.bytes32();
        // All but one in 2^128 are keys.
        if SecretKey::from_slice(&bytes).is_ok() {
            return SessionKey::new(bytes);
        }
    }
}

/// The nodes of `path` as keys.
pub(crate) fn nodes(path: &Path) -> Result<Vec<PublicKey>, PathError> {
    path.hops.iter().map(|hop| hop.node.to_public_key().map_err(|_| PathError::BadNode)).collect()
}

/// The secrets shared with the nodes of `path`, made anew from the key of its onion.
pub(crate) fn secrets(secp: &Secp, path: &Path, session_key: &SessionKey) -> Option<Vec<SharedSecret>> {
    let key = SecretKey::from_slice(session_key.as_bytes()).ok()?;
    sphinx::shared_secrets(secp, &key, &nodes(path).ok()?).ok()
}

/// The onion that takes one part of a payment of `total` along `path`, and the secrets that what comes back is read with.
pub(crate) fn build(
    secp: &Secp,
    session_key: &SessionKey,
    path: &Path,
    recipient: &Recipient,
    total: Msat,
    hash: PaymentHash,
) -> Result<(Onion, Vec<SharedSecret>), PathError> {
    let last = path.hops.last().map(|last| FinalPayload {
        amount: last.amount,
        expiry: last.expiry,
        payment_data: recipient.secret.clone().map(|payment_secret| PaymentData { payment_secret, total }),
        payment_metadata: recipient.metadata.clone(),
        keysend: recipient.keysend.clone(),
        custom: recipient.custom.clone(),
    });
    let payload = last.map(|last| HopPayload::Final(last).to_bytes()).unwrap_or_default();
    let (packet, secrets) = packet(secp, &Recipe { path, session_key, payload: &payload, hash })?;
    Ok((Onion::Ours { payload, built: Some(packet) }, secrets))
}

/// The same onion again, after a restart.
pub(crate) fn rebuild(secp: &Secp, recipe: &Recipe<'_>) -> Option<Arc<OnionPacket>> {
    packet(secp, recipe).ok().map(|(packet, _)| packet)
}

fn packet(secp: &Secp, recipe: &Recipe<'_>) -> Result<(Arc<OnionPacket>, Vec<SharedSecret>), PathError> {
    let Recipe { path, session_key, payload, hash } = *recipe;
    let key = SecretKey::from_slice(session_key.as_bytes()).map_err(|_| PathError::BadNode)?;
    let mut payloads = Vec::with_capacity(path.hops.len());
    for next in path.hops.iter().skip(1) {
        // BOLT 4: a node is told amount and expiry of the HTLC that it is to offer, and on which channel.
        let payload = ForwardPayload {
            amount: next.amount,
            expiry: next.expiry,
            short_channel_id: next.scid,
            unknown: TlvRecords::default(),
        };
        payloads.push(HopPayload::Forward(payload).to_bytes());
    }
    payloads.push(payload.to_vec());
    let hops: Vec<_> = nodes(path)?.into_iter().zip(payloads).collect();
    let (packet, secrets) = sphinx::build(secp, &key, &hops, &hash.0).map_err(PathError::Onion)?;
    Ok((Arc::new(packet), secrets))
}
