//! What each side brings into an opening, and which offers of a peer we take.
//!
//! BOLT 2, `open_channel` and `accept_channel`; the numbers are those that today's peers live with (PROTOCOL 1.3).
use bitcoin::{Amount, ScriptBuf};
use lightning_traits::config::HandshakeConfig;
use lightning_traits::feature::{ChannelType, Feature, Features};
use lightning_traits::tx::{ChannelPublicKeys, CommitmentFormat, trim};
use lightning_traits::units::{CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::{AcceptChannel, OpenChannel};
use secp256k1::PublicKey;

use super::OpenOptions;
use crate::channel::script;
use crate::channel::violation::BadTerms;

/// BOLT 2: "`max_accepted_htlcs` is greater than 483" is refused.
pub(crate) const MAX_HTLCS: u16 = 483;
/// BOLT 3, "Dust Limits": enough for every script that a peer may close to.
const LEAST_DUST_LIMIT: Amount = Amount::from_sat(354);
/// BOLT 2: from here on both need `option_support_large_channel`.
pub(crate) const LARGE_FUNDING: Amount = Amount::from_sat(1 << 24);
/// A reserve below this deters nobody.
const LEAST_RESERVE: Amount = Amount::from_sat(1_000);

/// The fields that `open_channel` and `accept_channel` share, as their sender says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The sender's keys.
    pub(crate) keys: ChannelPublicKeys,
    /// Point of the sender's commitment 0.
    pub(crate) first_point: PublicKey,
    /// The sender's own dust limit.
    pub(crate) dust_limit: Amount,
    /// The most that may be offered to the sender.
    pub(crate) max_in_flight: Msat,
    /// What the *other* side must keep.
    pub(crate) reserve: Amount,
    /// The smallest HTLC that the sender takes.
    pub(crate) htlc_minimum: Msat,
    /// How long the *other* side waits for its own outputs.
    pub(crate) to_self_delay: CsvDelay,
    /// The most HTLCs that may be offered to the sender.
    pub(crate) max_accepted_htlcs: u16,
    /// Where the sender wants a cooperative close to pay it, if it binds itself.
    pub(crate) shutdown: Option<ScriptBuf>,
}

macro_rules! offer_from {
    ($($message:ident),*) => {$(
        impl From<&$message> for Offer {
            fn from(message: &$message) -> Self {
                Self {
                    keys: ChannelPublicKeys {
                        funding: message.funding_pubkey,
                        revocation_basepoint: message.revocation_basepoint,
                        payment_basepoint: message.payment_basepoint,
                        delayed_payment_basepoint: message.delayed_payment_basepoint,
                        htlc_basepoint: message.htlc_basepoint,
                    },
                    first_point: message.first_per_commitment_point,
                    dust_limit: message.dust_limit_satoshis,
                    max_in_flight: message.max_htlc_value_in_flight_msat,
                    reserve: message.channel_reserve_satoshis,
                    htlc_minimum: message.htlc_minimum_msat,
                    to_self_delay: message.to_self_delay,
                    max_accepted_htlcs: message.max_accepted_htlcs,
                    // A zero-length script binds to nothing.
                    shutdown: message.upfront_shutdown_script.clone().filter(|script| !script.is_empty()),
                }
            }
        }
    )*};
}
offer_from!(OpenChannel, AcceptChannel);

impl Offer {
    /// What we offer for a channel of `funding`, and the reserve that the configuration asks of the peer.
    pub(crate) fn ours(
        config: &HandshakeConfig,
        funding: Amount,
        keys: ChannelPublicKeys,
        first_point: PublicKey,
        shutdown: Option<ScriptBuf>,
    ) -> Self {
        let share =
            |millionths| Msat::from_amount(funding).checked_millionths(millionths).unwrap_or(Msat::MAX);
        let reserve = share(config.reserve_millionths).to_amount_floor();
        Self {
            keys,
            first_point,
            dust_limit: config.dust_limit,
            max_in_flight: share(config.max_in_flight_millionths.min(1_000_000)),
            reserve: reserve.max(LEAST_RESERVE).max(config.dust_limit),
            htlc_minimum: config.htlc_minimum,
            to_self_delay: config.to_self_delay,
            max_accepted_htlcs: config.max_accepted_htlcs.min(MAX_HTLCS),
            shutdown,
        }
    }

