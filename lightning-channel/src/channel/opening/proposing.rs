//! The opener's side: `open_channel`, `funding_created`, until `funding_signed`.
//!
//! # Invariants
//! - the funding transaction does not leave before their signature for our first commitment is durable
use alloc::boxed::Box;
use alloc::vec::Vec;

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn};
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::{ChannelId, CommitmentNumber, NodeId};
use lightning_traits::interface::{ChannelSigner, KeysInterface, SignError};
use lightning_traits::tx::FundingOutput;
use lightning_traits::units::Msat;
use lightning_traits::wire::{AcceptChannel, FundingCreated, FundingSigned, OpenChannel};
use secp256k1::ecdsa::Signature;
use thiserror::Error;

use super::first::{FirstCommitments, FirstError};
use super::offer::{self, Offer};
use super::{OpenOptions, Proposal};
use crate::channel::context::Context;
use crate::channel::violation::{BadTerms, Violation};

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenParams {
    /// With whom.
    pub peer: NodeId,
    /// The temporary id: random, unique among the channels with this peer.
    pub temporary: ChannelId,
    /// Value of the funding output.
    pub funding: Amount,
    /// What may be chosen beside.
    pub options: OpenOptions,
}

/// Why a funding transaction is not taken. The channel still waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FundError {
    /// The channel awaits no transaction.
    #[error("the channel awaits no funding transaction")]
    NotAwaited,
    /// No output pays the funding amount to the funding script.
    #[error("no output pays the funding amount to the funding script")]
    NoOutput,
    /// An input without witness: its signature could change the transaction's id (RELIABILITY A17).
    #[error("input {0} is not signed by a witness, the transaction's id could change")]
    NotSegwit(usize),
    /// Our signer does not sign their first commitment.
    #[error("the signer does not sign")]
    Signer(SignError),
    /// The first commitment cannot be built.
    #[error("the first commitment cannot be built")]
    Unbuildable,
}

/// We sent `open_channel`.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) proposal: Proposal,
    pub(crate) any_segwit: bool,
    /// Whether the peer may ask for no reserve.
    pub(crate) zero_reserve: bool,
}

impl Offered {
    /// The proposal and the message that makes it.
    pub(crate) fn new<K: KeysInterface>(
        cx: &Context<'_, K>,
        params: &OpenParams,
        their_features: &Features,
        keys: lightning_traits::id::ChannelKeysId,
        signer: &K::Signer,
    ) -> Result<(Self, OpenChannel), OpenError> {
        let config = &cx.config.handshake;
        let negotiated = |feature| cx.negotiated(their_features, feature);
        // BOLT 2: "if both nodes advertised `option_support_large_channel`: MAY set `funding_satoshis` greater than or equal to 2^24".
        if params.funding >= offer::LARGE_FUNDING && !negotiated(Feature::LargeChannel) {
            return Err(BadTerms::FundingTooLarge(params.funding).into());
        }
        if params.funding > config.max_funding || params.funding > Amount::MAX_MONEY {
            return Err(BadTerms::FundingTooLarge(params.funding).into());
        }
        if params.funding < config.min_funding {
            return Err(BadTerms::FundingTooSmall(params.funding).into());
        }
        let options = &params.options;
        if options.push > Msat::from_amount(params.funding) {
            return Err(BadTerms::PushAboveFunding(options.push).into());
        }
        let channel_type = offer::choose_type(config, cx.features, their_features, options)?;
        let format = offer::format_of(&channel_type, options.announce)?;
        let feerate = cx.commitment_feerate(&channel_type);
        let first_point = signer.commitment_point(CommitmentNumber(0)).map_err(OpenError::Signer)?;
        let any_segwit = negotiated(Feature::ShutdownAnySegwit);
        let shutdown = cx.upfront_script(&keys, options.shutdown_script.as_ref(), any_segwit)?;
        let zero_reserve = options.zero_reserve || config.trust(&params.peer).zero_reserve;
        let ours = Offer::ours(config, params.funding, signer.public_keys(), first_point, shutdown)
            .with_reserve(zero_reserve, None, Amount::ZERO);
        // The peer's reserve is not known yet; with one like ours the channel must be able to start.
        offer::check_first_balances(params.funding, options.push, feerate, format, &ours, &ours)?;
        let proposal = Proposal {
            temporary: params.temporary,
            peer: params.peer,
            keys,
            funding: params.funding,
            push: options.push,
            announce: options.announce,
            channel_type,
            format,
            feerate,
            we_opened: true,
            ours,
        };
        let message = open_channel(cx, &proposal);
        Ok((Self { proposal, any_segwit, zero_reserve }, message))
    }

