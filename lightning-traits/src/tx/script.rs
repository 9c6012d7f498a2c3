//! Witness scripts of BOLT 3, each with the script of the specification beside it.
//!
//! # Invariants
//! - every push is minimal, every script fits the sizes of BOLT 3, Appendix A
use alloc::vec::Vec;

use bitcoin::hashes::{Hash as _, hash160, ripemd160};
use bitcoin::opcodes::all::{
    OP_CHECKMULTISIG, OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CLTV, OP_CSV, OP_DROP, OP_DUP, OP_ELSE, OP_ENDIF,
    OP_EQUAL, OP_EQUALVERIFY, OP_HASH160, OP_IF, OP_IFDUP, OP_NOTIF, OP_SIZE, OP_SWAP,
};
use bitcoin::script::Builder;
use bitcoin::{CompressedPublicKey, ScriptBuf};
use secp256k1::PublicKey;

use super::format::CommitmentFormat;
use super::keys::{CommitmentKeys, HtlcKeys};
use super::spec::{HtlcSpec, TxSide};
use crate::payment::PaymentHash;
use crate::units::{CltvExpiry, CsvDelay};

/// `2 <pubkey1> <pubkey2> 2 OP_CHECKMULTISIG`, the lesser key first.
///
/// Callers hold a [`FundingOutput`](super::FundingOutput), which keeps the order.
#[must_use]
pub fn funding(lesser: &PublicKey, greater: &PublicKey) -> ScriptBuf {
    with_room(71)
        .push_int(2)
        .push_slice(lesser.serialize())
        .push_slice(greater.serialize())
        .push_int(2)
        .push_opcode(OP_CHECKMULTISIG)
        .into_script()
}

/// The broadcaster's balance, and the output of every second-stage transaction.
///
/// ```text
/// OP_IF <revocationpubkey>
/// OP_ELSE `to_self_delay` OP_CHECKSEQUENCEVERIFY OP_DROP <local_delayedpubkey>
/// OP_ENDIF OP_CHECKSIG
/// ```
#[must_use]
pub fn delayed(revocation_key: &PublicKey, delay: CsvDelay, delayed_key: &PublicKey) -> ScriptBuf {
    with_room(78)
        .push_opcode(OP_IF)
        .push_slice(revocation_key.serialize())
        .push_opcode(OP_ELSE)
        .push_int(i64::from(delay.get()))
        .push_opcode(OP_CSV)
        .push_opcode(OP_DROP)
        .push_slice(delayed_key.serialize())
        .push_opcode(OP_ENDIF)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}

/// The countersigner's balance, as an output script: P2WPKH, or P2WSH of [`countersigner_csv`] where one block must pass.
#[must_use]
pub fn countersigner_output(format: CommitmentFormat, payment_key: &PublicKey) -> ScriptBuf {
    if format.rules().one_block_csv {
        countersigner_csv(payment_key).to_p2wsh()
    } else {
        ScriptBuf::new_p2wpkh(&CompressedPublicKey(*payment_key).wpubkey_hash())
    }
}

/// `<remotepubkey> OP_CHECKSIGVERIFY 1 OP_CHECKSEQUENCEVERIFY`.
#[must_use]
pub fn countersigner_csv(payment_key: &PublicKey) -> ScriptBuf {
    with_room(37)
        .push_slice(payment_key.serialize())
        .push_opcode(OP_CHECKSIGVERIFY)
        .push_int(1)
        .push_opcode(OP_CSV)
        .into_script()
}

/// `<funding_pubkey> OP_CHECKSIG OP_IFDUP OP_NOTIF OP_16 OP_CHECKSEQUENCEVERIFY OP_ENDIF`.
#[must_use]
pub fn anchor(funding_key: &PublicKey) -> ScriptBuf {
    with_room(40)
        .push_slice(funding_key.serialize())
        .push_opcode(OP_CHECKSIG)
        .push_opcode(OP_IFDUP)
        .push_opcode(OP_NOTIF)
        .push_int(16)
        .push_opcode(OP_CSV)
        .push_opcode(OP_ENDIF)
        .into_script()
}

/// Makes the HTLC scripts of one commitment; hashes the revocation key once for all of them.
#[derive(Clone, Copy, Debug)]
pub struct HtlcScripts<'a> {
    format: CommitmentFormat,
    keys: &'a HtlcKeys,
    revocation_hash: [u8; 20],
}

impl<'a> HtlcScripts<'a> {
    /// For the commitment with these keys; `None` when they are those of a commitment without HTLCs.
    #[must_use]
    pub fn new(format: CommitmentFormat, keys: &'a CommitmentKeys) -> Option<Self> {
        let revocation_hash = hash160::Hash::hash(&keys.revocation_key.serialize()).to_byte_array();
        Some(Self { format, keys: keys.htlc.as_ref()?, revocation_hash })
    }

    /// The witness script of an HTLC output: offered or received as seen by the broadcaster.
    #[must_use]
    pub fn script(&self, htlc: &HtlcSpec) -> ScriptBuf {
        match htlc.offered_by {
            TxSide::Broadcaster => self.offered(&htlc.payment_hash),
            TxSide::Countersigner => self.received(&htlc.payment_hash, htlc.expiry),
        }
    }