    /// Asks for another reserve than the configuration says: none at all where there is trust, never one below both dust limits
    /// otherwise (BOLT 2: "MUST set `channel_reserve_satoshis` greater than or equal to `dust_limit_satoshis`", both sides').
    pub(crate) fn with_reserve(mut self, zero: bool, wanted: Option<Amount>, their_dust: Amount) -> Self {
        self.reserve = if zero {
            Amount::ZERO
        } else {
            wanted.unwrap_or(self.reserve).max(self.dust_limit).max(their_dust)
        };
        self
    }

    /// Checks what a peer offers, whichever side opens.
    pub(crate) fn check(
        &self,
        config: &HandshakeConfig,
        funding: Amount,
        channel_type: &ChannelType,
        any_segwit: bool,
        zero_reserve: bool,
    ) -> Result<(), BadTerms> {
        if self.to_self_delay > config.max_to_self_delay {
            return Err(BadTerms::DelayTooLong(self.to_self_delay));
        }
        if self.max_accepted_htlcs > MAX_HTLCS {
            return Err(BadTerms::TooManyHtlcs(self.max_accepted_htlcs));
        }
        if self.max_accepted_htlcs == 0 {
            return Err(BadTerms::TooFewHtlcs(0));
        }
        if self.dust_limit < LEAST_DUST_LIMIT {
            return Err(BadTerms::DustTooSmall(self.dust_limit));
        }
        // Without anchors HTLC transactions pay their own fee; older nodes then use 546.
        let most = if channel_type.has(Feature::Anchors) {
            config.max_dust_limit
        } else {
            config.max_dust_limit.max(Amount::from_sat(546))
        };
        if self.dust_limit > most {
            return Err(BadTerms::DustTooLarge(self.dust_limit));
        }
        // None at all is no oversight: a peer that trusts us asks for nothing, and we are agreed on it.
        let waived = zero_reserve && self.reserve == Amount::ZERO;
        if self.dust_limit > self.reserve && !waived {
            return Err(BadTerms::DustAboveReserve { dust: self.dust_limit, reserve: self.reserve });
        }
        let share =
            Msat::from_amount(funding).checked_millionths(config.max_reserve_millionths).unwrap_or(Msat::MAX);
        // Small channels may need more than the share to reach above dust.
        if self.reserve > share.to_amount_floor().max(LEAST_RESERVE) {
            return Err(BadTerms::ReserveTooLarge(self.reserve));
        }
        // An HTLC of a twentieth of the channel must be possible, or the channel is of no use.
        let useful = Msat::from_amount(funding).checked_millionths(50_000).unwrap_or(Msat::MAX);
        if self.htlc_minimum > useful {
            return Err(BadTerms::HtlcMinimumTooLarge(self.htlc_minimum));
        }
        if self.max_in_flight < self.htlc_minimum.max(Msat::from_sat(1_000)) {
            return Err(BadTerms::InFlightTooSmall(self.max_in_flight));
        }
        match &self.shutdown {
            Some(script) if !script::is_shutdown_script(script, any_segwit) => Err(BadTerms::UpfrontScript),
            _ => Ok(()),
        }
    }
}

/// Checks that each side's reserve is above the other's dust, so that no state can be all dust. Where a reserve is waived, each
/// new state is looked at for outputs instead (RELIABILITY C10).
pub(crate) fn check_reserves(one: &Offer, other: &Offer) -> Result<(), BadTerms> {
    for (dust, reserve) in [(one.dust_limit, other.reserve), (other.dust_limit, one.reserve)] {
        if dust > reserve && reserve > Amount::ZERO {
            return Err(BadTerms::DustAboveReserve { dust, reserve });
        }
    }
    Ok(())
}