    /// Checks the answer; says what the user must fund.
    pub(crate) fn on_accept<K: KeysInterface>(
        self,
        cx: &Context<'_, K>,
        message: &AcceptChannel,
    ) -> Result<AwaitingTransaction, Violation> {
        let (proposal, config) = (self.proposal, &cx.config.handshake);
        let theirs = Offer::from(message);
        // BOLT 2: "if the message doesn't include a `channel_type`: MUST fail the channel", and if it differs.
        match &message.channel_type {
            None => return Err(BadTerms::MissingChannelType.into()),
            Some(other) if *other != proposal.channel_type => return Err(BadTerms::TypeMismatch.into()),
            Some(_) => {}
        }
        // BOLT 2: "if `minimum_depth` is unreasonably large: MAY fail the channel".
        if message.minimum_depth > config.max_minimum_depth {
            return Err(BadTerms::MinimumDepthTooDeep(message.minimum_depth).into());
        }
        if proposal.zero_conf() && message.minimum_depth != 0 {
            return Err(BadTerms::MinimumDepthNotZero(message.minimum_depth).into());
        }
        theirs.check(config, proposal.funding, &proposal.channel_type, self.any_segwit, self.zero_reserve)?;
        offer::check_reserves(&proposal.ours, &theirs)?;
        offer::check_first_balances(
            proposal.funding,
            proposal.push,
            proposal.feerate,
            proposal.format,
            &proposal.ours,
            &theirs,
        )?;
        Ok(AwaitingTransaction { proposal, theirs, minimum_depth: message.minimum_depth })
    }
}

/// They accepted.
#[derive(Clone, Debug)]
pub(crate) struct AwaitingTransaction {
    pub(crate) proposal: Proposal,
    pub(crate) theirs: Offer,
    pub(crate) minimum_depth: u32,
}

impl AwaitingTransaction {
    /// The script that the user must pay to.
    pub(crate) fn script(&self) -> ScriptBuf {
        self.output_at(OutPoint::null()).script().to_p2wsh()
    }

    fn output_at(&self, outpoint: OutPoint) -> FundingOutput {
        let (one, other) = (self.proposal.ours.keys.funding, self.theirs.keys.funding);
        FundingOutput::new(outpoint, self.proposal.funding, one, other)
    }

    /// Where the transaction has the output.
    pub(crate) fn outpoint_in(&self, transaction: &Transaction) -> Result<OutPoint, FundError> {
        let wanted = self.output_at(OutPoint::null()).txout();
        let vout =
            transaction.output.iter().position(|output| *output == wanted).ok_or(FundError::NoOutput)?;
        // `funding_output_index` has two bytes.
        let index = u16::try_from(vout).map_err(|_| FundError::NoOutput)?;
        Ok(OutPoint { txid: transaction.compute_txid(), vout: u32::from(index) })
    }

    /// Takes the user's transaction, which funds all of `members` if it is to be held; on an error it is given back, and the phase with it.
    #[allow(clippy::result_large_err, reason = "the phase with the user's transaction must come back")]
    pub(crate) fn fund<K: KeysInterface>(
        self: Box<Self>,
        cx: &Context<'_, K>,
        signer: &K::Signer,
        transaction: Transaction,
        members: Option<Vec<ChannelId>>,
    ) -> Result<(AwaitingSigned, FundingCreated), (Box<Self>, Transaction, FundError)> {
        match self.created(cx, signer, &transaction, members.is_some()) {
            Ok((first, message)) => Ok((AwaitingSigned { first, transaction, members }, message)),
            Err(error) => Err((self, transaction, error)),
        }
    }

