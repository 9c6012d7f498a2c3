//! What a step of a channel is given: nothing global, nothing that could call back (I1, I7).
use bitcoin::ScriptBuf;
use bitcoin::constants::ChainHash;
use lightning_traits::Secp;
use lightning_traits::config::UserConfig;
use lightning_traits::feature::{ChannelType, Feature, Features};
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId};
use lightning_traits::interface::{
    ConfirmationTarget, FeeEstimator, KeysInterface, Level, LogRecord, Logger,
};
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::script::is_shutdown_script;
use super::violation::BadTerms;

/// What the chain costs now, asked before any lock was taken (I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeQuotes {
    /// For commitments that can be bumped later.
    pub anchor_commitment: FeeratePerKw,
    /// For commitments that cannot.
    pub other_commitment: FeeratePerKw,
    /// For cooperative closes.
    pub normal: FeeratePerKw,
    /// Patience without end.
    pub background: FeeratePerKw,
    /// The lowest rate accepted from a peer.
    pub minimum: FeeratePerKw,
}

impl FeeQuotes {
    /// Asks once for all; an answer below the relay floor counts as the floor (RELIABILITY C13).
    pub fn ask(fees: &impl FeeEstimator) -> Self {
        let ask = |target| fees.feerate(target).max(FeeratePerKw::FLOOR);
        Self {
            anchor_commitment: ask(ConfirmationTarget::AnchorCommitment),
            other_commitment: ask(ConfirmationTarget::NonAnchorCommitment),
            normal: ask(ConfirmationTarget::Normal),
            background: ask(ConfirmationTarget::Background),
            minimum: ask(ConfirmationTarget::MinimumAccepted),
        }
    }
}

/// Surroundings of one step.
pub struct Context<'a, K: KeysInterface> {
    /// The curve.
    pub secp: &'a Secp,
    /// Keys and entropy.
    pub keys: &'a K,
    /// The user's choices.
    pub config: &'a UserConfig,
    /// What the chain costs.
    pub fees: FeeQuotes,
    /// The chain.
    pub chain: ChainHash,
    /// What our `init` offers.
    pub features: &'a Features,
    /// The tip.
    pub height: BlockHeight,
    /// The time in the tip's header: the only clock there is (I1).
    pub time: u32,
    /// The log.
    pub log: &'a dyn Logger,
}

impl<K: KeysInterface> Context<'_, K> {
    /// Writes one record about a channel.
    pub(crate) fn log(
        &self,
        level: Level,
        peer: NodeId,
        channel: ChannelId,
        message: core::fmt::Arguments<'_>,
    ) {
        self.log.log(&LogRecord {
            level,
            module: "channel",
            peer: Some(peer),
            channel: Some(channel),
            message,
        });
    }

    /// Whether both sides offer `feature`.
    pub(crate) fn negotiated(&self, theirs: &Features, feature: Feature) -> bool {
        Features::negotiated(self.features, theirs, feature)
    }

    /// The script that we bind ourselves to at an opening: the user's choice, or the wallet's if the configuration wants it.
    pub(crate) fn upfront_script(
        &self,
        keys: &ChannelKeysId,
        chosen: Option<&ScriptBuf>,
        any_segwit: bool,
    ) -> Result<Option<ScriptBuf>, BadTerms> {
        match chosen {
            // BOLT 2: "a valid `shutdown_scriptpubkey` as required by `shutdown` `scriptpubkey`".
            Some(script) if !is_shutdown_script(script, any_segwit) => Err(BadTerms::UpfrontScript),
            Some(script) => Ok(Some(script.clone())),
            None => Ok(self.config.handshake.upfront_shutdown.then(|| self.keys.shutdown_script(keys))),
        }
    }

    /// The feerate that we, as the opener, want commitments to have.
    pub(crate) fn commitment_feerate(&self, channel_type: &ChannelType) -> FeeratePerKw {
        if channel_type.has(Feature::Anchors) {
            // It need only enter a mempool: the anchor pays for speed.
            self.fees.anchor_commitment.min(self.config.channel.max_anchor_feerate).max(FeeratePerKw::FLOOR)
        } else {
            self.fees.other_commitment
        }
    }

    /// Lowest and highest feerate that we let an opener set.
    pub(crate) fn feerate_bounds(&self, channel_type: &ChannelType) -> (FeeratePerKw, FeeratePerKw) {
        let share = |rate: FeeratePerKw, percent: u32| {
            let product = u64::from(rate.to_sat_per_kw()).saturating_mul(u64::from(percent)) / 100;
            FeeratePerKw::new(u32::try_from(product).unwrap_or(u32::MAX))
        };
        let low = if channel_type.has(Feature::Anchors) {
            self.fees.minimum
        } else {
            share(self.fees.other_commitment, self.config.channel.min_feerate_percent).max(self.fees.minimum)
        };
        // When the chain is empty, ten times nothing is nothing: 25 sat/vB harms nobody.
        let high = share(self.fees.other_commitment, self.config.channel.max_feerate_percent);
        (low, high.max(FeeratePerKw::new(6_250)))
    }
}
