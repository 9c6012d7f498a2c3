//! The accepter's side: `open_channel` judged, `accept_channel`, until `funding_created`.
//!
//! # Invariants
//! - `funding_signed` does not leave before the channel is durable
use lightning_traits::event::ChannelRequest;
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::{CommitmentNumber, NodeId};
use lightning_traits::interface::{ChannelSigner, KeysInterface};
use lightning_traits::units::Msat;
use lightning_traits::wire::{AcceptChannel, FundingCreated, FundingSigned, OpenChannel};

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, Txid};

use super::first::FirstCommitments;
use super::offer::{self, Offer};
use super::proposing::OpenError;
use super::{AcceptOptions, Proposal};
use crate::channel::context::Context;
use crate::channel::violation::{BadTerms, Violation};

/// They sent `open_channel`, and its terms are good.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) proposal: Proposal,
    pub(crate) theirs: Offer,
    any_segwit: bool,
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
        let trust = config.trust(&peer);
        // What needs trust is for the user to give, if it is asked; else it is looked at when the channel is accepted.
        let may_trust = trust.zero_reserve || config.ask_before_accept;
        theirs.check(config, message.funding_satoshis, &channel_type, any_segwit, may_trust)?;
        let first_point = signer.commitment_point(CommitmentNumber(0)).map_err(OpenError::Signer)?;
        let shutdown = cx.upfront_script(&keys, None, any_segwit)?;
        let ours = Offer::ours(config, message.funding_satoshis, signer.public_keys(), first_point, shutdown)
            .with_reserve(false, None, theirs.dust_limit);
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
        Ok(Self { proposal, theirs, any_segwit })
    }

    /// What the user is asked.
    pub(crate) fn request(&self) -> ChannelRequest {
        let (proposal, theirs) = (&self.proposal, &self.theirs);
        ChannelRequest {
            temporary: proposal.temporary,
            peer: proposal.peer,
            funding: proposal.funding,
            push: proposal.push,
            announce: proposal.announce,
            channel_type: proposal.channel_type.clone(),
            zero_conf: proposal.zero_conf(),
            feerate: proposal.feerate,
            reserve: theirs.reserve,
            dust_limit: theirs.dust_limit,
            to_self_delay: theirs.to_self_delay,
            htlc_minimum: theirs.htlc_minimum,
            max_in_flight: theirs.max_in_flight,
            max_accepted_htlcs: theirs.max_accepted_htlcs,
            upfront_shutdown: theirs.shutdown.clone(),
        }
    }

    /// Agrees, if what the peer wants is within what it is trusted with.
    pub(crate) fn accept<K: KeysInterface>(
        mut self,
        cx: &Context<'_, K>,
        options: &AcceptOptions,
    ) -> Result<(AwaitingCreated, AcceptChannel), BadTerms> {
        let config = &cx.config.handshake;
        let trust = options.trust.unwrap_or_else(|| config.trust(&self.proposal.peer));
        // BOLT 2: "MUST fail the channel if the `channel_type` includes `option_zeroconf` and it does not trust the sender".
        if self.proposal.zero_conf() && !trust.zero_conf {
            return Err(BadTerms::NotTrusted);
        }
        let (dust, reserve) = (self.theirs.dust_limit, self.theirs.reserve);
        if dust > reserve && !trust.zero_reserve {
            return Err(BadTerms::DustAboveReserve { dust, reserve });
        }
        if let Some(script) = &options.shutdown_script {
            self.proposal.ours.shutdown =
                cx.upfront_script(&self.proposal.keys, Some(script), self.any_segwit)?;
        }
        self.proposal.ours = self.proposal.ours.with_reserve(trust.zero_reserve, options.reserve, dust);
        let (opener, accepter) = (&self.theirs, &self.proposal.ours);
        offer::check_reserves(accepter, opener)?;
        let Proposal { funding, push, feerate, format, .. } = self.proposal;
        offer::check_first_balances(funding, push, feerate, format, opener, accepter)?;
        // BOLT 2: "if `channel_type` includes `option_zeroconf`: MUST set `minimum_depth` to zero".
        let minimum_depth = if self.proposal.zero_conf() {
            0
        } else {
            options.minimum_depth.unwrap_or(config.minimum_depth).max(1)
        };
        Ok(self.agree(minimum_depth))
    }

    fn agree(self, minimum_depth: u32) -> (AwaitingCreated, AcceptChannel) {
        let ours = &self.proposal.ours;
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
