//! The `channel_update` inside a failure: whether it is what it seems, and whether it explains the failure.
//!
//! BOLT 4, "Receiving Failure Codes": "if UPDATE is set, AND the `channel_update` is valid and more recent than the
//! `channel_update` used to send the payment: MAY consider the `channel_update` when calculating routes to retry the payment
//! which failed". Whether it is more recent is seen where the route is found.
//!
//! # Invariants
//! - what is not signed by the failing node for the very channel of the path teaches nothing
//! - terms that the HTLC has kept teach nothing: the node failed it for another reason
use lightning_traits::codec::Decode as _;
use lightning_traits::route::{LearntTerms, Path, RouteHop};
use lightning_traits::sphinx::Failure;
use lightning_traits::tx::signature;
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelUpdate, ChannelUpdateBody, WireMessage as _};

use super::verdict::{Judge, directed};

/// The terms that channel `index` of the path has now, by the node that failed the HTLC there.
pub(super) fn read(judge: &Judge<'_>, path: &Path, index: usize, failure: &Failure) -> Option<LearntTerms> {
    let channel = directed(judge.payer, path, index)?;
    let (arriving, leaving) = (path.hops.get(index.checked_sub(1)?)?, path.hops.get(index)?);
    let update = parse(bytes(failure)?)?;
    let body = &update.body;
    let is_for_it = body.chain_hash == judge.chain
        && body.short_channel_id == channel.scid
        // BOLT 7: direction 0 is from the lesser node id.
        && body.is_by_node_2() == (channel.from > leaving.node)
        && !body.is_disabled();
    if !is_for_it || !explains(failure, body, arriving, leaving) {
        return None;
    }
    let key = channel.from.to_public_key().ok()?;
    signature::verify(judge.secp, &body.signed_hash(), &update.signature, &key).ok()?;
    Some(LearntTerms {
        channel,
        timestamp: body.timestamp,
        cltv_delta: body.cltv_expiry_delta,
        htlc_minimum: body.htlc_minimum_msat,
        htlc_maximum: body.htlc_maximum_msat,
        fee_base: Msat::new(u64::from(body.fee_base_msat)),
        fee_proportional_millionths: body.fee_proportional_millionths,
    })
}

fn bytes(failure: &Failure) -> Option<&[u8]> {
    match failure {
        Failure::AmountBelowMinimum { channel_update, .. }
        | Failure::FeeInsufficient { channel_update, .. }
        | Failure::IncorrectCltvExpiry { channel_update, .. }
        | Failure::ExpiryTooSoon { channel_update } => Some(channel_update),
        // Of no use for another try.
        _ => None,
    }
}

/// BOLT 4 puts the message's type in front; some nodes leave it out.
fn parse(bytes: &[u8]) -> Option<ChannelUpdate> {
    let typed = bytes.strip_prefix(&ChannelUpdate::TYPE.to_be_bytes());
    typed
        .and_then(|body| ChannelUpdate::from_bytes(body).ok())
        .or_else(|| ChannelUpdate::from_bytes(bytes).ok())
}

