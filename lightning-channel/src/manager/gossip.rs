//! What the network may know of us, and what payers are told of channels that it does not know (BOLT 7, BOLT 11 field `r`).
use alloc::vec::Vec;

use lightning_traits::feature::{Context, Feature, Features};
use lightning_traits::id::NodeId;
use lightning_traits::interface::{Environment, KeysInterface as _, SignError};
use lightning_traits::route::{HintHop, RouteHint};
use lightning_traits::tx::signature;
use lightning_traits::units::{BlockHeight, Msat};
use lightning_traits::wire::{
    Addresses, ChannelUpdate, Excess, NodeAlias, NodeAnnouncement, NodeAnnouncementBody,
};
use thiserror::Error;

use super::ChannelManager;
use crate::channel::ChannelDetails;

/// Most hints in one invoice: each makes it longer.
const MAX_HINTS: usize = 3;

/// Confirmations from which a channel may be announced (BOLT 7).
const ANNOUNCE_DEPTH: u32 = 6;

/// Why the node is not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// The signer does not sign now.
    #[error("the signer does not sign: {0}")]
    Signer(SignError),
}

impl<E: Environment> ChannelManager<E> {
    /// Announces the node by this name, color and these addresses: now, and again with each channel that is announced.
    /// The network takes notice once a channel of ours is public.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub fn announce_node(
        &self,
        alias: NodeAlias,
        rgb_color: [u8; 3],
        addresses: Addresses,
    ) -> Result<(), AnnounceError> {
        let timestamp = {
            let mut table = self.table.lock();
            // BOLT 7: "MUST set `timestamp` to be greater than that of any previous `node_announcement`".
            table.announced_at = table.now.tip.time.max(table.announced_at.saturating_add(1));
            table.records.is_due = true;
            table.announced_at
        };
        let mut features = self.features.in_context(Context::Node);
        if self.config.payment.accept_spontaneous {
            features.set_optional(Feature::Keysend.optional_bit());
        }
        let body = NodeAnnouncementBody {
            features,
            timestamp,
            node_id: self.node,
            rgb_color,
            alias,
            addresses,
            excess: Excess::default(),
        };
        let digest = *body.signed_hash().as_ref();
        let signature = self.env.keys().sign_gossip(&digest).map_err(AnnounceError::Signer)?;
        let announcement = NodeAnnouncement { signature, body };
        self.table.lock().node_announcement = Some(announcement.clone());
        self.outbox.lock().broadcast(announcement.into());
        Ok(())
    }

    /// Keeps a peer's terms for a channel with us that gossip does not know.
    pub(super) fn keep_their_terms(&self, peer: NodeId, update: &ChannelUpdate) {
        let body = &update.body;
        // BOLT 7: direction 0 is from the lesser node id.
        if body.chain_hash != self.chain || body.is_by_node_2() != (peer > self.node) {
            return;
        }
        let slots = self.table.lock().channels_with(peer);
        for slot in slots {
            let details = self.look(&slot, |channel, cx| channel.details(cx));
            let Some(funded) = &details.funded else { continue };
            let names = [Some(funded.alias), funded.scid, funded.their_alias];
            if !names.contains(&Some(body.short_channel_id)) {
                continue;
            }
            let is_genuine = peer.to_public_key().is_ok_and(|key| {
                signature::verify(&self.secp, &body.signed_hash(), &update.signature, &key).is_ok()
            });
            let mut table = self.table.lock();
            let known = table.their_terms.get(&details.channel).map_or(0, |known| known.timestamp);
            if is_genuine && body.timestamp > known {
                table.their_terms.insert(details.channel, body.clone());
            }
            return;
        }
    }

    /// Ways to us over channels whose terms their peer told us alone, those that can carry most first. Empty when a channel of
    /// ours is usable that gossip knows: then payers find us.
    #[must_use]
    pub fn route_hints(&self) -> Vec<RouteHint> {
        let channels = self.list_channels();
        let usable = |details: &ChannelDetails| details.funded.as_ref().is_some_and(|funded| funded.usable);
        let height = self.now().tip.height;
        // BOLT 7: announced once the funding transaction is six blocks deep; until then its terms are private too.
        let is_public = |details: &ChannelDetails| {
            let scid =
                details.funded.as_ref().filter(|funded| funded.announce).and_then(|funded| funded.scid);
            scid.is_some_and(|scid| BlockHeight::new(scid.block()).depth_at(height) >= ANNOUNCE_DEPTH)
        };
        if channels.iter().any(|details| usable(details) && is_public(details)) {
            return Vec::new();
        }
        let mut hints: Vec<(Msat, RouteHint)> = channels
            .iter()
            .filter(|details| usable(details))
            .filter_map(|details| self.hint(details))
            .collect();
        hints.sort_by_key(|(receivable, _)| core::cmp::Reverse(*receivable));
        hints.into_iter().take(MAX_HINTS).map(|(_, hint)| hint).collect()
    }

    fn hint(&self, details: &ChannelDetails) -> Option<(Msat, RouteHint)> {
        let funded = details.funded.as_ref()?;
        let terms = self.table.lock().their_terms.get(&details.channel).cloned()?;
        if terms.is_disabled() {
            return None;
        }
        let is_hidden = funded.channel_type.has(Feature::ScidAlias);
        let hop = HintHop {
            node: details.peer,
            // BOLT 2: "MAY use any of the `alias` it received, in BOLT 11 `r` fields"; "if `channel_type` has
            // `option_scid_alias` set: MUST NOT use the real `short_channel_id` in BOLT 11 `r` fields".
            scid: funded.their_alias.or(if is_hidden { None } else { funded.scid })?,
            fee_base: Msat::new(u64::from(terms.fee_base_msat)),
            fee_proportional_millionths: terms.fee_proportional_millionths,
            cltv_delta: terms.cltv_expiry_delta,
        };
        Some((funded.receivable, RouteHint { hops: alloc::vec![hop] }))
    }

    /// What our invoices and announcements say that we do.
    #[must_use]
    pub fn invoice_features(&self) -> Features {
        self.features.in_context(Context::Invoice)
    }
}
