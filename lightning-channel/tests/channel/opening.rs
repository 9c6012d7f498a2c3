//! Opening: both types, both roles, every bad parameter, funding checks, depth, reorganizations.
use bitcoin::{Amount, OutPoint, ScriptBuf, Witness};
use lightning_channel::channel::{Channel, FundError, OpenOptions, OpenParams, PhaseName};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::feature::{ChannelType, Feature, Features};
use lightning_traits::id::{ChannelId, CommitmentNumber, EventId};
use lightning_traits::interface::{ChannelSigner as _, CommitmentToSign, KeysInterface as _};
use lightning_traits::monitor::{MonitorEvent, MonitorStep};
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSpec, FundingOutput,
    ObscureFactor, TxSide, build,
};
use lightning_traits::units::{CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::{AcceptChannel, FundingCreated, Message, OpenChannel, RoutingMessage};

use super::keys::TestKeys;
use super::pair::{FUNDING, Pair, TEMPORARY, funding_transaction};

const PUSH: Msat = Msat::from_sat(300_000);

/// The keys in an opening message.
macro_rules! keys_of {
    ($message:ident) => {
        ChannelPublicKeys {
            funding: $message.funding_pubkey,
            revocation_basepoint: $message.revocation_basepoint,
            payment_basepoint: $message.payment_basepoint,
            delayed_payment_basepoint: $message.delayed_payment_basepoint,
            htlc_basepoint: $message.htlc_basepoint,
        }
    };
}

fn channel_type(pair: &Pair, side: usize) -> ChannelType {
    pair.nodes[side].channel().commitments().unwrap().terms().channel_type.clone()
}

#[test]
fn opens_with_anchors_and_both_sides_agree_on_everything() {
    let pair = Pair::open(PUSH);
    assert_eq!(channel_type(&pair, 0), ChannelType::anchors());
    pair.assert_balance(Msat::from_sat(700_000), PUSH);
    let terms = [0, 1].map(|side| pair.nodes[side].channel().commitments().unwrap().terms().clone());
    assert_eq!(terms[0].ours, terms[1].theirs);
    assert_eq!(terms[0].theirs, terms[1].ours);
    assert_eq!(terms[0].our_shutdown, terms[1].their_shutdown);
    assert!(terms[0].our_shutdown.is_some() && terms[1].our_shutdown.is_some());
    for node in &pair.nodes {
        assert!(matches!(
            node.events[..],
            [
                ..,
                Event::ChannelPending { temporary: TEMPORARY, .. },
                Event::ChannelReady { scid: Some(_), .. }
            ]
        ));
        let init = &node.disk.new.as_ref().unwrap().init;
        assert_eq!(init.our_spec.mirror(), init.their_spec);
    }
    let ids = pair.nodes.each_ref().map(|node| node.channel().details(&node.cx()).funded.unwrap());
    assert_eq!(ids[0].scid, ids[1].scid);
    assert_eq!((Some(ids[0].alias), Some(ids[1].alias)), (ids[1].their_alias, ids[0].their_alias));
    assert!(
        ids[0].their_terms.is_some() && ids[1].their_terms.is_some(),
        "unannounced updates were exchanged"
    );
    assert!(pair.nodes.iter().all(|node| node.gossip.is_empty()), "a private channel is not announced");
}

#[test]
fn opens_without_anchors_when_the_peer_does_not_know_them() {
    let mut pair = Pair::new();
    pair.nodes[1].features.clear_bit(Feature::Anchors.optional_bit());
    pair.establish(PUSH, false);
    assert_eq!(channel_type(&pair, 1), ChannelType::static_remote_key());
}

#[test]
fn upfront_shutdown_and_type_are_always_sent() {
    let pair = Pair::open(PUSH);
    let Message::OpenChannel(open) = &pair.nodes[0].log[0] else { panic!() };
    let Message::AcceptChannel(accept) = &pair.nodes[1].log[0] else { panic!() };
    assert!(open.upfront_shutdown_script.is_some() && accept.upfront_shutdown_script.is_some());
    assert_eq!(open.channel_type, accept.channel_type);
    assert_eq!(open.channel_flags, 0);
    assert_eq!(open.channel_reserve_satoshis, Amount::from_sat(10_000));
}

#[test]
fn announced_channel_is_announced_at_six_blocks_by_both() {
    let mut pair = Pair::new();
    pair.establish(PUSH, true);
    pair.mine(2);
    pair.run();
    assert!(!pair.sent(0).contains(&259) && !pair.sent(1).contains(&259));
    pair.mine(1);
    pair.run();
    let announced = pair.nodes.each_ref().map(|node| {
        let update = node.gossip.iter().any(|message| matches!(message, RoutingMessage::ChannelUpdate(_)));
        assert!(update, "an update follows the announcement");
        node.gossip.iter().find(|message| matches!(message, RoutingMessage::ChannelAnnouncement(_))).cloned()
    });
    assert!(announced[0].is_some());
    assert_eq!(announced[0], announced[1]);
    let Some(RoutingMessage::ChannelAnnouncement(announcement)) = &announced[0] else { panic!() };
    let hash = announcement.body.signed_hash();
    let secp = &pair.nodes[0].secp;
    for (signature, key) in [
        (announcement.node_signature_1, announcement.body.node_id_1),
        (announcement.node_signature_2, announcement.body.node_id_2),
        (announcement.bitcoin_signature_1, announcement.body.bitcoin_key_1),
        (announcement.bitcoin_signature_2, announcement.body.bitcoin_key_2),
    ] {
        secp.verify_ecdsa(&hash, &signature, &key.to_public_key().unwrap()).expect("a good signature");
    }
}

#[test]
fn announcement_signatures_that_come_early_are_put_aside() {
    let mut pair = Pair::new();
    pair.establish(PUSH, true);
    // The first node sees the sixth block long before the second.
    for _ in 0..3 {
        pair.nodes[0].height += 1;
        pair.nodes[0].with(|channel, cx| channel.block_connected(cx, &[]));
    }
    pair.run();
    assert!(pair.sent(0).contains(&259) && !pair.sent(1).contains(&259));
    for _ in 0..3 {
        pair.nodes[1].height += 1;
        pair.nodes[1].with(|channel, cx| channel.block_connected(cx, &[]));
    }
    pair.run();
    assert!(pair.nodes.iter().all(|node| !node.gossip.is_empty()));
}

/// The `open_channel` that a node sends by default.
fn good_open(pair: &mut Pair) -> OpenChannel {
    pair.propose(PUSH, false);
    while pair.nodes[0].step() {}
    match pair.nodes[0].outgoing.pop_front() {
        Some(Message::OpenChannel(open)) => *open,
        other => panic!("{other:?}"),
    }
}

fn judged(pair: &Pair, open: &OpenChannel) -> Result<PhaseName, String> {
    let (node, features) = (&pair.nodes[1], &pair.nodes[0].features);
    Channel::requested(&node.cx(), pair.nodes[0].id(), features, open)
        .map(|channel| channel.phase())
        .map_err(|error| error.text())
}

#[test]
fn a10_a14_every_bad_parameter_of_open_channel_is_refused_and_the_good_one_taken() {
    let mut pair = Pair::new();
    let good = good_open(&mut pair);
    assert_eq!(judged(&pair, &good), Ok(PhaseName::Requested));
    let sat = Amount::from_sat;
    type Spoil = fn(&mut OpenChannel);
    let bad: [(&str, Spoil); 25] = [
        ("another chain", |m| m.chain_hash = bitcoin::constants::ChainHash::BITCOIN),
        ("no type", |m| m.channel_type = None),
        ("empty type", |m| m.channel_type = Some(ChannelType::default())),
        ("odd type", |m| m.channel_type = Some(ChannelType::from_features(Features::from_bits([13])))),
        ("anchors alone", |m| m.channel_type = Some(ChannelType::from_features(Features::from_bits([22])))),
        ("unknown type", |m| {
            m.channel_type = Some(ChannelType::from_features(Features::from_bits([12, 22, 90])));
        }),
        ("public alias", |m| {
            m.channel_type = Some(ChannelType::anchors().with(Feature::ScidAlias));
            m.channel_flags = 1;
        }),
        ("too small", |m| m.funding_satoshis = Amount::from_sat(19_999)),
        ("too large", |m| m.funding_satoshis = Amount::from_sat(1_000_000_001)),
        ("more than there is", |m| m.funding_satoshis = Amount::from_sat(21_000_001 * 100_000_000)),
        ("largest number", |m| m.funding_satoshis = Amount::from_sat(u64::MAX)),
        ("push above funding", |m| m.push_msat = Msat::from_sat(1_000_001)),
        ("push of all numbers", |m| m.push_msat = Msat::MAX),
        ("opener cannot pay", |m| m.push_msat = Msat::from_sat(999_500)),
        ("delay too long", |m| m.to_self_delay = CsvDelay::new(2_017)),
        ("too many HTLCs", |m| m.max_accepted_htlcs = 484),
        ("no HTLC", |m| m.max_accepted_htlcs = 0),
        ("dust too small", |m| m.dust_limit_satoshis = Amount::from_sat(353)),
        ("dust too large", |m| m.dust_limit_satoshis = Amount::from_sat(1_063)),
        ("dust above reserve", |m| m.channel_reserve_satoshis = Amount::from_sat(300)),
        ("reserve too large", |m| m.channel_reserve_satoshis = Amount::from_sat(50_001)),
        ("minimum too large", |m| m.htlc_minimum_msat = Msat::from_sat(50_001)),
        ("nothing in flight", |m| m.max_htlc_value_in_flight_msat = Msat::ZERO),
        ("feerate too low", |m| m.feerate_per_kw = FeeratePerKw::new(252)),
        ("feerate too high", |m| m.feerate_per_kw = FeeratePerKw::new(25_001)),
    ];
    for (name, spoil) in bad {
        let mut open = good.clone();
        spoil(&mut open);
        assert!(judged(&pair, &open).is_err(), "{name} was taken");
    }
    for script in [vec![0x6a, 1, 1], vec![0x76; 25], vec![0x51, 1, 1]] {
        let open =
            OpenChannel { upfront_shutdown_script: Some(ScriptBuf::from_bytes(script)), ..good.clone() };
        assert!(judged(&pair, &open).is_err(), "a bad upfront script was taken");
    }
    // Not bad: bound to nothing, undefined flags, a large reserve within limits, a huge number in flight.
    let fine = OpenChannel {
        upfront_shutdown_script: Some(ScriptBuf::new()),
        channel_flags: 0xfe,
        channel_reserve_satoshis: sat(50_000),
        max_htlc_value_in_flight_msat: Msat::MAX,
        ..good
    };
    assert_eq!(judged(&pair, &fine), Ok(PhaseName::Requested));
}

#[test]
fn a_channel_where_nobody_starts_above_the_reserve_is_refused() {
    let mut pair = Pair::new();
    let good = good_open(&mut pair);
    let open = OpenChannel {
        funding_satoshis: Amount::from_sat(20_000),
        push_msat: Msat::from_sat(950),
        feerate_per_kw: FeeratePerKw::new(15_600),
        channel_reserve_satoshis: Amount::from_sat(1_000),
        ..good
    };
    let refusal = judged(&pair, &open).unwrap_err();
    assert!(refusal.contains("above the reserve") || refusal.contains("cannot pay"), "{refusal}");
}

#[test]
fn a10_a14_every_bad_parameter_of_accept_channel_ends_the_attempt() {
    type Spoil = fn(&mut AcceptChannel);
    let bad: [(&str, Spoil); 10] = [
        ("no type", |m| m.channel_type = None),
        ("other type", |m| m.channel_type = Some(ChannelType::static_remote_key())),
        ("too deep", |m| m.minimum_depth = 145),
        ("delay too long", |m| m.to_self_delay = CsvDelay::new(2_017)),
        ("too many HTLCs", |m| m.max_accepted_htlcs = 484),
        ("dust too small", |m| m.dust_limit_satoshis = Amount::from_sat(353)),
        ("dust too large", |m| m.dust_limit_satoshis = Amount::from_sat(1_063)),
        ("reserve below our dust", |m| m.channel_reserve_satoshis = Amount::from_sat(353)),
        ("reserve too large", |m| m.channel_reserve_satoshis = Amount::from_sat(50_001)),
        ("bad script", |m| m.upfront_shutdown_script = Some(ScriptBuf::from_bytes(vec![0x6a]))),
    ];
    for (name, spoil) in bad {
        let mut pair = Pair::new();
        pair.tamper = Some(Box::new(move |_, message| {
            if let Message::AcceptChannel(accept) = message {
                spoil(accept);
            }
        }));
        pair.propose(PUSH, false);
        pair.run();
        assert_eq!(pair.phases(), [PhaseName::Closed; 2], "{name} was taken");
        assert!(pair.sent(0).contains(&17), "{name}: no error was sent");
        assert!(matches!(pair.closed_event(0), Some(CloseReason::NeverFunded(_))));
    }
}

#[test]
fn large_channels_need_both_to_say_so() {
    let mut pair = Pair::new();
    let node = &pair.nodes[0];
    let params = OpenParams {
        peer: pair.nodes[1].id(),
        temporary: TEMPORARY,
        funding: Amount::from_sat(1 << 24),
        options: OpenOptions::default(),
    };
    assert!(Channel::open(&node.cx(), &params, &pair.nodes[1].features).is_ok());
    pair.nodes[1].features.clear_bit(Feature::LargeChannel.optional_bit());
    let node = &pair.nodes[0];
    assert!(Channel::open(&node.cx(), &params, &pair.nodes[1].features).is_err());
}

#[test]
fn a17_a18_a_funding_transaction_is_given_back_when_it_does_not_fit() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    let good = pair.funding();
    let mut wrong_value = good.clone();
    wrong_value.output[1].value = FUNDING - Amount::ONE_SAT;
    let mut unsigned = good.clone();
    unsigned.input[0].witness = Witness::new();
    let wrong_script = funding_transaction(&ScriptBuf::new(), FUNDING);
    for (transaction, error) in [
        (wrong_value, FundError::NoOutput),
        (wrong_script, FundError::NoOutput),
        (unsigned, FundError::NotSegwit(0)),
    ] {
        let back = pair.nodes[0].with(|channel, cx| channel.fund(cx, transaction.clone()));
        assert_eq!(back, Err((transaction, error)));
        assert_eq!(pair.nodes[0].channel().phase(), PhaseName::AwaitingTransaction);
    }
    assert_eq!(pair.nodes[0].with(|channel, cx| channel.fund(cx, good.clone())), Ok(()));
    assert_eq!(
        pair.nodes[0].channel().id(),
        ChannelId::v1_from_funding(OutPoint { txid: good.compute_txid(), vout: 1 })
    );
    let again = pair.nodes[0].with(|channel, cx| channel.fund(cx, good.clone()));
    assert_eq!(again, Err((good, FundError::NotAwaited)));
}