    /// An HTLC that the broadcaster offered.
    ///
    /// ```text
    /// OP_DUP OP_HASH160 <RIPEMD160(SHA256(revocationpubkey))> OP_EQUAL
    /// OP_IF OP_CHECKSIG
    /// OP_ELSE
    ///     <remote_htlcpubkey> OP_SWAP OP_SIZE 32 OP_EQUAL
    ///     OP_NOTIF OP_DROP 2 OP_SWAP <local_htlcpubkey> 2 OP_CHECKMULTISIG
    ///     OP_ELSE OP_HASH160 <RIPEMD160(payment_hash)> OP_EQUALVERIFY OP_CHECKSIG
    ///     OP_ENDIF
    ///     [1 OP_CHECKSEQUENCEVERIFY OP_DROP]     with anchors
    /// OP_ENDIF
    /// ```
    #[must_use]
    pub fn offered(&self, payment_hash: &PaymentHash) -> ScriptBuf {
        let script = self
            .common_head(with_room(136))
            .push_opcode(OP_NOTIF)
            .push_opcode(OP_DROP)
            .push_int(2)
            .push_opcode(OP_SWAP)
            .push_slice(self.keys.broadcaster.serialize())
            .push_int(2)
            .push_opcode(OP_CHECKMULTISIG)
            .push_opcode(OP_ELSE)
            .push_opcode(OP_HASH160)
            .push_slice(hash_in_script(payment_hash))
            .push_opcode(OP_EQUALVERIFY)
            .push_opcode(OP_CHECKSIG)
            .push_opcode(OP_ENDIF);
        self.common_tail(script)
    }

    /// An HTLC that the broadcaster received, so that the countersigner offered.
    ///
    /// ```text
    /// OP_DUP OP_HASH160 <RIPEMD160(SHA256(revocationpubkey))> OP_EQUAL
    /// OP_IF OP_CHECKSIG
    /// OP_ELSE
    ///     <remote_htlcpubkey> OP_SWAP OP_SIZE 32 OP_EQUAL
    ///     OP_IF OP_HASH160 <RIPEMD160(payment_hash)> OP_EQUALVERIFY 2 OP_SWAP <local_htlcpubkey> 2 OP_CHECKMULTISIG
    ///     OP_ELSE OP_DROP <cltv_expiry> OP_CHECKLOCKTIMEVERIFY OP_DROP OP_CHECKSIG
    ///     OP_ENDIF
    ///     [1 OP_CHECKSEQUENCEVERIFY OP_DROP]     with anchors
    /// OP_ENDIF
    /// ```
    #[must_use]
    pub fn received(&self, payment_hash: &PaymentHash, expiry: CltvExpiry) -> ScriptBuf {
        let script = self
            .common_head(with_room(143))
            .push_opcode(OP_IF)
            .push_opcode(OP_HASH160)
            .push_slice(hash_in_script(payment_hash))
            .push_opcode(OP_EQUALVERIFY)
            .push_int(2)
            .push_opcode(OP_SWAP)
            .push_slice(self.keys.broadcaster.serialize())
            .push_int(2)
            .push_opcode(OP_CHECKMULTISIG)
            .push_opcode(OP_ELSE)
            .push_opcode(OP_DROP)
            .push_int(i64::from(expiry.get()))
            .push_opcode(OP_CLTV)
            .push_opcode(OP_DROP)
            .push_opcode(OP_CHECKSIG)
            .push_opcode(OP_ENDIF);
        self.common_tail(script)
    }

    /// The branch of the revocation key, then the countersigner's key and the test for a 32-byte preimage.
    fn common_head(&self, script: Builder) -> Builder {
        script
            .push_opcode(OP_DUP)
            .push_opcode(OP_HASH160)
            .push_slice(self.revocation_hash)
            .push_opcode(OP_EQUAL)
            .push_opcode(OP_IF)
            .push_opcode(OP_CHECKSIG)
            .push_opcode(OP_ELSE)
            .push_slice(self.keys.countersigner.serialize())
            .push_opcode(OP_SWAP)
            .push_opcode(OP_SIZE)
            .push_int(32)
            .push_opcode(OP_EQUAL)
    }

    /// The delay of one block, where the format has it; the end of the outer branch.
    fn common_tail(&self, mut script: Builder) -> ScriptBuf {
        if self.format.rules().one_block_csv {
            script = script.push_int(1).push_opcode(OP_CSV).push_opcode(OP_DROP);
        }
        script.push_opcode(OP_ENDIF).into_script()
    }
}

/// A payment hash is a SHA256 already; `OP_HASH160` of the preimage is its RIPEMD160.
fn hash_in_script(payment_hash: &PaymentHash) -> [u8; 20] {
    ripemd160::Hash::hash(&payment_hash.0).to_byte_array()
}

/// A builder that will not have to grow.
fn with_room(bytes: usize) -> Builder {
    Builder::from(Vec::with_capacity(bytes))
}
