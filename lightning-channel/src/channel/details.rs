//! What others may know of a channel.
use bitcoin::{Amount, OutPoint};
use lightning_traits::event::CloseReason;
use lightning_traits::feature::ChannelType;
use lightning_traits::id::{ChannelId, HtlcId, NodeId, ShortChannelId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::ChannelUpdate;

use super::context::Context;
use super::phase::PhaseName;
use super::record::TheirTerms;
use super::step::Step;
use super::{Channel, Phase};
use crate::commitments::{Commitments, IncomingHtlc, PendingOutgoing};

/// A channel as the user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelDetails {
    /// Its name.
    pub channel: ChannelId,
    /// The peer.
    pub peer: NodeId,
    /// Where it stands.
    pub phase: PhaseName,
    /// Its capacity.
    pub capacity: Amount,
    /// What exists once both first commitments are signed.
    pub funded: Option<FundedDetails>,
}

/// What a funded channel has beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundedDetails {
    /// The funding output.
    pub funding: OutPoint,
    /// Its type.
    pub channel_type: ChannelType,
    /// Whether we opened it.
    pub we_opened: bool,
    /// Whether the network is to know of it.
    pub announce: bool,
    /// Confirmations that its funding transaction needs; none when it is used before it confirms.
    pub minimum_depth: u32,
    /// Where the funding output is on chain.
    pub scid: Option<ShortChannelId>,
    /// By which the peer may name it.
    pub alias: ShortChannelId,
    /// By which the peer lets us name it: for route hints.
    pub their_alias: Option<ShortChannelId>,
    /// The peer's terms for forwarding to us, if it told them: for route hints.
    pub their_terms: Option<TheirTerms>,
    /// Whether HTLCs can be offered now.
    pub usable: bool,
    /// Ours, before fees, without HTLCs.
    pub our_balance: Msat,
    /// Theirs.
    pub their_balance: Msat,
    /// The most that one HTLC of ours can carry now.
    pub sendable: Msat,
    /// What a further HTLC of ours takes of `sendable` beside its amount.
    pub htlc_cost: Msat,
    /// The most that one HTLC of theirs can carry now.
    pub receivable: Msat,
    /// The smallest HTLC that the peer takes.
    pub htlc_minimum: Msat,
    /// What we must keep.
    pub our_reserve: Msat,
    /// What they must keep.
    pub their_reserve: Msat,
    /// The commitments' feerate.
    pub feerate: FeeratePerKw,
    /// HTLCs that we offered and that are still there.
    pub outgoing_htlcs: usize,
    /// HTLCs that they offered and that are still there, decided on or not.
    pub incoming_htlcs: usize,
}

impl<K: KeysInterface> Channel<K> {
    /// The channel as the user sees it.
    #[must_use]
    pub fn details(&self, cx: &Context<'_, K>) -> ChannelDetails {
        let capacity = match &self.phase {
            Phase::Opening(opening) => opening.funding(),
            _ => self.commitments().map_or(Amount::ZERO, |commitments| commitments.terms().funding.value),
        };
        ChannelDetails {
            channel: self.id,
            peer: self.peer,
            phase: self.phase(),
            capacity,
            funded: self.commitments().map(|commitments| self.funded_details(commitments, cx)),
        }
    }

    fn funded_details(&self, commitments: &Commitments, cx: &Context<'_, K>) -> FundedDetails {
        let terms = commitments.terms();
        let usable = self.is_usable();
        let policy = Step::<K>::policy_of(cx, &terms.channel_type);
        let (scid, alias, their_alias) = match &self.phase {
            Phase::Funded(link) => {
                (link.state().scid(), link.state().facts().alias, link.state().facts().their_alias)
            }
            Phase::Resolving(state) => (state.scid(), state.alias(), None),
            Phase::Opening(_) | Phase::Closed(_) => (None, ShortChannelId::default(), None),
        };
        let incoming_htlcs = match &self.phase {
            Phase::Resolving(state) => state.incoming_count(),
            Phase::Opening(_) | Phase::Funded(_) | Phase::Closed(_) => commitments.incoming_count(),
        };
        FundedDetails {
            funding: terms.funding.outpoint,
            channel_type: terms.channel_type.clone(),
            we_opened: terms.we_opened,
            announce: terms.announce,
            minimum_depth: terms.minimum_depth,
            scid,
            alias,
            their_alias,
            their_terms: self.their_terms(),
            usable,
            our_balance: commitments.our_balance(),
            their_balance: commitments.their_balance(),
            sendable: if usable { commitments.sendable(&policy) } else { Msat::ZERO },
            htlc_cost: commitments.htlc_cost(),
            receivable: if usable { commitments.receivable() } else { Msat::ZERO },
            htlc_minimum: terms.theirs.htlc_minimum,
            our_reserve: terms.ours.reserve,
            their_reserve: terms.theirs.reserve,
            feerate: commitments.feerate(),
            outgoing_htlcs: commitments.outgoing().count(),
            incoming_htlcs,
        }
    }

