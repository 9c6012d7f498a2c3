//! Announcing the channel: `announcement_signatures`, `channel_announcement`, `channel_update` (BOLT 7).
//!
//! # Invariants
//! - no `announcement_signatures` before both `channel_ready`, six confirmations, and not after `shutdown`
//! - timestamps of our updates only grow, over restarts too: they are the chain's clock, or one more than the last, and
//!   durable before the update leaves
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::{ChannelSigner, KeysInterface, Level};
use lightning_traits::tx::signature;
use lightning_traits::units::Msat;
use lightning_traits::wire::{
    AnnouncementSignatures, ChannelAnnouncement, ChannelAnnouncementBody, ChannelUpdate, ChannelUpdateBody,
    Excess,
};
use secp256k1::ecdsa::Signature;

use super::Funded;
use crate::channel::context::Context;
use crate::channel::link::Online;
use crate::channel::record::{Announcement, Entry, Ready, Stage, TheirTerms};
use crate::channel::step::Step;
use crate::channel::violation::Violation;

/// BOLT 7: "If the funding transaction has less than 6 confirmations: MUST NOT send `channel_announcement`".
const ANNOUNCE_DEPTH: u32 = 6;
/// Seconds of the chain's clock after which an unchanged update is said again, so that nobody prunes it (BOLT 7: two weeks).
const REFRESH_AFTER: u32 = 6 * 24 * 3_600;

impl Funded {
    /// Their signatures: taken when we can judge them, put aside when it is too early.
    pub(crate) fn on_announcement_signatures<K: KeysInterface>(
        &mut self,
        message: AnnouncementSignatures,
        online: &mut Online,
        step: &mut Step<'_, K>,
    ) -> Result<(), Violation> {
        if self.facts.announcement == (Announcement::Private {}) {
            return Err(Violation::AnnouncementUnwanted);
        }
        // BOLT 7: "If it has not sent `channel_ready`: SHOULD defer handling the `announcement_signatures`".
        let Some(scid) = self.announceable(step.cx) else {
            online.early_announcement = Some(message);
            return Ok(());
        };
        if message.short_channel_id != scid {
            return Err(Violation::AnnouncementScid(message.short_channel_id));
        }
        self.verify_announcement(&message, scid, step)?;
        let (node, bitcoin) = (message.node_signature, message.bitcoin_signature);
        let known = Announcement::Signed { scid, node, bitcoin };
        if self.facts.announcement != known {
            self.record(Entry::AnnouncementReceived { scid, node, bitcoin }, step);
            self.persist(step);
            self.announce(scid, step);
            self.say_update(scid, true, step);
        }
        Ok(())
    }

    /// Sends our signatures once they are due, and takes theirs that came early.
    pub(super) fn advance_announcement<K: KeysInterface>(
        &mut self,
        online: &mut Online,
        step: &mut Step<'_, K>,
    ) -> Result<(), Violation> {
        let Some(scid) = self.announceable(step.cx) else { return Ok(()) };
        if !online.announcement_sent
            && let Some(message) = self.our_signatures(scid, step)
        {
            // On each connection once: it is also the answer to a peer that lost ours ("MUST respond with its own").
            step.effects.send(message);
            online.announcement_sent = true;
        }
        if let Some(message) = online.early_announcement.take() {
            self.on_announcement_signatures(message, online, step)?;
        }
        Ok(())
    }

    /// The id to announce, when the time for it has come.
    fn announceable<K: KeysInterface>(&self, cx: &Context<'_, K>) -> Option<ShortChannelId> {
        let closing = matches!(self.facts.stage, Stage::ShuttingDown { .. } | Stage::Negotiating { .. });
        let due = self.facts.announcement != (Announcement::Private {})
            && self.facts.ready == (Ready::Both {})
            && self.depth(cx.height) >= ANNOUNCE_DEPTH
            && !closing;
        due.then(|| self.scid()).flatten()
    }

    fn our_signatures<K: KeysInterface>(
        &self,
        scid: ShortChannelId,
        step: &Step<'_, K>,
    ) -> Option<AnnouncementSignatures> {
        let (node_signature, bitcoin_signature) = self.sign_announcement(scid, step)?;
        Some(AnnouncementSignatures {
            channel_id: self.terms().channel,
            short_channel_id: scid,
            node_signature,
            bitcoin_signature,
            unknown: Default::default(),
        })
    }

    fn sign_announcement<K: KeysInterface>(
        &self,
        scid: ShortChannelId,
        step: &Step<'_, K>,
    ) -> Option<(Signature, Signature)> {
        let digest = *self.announcement_body(scid, step).signed_hash().as_ref();
        let signed = step
            .cx
            .keys
            .sign_gossip(&digest)
            .and_then(|node| step.signer.sign_announcement(&digest).map(|bitcoin| (node, bitcoin)));
        signed.inspect_err(|error| step.log(Level::Debug, format_args!("no announcement yet: {error}"))).ok()
    }