/// Whether an HTLC that came as `arriving` and should have gone on as `leaving` breaks the terms in the way that the failure
/// says.
fn explains(failure: &Failure, terms: &ChannelUpdateBody, arriving: &RouteHop, leaving: &RouteHop) -> bool {
    match failure {
        Failure::AmountBelowMinimum { .. } => leaving.amount < terms.htlc_minimum_msat,
        Failure::FeeInsufficient { .. } => {
            let base = Msat::new(u64::from(terms.fee_base_msat));
            let rate = leaving.amount.checked_millionths(terms.fee_proportional_millionths);
            let needed = rate.and_then(|rate| base.checked_add(rate));
            needed.is_some_and(|needed| arriving.amount.saturating_sub(leaving.amount) < needed)
        }
        // Either way there was too little time behind the node.
        Failure::IncorrectCltvExpiry { .. } | Failure::ExpiryTooSoon { .. } => {
            let given = arriving.expiry.get().saturating_sub(leaving.expiry.get());
            given < u32::from(terms.cltv_expiry_delta.get())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use bitcoin::constants::ChainHash;
    use lightning_traits::Secp;
    use lightning_traits::codec::Encode as _;
    use lightning_traits::id::{NodeId, ShortChannelId};
    use lightning_traits::units::{CltvDelta, CltvExpiry};
    use lightning_traits::wire::Excess;
    use secp256k1::{PublicKey, SecretKey};

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn node(byte: u8) -> NodeId {
        NodeId::from(PublicKey::from_secret_key(&Secp::new(), &key(byte)))
    }

    /// us -(100)-> 1 -(101)-> 2, which pays node 1 a fee of 1000 and 40 blocks.
    fn path() -> Path {
        let hop = |byte, scid, amount, expiry| RouteHop {
            node: node(byte),
            scid: ShortChannelId(scid),
            amount: Msat::new(amount),
            expiry: CltvExpiry::new(expiry),
        };
        Path { hops: alloc::vec![hop(1, 100, 1_001_000, 540), hop(2, 101, 1_000_000, 500)] }
    }

    fn update(change: impl Fn(&mut ChannelUpdateBody), signer: u8) -> ChannelUpdate {
        let mut body = ChannelUpdateBody {
            chain_hash: ChainHash::REGTEST,
            short_channel_id: ShortChannelId(101),
            timestamp: 7,
            message_flags: ChannelUpdateBody::MUST_BE_ONE,
            channel_flags: u8::from(node(1) > node(2)),
            cltv_expiry_delta: CltvDelta::new(40),
            htlc_minimum_msat: Msat::new(1),
            fee_base_msat: 1_000,
            fee_proportional_millionths: 1,
            htlc_maximum_msat: Msat::new(9_000_000),
            excess: Excess::default(),
        };
        change(&mut body);
        let signature = Secp::new().sign_ecdsa(&body.signed_hash(), &key(signer));
        ChannelUpdate { signature, body }
    }

    fn fee(channel_update: Vec<u8>) -> Failure {
        Failure::FeeInsufficient { htlc_msat: Msat::new(1_001_000), channel_update }
    }

    fn read_of(failure: &Failure) -> Option<LearntTerms> {
        let secp = Secp::new();
        let judge = Judge { secp: &secp, chain: ChainHash::REGTEST, payer: node(9) };
        read(&judge, &path(), 1, failure)
    }

    #[test]
    fn f13_an_update_of_the_failing_node_for_the_failing_channel_is_learnt_with_or_without_its_type() {
        let genuine = update(|_| {}, 1);
        let terms = read_of(&fee(genuine.to_wire().unwrap())).unwrap();
        assert_eq!((terms.channel.scid, terms.channel.from), (ShortChannelId(101), node(1)));
        assert_eq!(
            (terms.timestamp, terms.fee_base, terms.fee_proportional_millionths),
            (7, Msat::new(1_000), 1)
        );
        assert_eq!(read_of(&fee(genuine.to_bytes())), Some(terms));
    }

    #[test]
    fn f13_nothing_is_learnt_from_updates_of_others_for_others_or_of_no_relevance() {
        type Change = fn(&mut ChannelUpdateBody);
        let wrong: [(&str, Change); 5] = [
            ("another chain", |body| body.chain_hash = ChainHash::BITCOIN),
            ("another channel", |body| body.short_channel_id = ShortChannelId(102)),
            ("the other direction", |body| body.channel_flags ^= ChannelUpdateBody::DIRECTION),
            ("disabled", |body| body.channel_flags |= ChannelUpdateBody::DISABLED),
            ("paid for", |body| body.fee_proportional_millionths = 0),
        ];
        for (what, change) in wrong {
            assert_eq!(read_of(&fee(update(change, 1).to_wire().unwrap())), None, "{what}");
        }
        assert_eq!(read_of(&fee(update(|_| {}, 2).to_wire().unwrap())), None, "signed by another");
        for garbage in [Vec::new(), alloc::vec![1, 2], alloc::vec![0xff; 200]] {
            assert_eq!(read_of(&fee(garbage)), None);
        }
    }

    #[test]
    fn each_failure_needs_terms_that_explain_it() {
        let bytes = |change: fn(&mut ChannelUpdateBody)| update(change, 1).to_wire().unwrap();
        let minimum =
            |channel_update| Failure::AmountBelowMinimum { htlc_msat: Msat::new(1_000_000), channel_update };
        assert!(read_of(&minimum(bytes(|body| body.htlc_minimum_msat = Msat::new(1_000_001)))).is_some());
        assert!(read_of(&minimum(bytes(|body| body.htlc_minimum_msat = Msat::new(1_000_000)))).is_none());
        let delta = |channel_update| Failure::IncorrectCltvExpiry {
            cltv_expiry: CltvExpiry::new(540),
            channel_update,
        };
        assert!(read_of(&delta(bytes(|body| body.cltv_expiry_delta = CltvDelta::new(41)))).is_some());
        assert!(read_of(&delta(bytes(|_| {}))).is_none());
        let soon = |channel_update| Failure::ExpiryTooSoon { channel_update };
        assert!(read_of(&soon(bytes(|body| body.cltv_expiry_delta = CltvDelta::new(41)))).is_some());
        let disabled = Failure::ChannelDisabled { disabled_flags: 0, channel_update: bytes(|_| {}) };
        assert!(read_of(&disabled).is_none());
        assert!(read_of(&fee(bytes(|body| body.fee_base_msat = u32::MAX))).is_some());
    }
}
