//! Messages of splicing are refused politely: never by a close (BOLT 2, "Channel Splicing"; RELIABILITY B12, B18, K11).
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, ScriptBuf, SignedAmount, Txid};
use lightning_channel::channel::{CloseParams, PhaseName};
use lightning_traits::id::ChannelId;
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{
    CommitmentSigned, Message, SpliceAck, SpliceInit, SpliceLocked, StartBatch, TxAbort, TxAckRbf,
    TxAddOutput, TxComplete, TxInitRbf, TxRemoveInput, TxRemoveOutput, TxSignatures,
};

use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// What the peer hears of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Warning,
    Abort,
    HangUp,
}

fn tell(pair: &mut Pair, to: usize, message: Message) -> Answer {
    pair.deliver(to, message);
    while pair.nodes[to].step() {}
    let answer = match pair.nodes[to].outgoing.pop_front() {
        _ if pair.nodes[to].hangup.is_some() => Answer::HangUp,
        Some(Message::Warning(_)) => Answer::Warning,
        Some(Message::TxAbort(_)) => Answer::Abort,
        None => Answer::Nothing,
        Some(other) => panic!("{other:?}"),
    };
    assert!(pair.closed_event(to).is_none(), "never a close");
    answer
}

/// Works after whatever was said.
fn still_works(mut pair: Pair) {
    pair.run();
    pair.reconnect();
    pair.want(7, 0, Msat::from_sat(3_000), Fate::Claim);
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 7)), Some(&true));
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}

fn splice_init(pair: &Pair) -> Message {
    let terms = pair.nodes[0].channel().commitments().unwrap().terms();
    SpliceInit {
        channel_id: terms.channel,
        funding_contribution_satoshis: SignedAmount::from_sat(50_000),
        funding_feerate_perkw: FeeratePerKw::new(1_000),
        locktime: 0,
        funding_pubkey: terms.ours.keys.funding,
        require_confirmed_inputs: None,
        unknown: Default::default(),
    }
    .into()
}

fn tx_init_rbf(pair: &Pair) -> Message {
    TxInitRbf {
        channel_id: pair.nodes[0].channel().id(),
        locktime: 0,
        feerate: FeeratePerKw::new(1_000),
        funding_output_contribution: None,
        require_confirmed_inputs: None,
        unknown: Default::default(),
    }
    .into()
}

fn abort(channel_id: ChannelId) -> Message {
    TxAbort { channel_id, data: b"no".to_vec(), unknown: Default::default() }.into()
}

/// Makes the channel quiet by the will of these sides.
fn quiet(askers: &[usize]) -> Pair {
    let mut pair = Pair::open(PUSH);
    for side in askers {
        pair.nodes[*side].with(|channel, cx| channel.quiesce(cx)).unwrap();
    }
    pair.run();
    assert!(pair.nodes.iter().all(|node| node.channel().is_quiescent()));
    pair
}

/// RELIABILITY K11: a splice needs quiescence, and is the initiator's to propose; both asking, the opener is.
#[test]
fn k11_a_splice_is_rejected_by_tx_abort_where_it_may_be_proposed_and_else_by_hanging_up() {
    for message in [splice_init, tx_init_rbf] {
        let plain = Pair::open(PUSH);
        let init = message(&plain);
        let mut plain = plain;
        assert_eq!(tell(&mut plain, 1, init), Answer::HangUp, "not quiescent");
        still_works(plain);
        for (askers, initiator) in [(&[0][..], 0), (&[1], 1), (&[0, 1], 0)] {
            let mut pair = quiet(askers);
            let init = message(&pair);
            assert_eq!(tell(&mut pair, 1 - initiator, init.clone()), Answer::Abort, "{askers:?}");
            // The echo of it is not echoed.
            let id = pair.nodes[0].channel().id();
            assert_eq!(tell(&mut pair, 1 - initiator, abort(id)), Answer::Nothing);
            assert_eq!(tell(&mut pair, initiator, init), Answer::HangUp, "{askers:?}: not the initiator");
            still_works(pair);
        }
    }
}

#[test]
fn k11_a_splice_after_shutdown_hangs_up_and_the_close_goes_on() {
    for asks in 0..2 {
        let mut pair = Pair::open(PUSH);
        pair.want(1, 1 - asks, Msat::from_sat(5_000), Fate::Claim);
        while pair.nodes[asks].incoming.is_empty() {
            assert!(pair.move_once() || pair.manage());
        }
        pair.nodes[asks].with(|channel, cx| channel.shutdown(cx, CloseParams::default())).unwrap();
        while pair.move_once() {}
        assert_eq!(pair.phases(), [PhaseName::ShuttingDown; 2]);
        let init = splice_init(&pair);
        assert_eq!(tell(&mut pair, 1, init), Answer::HangUp);
        pair.run();
        pair.reconnect();
        assert_eq!(pair.phases(), [PhaseName::Negotiating; 2]);
    }
}