#[test]
fn wrong_first_signatures_end_the_attempt_on_either_side() {
    for (side, kind) in [(0, 34_u16), (1, 35)] {
        let mut pair = Pair::new();
        pair.propose(PUSH, false);
        pair.run();
        pair.fund();
        // Another good signature: that of nothing we sign.
        let node_key = bitcoin::secp256k1::SecretKey::from_slice(&[3; 32]).unwrap();
        let digest = bitcoin::secp256k1::Message::from_digest([4; 32]);
        let wrong = pair.nodes[0].secp.sign_ecdsa(&digest, &node_key);
        pair.tamper = Some(Box::new(move |from, message| match message {
            Message::FundingCreated(m) if (from, side) == (0, 0) => m.signature = wrong,
            Message::FundingSigned(m) if (from, side) == (1, 1) => m.signature = wrong,
            _ => {}
        }));
        pair.run();
        assert!(pair.sent(side).contains(&kind));
        assert_eq!(pair.nodes[1 - side].channel().phase(), PhaseName::Closed);
        assert!(pair.nodes[0].broadcasts.is_empty(), "the funding transaction never leaves");
    }
}

#[test]
fn a06_a_null_funding_outpoint_is_refused() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.tamper = Some(Box::new(|_, message| {
        if let Message::FundingCreated(created) = message {
            created.funding_txid = bitcoin::hashes::Hash::all_zeros();
        }
    }));
    pair.run();
    assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Closed);
    assert!(pair.nodes[1].disk.new.is_none());
}