    /// Whether HTLCs can be offered now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(&self.phase, Phase::Funded(link) if link.is_online() && !link.is_quiet() && link.state().is_usable())
    }

    /// Whether its funding transaction is, or was when it left, in a block.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        match &self.phase {
            Phase::Funded(link) => link.state().is_confirmed(),
            Phase::Resolving(state) => state.scid().is_some(),
            Phase::Opening(_) | Phase::Closed(_) => false,
        }
    }

    /// Whether the peer proposed it.
    #[must_use]
    pub fn is_theirs(&self) -> bool {
        match &self.phase {
            Phase::Opening(opening) => !opening.we_opened(),
            _ => self.commitments().is_some_and(|commitments| !commitments.terms().we_opened),
        }
    }

    /// The peer's terms for forwarding to us, if it told them.
    #[must_use]
    pub fn their_terms(&self) -> Option<TheirTerms> {
        match &self.phase {
            Phase::Funded(link) => link.state().facts().their_terms,
            Phase::Opening(_) | Phase::Resolving(_) | Phase::Closed(_) => None,
        }
    }

    /// The ids by which the peer names the channel in onions: the alias that we gave, and the real id unless the type hides it.
    #[must_use]
    pub fn forwarding_ids(&self) -> (Option<ShortChannelId>, Option<ShortChannelId>) {
        match &self.phase {
            Phase::Funded(link) => {
                let state = link.state();
                // BOLT 2: "if `channel_type` has `option_scid_alias` set: MUST NOT allow incoming HTLCs to this channel using the
                // real `short_channel_id`".
                let hidden = state.terms().channel_type.has(lightning_traits::feature::Feature::ScidAlias);
                (Some(state.facts().alias), if hidden { None } else { state.scid() })
            }
            Phase::Resolving(state) => (Some(state.alias()), None),
            Phase::Opening(_) | Phase::Closed(_) => (None, None),
        }
    }

    /// Our terms for forwarding over it, under the name that an onion used, as we have said them last.
    #[must_use]
    pub fn update_for(&self, cx: &Context<'_, K>, named: ShortChannelId) -> Option<ChannelUpdate> {
        match &self.phase {
            Phase::Funded(link) => link.state().update_for(named, cx),
            Phase::Opening(_) | Phase::Resolving(_) | Phase::Closed(_) => None,
        }
    }

    /// Why it is over, once it is.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        match &self.phase {
            Phase::Opening(_) | Phase::Funded(_) => None,
            Phase::Resolving(state) => Some(state.ending().reason()),
            Phase::Closed(ending) => Some(ending.reason()),
        }
    }

    /// The commitments, once there are some.
    #[must_use]
    pub fn commitments(&self) -> Option<&Commitments> {
        match &self.phase {
            Phase::Funded(link) => Some(link.state().commitments()),
            Phase::Resolving(state) => Some(state.commitments()),
            Phase::Opening(_) | Phase::Closed(_) => None,
        }
    }

    /// An HTLC of the peer that is in the channel, with its onion: to derive again what a failure is wrapped with.
    #[must_use]
    pub fn incoming_htlc(&self, id: HtlcId) -> Option<&IncomingHtlc> {
        self.commitments()?.incoming(id)
    }

    /// HTLCs of the peer that nobody has decided on, as long as they can come to us.
    pub fn pending_incoming(&self) -> impl Iterator<Item = &IncomingHtlc> {
        let is_over = matches!(&self.phase, Phase::Resolving(state) if state.is_resolved());
        self.commitments().filter(|_| !is_over).into_iter().flat_map(Commitments::pending_incoming)
    }

    /// HTLCs of ours that are still in the channel, with where their outcome goes.
    pub fn outgoing(&self) -> impl Iterator<Item = (HtlcId, &PendingOutgoing)> {
        self.commitments().into_iter().flat_map(Commitments::outgoing)
    }
}
