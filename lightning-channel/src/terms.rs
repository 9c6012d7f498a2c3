//! Terms: what never changes about a channel, for both sides.
//!
//! Fixed by `open_channel`, `accept_channel` and the funding transaction (BOLT 2, "Channel Establishment v1").
//! Every limit stands with the party that it binds or protects, so that nothing is "local" or "remote".
use bitcoin::{Amount, ScriptBuf};
use lightning_traits::feature::ChannelType;
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId};
use lightning_traits::record;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentParams, CommitmentSpec, FundingOutput, ObscureFactor,
    TxSide,
};
use lightning_traits::units::{BlockHeight, CsvDelay, FeeratePerKw, Msat};

/// What is fixed about one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyLimits {
    /// The party's public keys.
    pub keys: ChannelPublicKeys,
    /// `dust_limit_satoshis` that this party announced: smaller outputs of its own commitment are trimmed.
    pub dust_limit: Amount,
    /// How long this party waits for its own outputs; the other party chose it.
    pub to_self_delay: CsvDelay,
    /// What this party must keep (`channel_reserve_satoshis` that the other party asked for).
    pub reserve: Msat,
    /// The smallest HTLC that this party accepts (`htlc_minimum_msat` that it announced).
    pub htlc_minimum: Msat,
    /// The most that this party lets be offered to it at a time (`max_htlc_value_in_flight_msat` that it announced).
    pub max_in_flight: Msat,
    /// The most HTLCs that this party lets be offered to it at a time (`max_accepted_htlcs` that it announced).
    pub max_accepted_htlcs: u16,
}
record!(struct PartyLimits {
    keys, dust_limit, to_self_delay, reserve, htlc_minimum, max_in_flight, max_accepted_htlcs
});

/// What is fixed about a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The channel.
    pub channel: ChannelId,
    /// The peer.
    pub peer: NodeId,
    /// The name of our keys.
    pub keys: ChannelKeysId,
    /// The funding output.
    pub funding: FundingOutput,
    /// How commitments are built.
    pub format: CommitmentFormat,
    /// The negotiated type.
    pub channel_type: ChannelType,
    /// What hides commitment numbers.
    pub obscure: ObscureFactor,
    /// Whether we opened the channel and so pay commitment fees.
    pub we_opened: bool,
    /// Whether the channel is to be announced.
    pub announce: bool,
    /// Ours.
    pub ours: PartyLimits,
    /// Theirs.
    pub theirs: PartyLimits,
    /// Confirmations that the funding transaction needs.
    pub minimum_depth: u32,
    /// Whether the channel is used before its funding transaction confirms (`option_zeroconf`).
    pub zero_conf: bool,
    /// The `upfront_shutdown_script` that we committed to.
    pub our_shutdown: Option<ScriptBuf>,
    /// The `upfront_shutdown_script` that they committed to.
    pub their_shutdown: Option<ScriptBuf>,
    /// The height when the channel was made.
    pub birth: BlockHeight,
}
record!(struct Terms {
    channel, peer, keys, funding, format, channel_type, obscure, we_opened, announce, ours, theirs, minimum_depth, zero_conf,
    our_shutdown, their_shutdown, birth
});

impl Terms {
    /// Parameters of our commitments: we are their broadcaster.
    #[must_use]
    pub const fn our_params(&self) -> CommitmentParams {
        self.params(&self.ours, if self.we_opened { TxSide::Broadcaster } else { TxSide::Countersigner })
    }

    /// Parameters of their commitments: they are their broadcaster.
    #[must_use]
    pub const fn their_params(&self) -> CommitmentParams {
        self.params(&self.theirs, if self.we_opened { TxSide::Countersigner } else { TxSide::Broadcaster })
    }

    /// What the channel holds.
    #[must_use]
    pub fn capacity(&self) -> Msat {
        Msat::from_amount(self.funding.value)
    }

    /// Our commitment 0, seen from us as its broadcaster; theirs is its [`mirror`](CommitmentSpec::mirror).
    /// `None` when `pushed` is more than the channel holds.
    #[must_use]
    pub fn first_spec(&self, feerate: FeeratePerKw, pushed: Msat) -> Option<CommitmentSpec> {
        let opener = self.capacity().checked_sub(pushed)?;
        let (to_broadcaster, to_countersigner) =
            if self.we_opened { (opener, pushed) } else { (pushed, opener) };
        Some(CommitmentSpec { feerate, to_broadcaster, to_countersigner, htlcs: alloc::vec::Vec::new() })
    }

    const fn params(&self, broadcaster: &PartyLimits, opener: TxSide) -> CommitmentParams {
        CommitmentParams {
            format: self.format,
            funding: self.funding,
            broadcaster_funding_key: broadcaster.keys.funding,
            obscure: self.obscure,
            dust_limit: broadcaster.dust_limit,
            to_self_delay: broadcaster.to_self_delay,
            opener,
        }
    }
}