#[test]
fn a_disconnect_before_funding_forgets_the_channel_on_both_sides() {
    for steps in 0..6 {
        let mut pair = Pair::new();
        pair.propose(PUSH, false);
        for _ in 0..steps {
            pair.move_once();
        }
        pair.disconnect();
        for node in &pair.nodes {
            assert!(
                node.channel
                    .as_ref()
                    .is_none_or(|channel| channel.phase() == PhaseName::Closed && channel.is_finished())
            );
        }
    }
}

/// An opener that lies: it signs for an outpoint whose output is not the one negotiated. Its own commitments are built on
/// the outpoint, so both sides' signatures fit; only the block shows the lie (RELIABILITY A1).
#[test]
fn a01_a_funding_output_that_differs_from_what_was_negotiated_drops_the_channel_without_a_broadcast() {
    let spoils: [fn(&mut bitcoin::Transaction); 5] = [
        |tx| tx.output[1].value -= Amount::ONE_SAT,
        |tx| tx.output[1].script_pubkey = ScriptBuf::new(),
        |tx| tx.output.truncate(1),
        |tx| tx.output.swap(0, 1),
        |tx| tx.output = vec![bitcoin::TxOut { value: FUNDING, script_pubkey: ScriptBuf::new() }; 3],
    ];
    for (spoil, restart) in spoils.iter().flat_map(|spoil| [(spoil, false), (spoil, true)]) {
        let mut pair = Pair::new();
        pair.propose(PUSH, false);
        pair.run();
        let mut lie = pair.funding();
        spoil(&mut lie);
        let outpoint = OutPoint { txid: lie.compute_txid(), vout: 1 };
        let message = signed_lie(&pair, outpoint);
        pair.deliver(1, message);
        while pair.nodes[1].step() {}
        assert_eq!(pair.nodes[1].channel().phase(), PhaseName::AwaitingReady, "the signatures fit");
        // The opener itself never had such a channel.
        pair.nodes[0].channel = None;
        if restart {
            pair.disconnect();
            pair.crash(1);
        }
        // What was negotiated, in a transaction of another id, is none of ours.
        let negotiated = pair.funding();
        pair.mine_with(&[&negotiated]);
        pair.mine(6);
        assert!(!pair.nodes[1].channel().is_confirmed());
        pair.mine_with(&[&lie]);
        while pair.nodes[1].step() {}
        assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Resolving);
        assert!(matches!(pair.closed_event(1), Some(CloseReason::NeverFunded(_))));
        let forced = pair.nodes[1].disk.steps.contains(&MonitorStep::ForceClose {});
        assert!(!forced, "there is nothing to broadcast");
        assert!(!pair.nodes[1].log.iter().any(|message| matches!(message, Message::ChannelReady(_))));
    }
}

