//! The same commitment transaction, of ours and of LDK, to be built and signed for the peer.
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use bitcoin::{Amount, OutPoint, Txid};
use lightning::ln::chan_utils::{
    ChannelTransactionParameters, CommitmentTransaction, CounterpartyChannelTransactionParameters,
    HTLCOutputInCommitment,
};
use lightning::sign::ecdsa::EcdsaChannelSigner as _;
use lightning::sign::{ChannelSigner as _, InMemorySigner, SignerProvider as _};
use lightning::types::features::ChannelTypeFeatures;
use lightning_keys::SeedSigner;
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber, HtlcId};
use lightning_traits::interface::{ChannelSigner as _, CommitmentToSign, KeysInterface as _};
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSpec, FundingOutput,
    HtlcSpec, ObscureFactor, TxSide, build,
};
use lightning_traits::units::{CltvExpiry, CsvDelay, FeeratePerKw, Msat};

use crate::{CHANNEL_SAT, PAYMENT_MSAT, ldk, ours};

const NUMBER: u64 = 42;
const FEERATE: u32 = 1_000;
const DELAY: u16 = 144;

fn outpoint() -> OutPoint {
    OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 }
}

/// Hash and expiry of an HTLC; every other one is offered by the broadcaster.
fn htlc(index: usize) -> ([u8; 32], u32, bool) {
    let mut hash = [0x11; 32];
    hash[..8].copy_from_slice(&index.to_be_bytes());
    (hash, 500 + u32::try_from(index % 50).unwrap(), index.is_multiple_of(2))
}

/// What is left for each side.
fn balance(htlcs: usize) -> u64 {
    (CHANNEL_SAT * 1_000 - PAYMENT_MSAT * u64::try_from(htlcs).unwrap()) / 2
}

/// Ours.
pub struct Ours {
    secp: Secp,
    signer: SeedSigner,
    broadcaster: ChannelPublicKeys,
    countersigner: ChannelPublicKeys,
    point: PublicKey,
    params: CommitmentParams,
    spec: CommitmentSpec,
}

impl Ours {
    /// A commitment with so many HTLCs.
    #[must_use]
    pub fn new(htlcs: usize) -> Self {
        let secp = Secp::new();
        let [theirs, signer] = [1, 2].map(|seed| ours::keys(seed).signer(&ChannelKeysId([seed; 32])));
        let (broadcaster, countersigner) = (theirs.public_keys(), signer.public_keys());
        let value = Amount::from_sat(CHANNEL_SAT);
        let params = CommitmentParams {
            format: CommitmentFormat::AnchorsZeroFeeHtlc,
            funding: FundingOutput::new(outpoint(), value, broadcaster.funding, countersigner.funding),
            broadcaster_funding_key: broadcaster.funding,
            obscure: ObscureFactor::new(&broadcaster.payment_basepoint, &countersigner.payment_basepoint),
            dust_limit: Amount::from_sat(354),
            to_self_delay: CsvDelay::new(DELAY),
            opener: TxSide::Broadcaster,
        };
        let spec = CommitmentSpec {
            feerate: FeeratePerKw::new(FEERATE),
            to_broadcaster: Msat::new(balance(htlcs)),
            to_countersigner: Msat::new(balance(htlcs)),
            htlcs: (0..htlcs).map(htlc_spec).collect(),
        };
        let point = theirs.commitment_point(CommitmentNumber(NUMBER)).unwrap();
        Self { secp, signer, broadcaster, countersigner, point, params, spec }
    }

    /// Derives keys, builds, signs. How many signatures there are.
    #[must_use]
    pub fn sign(&self) -> usize {
        let Self { secp, signer, broadcaster, countersigner, point, params, spec } = self;
        let keys = CommitmentKeys::derive(secp, *point, broadcaster, countersigner).unwrap();
        let commitment = build(params, &keys, spec, CommitmentNumber(NUMBER)).unwrap();
        let request = CommitmentToSign { params, keys: &keys, commitment: &commitment };
        1 + signer.sign_theirs(&request).unwrap().htlcs.len()
    }
}

fn htlc_spec(index: usize) -> HtlcSpec {
    let (hash, expiry, is_broadcasters) = htlc(index);
    HtlcSpec {
        offered_by: if is_broadcasters { TxSide::Broadcaster } else { TxSide::Countersigner },
        id: HtlcId(u64::try_from(index).unwrap()),
        amount: Msat::new(PAYMENT_MSAT),
        payment_hash: PaymentHash(hash),
        expiry: CltvExpiry::new(expiry),
    }
}

/// LDK's.
pub struct Ldk {
    secp: Secp256k1<All>,
    signer: InMemorySigner,
    params: ChannelTransactionParameters,
    point: PublicKey,
    htlcs: Vec<HTLCOutputInCommitment>,
}

impl Ldk {
    /// A commitment with so many HTLCs.
    #[must_use]
    pub fn new(htlcs: usize) -> Self {
        let secp = Secp256k1::new();
        let [theirs, signer] = [1, 2].map(|seed| ldk::keys(seed).derive_channel_signer([seed; 32]));
        let (txid, index) = (outpoint().txid, 1);
        let params = ChannelTransactionParameters {
            holder_pubkeys: signer.pubkeys(&secp),
            holder_selected_contest_delay: DELAY,
            is_outbound_from_holder: false,
            counterparty_parameters: Some(CounterpartyChannelTransactionParameters {
                pubkeys: theirs.pubkeys(&secp),
                selected_contest_delay: DELAY,
            }),
            funding_outpoint: Some(lightning::chain::transaction::OutPoint { txid, index }),
            splice_parent_funding_txid: None,
            channel_type_features: ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies(),
            channel_value_satoshis: CHANNEL_SAT,
        };
        let output = |index| {
            let (hash, cltv_expiry, offered) = htlc(index);
            HTLCOutputInCommitment {
                offered,
                amount_msat: PAYMENT_MSAT,
                cltv_expiry,
                payment_hash: lightning::types::payment::PaymentHash(hash),
                transaction_output_index: None,
            }
        };
        let point = theirs.get_per_commitment_point(NUMBER, &secp).unwrap();
        Self { secp, signer, params, point, htlcs: (0..htlcs).map(output).collect() }
    }

    /// Derives keys, builds, signs. How many signatures there are.
    #[must_use]
    pub fn sign(&self) -> usize {
        let Self { secp, signer, params, point, htlcs } = self;
        let balance = balance(htlcs.len()) / 1_000;
        let directed = params.as_counterparty_broadcastable();
        // LDK's channel subtracts the fee before; here it is a constant that only has to be less than the balance.
        let commitment = CommitmentTransaction::new(
            NUMBER,
            point,
            balance - 100_000,
            balance,
            FEERATE,
            htlcs.clone(),
            &directed,
            secp,
        );
        let signed = signer.sign_counterparty_commitment(params, &commitment, vec![], vec![], secp);
        1 + signed.unwrap().1.len()
    }
}