    fn verify_announcement<K: KeysInterface>(
        &self,
        message: &AnnouncementSignatures,
        scid: ShortChannelId,
        step: &Step<'_, K>,
    ) -> Result<(), Violation> {
        let hash = self.announcement_body(scid, step).signed_hash();
        let terms = self.terms();
        let node_key = terms.peer.to_public_key().map_err(|_| Violation::AnnouncementSignature)?;
        let pairs =
            [(&message.node_signature, &node_key), (&message.bitcoin_signature, &terms.theirs.keys.funding)];
        for (signed, key) in pairs {
            signature::verify(step.cx.secp, &hash, signed, key)
                .map_err(|_| Violation::AnnouncementSignature)?;
        }
        Ok(())
    }

    fn announcement_body<K: KeysInterface>(
        &self,
        scid: ShortChannelId,
        step: &Step<'_, K>,
    ) -> ChannelAnnouncementBody {
        let terms = self.terms();
        let ours = (NodeId::from(step.cx.keys.node_id()), NodeId::from(terms.ours.keys.funding));
        let theirs = (terms.peer, NodeId::from(terms.theirs.keys.funding));
        // BOLT 7: "`node_id_1` is the lexicographically-lesser of the two compressed keys", `bitcoin_key_1` that of `node_id_1`.
        let [first, second] = if ours.0 < theirs.0 { [ours, theirs] } else { [theirs, ours] };
        ChannelAnnouncementBody {
            features: Features::empty(),
            chain_hash: step.cx.chain,
            short_channel_id: scid,
            node_id_1: first.0,
            node_id_2: second.0,
            bitcoin_key_1: first.1,
            bitcoin_key_2: second.1,
            excess: Excess::default(),
        }
    }

    /// Tells the network, when both sides' signatures are there.
    fn announce<K: KeysInterface>(&self, scid: ShortChannelId, step: &mut Step<'_, K>) {
        let Announcement::Signed { scid: signed_for, node, bitcoin } = self.facts.announcement else {
            return;
        };
        if signed_for != scid {
            return;
        }
        let Some((our_node, our_bitcoin)) = self.sign_announcement(scid, step) else { return };
        let body = self.announcement_body(scid, step);
        let we_are_first = body.node_id_1 == NodeId::from(step.cx.keys.node_id());
        let (ours, theirs) = ((our_node, our_bitcoin), (node, bitcoin));
        let [first, second] = if we_are_first { [ours, theirs] } else { [theirs, ours] };
        let announcement = ChannelAnnouncement {
            node_signature_1: first.0,
            node_signature_2: second.0,
            bitcoin_signature_1: first.1,
            bitcoin_signature_2: second.1,
            body,
        };
        step.effects.after_all().announce(announcement);
    }

    /// After a restart: says the announcement again, should it be due. The update follows with the next tick.
    pub(crate) fn announce_again<K: KeysInterface>(&self, step: &mut Step<'_, K>) {
        if let Some(scid) = self.announced(step.cx) {
            self.announce(scid, step);
        }
    }

    /// The id under which the channel is announced, if it is.
    pub(crate) fn announced<K: KeysInterface>(&self, cx: &Context<'_, K>) -> Option<ShortChannelId> {
        let scid = self.announceable(cx)?;
        matches!(self.facts.announcement, Announcement::Signed { scid: signed, .. } if signed == scid)
            .then_some(scid)
    }

    /// Tells the peer our terms for forwarding, once on each connection (BOLT 7: "MAY create a `channel_update` to communicate
    /// the channel parameters to the channel peer, even though the channel has not yet been announced").
    pub(super) fn advance_update<K: KeysInterface>(&mut self, online: &mut Online, step: &mut Step<'_, K>) {
        if online.update_sent || self.facts.stage != (Stage::Open {}) {
            return;
        }
        // "MUST set the `short_channel_id` to either an `alias` it has received from the peer, or the real channel
        // `short_channel_id`"; with `option_scid_alias` never the real one.
        let private = self.terms().channel_type.has(Feature::ScidAlias);
        let scid = if private { self.facts.their_alias } else { self.scid().or(self.facts.their_alias) };
        let Some(scid) = scid else { return };
        online.update_sent = true;
        let public = self.announced(step.cx).is_some();
        if let Some(update) = self.make_update(scid, public, step) {
            self.persist(step).send(update);
        }
    }