/// `funding_created` for an outpoint of the liar's choice, with a signature that fits it.
pub(crate) fn signed_lie(pair: &Pair, outpoint: OutPoint) -> Message {
    let Message::OpenChannel(open) = &pair.nodes[0].log[0] else { panic!() };
    let Message::AcceptChannel(accept) = &pair.nodes[1].log[0] else { panic!() };
    let opener = keys_of!(open);
    let accepter = keys_of!(accept);
    let params = CommitmentParams {
        format: CommitmentFormat::AnchorsZeroFeeHtlc,
        funding: FundingOutput::new(outpoint, FUNDING, opener.funding, accepter.funding),
        broadcaster_funding_key: accepter.funding,
        obscure: ObscureFactor::new(&opener.payment_basepoint, &accepter.payment_basepoint),
        dust_limit: accept.dust_limit_satoshis,
        to_self_delay: open.to_self_delay,
        opener: TxSide::Countersigner,
    };
    let spec = CommitmentSpec {
        feerate: open.feerate_per_kw,
        to_broadcaster: PUSH,
        to_countersigner: Msat::from_amount(FUNDING).checked_sub(PUSH).unwrap(),
        htlcs: Vec::new(),
    };
    let node = &pair.nodes[0];
    let keys =
        CommitmentKeys::derive(&node.secp, accept.first_per_commitment_point, &accepter, &opener).unwrap();
    let commitment = build(&params, &keys, &spec, CommitmentNumber(0)).unwrap();
    // The liar's own signer: the first keys that its node ever named.
    let signer = node.keys.signer(&TestKeys::new("anna").new_channel_keys());
    assert_eq!(signer.public_keys(), opener);
    let signatures = signer
        .sign_theirs(&CommitmentToSign { params: &params, keys: &keys, commitment: &commitment })
        .unwrap();
    let created = FundingCreated {
        temporary_channel_id: TEMPORARY,
        funding_txid: outpoint.txid,
        funding_output_index: u16::try_from(outpoint.vout).unwrap(),
        signature: signatures.commitment,
        unknown: Default::default(),
    };
    created.into()
}