#[test]
fn b12_messages_of_no_construction_are_answered_by_tx_abort() {
    let txid = Txid::all_zeros();
    for side in 0..2 {
        let mut pair = Pair::open(PUSH);
        let channel_id = pair.nodes[0].channel().id();
        let messages: [Message; 5] = [
            TxAddOutput {
                channel_id,
                serial_id: 2,
                sats: Amount::from_sat(1_000),
                script: ScriptBuf::new(),
                unknown: Default::default(),
            }
            .into(),
            TxRemoveInput { channel_id, serial_id: 2, unknown: Default::default() }.into(),
            TxRemoveOutput { channel_id, serial_id: 2, unknown: Default::default() }.into(),
            TxComplete { channel_id, unknown: Default::default() }.into(),
            TxSignatures {
                channel_id,
                txid,
                witnesses: Vec::new(),
                shared_input_signature: None,
                unknown: Default::default(),
            }
            .into(),
        ];
        for message in messages {
            assert_eq!(tell(&mut pair, side, message), Answer::Abort);
            assert_eq!(tell(&mut pair, side, abort(channel_id)), Answer::Nothing);
        }
        // One that nobody asked for is echoed once for each.
        assert_eq!(tell(&mut pair, side, abort(channel_id)), Answer::Abort);
        assert_eq!(tell(&mut pair, side, abort(channel_id)), Answer::Abort);
        still_works(pair);
        let key = Pair::open(PUSH).nodes[0].channel().commitments().unwrap().terms().ours.keys.funding;
        let contribution = SignedAmount::from_sat(-5);
        let unexpected: [Message; 3] = [
            SpliceAck {
                channel_id,
                funding_contribution_satoshis: contribution,
                funding_pubkey: key,
                require_confirmed_inputs: None,
                unknown: Default::default(),
            }
            .into(),
            SpliceLocked { channel_id, splice_txid: txid, unknown: Default::default() }.into(),
            TxAckRbf {
                channel_id,
                funding_output_contribution: None,
                require_confirmed_inputs: None,
                unknown: Default::default(),
            }
            .into(),
        ];
        for message in unexpected {
            let mut pair = Pair::open(PUSH);
            assert_eq!(tell(&mut pair, side, message), Answer::HangUp);
            still_works(pair);
        }
    }
}

/// RELIABILITY B18: `start_batch` of any size and type.
#[test]
fn b18_start_batch_of_any_size_is_survived() {
    for side in 0..2 {
        for size in [0, 1, 2, 20, 21, u16::MAX] {
            for message_type in [None, Some(132), Some(133), Some(0)] {
                let mut pair = Pair::open(PUSH);
                let channel_id = pair.nodes[0].channel().id();
                let batch =
                    StartBatch { channel_id, batch_size: size, message_type, unknown: Default::default() };
                let expected = match (size, message_type) {
                    (21.., _) => Answer::HangUp,
                    (..=1, _) | (_, Some(132)) => Answer::Warning,
                    _ => Answer::Nothing,
                };
                assert_eq!(tell(&mut pair, side, batch.into()), expected, "{size} {message_type:?}");
                still_works(pair);
            }
        }
    }
}

/// RELIABILITY B12: a signature for a splice that was given up, in the middle of the dance, is warned about and changes nothing.
#[test]
fn b12_a_signature_for_another_funding_transaction_is_ignored() {
    for side in 0..2 {
        let mut pair = Pair::open(PUSH);
        pair.want(1, 1 - side, Msat::from_sat(5_000), Fate::Claim);
        pair.manage();
        while pair.nodes[1 - side].step() {}
        let signed = pair.nodes[1 - side].outgoing.iter().find_map(|message| match message {
            Message::CommitmentSigned(signed) => Some(signed.clone()),
            _ => None,
        });
        let stale = CommitmentSigned { funding_txid: Some(Txid::all_zeros()), ..signed.unwrap() };
        let before = pair.nodes[side].channel().snapshot();
        assert_eq!(tell(&mut pair, side, stale.into()), Answer::Warning);
        assert_eq!(pair.nodes[side].channel().snapshot(), before);
        pair.run();
        assert!(pair.connected);
        assert_eq!(pair.outcomes.get(&(1 - side, 1)), Some(&true));
        still_works(pair);
    }
}
