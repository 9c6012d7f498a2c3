//! Witnesses: what makes each spend of a Lightning output valid (BOLT 3 and 5).
//!
//! One function for each [`Spend`](super::Spend), which also knows its weight and sequence. Signatures are
//! with `SIGHASH_ALL`, but for the countersigner's on second-stage transactions.
use bitcoin::{EcdsaSighashType, Script, Witness, ecdsa};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::format::CommitmentFormat;
use super::funding::FundingOutput;
use crate::payment::Preimage;

/// The funding output: `0 <signature_for_pubkey1> <signature_for_pubkey2>`, in the order of the script.
///
/// `signature` was made with `key`, `other_signature` with the other key.
#[must_use]
pub fn funding(
    output: &FundingOutput,
    key: &PublicKey,
    signature: &Signature,
    other_signature: &Signature,
) -> Witness {
    let [first, _] = output.keys();
    let (one, two) = if first == key { (signature, other_signature) } else { (other_signature, signature) };
    let mut witness = Witness::new();
    witness.push([]);
    witness.push_ecdsa_signature(&all(one));
    witness.push_ecdsa_signature(&all(two));
    witness.push(output.script().as_bytes());
    witness
}

/// The broadcaster's balance or second-stage output after the delay: `<local_delayedsig> <>`.
#[must_use]
pub fn delayed(signature: &Signature, script: &Script) -> Witness {
    stack(signature, [&[], script.as_bytes()])
}

/// The same output, once revoked, by the countersigner: `<revocation_sig> 1`.
#[must_use]
pub fn revoked_delayed(signature: &Signature, script: &Script) -> Witness {
    stack(signature, [&[1], script.as_bytes()])
}

/// The countersigner's balance: `<remote_sig>` and the key (P2WPKH) or its script with the delay of one block.
#[must_use]
pub fn countersigner_balance(
    format: CommitmentFormat,
    signature: &Signature,
    payment_key: &PublicKey,
) -> Witness {
    if format.rules().one_block_csv {
        stack(signature, [super::script::countersigner_csv(payment_key).as_bytes()])
    } else {
        stack(signature, [&payment_key.serialize()])
    }
}

/// HTLC-timeout: `0 <remotehtlcsig> <localhtlcsig> <>`.
#[must_use]
pub fn htlc_timeout(
    format: CommitmentFormat,
    countersigner: &Signature,
    broadcaster: &Signature,
    script: &Script,
) -> Witness {
    second_stage(format, countersigner, broadcaster, &[], script)
}

/// HTLC-success: `0 <remotehtlcsig> <localhtlcsig> <payment_preimage>`.
#[must_use]
pub fn htlc_success(
    format: CommitmentFormat,
    countersigner: &Signature,
    broadcaster: &Signature,
    preimage: &Preimage,
    script: &Script,
) -> Witness {
    second_stage(format, countersigner, broadcaster, preimage.as_bytes(), script)
}

/// An offered HTLC by the countersigner: `<remotehtlcsig> <payment_preimage>`.
#[must_use]
pub fn offered_with_preimage(signature: &Signature, preimage: &Preimage, script: &Script) -> Witness {
    stack(signature, [preimage.as_bytes(), script.as_bytes()])
}

/// A received HTLC by the countersigner after its expiry: `<remotehtlcsig> <>`; the transaction's locktime is the expiry.
#[must_use]
pub fn received_after_expiry(signature: &Signature, script: &Script) -> Witness {
    stack(signature, [&[], script.as_bytes()])
}

/// An HTLC output of a revoked commitment, offered or received: `<revocation_sig> <revocationpubkey>`.
#[must_use]
pub fn revoked_htlc(signature: &Signature, revocation_key: &PublicKey, script: &Script) -> Witness {
    stack(signature, [&revocation_key.serialize(), script.as_bytes()])
}

/// An anchor by its owner: `<local_sig/remote_sig>`.
#[must_use]
pub fn anchor(signature: &Signature, script: &Script) -> Witness {
    stack(signature, [script.as_bytes()])
}

/// An anchor by anyone after 16 blocks: `<>`.
#[must_use]
pub fn anchor_by_anyone(script: &Script) -> Witness {
    let mut witness = Witness::new();
    witness.push([]);
    witness.push(script.as_bytes());
    witness
}

fn second_stage(
    format: CommitmentFormat,
    countersigner: &Signature,
    broadcaster: &Signature,
    preimage: &[u8],
    script: &Script,
) -> Witness {
    let sighash_type = format.rules().countersigner_htlc_sighash;
    let mut witness = Witness::new();
    witness.push([]);
    witness.push_ecdsa_signature(&ecdsa::Signature { signature: *countersigner, sighash_type });
    witness.push_ecdsa_signature(&all(broadcaster));
    witness.push(preimage);
    witness.push(script.as_bytes());
    witness
}

fn stack<const N: usize>(signature: &Signature, items: [&[u8]; N]) -> Witness {
    let mut witness = Witness::new();
    witness.push_ecdsa_signature(&all(signature));
    for item in items {
        witness.push(item);
    }
    witness
}

const fn all(signature: &Signature) -> ecdsa::Signature {
    ecdsa::Signature { signature: *signature, sighash_type: EcdsaSighashType::All }
}