#[test]
fn a11_coinbase_funding_waits_for_a_hundred_blocks() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    let mut transaction = pair.funding();
    transaction.input[0].previous_output = OutPoint::null();
    assert!(transaction.is_coinbase());
    pair.nodes[0].with(|channel, cx| channel.fund(cx, transaction.clone())).unwrap();
    pair.run();
    pair.mine_with(&[&transaction]);
    pair.mine(98);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::AwaitingReady; 2]);
    pair.mine(1);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}

#[test]
fn reorganized_funding_waits_again_and_takes_the_new_place() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    pair.mine_funding();
    pair.mine(1);
    pair.unmine();
    pair.unmine();
    pair.run();
    pair.mine(5);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::AwaitingReady; 2]);
    pair.mine_funding();
    pair.mine(2);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    let node = &pair.nodes[0];
    let scid = node.channel().details(&node.cx()).funded.unwrap().scid.unwrap();
    assert_eq!((scid.block(), scid.tx_index(), scid.vout()), (506, 4, 1));
}

#[test]
fn a05_a_channel_that_the_peer_never_funds_is_forgotten_after_two_weeks() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    pair.mine(2_016);
    assert_eq!(pair.nodes[1].channel().phase(), PhaseName::AwaitingReady);
    pair.mine(1);
    pair.run();
    assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Resolving);
    assert!(matches!(pair.closed_event(1), Some(CloseReason::NeverFunded(_))));
    assert!(pair.nodes[1].disk.steps.contains(&MonitorStep::Abandoned {}), "nobody watches it any more");
    let closed = pair.nodes[1].events.last().cloned().unwrap();
    assert!(!pair.nodes[1].channel().is_finished());
    // The monitor's word that it watches no more is answered only then: with it the record goes.
    let channel = pair.nodes[1].channel().id();
    let event = EventId(6);
    for restart in [false, true] {
        if restart {
            pair.crash(1);
        }
        let resolved = MonitorEvent::Resolved { channel };
        pair.nodes[1].with(|it, cx| it.on_monitor_event(cx, event, &resolved));
        pair.run();
        assert!(pair.nodes[1].taken.is_empty());
    }
    pair.nodes[1].with(|channel, cx| channel.event_acknowledged(cx, &closed));
    pair.run();
    assert!(pair.nodes[1].channel().is_finished());
    assert_eq!(pair.nodes[1].taken, [event]);
    assert_ne!(pair.nodes[0].channel().phase(), PhaseName::AwaitingReady, "the error reached the opener");
}

#[test]
fn a16_crash_at_every_step_of_an_opening_leaves_both_or_neither_and_never_a_lone_broadcast() {
    use super::pair::Fault;
    for fault in [Fault::Crash(0), Fault::Crash(1), Fault::CrashBoth, Fault::Disconnect] {
        for at in 1..40 {
            let mut pair = Pair::new();
            pair.propose(PUSH, false);
            pair.count = 0;
            pair.fault = Some((at, fault));
            pair.run();
            let asked = pair.nodes[0].events.iter().any(|event| matches!(event, Event::FundingNeeded { .. }));
            let waits =
                pair.nodes[0].channel.as_ref().is_some_and(|c| c.phase() == PhaseName::AwaitingTransaction);
            if asked && waits {
                pair.fund();
                pair.run();
            }
            if !pair.nodes[0].broadcasts.is_empty() {
                assert!(
                    pair.nodes[1].disk.new.is_some(),
                    "{fault:?} at {at}: broadcast, but the peer knows nothing"
                );
                assert!(pair.nodes[0].disk.new.is_some());
                pair.mine_funding();
                pair.mine(3);
                pair.run();
                assert_eq!(pair.phases(), [PhaseName::Open; 2], "{fault:?} at {at}");
            }
        }
    }
}