    /// Their update: kept if it is signed, newer, for our chain and for this channel, by whichever of its names.
    pub(crate) fn on_channel_update<K: KeysInterface>(
        &mut self,
        update: &ChannelUpdate,
        step: &mut Step<'_, K>,
    ) {
        let body = &update.body;
        let scid = Some(body.short_channel_id);
        let ours = scid == self.scid() || scid == Some(self.facts.alias) || scid == self.facts.their_alias;
        // BOLT 7: the direction bit names the node that signs.
        let second = self.terms().peer > NodeId::from(step.cx.keys.node_id());
        let newer = self.facts.their_terms.is_none_or(|known| known.time < body.timestamp);
        if !ours || !newer || body.chain_hash != step.cx.chain || body.is_by_node_2() != second {
            return;
        }
        let Ok(key) = self.terms().peer.to_public_key() else { return };
        if signature::verify(step.cx.secp, &body.signed_hash(), &update.signature, &key).is_err() {
            return;
        }
        let terms = TheirTerms {
            time: body.timestamp,
            fee_base: Msat::new(u64::from(body.fee_base_msat)),
            fee_proportional_millionths: body.fee_proportional_millionths,
            cltv_delta: body.cltv_expiry_delta,
            htlc_minimum: body.htlc_minimum_msat,
            htlc_maximum: body.htlc_maximum_msat,
        };
        self.record(Entry::TheirTerms { terms }, step);
    }

    /// Says our update again before anybody prunes it.
    pub(crate) fn refresh_update<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        let due = self.facts.update_time.saturating_add(REFRESH_AFTER) <= step.cx.time;
        if (due || !self.update_said)
            && let Some(scid) = self.announced(step.cx)
        {
            self.say_update(scid, true, step);
        }
    }

    fn say_update<K: KeysInterface>(&mut self, scid: ShortChannelId, public: bool, step: &mut Step<'_, K>) {
        self.update_said = true;
        if let Some(update) = self.make_update(scid, public, step) {
            self.persist(step).announce(update);
        }
    }

    fn make_update<K: KeysInterface>(
        &mut self,
        scid: ShortChannelId,
        public: bool,
        step: &mut Step<'_, K>,
    ) -> Option<ChannelUpdate> {
        // "MUST set `timestamp` to greater than 0, AND to greater than any previously-sent `channel_update`".
        let time = step.cx.time.max(self.facts.update_time.saturating_add(1));
        let update = self.signed_update(scid, public, time, step.cx)?;
        self.record(Entry::UpdateSent { time }, step);
        Some(update)
    }

    /// Our terms as we have said them last, for a failure that is due to them. BOLT 4: "if it returns a `channel_update`: MUST
    /// set `short_channel_id` to the `short_channel_id` used by the incoming onion".
    pub(crate) fn update_for<K: KeysInterface>(
        &self,
        named: ShortChannelId,
        cx: &Context<'_, K>,
    ) -> Option<ChannelUpdate> {
        // What was never said has no time; gossip or the peer will have it soon.
        let time = Some(self.facts.update_time).filter(|time| *time > 0)?;
        self.signed_update(named, self.announced(cx) == Some(named), time, cx)
    }

    fn signed_update<K: KeysInterface>(
        &self,
        scid: ShortChannelId,
        public: bool,
        time: u32,
        cx: &Context<'_, K>,
    ) -> Option<ChannelUpdate> {
        let body = self.update_body(scid, public, time, cx);
        let signature = cx.keys.sign_gossip(body.signed_hash().as_ref()).ok()?;
        Some(ChannelUpdate { signature, body })
    }

    fn update_body<K: KeysInterface>(
        &self,
        scid: ShortChannelId,
        public: bool,
        time: u32,
        cx: &Context<'_, K>,
    ) -> ChannelUpdateBody {
        let (terms, config) = (self.terms(), &cx.config.channel);
        let second = NodeId::from(cx.keys.node_id()) > terms.peer;
        let only_receiver = if public { 0 } else { ChannelUpdateBody::DONT_FORWARD };
        // "MUST set this to less than or equal to the channel capacity ... and to `max_htlc_value_in_flight_msat` it received":
        // less the reserve, which cannot be sent either.
        let most = terms.capacity().saturating_sub(terms.ours.reserve).min(terms.theirs.max_in_flight);
        ChannelUpdateBody {
            chain_hash: cx.chain,
            short_channel_id: scid,
            timestamp: time,
            message_flags: ChannelUpdateBody::MUST_BE_ONE | only_receiver,
            channel_flags: if second { ChannelUpdateBody::DIRECTION } else { 0 },
            cltv_expiry_delta: config.cltv_delta,
            htlc_minimum_msat: terms.theirs.htlc_minimum.min(most),
            fee_base_msat: u32::try_from(config.fee_base.to_msat()).unwrap_or(u32::MAX),
            fee_proportional_millionths: config.fee_proportional_millionths,
            htlc_maximum_msat: most.max(Msat::new(1)),
            excess: Excess::default(),
        }
    }
}
