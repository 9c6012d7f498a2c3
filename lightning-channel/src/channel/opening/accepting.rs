//! The accepter's side: `open_channel` judged, `accept_channel`, until `funding_created`.
//!
//! # Invariants
//! - `funding_signed` does not leave before the channel is durable
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::{CommitmentNumber, NodeId};
use lightning_traits::interface::{ChannelSigner, KeysInterface};
use lightning_traits::units::Msat;
use lightning_traits::wire::{AcceptChannel, FundingCreated, FundingSigned, OpenChannel};

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, Txid};

use super::Proposal;
use super::first::FirstCommitments;
use super::offer::{self, Offer};
use super::proposing::OpenError;
use crate::channel::context::Context;
use crate::channel::violation::{BadTerms, Violation};

/// They sent `open_channel`, and its terms are good.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) proposal: Proposal,
    pub(crate) theirs: Offer,
}

impl Requested {
    /// Judges the terms.
    pub(crate) fn new<K: KeysInterface>(
        cx: &Context<'_, K>,
        peer: NodeId,
        their_features: &Features,
        message: &OpenChannel,
        keys: lightning_traits::id::ChannelKeysId,
        signer: &K::Signer,
    ) -> Result<Self, RequestError> {
        let channel_type = check_message(cx, their_features, message)?;
        let config = &cx.config.handshake;
        let announce = message.announces_channel();
        let format = offer::format_of(&channel_type, announce)?;
        let (low, high) = cx.feerate_bounds(&channel_type);
        // BOLT 2: "it considers `feerate_per_kw` too small for timely processing or unreasonably large".
        if message.feerate_per_kw < low {
            return Err(BadTerms::FeerateTooLow(message.feerate_per_kw).into());
        }
        if message.feerate_per_kw > high {
            return Err(BadTerms::FeerateTooHigh(message.feerate_per_kw).into());
        }
        let theirs = Offer::from(message);
        let any_segwit = cx.negotiated(their_features, Feature::ShutdownAnySegwit);
        theirs.check(config, message.funding_satoshis, &channel_type, any_segwit)?;
        let first_point = signer.commitment_point(CommitmentNumber(0)).map_err(OpenError::Signer)?;
        let ours = Offer::ours(
            config,
            message.funding_satoshis,
            signer.public_keys(),
            first_point,
            cx.keys.shutdown_script(&keys),
            theirs.dust_limit,
        );
        offer::check_reserves(&ours, &theirs)?;
        let (funding, push) = (message.funding_satoshis, message.push_msat);
        offer::check_first_balances(funding, push, message.feerate_per_kw, format, &theirs, &ours)?;
        let proposal = Proposal {
            temporary: message.temporary_channel_id,
            peer,
            keys,
            funding,
            push,
            announce,
            channel_type,
            format,
            feerate: message.feerate_per_kw,
            we_opened: false,
            ours,
        };
        Ok(Self { proposal, theirs })
    }

    /// Agrees.
    pub(crate) fn accept<K: KeysInterface>(self, cx: &Context<'_, K>) -> (AwaitingCreated, AcceptChannel) {
        let (ours, minimum_depth) = (&self.proposal.ours, cx.config.handshake.minimum_depth.max(1));
        let message = AcceptChannel {
            temporary_channel_id: self.proposal.temporary,
            dust_limit_satoshis: ours.dust_limit,
            max_htlc_value_in_flight_msat: ours.max_in_flight,
            channel_reserve_satoshis: ours.reserve,
            htlc_minimum_msat: ours.htlc_minimum,
            minimum_depth,
            to_self_delay: ours.to_self_delay,
            max_accepted_htlcs: ours.max_accepted_htlcs,
            funding_pubkey: ours.keys.funding,
            revocation_basepoint: ours.keys.revocation_basepoint,
            payment_basepoint: ours.keys.payment_basepoint,
            delayed_payment_basepoint: ours.keys.delayed_payment_basepoint,
            htlc_basepoint: ours.keys.htlc_basepoint,
            first_per_commitment_point: ours.first_point,
            upfront_shutdown_script: Some(ours.shutdown.clone().unwrap_or_default()),
            // BOLT 2: "MUST set `channel_type` to the `channel_type` from `open_channel`".
            channel_type: Some(self.proposal.channel_type.clone()),
            unknown: Default::default(),
        };
        (AwaitingCreated { proposal: self.proposal, theirs: self.theirs, minimum_depth }, message)
    }
}

/// Checks what only `open_channel` has; returns the type.
fn check_message<K: KeysInterface>(
    cx: &Context<'_, K>,
    their_features: &Features,
    message: &OpenChannel,
) -> Result<lightning_traits::feature::ChannelType, BadTerms> {
    let (config, funding) = (&cx.config.handshake, message.funding_satoshis);
    if message.chain_hash != cx.chain {
        return Err(BadTerms::UnknownChain);
    }
    if cx.negotiated(their_features, Feature::DualFund) {
        return Err(BadTerms::DualFundNegotiated);
    }
    let large = cx.features.supports(Feature::LargeChannel);
    if funding > Amount::MAX_MONEY
        || funding > config.max_funding
        || (funding >= offer::LARGE_FUNDING && !large)
    {
        return Err(BadTerms::FundingTooLarge(funding));
    }
    if funding < config.min_funding {
        return Err(BadTerms::FundingTooSmall(funding));
    }
    if message.push_msat > Msat::from_amount(funding) {
        return Err(BadTerms::PushAboveFunding(message.push_msat));
    }
    message.channel_type.clone().ok_or(BadTerms::MissingChannelType)
}

/// We sent `accept_channel`.
#[derive(Clone, Debug)]
pub(crate) struct AwaitingCreated {
    pub(crate) proposal: Proposal,
    pub(crate) theirs: Offer,
    pub(crate) minimum_depth: u32,
}

impl AwaitingCreated {
    /// Checks their signature, makes ours.
    pub(crate) fn on_created<K: KeysInterface>(
        &self,
        cx: &Context<'_, K>,
        signer: &K::Signer,
        message: &FundingCreated,
    ) -> Result<(FirstCommitments, FundingSigned), Violation> {
        if message.funding_txid == Txid::all_zeros() {
            return Err(Violation::NullFunding);
        }
        let outpoint = OutPoint { txid: message.funding_txid, vout: u32::from(message.funding_output_index) };
        let first =
            FirstCommitments::new(&self.proposal, &self.theirs, self.minimum_depth, outpoint, cx.height)
                .map_err(Violation::FirstCommitment)?;
        first.verify_ours(cx.secp, &message.signature).map_err(Violation::FirstCommitment)?;
        let signature = first.sign_theirs(cx.secp, signer).map_err(Violation::FirstCommitment)?;
        let signed =
            FundingSigned { channel_id: first.terms.channel, signature, unknown: Default::default() };
        Ok((first, signed))
    }
}

/// Why an `open_channel` is refused: the peer's terms, or our own signer.
pub(crate) type RequestError = OpenError;