/// Checks the first commitments: the opener can pay for them, and somebody starts above the reserve.
pub(crate) fn check_first_balances(
    funding: Amount,
    push: Msat,
    feerate: FeeratePerKw,
    format: CommitmentFormat,
    opener: &Offer,
    accepter: &Offer,
) -> Result<(), BadTerms> {
    let opener_balance =
        Msat::from_amount(funding).checked_sub(push).ok_or(BadTerms::PushAboveFunding(push))?;
    let cost = Msat::from_amount(trim::opener_cost(format, feerate, 0));
    let after_cost = opener_balance.checked_sub(cost).ok_or(BadTerms::OpenerCannotPay)?;
    // BOLT 2: "both `to_local` and `to_remote` amounts for the initial commitment transaction are less than or equal to
    // `channel_reserve_satoshis`".
    // A waived reserve is none, but an output must be there all the same.
    let dust = opener.dust_limit.max(accepter.dust_limit);
    let opener_above = after_cost > Msat::from_amount(accepter.reserve.max(dust));
    let accepter_above = push > Msat::from_amount(opener.reserve.max(dust));
    if opener_above || accepter_above { Ok(()) } else { Err(BadTerms::NobodyAboveReserve) }
}

/// The type we propose: what both know of `option_anchors`, and the variations that are wanted.
pub(crate) fn choose_type(
    config: &HandshakeConfig,
    ours: &Features,
    theirs: &Features,
    options: &OpenOptions,
) -> Result<ChannelType, BadTerms> {
    let both = |feature| Features::negotiated(ours, theirs, feature);
    let mut chosen = if config.anchors && both(Feature::Anchors) {
        ChannelType::anchors()
    } else {
        ChannelType::static_remote_key()
    };
    // BOLT 2: "if `announce_channel` is `true`: MUST NOT send `channel_type` with the `option_scid_alias` bit set".
    let hidden = match options.hide_scid {
        Some(true) if options.announce => return Err(BadTerms::UnsuitableType),
        // BOLT 2: "SHOULD NOT set it to a type containing a feature which was not negotiated".
        Some(true) if !both(Feature::ScidAlias) => return Err(BadTerms::NotNegotiated(Feature::ScidAlias)),
        Some(wanted) => wanted,
        None => config.hide_scid && !options.announce && both(Feature::ScidAlias),
    };
    if hidden {
        chosen = chosen.with(Feature::ScidAlias);
    }
    if options.zero_conf {
        if !both(Feature::ZeroConf) {
            return Err(BadTerms::NotNegotiated(Feature::ZeroConf));
        }
        chosen = chosen.with(Feature::ZeroConf);
    }
    Ok(chosen)
}

/// The commitment format of a type, if there are channels of that type.
///
/// BOLT 2: the basic types {12} and {22, 12}, each with `option_scid_alias`, which an announced channel cannot have, and
/// `option_zeroconf`, which is for trusted peers: that is decided on when the channel is accepted.
pub(crate) fn format_of(channel_type: &ChannelType, announce: bool) -> Result<CommitmentFormat, BadTerms> {
    if announce && channel_type.has(Feature::ScidAlias) {
        return Err(BadTerms::UnsuitableType);
    }
    let mut base = channel_type.clone();
    for variation in [Feature::ScidAlias, Feature::ZeroConf] {
        if base.has(variation) {
            base = base.without(variation);
        }
    }
    if base == ChannelType::anchors() {
        Ok(CommitmentFormat::AnchorsZeroFeeHtlc)
    } else if base == ChannelType::static_remote_key() {
        Ok(CommitmentFormat::StaticRemoteKey)
    } else {
        Err(BadTerms::UnsuitableType)
    }
}