    fn created<K: KeysInterface>(
        &self,
        cx: &Context<'_, K>,
        signer: &K::Signer,
        transaction: &Transaction,
        is_held: bool,
    ) -> Result<(FirstCommitments, FundingCreated), FundError> {
        // BOLT 2: "SHOULD use only BIP141 (Segregated Witness) inputs", so that nobody can change the id. One that is signed
        // later is looked at again then: a script signature would have changed the id.
        let fits = |input: &TxIn| !input.witness.is_empty() || (is_held && input.script_sig.is_empty());
        if let Some(index) = transaction.input.iter().position(|input| !fits(input)) {
            return Err(FundError::NotSegwit(index));
        }
        let outpoint = self.outpoint_in(transaction)?;
        let index = u16::try_from(outpoint.vout).map_err(|_| FundError::NoOutput)?;
        let first =
            FirstCommitments::new(&self.proposal, &self.theirs, self.minimum_depth, outpoint, cx.height)
                .map_err(|_| FundError::Unbuildable)?;
        let signature = first.sign_theirs(cx.secp, signer).map_err(|error| match error {
            FirstError::Signer(error) => FundError::Signer(error),
            FirstError::Unbuildable | FirstError::Signature(_) => FundError::Unbuildable,
        })?;
        let message = FundingCreated {
            temporary_channel_id: self.proposal.temporary,
            funding_txid: outpoint.txid,
            funding_output_index: index,
            signature,
            unknown: Default::default(),
        };
        Ok((first, message))
    }
}

/// We sent `funding_created`.
#[derive(Clone, Debug)]
pub(crate) struct AwaitingSigned {
    pub(crate) first: FirstCommitments,
    pub(crate) transaction: Transaction,
    /// All channels that the transaction funds, if nobody may see it before all of them are durable.
    pub(crate) members: Option<Vec<ChannelId>>,
}

impl AwaitingSigned {
    /// Checks their signature for our first commitment.
    pub(crate) fn on_signed<K: KeysInterface>(
        &self,
        cx: &Context<'_, K>,
        message: &FundingSigned,
    ) -> Result<Signature, Violation> {
        if message.channel_id != self.first.terms.channel {
            return Err(Violation::FundingSignedFor(message.channel_id));
        }
        self.first.verify_ours(cx.secp, &message.signature).map_err(Violation::FirstCommitment)?;
        Ok(message.signature)
    }
}

/// Why a channel cannot be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer could not accept such terms, or BOLT 2 forbids them.
    #[error("{0}")]
    Terms(#[from] BadTerms),
    /// Our signer gives no key.
    #[error("the signer does not answer")]
    Signer(SignError),
}

fn open_channel<K: KeysInterface>(cx: &Context<'_, K>, proposal: &Proposal) -> OpenChannel {
    let ours = &proposal.ours;
    OpenChannel {
        chain_hash: cx.chain,
        temporary_channel_id: proposal.temporary,
        funding_satoshis: proposal.funding,
        push_msat: proposal.push,
        dust_limit_satoshis: ours.dust_limit,
        max_htlc_value_in_flight_msat: ours.max_in_flight,
        channel_reserve_satoshis: ours.reserve,
        htlc_minimum_msat: ours.htlc_minimum,
        feerate_per_kw: proposal.feerate,
        to_self_delay: ours.to_self_delay,
        max_accepted_htlcs: ours.max_accepted_htlcs,
        funding_pubkey: ours.keys.funding,
        revocation_basepoint: ours.keys.revocation_basepoint,
        payment_basepoint: ours.keys.payment_basepoint,
        delayed_payment_basepoint: ours.keys.delayed_payment_basepoint,
        htlc_basepoint: ours.keys.htlc_basepoint,
        first_per_commitment_point: ours.first_point,
        channel_flags: u8::from(proposal.announce),
        // Always there, since peers close without it (PROTOCOL 1.3).
        upfront_shutdown_script: Some(ours.shutdown.clone().unwrap_or_default()),
        channel_type: Some(proposal.channel_type.clone()),
        unknown: Default::default(),
    }
}
