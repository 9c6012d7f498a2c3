//! Any value that crosses a boundary, as strategies.
#![allow(dead_code, reason = "each test takes what it needs")]

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{
    ChannelId, ChannelKeysId, CommitmentNumber, HtlcId, NodeId, PaymentId, ShortChannelId, UpdateId,
};
use lightning_traits::monitor::*;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::*;
use lightning_traits::tx::*;
use lightning_traits::units::{BlockHeight, CltvDelta, CltvExpiry, CsvDelay, FeeratePerKw, Msat};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use secp256k1::ecdsa::Signature;
use secp256k1::{PublicKey, Secp256k1, SecretKey};

fn key() -> impl Strategy<Value = PublicKey> {
    (1..=250_u8).prop_map(|byte| SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&Secp256k1::new()))
}

fn signature() -> impl Strategy<Value = Signature> {
    (1..=0x7e_u8).prop_map(|byte| Signature::from_compact(&[byte; 64]).unwrap())
}

fn msat() -> impl Strategy<Value = Msat> {
    any::<u64>().prop_map(Msat::new)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn outpoint() -> impl Strategy<Value = OutPoint> {
    any::<([u8; 32], u32)>().prop_map(|(txid, vout)| OutPoint { txid: Txid::from_byte_array(txid), vout })
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<[u8; 32]>().prop_map(ChannelId)
}

fn node() -> impl Strategy<Value = NodeId> {
    vec(any::<u8>(), 33).prop_map(|bytes| NodeId(bytes.try_into().unwrap()))
}

fn scid() -> impl Strategy<Value = ShortChannelId> {
    any::<u64>().prop_map(ShortChannelId)
}

fn number() -> impl Strategy<Value = CommitmentNumber> {
    any::<u64>().prop_map(CommitmentNumber)
}

fn side() -> impl Strategy<Value = TxSide> {
    prop_oneof![Just(TxSide::Broadcaster), Just(TxSide::Countersigner)]
}

fn htlc() -> impl Strategy<Value = HtlcSpec> {
    (side(), any::<u64>(), msat(), any::<[u8; 32]>(), any::<u32>()).prop_map(
        |(offered_by, id, amount, hash, expiry)| HtlcSpec {
            offered_by,
            id: HtlcId(id),
            amount,
            payment_hash: PaymentHash(hash),
            expiry: CltvExpiry::new(expiry),
        },
    )
}

fn spec() -> impl Strategy<Value = CommitmentSpec> {
    (any::<u32>(), msat(), msat(), vec(htlc(), 0..4)).prop_map(
        |(feerate, to_broadcaster, to_countersigner, htlcs)| CommitmentSpec {
            feerate: FeeratePerKw::new(feerate),
            to_broadcaster,
            to_countersigner,
            htlcs,
        },
    )
}

fn change() -> impl Strategy<Value = CommitmentChange> {
    (number(), any::<u32>(), msat(), msat(), vec(htlc(), 0..4), vec((side(), any::<u64>()), 0..4)).prop_map(
        |(number, feerate, to_broadcaster, to_countersigner, added, removed)| CommitmentChange {
            number,
            feerate: FeeratePerKw::new(feerate),
            to_broadcaster,
            to_countersigner,
            added,
            removed: removed.into_iter().map(|(side, id)| (side, HtlcId(id))).collect(),
        },
    )
}

fn step() -> impl Strategy<Value = MonitorStep> {
    prop_oneof![
        (change(), signature(), vec(signature(), 0..4)).prop_map(|(change, signature, htlc_signatures)| {
            MonitorStep::OurCommitment { change, signature, htlc_signatures }
        }),
        (change(), key()).prop_map(|(change, point)| MonitorStep::TheirCommitment { change, point }),
        (number(), any::<[u8; 32]>()).prop_map(|(number, secret)| {
            MonitorStep::TheirRevocation { number, secret: CommitmentSecret::new(secret) }
        }),
        any::<[u8; 32]>().prop_map(|preimage| MonitorStep::Preimage { preimage: Preimage::new(preimage) }),
        Just(MonitorStep::ShutdownStarted {}),
        Just(MonitorStep::ForceClose {}),
        key().prop_map(|point| MonitorStep::DataLoss { point }),
    ]
}

fn record_change() -> impl Strategy<Value = RecordChange> {
    prop_oneof![
        Just(RecordChange::Same {}),
        bytes().prop_map(|bytes| RecordChange::Append { bytes }),
        bytes().prop_map(|bytes| RecordChange::Snapshot { bytes }),
    ]
}

/// Records of a later age: odd ones.
fn extra() -> impl Strategy<Value = TlvRecords> {
    vec((any::<u64>(), vec(any::<u8>(), 0..20)), 0..4).prop_map(|records| {
        let mut extra = TlvRecords::new();
        records.into_iter().for_each(|(kind, value)| extra.put_raw(kind | 1, value));
        extra
    })
}

pub(crate) fn update() -> impl Strategy<Value = ChannelMonitorUpdate> {
    (channel(), any::<u64>(), vec(step(), 0..4), record_change(), extra()).prop_map(
        |(channel, id, steps, record, extra)| ChannelMonitorUpdate {
            channel,
            id: UpdateId(id),
            steps,
            record,
            extra,
        },
    )
}

fn terms() -> impl Strategy<Value = PartyTerms> {
    ([key(), key(), key(), key(), key()], 0..u64::MAX / 2, any::<u16>()).prop_map(|(keys, dust, delay)| {
        let [funding, revocation_basepoint, payment_basepoint, delayed_payment_basepoint, htlc_basepoint] =
            keys;
        PartyTerms {
            keys: ChannelPublicKeys {
                funding,
                revocation_basepoint,
                payment_basepoint,
                delayed_payment_basepoint,
                htlc_basepoint,
            },
            dust_limit: Amount::from_sat(dust),
            to_self_delay: CsvDelay::new(delay),
        }
    })
}

fn init() -> impl Strategy<Value = MonitorInit> {
    let names = (channel(), node(), any::<[u8; 32]>(), outpoint(), 0..u64::MAX / 2);
    let ways = (any::<bool>(), any::<bool>(), any::<u32>(), bytes());
    (names, ways, terms(), terms(), spec(), spec(), signature(), key()).prop_map(
        |(names, ways, ours, theirs, our_spec, their_spec, their_signature, their_point)| {
            let (channel, peer, keys, outpoint, value) = names;
            let (anchors, we_opened, birth, destination) = ways;
            let format = if anchors {
                CommitmentFormat::AnchorsZeroFeeHtlc
            } else {
                CommitmentFormat::StaticRemoteKey
            };
            MonitorInit {
                channel,
                peer,
                keys: ChannelKeysId(keys),
                funding: FundingOutput::new(
                    outpoint,
                    Amount::from_sat(value),
                    ours.keys.funding,
                    theirs.keys.funding,
                ),
                format,
                obscure: ObscureFactor::new(&ours.keys.payment_basepoint, &theirs.keys.payment_basepoint),
                we_opened,
                ours,
                theirs,
                our_spec,
                their_signature,
                their_spec,
                their_point,
                destination: ScriptBuf::from_bytes(destination),
                birth: BlockHeight::new(birth),
            }
        },
    )
}

pub(crate) fn new_monitor() -> impl Strategy<Value = NewMonitor> {
    (init(), record_change(), extra()).prop_map(|(init, record, extra)| NewMonitor { init, record, extra })
}

fn spend_kind() -> impl Strategy<Value = SpendKind> {
    prop_oneof![
        Just(SpendKind::Mutual {}),
        number().prop_map(|number| SpendKind::Ours { number }),
        number().prop_map(|number| SpendKind::Theirs { number }),
        number().prop_map(|number| SpendKind::Revoked { number }),
        number().prop_map(|number| SpendKind::Future { number }),
        Just(SpendKind::Unknown {}),
    ]
}

pub(crate) fn monitor_event() -> impl Strategy<Value = MonitorEvent> {
    prop_oneof![
        channel().prop_map(|channel| MonitorEvent::ForceClosed { channel }),
        (channel(), any::<[u8; 32]>(), spend_kind(), any::<u32>()).prop_map(
            |(channel, txid, kind, height)| {
                let (txid, height) = (Txid::from_byte_array(txid), BlockHeight::new(height));
                MonitorEvent::FundingSpent { channel, txid, kind, height }
            }
        ),
        (channel(), any::<u64>(), option::of(any::<[u8; 32]>())).prop_map(|(channel, htlc, preimage)| {
            let outcome = match preimage {
                Some(preimage) => HtlcOutcome::Claimed { preimage: Preimage::new(preimage) },
                None => HtlcOutcome::Failed {},
            };
            MonitorEvent::HtlcResolved { channel, htlc: HtlcId(htlc), outcome }
        }),
        channel().prop_map(|channel| MonitorEvent::Resolved { channel }),
    ]
}

pub(crate) fn refusal() -> impl Strategy<Value = MonitorRefusal> {
    prop_oneof![
        Just(MonitorRefusal::Duplicate),
        Just(MonitorRefusal::UnknownChannel),
        any::<(u64, u64)>().prop_map(|(expected, got)| {
            MonitorRefusal::OutOfOrder { expected: UpdateId(expected), got: UpdateId(got) }
        }),
        Just(MonitorRefusal::Contradiction),
        Just(MonitorRefusal::OnChain),
    ]
}

pub(crate) fn path() -> impl Strategy<Value = Path> {
    let hop = (node(), scid(), msat(), any::<u32>());
    let hop = hop.prop_map(|(node, scid, amount, expiry)| RouteHop {
        node,
        scid,
        amount,
        expiry: CltvExpiry::new(expiry),
    });
    vec(hop, 0..5).prop_map(|hops| Path { hops })
}

pub(crate) fn route() -> impl Strategy<Value = Route> {
    vec(path(), 0..4).prop_map(|paths| Route { paths })
}

fn hint() -> impl Strategy<Value = RouteHint> {
    let hop = (node(), scid(), msat(), any::<u32>(), any::<u16>());
    let hop = hop.prop_map(|(node, scid, fee_base, fee_proportional_millionths, delta)| HintHop {
        node,
        scid,
        fee_base,
        fee_proportional_millionths,
        cltv_delta: CltvDelta::new(delta),
    });
    vec(hop, 0..3).prop_map(|hops| RouteHint { hops })
}

fn first_hop() -> impl Strategy<Value = FirstHop> {
    (node(), scid(), msat(), msat(), msat()).prop_map(|(node, scid, htlc_minimum, sendable, htlc_cost)| {
        FirstHop { node, scid, htlc_minimum, sendable, htlc_cost }
    })
}

fn direction() -> impl Strategy<Value = DirectedChannel> {
    (scid(), node()).prop_map(|(scid, from)| DirectedChannel { scid, from })
}

fn channel_amount() -> impl Strategy<Value = ChannelAmount> {
    (direction(), msat()).prop_map(|(channel, amount)| ChannelAmount { channel, amount })
}

fn learnt() -> impl Strategy<Value = LearntTerms> {
    (direction(), any::<(u32, u16, u32)>(), msat(), msat(), msat()).prop_map(
        |(channel, numbers, htlc_minimum, htlc_maximum, fee_base)| LearntTerms {
            channel,
            timestamp: numbers.0,
            cltv_delta: CltvDelta::new(numbers.1),
            htlc_minimum,
            htlc_maximum,
            fee_base,
            fee_proportional_millionths: numbers.2,
        },
    )
}

pub(crate) fn query() -> impl Strategy<Value = RouteQuery> {
    let ends = (any::<[u8; 32]>(), node(), node(), msat(), msat());
    let limits = (any::<u16>(), any::<u32>(), any::<u32>(), any::<u16>());
    let past = (
        vec(direction(), 0..3),
        vec(channel_amount(), 0..3),
        vec(channel_amount(), 0..3),
        vec(learnt(), 0..3),
    );
    (ends, limits, vec(hint(), 0..3), vec(first_hop(), 0..3), past).prop_map(
        |(ends, limits, hints, first_hops, past)| RouteQuery {
            payment: PaymentId(ends.0),
            payer: ends.1,
            payee: ends.2,
            amount: ends.3,
            max_fee: ends.4,
            final_cltv_delta: CltvDelta::new(limits.0),
            max_total_cltv: limits.1,
            height: BlockHeight::new(limits.2),
            max_parts: limits.3,
            hints,
            first_hops,
            excluded: past.0,
            limits: past.1,
            in_use: past.2,
            learnt: past.3,
        },
    )
}

pub(crate) fn no_route() -> impl Strategy<Value = NoRoute> {
    prop_oneof![
        Just(NoRoute::UnknownPayee),
        (msat(), msat()).prop_map(|(needed, sendable)| NoRoute::NoFirstHop { needed, sendable }),
        msat().prop_map(|amount| NoRoute::NoCapacity { amount }),
        (msat(), msat()).prop_map(|(fee, limit)| NoRoute::TooExpensive { fee, limit }),
        any::<u32>().prop_map(|limit| NoRoute::TooSlow { limit }),
        Just(NoRoute::Pointless),
    ]
}

pub(crate) fn answer() -> impl Strategy<Value = RouteAnswer> {
    prop_oneof![
        Just(RouteAnswer::InProgress),
        route().prop_map(|route| RouteAnswer::Ready(Ok(route))),
        no_route().prop_map(|why| RouteAnswer::Ready(Err(why))),
    ]
}

pub(crate) fn report() -> impl Strategy<Value = RouteReport> {
    let failed = (any::<u32>(), any::<bool>());
    let failed = failed
        .prop_map(|(channel, temporary)| PathOutcome::FailedAt { channel: channel as usize, temporary });
    let whole = prop_oneof![
        Just(PathOutcome::Delivered),
        Just(PathOutcome::Unreadable),
        Just(PathOutcome::GivenBack)
    ];
    let outcome = prop_oneof![whole, failed];
    (any::<[u8; 32]>(), path(), outcome).prop_map(|(hash, path, outcome)| RouteReport {
        hash: PaymentHash(hash),
        path,
        outcome,
    })
}
