//! Closing transactions of each side's making: `closing_complete` and `closing_sig` (BOLT 2, "Closing Negotiation").
use bitcoin::{Amount, ScriptBuf, Transaction};
use lightning_channel::channel::{CloseParams, PhaseName, ShutdownError, dust_limit};
use lightning_traits::event::CloseReason;
use lightning_traits::feature::Feature;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{ClosingComplete, Message};

use super::pair::{FUNDING, Fate, Fault, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// A channel whose sides may change where they are paid.
fn unbound(push: Msat) -> Pair {
    let mut pair = Pair::new();
    for node in &mut pair.nodes {
        node.config.handshake.upfront_shutdown = false;
    }
    pair.establish(push, false);
    pair
}

fn script(name: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0, 20], vec![name; 20]].concat())
}

fn op_return(data: &[u8]) -> ScriptBuf {
    let length = u8::try_from(data.len()).unwrap();
    let head = if length > 75 { vec![0x6a, 76, length] } else { vec![0x6a, length] };
    ScriptBuf::from_bytes([head, data.to_vec()].concat())
}

fn rate(sat: u32) -> FeeratePerKw {
    FeeratePerKw::new(sat)
}

fn ask(pair: &mut Pair, side: usize, params: CloseParams) -> Result<(), ShutdownError> {
    pair.nodes[side].with(|channel, cx| channel.shutdown(cx, params))
}

fn bump(pair: &mut Pair, side: usize, feerate: u32) -> Result<(), ShutdownError> {
    ask(pair, side, CloseParams { script: None, feerate: Some(rate(feerate)) })
}

fn move_to(pair: &mut Pair, side: usize, to: ScriptBuf) -> Result<(), ShutdownError> {
    ask(pair, side, CloseParams { script: Some(to), feerate: None })
}

/// Both users ask, this side's first: so both propose.
fn both_ask(pair: &mut Pair, side: usize) {
    for side in [side, 1 - side] {
        ask(pair, side, CloseParams::default()).expect("may close");
    }
}

fn close(pair: &mut Pair, side: usize) {
    both_ask(pair, side);
    pair.run();
}

/// Spends of the funding output that a side broadcast, each once, in order.
fn closes(pair: &Pair, side: usize) -> Vec<Transaction> {
    let funding = pair.nodes[side].channel().commitments().unwrap().terms().funding.outpoint;
    let mut seen = Vec::new();
    for tx in &pair.nodes[side].broadcasts {
        if tx.input[0].previous_output == funding && !seen.contains(tx) {
            seen.push(tx.clone());
        }
    }
    seen
}

fn fee(transaction: &Transaction) -> Amount {
    FUNDING - transaction.output.iter().map(|output| output.value).sum::<Amount>()
}

fn paid(transaction: &Transaction, to: &ScriptBuf) -> Option<Amount> {
    transaction.output.iter().find(|output| output.script_pubkey == *to).map(|output| output.value)
}

fn completes(pair: &Pair, side: usize) -> Vec<ClosingComplete> {
    let complete = |message: &Message| match message {
        Message::ClosingComplete(complete) => Some((**complete).clone()),
        _ => None,
    };
    pair.nodes[side].log.iter().filter_map(complete).collect()
}

/// The script that a side's last `shutdown` named.
fn told(pair: &Pair, side: usize) -> ScriptBuf {
    let scripts = pair.nodes[side].log.iter().filter_map(|message| match message {
        Message::Shutdown(shutdown) => Some(shutdown.scriptpubkey.clone()),
        _ => None,
    });
    scripts.fold(None, |_, script| Some(script)).expect("said")
}

/// Both have the same set of transactions, and nobody went to the chain with a commitment.
fn check(pair: &Pair) -> Vec<Transaction> {
    let [mut first, mut second] = [closes(pair, 0), closes(pair, 1)];
    for all in [&mut first, &mut second] {
        all.sort_by_key(Transaction::compute_txid);
    }
    assert_eq!(first, second, "what one may publish the other knows");
    for (side, node) in pair.nodes.iter().enumerate() {
        assert_eq!(pair.closed_event(side), Some(&CloseReason::Cooperative), "node {side}");
        assert!(node.disk.steps.contains(&MonitorStep::ShutdownStarted {}), "the monitor of {side} knows");
        assert!(!node.disk.steps.contains(&MonitorStep::ForceClose {}));
        let funding = node.channel().commitments().unwrap().terms().funding;
        for tx in &first {
            check_witness(&node.secp, tx, &funding);
        }
    }
    assert_eq!(pair.phases(), [PhaseName::Negotiating; 2]);
    first
}

fn check_witness(
    secp: &lightning_traits::Secp,
    tx: &Transaction,
    funding: &lightning_traits::tx::FundingOutput,
) {
    let [zero, first, second, script] = [0, 1, 2, 3].map(|item| tx.input[0].witness.nth(item).unwrap());
    assert!(zero.is_empty() && script == funding.script().as_bytes());
    for (signature, key) in [(first, funding.keys()[0]), (second, funding.keys()[1])] {
        let signature = bitcoin::ecdsa::Signature::from_slice(signature).unwrap();
        let all = bitcoin::EcdsaSighashType::All;
        let digest =
            lightning_traits::tx::signature::p2wsh_sighash(tx, 0, &funding.script(), funding.value, all)
                .unwrap();
        secp.verify_ecdsa(&digest, &signature.signature, &key).expect("a good signature");
    }
}

#[test]
fn each_side_pays_for_its_own_and_both_are_broadcast_by_both() {
    for asks in 0..2 {
        let mut pair = Pair::open(PUSH);
        pair.nodes[1].fees.normal = rate(4_000);
        close(&mut pair, asks);
        let all = check(&pair);
        assert_eq!(all.len(), 2);
        let balances = [Amount::from_sat(700_000), Amount::from_sat(300_000)];
        let scripts = [told(&pair, 0), told(&pair, 1)];
        for payer in 0..2 {
            let other = 1 - payer;
            let tx = all
                .iter()
                .find(|tx| paid(tx, &scripts[other]) == Some(balances[other]))
                .expect("it pays all");
            let fee = fee(tx);
            assert_eq!(paid(tx, &scripts[payer]), Some(balances[payer] - fee));
            // Of some 670 weight units at 1,500 and 4,000 sat/kw.
            let range = if payer == 0 { 900..1_200 } else { 2_500..3_000 };
            assert!(range.contains(&fee.to_sat()), "{payer}: {fee}");
            // BOLT 3: "locktime: `locktime` from the `closing_complete` message", "sequence: 0xFFFFFFFD".
            assert_eq!(tx.input[0].sequence.0, 0xffff_fffd);
            assert_eq!(tx.lock_time.to_consensus_u32(), pair.nodes[payer].height);
        }
        for side in 0..2 {
            let sent = pair.sent(side);
            assert!(!sent.contains(&39), "no word of the legacy negotiation");
            assert_eq!(sent.iter().filter(|kind| **kind == 40).count(), 1);
            assert_eq!(sent.iter().filter(|kind| **kind == 41).count(), 1);
        }
        // Whoever has less must let it be omitted only where it is dust, whoever has more signs both forms.
        let [more, less] = [&completes(&pair, 0)[0], &completes(&pair, 1)[0]];
        assert!(more.closer_output_only.is_some() && more.closer_and_closee_outputs.is_some());
        assert!(more.closee_output_only.is_none());
        assert!(less.closer_output_only.is_none() && less.closee_output_only.is_none());
    }
}

#[test]
fn a_peer_that_knows_only_the_legacy_negotiation_gets_it() {
    for legacy in 0..2 {
        for asks in 0..2 {
            let mut pair = Pair::new();
            pair.nodes[legacy].features.clear_bit(Feature::SimpleClose.optional_bit());
            pair.establish(PUSH, false);
            close(&mut pair, asks);
            assert_eq!(check(&pair).len(), 1);
            for side in 0..2 {
                let sent = pair.sent(side);
                assert!(sent.contains(&39) && !sent.contains(&40) && !sent.contains(&41));
            }
            assert_eq!(
                bump(&mut pair, 0, 9_000),
                Err(ShutdownError::AlreadyClosing),
                "there is no replacing"
            );
        }
    }
}

#[test]
fn a_peer_that_learns_or_forgets_the_negotiation_meanwhile_closes_all_the_same() {
    for learns in [true, false] {
        let mut pair = Pair::new();
        if learns {
            pair.nodes[1].features.clear_bit(Feature::SimpleClose.optional_bit());
        }
        pair.establish(PUSH, false);
        both_ask(&mut pair, 0);
        while pair.phases() != [PhaseName::Negotiating; 2] {
            assert!(pair.move_once());
        }
        pair.disconnect();
        if learns {
            pair.nodes[1].features.set_optional(Feature::SimpleClose.optional_bit());
        } else {
            pair.nodes[1].features.clear_bit(Feature::SimpleClose.optional_bit());
        }
        pair.connect();
        pair.run();
        assert_eq!(check(&pair).len(), if learns { 2 } else { 1 });
    }
}

/// RELIABILITY K4: a fee bump is a new `closing_complete`; each may bump its own, and a bump that changes nothing is refused.
#[test]
fn k04_either_side_replaces_its_own_by_one_that_pays_more() {
    for side in 0..2 {
        for restart in [false, true] {
            let mut pair = Pair::open(PUSH);
            close(&mut pair, side);
            let mut fees = vec![fee(&closes(&pair, 0)[0])];
            for feerate in [3_000, 9_000, 40_000] {
                if restart {
                    pair.disconnect();
                    pair.crash(side);
                    pair.connect();
                    pair.run();
                }
                bump(&mut pair, side, feerate).expect("more");
                pair.run();
                let last = completes(&pair, side).last().unwrap().fee_satoshis;
                assert!(last > *fees.last().unwrap(), "{feerate}");
                fees.push(last);
                assert_eq!(
                    bump(&mut pair, side, feerate),
                    Err(ShutdownError::AlreadyClosing),
                    "once is enough"
                );
            }
            assert_eq!(bump(&mut pair, side, 252), Err(ShutdownError::FeerateTooLow));
            let all = check(&pair);
            // The other's, and four of ours, each spending the same output by a replaceable input.
            assert_eq!(all.len(), 5);
            assert!(all.iter().all(|tx| tx.input[0].sequence.is_rbf()));
        }
    }
}

#[test]
fn k04_a_bump_waits_for_the_answer_to_the_one_before() {
    let mut pair = Pair::open(PUSH);
    both_ask(&mut pair, 0);
    while completes(&pair, 0).is_empty() {
        assert!(pair.move_once());
    }
    // "MUST wait until it has received `closing_sig` first."
    bump(&mut pair, 0, 5_000).unwrap();
    assert!(pair.nodes[0].outgoing.iter().all(|message| !matches!(message, Message::ClosingComplete(_))));
    pair.run();
    assert_eq!(completes(&pair, 0).len(), 2);
    check(&pair);
}

/// RELIABILITY K4: a peer that bumps for ever is signed for up to a bound, and told so; nothing is lost by it.
#[test]
fn k04_there_is_an_end_to_replacing() {
    let mut pair = Pair::open(PUSH);
    close(&mut pair, 0);
    for more in 1..200 {
        bump(&mut pair, 0, 1_500 + 10 * more).unwrap();
        pair.run();
        if more % 50 == 0 {
            pair.reconnect();
        }
    }
    let known = closes(&pair, 1);
    assert!((10..100).contains(&known.len()), "{}", known.len());
    assert!(pair.nodes[1].log.iter().any(|message| matches!(message, Message::Warning(_))));
    assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Negotiating);
    assert!(known.iter().all(|tx| closes(&pair, 0).contains(tx)) || closes(&pair, 0).len() <= known.len());
}

#[test]
fn the_user_may_change_where_it_is_paid() {
    for side in 0..2 {
        for restart in [false, true] {
            let mut pair = unbound(PUSH);
            close(&mut pair, side);
            move_to(&mut pair, side, script(7)).unwrap();
            pair.run();
            let newest = completes(&pair, side).last().cloned().unwrap();
            assert_eq!(newest.closer_scriptpubkey, script(7));
            assert!(closes(&pair, 1 - side).iter().any(|tx| paid(tx, &script(7)).is_some()));
            // What the other proposes from now on pays there too.
            if restart {
                pair.disconnect();
                pair.crash(0);
                pair.crash(1);
                pair.connect();
                pair.run();
                assert_eq!(told(&pair, side), script(7), "the latest script is in the next `shutdown`");
            }
            bump(&mut pair, 1 - side, 20_000).unwrap();
            pair.run();
            assert_eq!(completes(&pair, 1 - side).last().unwrap().closee_scriptpubkey, script(7));
            check(&pair);
        }
    }
}

#[test]
fn a_change_asked_for_before_the_negotiation_begins_is_kept() {
    for restart in [false, true] {
        let mut pair = unbound(PUSH);
        pair.want(1, 1, Msat::from_sat(20_000), Fate::Claim);
        while pair.nodes[0].incoming.is_empty() {
            assert!(pair.move_once() || pair.manage());
        }
        both_ask(&mut pair, 0);
        while pair.move_once() {}
        assert_eq!(pair.phases(), [PhaseName::ShuttingDown; 2]);
        ask(&mut pair, 0, CloseParams { script: Some(script(8)), feerate: Some(rate(5_000)) }).unwrap();
        while pair.move_once() {}
        if restart {
            pair.disconnect();
            pair.crash(0);
            pair.connect();
        }
        pair.run();
        if !pair.connected {
            // The other's first proposal crossed the new script.
            pair.reconnect();
        }
        let first = &completes(&pair, 0)[0];
        assert_eq!(first.closer_scriptpubkey, script(8));
        assert!(first.fee_satoshis > Amount::from_sat(3_000));
        check(&pair);
    }
}

/// "This creates a rare race condition if both nodes send `closing_complete` to change their `closer_scriptpubkey` at the same
/// time ... we simply reconnect".
#[test]
fn scripts_that_cross_are_sorted_out_by_a_reconnection() {
    let mut pair = unbound(PUSH);
    close(&mut pair, 0);
    for side in 0..2 {
        move_to(&mut pair, side, script(10 + side as u8)).unwrap();
    }
    while pair.connected && pair.move_once() {}
    assert!(!pair.connected, "neither signs for a script that is not its own any more");
    pair.reconnect();
    check(&pair);
    for side in 0..2 {
        let last = completes(&pair, side).last().cloned().unwrap();
        assert_eq!(last.closer_scriptpubkey, script(10 + side as u8));
        assert_eq!(last.closee_scriptpubkey, script(11 - side as u8));
    }
}

/// RELIABILITY A15: a script bound by the opening is kept to in `closing_complete` too, by us and by the peer.
#[test]
fn a15_a_script_bound_upfront_holds_in_the_middle_of_replacing() {
    let mut pair = Pair::open(PUSH);
    close(&mut pair, 0);
    assert_eq!(move_to(&mut pair, 0, script(3)), Err(ShutdownError::BoundToAnother));
    let known = closes(&pair, 1).len();
    pair.tamper = Some(Box::new(|_, message| {
        if let Message::ClosingComplete(complete) = message {
            complete.closer_scriptpubkey = script(3);
        }
    }));
    bump(&mut pair, 0, 9_000).unwrap();
    pair.run();
    assert!(!pair.connected);
    assert_eq!(closes(&pair, 1).len(), known);
}

/// RELIABILITY K10: who has an output, at amounts around every threshold, whoever has less.
#[test]
fn k10_dust_is_left_out_by_the_rules_of_the_side_that_has_less() {
    let dust = dust_limit(&script(1)).to_sat();
    for funder_asks in [0, 1] {
        for push in [0, 1, 293, dust, 354, 900, 1_500, 12_000] {
            let mut pair = Pair::open(Msat::from_sat(push));
            close(&mut pair, funder_asks);
            let all = check(&pair);
            let less = told(&pair, 1);
            for tx in &all {
                assert!(
                    tx.output.iter().all(|output| output.value >= dust_limit(&output.script_pubkey)),
                    "{push}"
                );
                let fee = fee(tx);
                match paid(tx, &less) {
                    Some(value) => {
                        assert!(value.to_sat() <= push && value.to_sat() + fee.to_sat() >= push.min(294));
                    }
                    None => assert!(push < dust || fee.to_sat() + dust > push, "{push} at {fee}"),
                }
            }
            // The side with less proposes once it can pay for being relayed: all it has, where no output is left.
            let expected = 1 + usize::from(push >= 293);
            assert_eq!(all.len(), expected, "{push}");
        }
    }
}

/// RELIABILITY K10: funds given to the miners, by whoever proposes and whoever has more.
#[test]
fn k10_op_return_takes_nothing_and_is_no_dust() {
    for side in 0..2 {
        for data in [vec![1; 6], vec![2; 75], vec![3; 76], vec![4; 80]] {
            let mut pair = unbound(PUSH);
            let gone = op_return(&data);
            move_to(&mut pair, side, gone.clone()).unwrap();
            ask(&mut pair, 1 - side, CloseParams::default()).unwrap();
            pair.run();
            let all = check(&pair);
            assert_eq!(all.len(), 2, "{side} {}", data.len());
            let other = told(&pair, 1 - side);
            let balances = [Amount::from_sat(700_000), Amount::from_sat(300_000)];
            for tx in &all {
                assert_eq!(paid(tx, &gone), Some(Amount::ZERO));
            }
            assert!(
                all.iter().any(|tx| paid(tx, &other) == Some(balances[1 - side])),
                "their own share is whole"
            );
        }
    }
    // Without the feature, it is no allowed form.
    let mut pair = Pair::new();
    for node in &mut pair.nodes {
        node.config.handshake.upfront_shutdown = false;
        node.features.clear_bit(Feature::SimpleClose.optional_bit());
    }
    pair.establish(PUSH, false);
    assert_eq!(move_to(&mut pair, 0, op_return(&[1; 20])), Err(ShutdownError::ScriptForm));
}

type Spoil<M> = (&'static str, fn(&mut M));

/// A message of the negotiation that is not as it must be: a warning, a new connection, and no new transaction.
fn spoiled(spoil: impl Fn(&mut Message) + 'static) -> Pair {
    let mut pair = Pair::open(PUSH);
    let mut done = false;
    pair.tamper = Some(Box::new(move |from, message| {
        let concerned = matches!(message, Message::ClosingComplete(_) | Message::ClosingSig(_));
        if from == 0 && concerned && !done {
            let before = message.clone();
            spoil(message);
            done = before != *message;
        }
    }));
    both_ask(&mut pair, 0);
    pair.run();
    pair
}

#[test]
fn proposals_that_break_a_rule_hang_up_and_the_next_connection_closes() {
    let spoils: [Spoil<ClosingComplete>; 9] = [
        ("fee above the balance", |m| m.fee_satoshis = Amount::from_sat(700_001)),
        ("absurd fee", |m| m.fee_satoshis = Amount::MAX_MONEY),
        ("another fee", |m| m.fee_satoshis += Amount::ONE_SAT),
        ("another locktime", |m| m.locktime += 1),
        ("our script changed", |m| m.closee_scriptpubkey = script(9)),
        ("no allowed form", |m| m.closer_scriptpubkey = ScriptBuf::from_bytes(vec![0x6a, 1, 1])),
        ("no signature", |m| {
            m.closer_output_only = None;
            m.closer_and_closee_outputs = None;
        }),
        ("only the one without us", |m| m.closer_and_closee_outputs = None),
        ("signatures swapped", |m| {
            core::mem::swap(&mut m.closer_output_only, &mut m.closer_and_closee_outputs);
        }),
    ];
    for (name, spoil) in spoils {
        let mut pair = spoiled(move |message| {
            if let Message::ClosingComplete(complete) = message {
                spoil(complete);
            }
        });
        assert!(!pair.connected, "{name}");
        assert!(closes(&pair, 1).iter().all(|tx| closes(&pair, 0).contains(tx)), "{name}");
        pair.reconnect();
        assert_eq!(check(&pair).len(), 2, "{name}");
    }
}

#[test]
fn answers_that_break_a_rule_hang_up_and_the_next_connection_closes() {
    use lightning_traits::wire::ClosingSig;
    let spoils: [Spoil<ClosingSig>; 7] = [
        ("another fee", |m| m.fee_satoshis += Amount::ONE_SAT),
        ("another locktime", |m| m.locktime += 1),
        ("another script", |m| m.closer_scriptpubkey = script(9)),
        ("their script", |m| m.closee_scriptpubkey = script(9)),
        ("none", |m| m.closer_and_closee_outputs = None),
        ("two", |m| m.closee_output_only = m.closer_and_closee_outputs),
        ("one that was not offered", |m| m.closee_output_only = m.closer_and_closee_outputs.take()),
    ];
    for (name, spoil) in spoils {
        let mut pair = spoiled(move |message| {
            if let Message::ClosingSig(sig) = message {
                spoil(sig);
            }
        });
        assert!(!pair.connected, "{name}");
        pair.reconnect();
        assert_eq!(check(&pair).len(), 2, "{name}");
    }
}

/// RELIABILITY B8: a signature that nobody relays is refused, in the proposal and in the answer.
#[test]
fn b08_a_high_s_in_a_closing_message_is_refused() {
    use bitcoin::secp256k1::ecdsa::Signature;
    fn flip(signature: &mut Option<Signature>) {
        let Some(low) = signature else { return };
        let mut bytes = low.serialize_compact();
        let s = bitcoin::secp256k1::SecretKey::from_slice(&bytes[32..]).unwrap().negate();
        bytes[32..].copy_from_slice(&s.secret_bytes());
        *low = Signature::from_compact(&bytes).unwrap();
    }
    for complete in [true, false] {
        let mut pair = spoiled(move |message| match message {
            Message::ClosingComplete(m) if complete => flip(&mut m.closer_and_closee_outputs),
            Message::ClosingSig(m) if !complete => flip(&mut m.closer_and_closee_outputs),
            _ => {}
        });
        assert!(!pair.connected);
        pair.reconnect();
        check(&pair);
    }
}

#[test]
fn an_answer_to_nothing_hangs_up() {
    let mut pair = Pair::open(PUSH);
    close(&mut pair, 0);
    let again =
        pair.nodes[1].log.iter().find(|message| matches!(message, Message::ClosingSig(_))).cloned().unwrap();
    pair.deliver(0, again);
    pair.run();
    assert!(!pair.connected);
    pair.reconnect();
    check(&pair);
}

#[test]
fn the_same_proposal_again_is_answered_again_and_costs_no_write() {
    let mut pair = Pair::open(PUSH);
    close(&mut pair, 0);
    let (last, count) = (pair.nodes[1].disk.last, closes(&pair, 1).len());
    let again = pair.nodes[0]
        .log
        .iter()
        .find(|message| matches!(message, Message::ClosingComplete(_)))
        .cloned()
        .unwrap();
    for _ in 0..3 {
        pair.deliver(1, again.clone());
        while pair.nodes[1].step() {}
        assert!(matches!(pair.nodes[1].outgoing.pop_front(), Some(Message::ClosingSig(_))));
    }
    assert_eq!((pair.nodes[1].disk.last, closes(&pair, 1).len()), (last, count));
}

#[test]
fn a_peer_that_never_answers_is_hung_up_on_and_in_the_end_the_chain_decides() {
    let mut pair = Pair::open(PUSH);
    pair.tamper = Some(Box::new(|from, message| {
        // A peer that neither proposes nor answers: what it says instead is of no use.
        if from == 1 && matches!(message, Message::ClosingComplete(_) | Message::ClosingSig(_)) {
            *message = Message::Warning(lightning_traits::wire::WarningMessage {
                channel_id: lightning_traits::id::ChannelId([0; 32]),
                data: Vec::new(),
                unknown: Default::default(),
            });
        }
    }));
    close(&mut pair, 0);
    let mut hung_up = 0;
    for _ in 0..1_450 {
        pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
        pair.run();
        if !pair.connected {
            hung_up += 1;
            pair.reconnect();
        }
        if pair.nodes[0].channel().phase() == PhaseName::Resolving {
            break;
        }
    }
    assert!(hung_up > 10, "{hung_up}");
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Resolving);
    assert!(pair.nodes[0].disk.steps.contains(&MonitorStep::ForceClose {}));
}

#[test]
fn a_slow_signer_only_delays() {
    for side in 0..2 {
        let mut pair = Pair::open(PUSH);
        both_ask(&mut pair, 0);
        while pair.phases() != [PhaseName::Negotiating; 2] {
            assert!(pair.move_once());
        }
        pair.nodes[side].keys.set_busy(true);
        pair.run();
        pair.nodes[side].keys.set_busy(false);
        for node in &mut pair.nodes {
            node.with(|channel, cx| channel.timer_tick(cx));
        }
        pair.run();
        assert_eq!(check(&pair).len(), 2);
    }
}

/// RELIABILITY K9: wherever the wire is cut or a side crashes, both end with the same transactions and one close.
#[test]
fn k09_fault_at_every_step_of_a_close_and_a_bump() {
    for fault in [Fault::Disconnect, Fault::Crash(0), Fault::Crash(1), Fault::CrashBoth] {
        let mut points = 0;
        for at in 1..2_000 {
            let mut pair = unbound(PUSH);
            pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
            while pair.nodes[1].incoming.is_empty() {
                assert!(pair.move_once() || pair.manage());
            }
            pair.count = 0;
            pair.fault = Some((at, fault));
            both_ask(&mut pair, 0);
            while pair.nodes[0].disk.steps.is_empty() || pair.nodes[0].channel().is_frozen() {
                assert!(pair.nodes[0].step());
            }
            pair.run();
            // A replacement with a new script, whose wish is durable before anything else happens.
            let wish = CloseParams { script: Some(script(5)), feerate: Some(rate(9_000)) };
            if ask(&mut pair, 1, wish).is_ok() {
                while pair.nodes[1].channel().is_frozen() {
                    assert!(pair.nodes[1].step());
                }
            }
            pair.run();
            for node in &mut pair.nodes {
                node.with(|channel, cx| channel.timer_tick(cx));
            }
            pair.run();
            if !pair.struck {
                break;
            }
            points += 1;
            let what = format!("{fault:?} at {at}");
            assert_eq!(pair.phases(), [PhaseName::Negotiating; 2], "{what}");
            let moved =
                |side: usize| closes(&pair, side).iter().filter(|tx| paid(tx, &script(5)).is_some()).count();
            assert!(moved(0) >= 1 && moved(1) >= 1, "{what}");
            for side in 0..2 {
                assert_eq!(pair.closed_event(side), Some(&CloseReason::Cooperative), "{what}");
                assert!(!pair.nodes[side].disk.steps.contains(&MonitorStep::ForceClose {}), "{what}");
            }
        }
        assert!(points > 30, "only {points} points");
    }
}

/// Who did not ask for a close does not pay for it, unless the other cannot, or does not.
#[test]
fn whoever_did_not_ask_lets_the_other_pay() {
    for side in 0..2 {
        for restart in [false, true] {
            let mut pair = Pair::open(PUSH);
            ask(&mut pair, side, CloseParams::default()).unwrap();
            if restart {
                while pair.phases() != [PhaseName::Negotiating; 2] {
                    assert!(pair.move_once());
                }
                pair.disconnect();
                pair.crash(0);
                pair.crash(1);
                pair.connect();
            }
            pair.run();
            for _ in 0..3 {
                for node in &mut pair.nodes {
                    node.with(|channel, cx| channel.timer_tick(cx));
                }
                pair.run();
            }
            let all = check(&pair);
            assert_eq!(all.len(), 1);
            let whole = [Amount::from_sat(700_000), Amount::from_sat(300_000)][1 - side];
            assert_eq!(paid(&all[0], &told(&pair, 1 - side)), Some(whole));
            // It may all the same.
            bump(&mut pair, 1 - side, 9_000).unwrap();
            pair.run();
            assert_eq!(check(&pair).len(), 2);
        }
    }
    // One that has nothing asks.
    let mut pair = Pair::open(Msat::ZERO);
    ask(&mut pair, 1, CloseParams::default()).unwrap();
    pair.run();
    assert_eq!(check(&pair).len(), 1);
    // One that asks and then says nothing of use.
    let mut pair = Pair::open(PUSH);
    pair.tamper = Some(Box::new(|from, message| {
        if from == 0 && matches!(message, Message::ClosingComplete(_)) {
            *message = Message::Warning(lightning_traits::wire::WarningMessage {
                channel_id: lightning_traits::id::ChannelId([0; 32]),
                data: Vec::new(),
                unknown: Default::default(),
            });
        }
    }));
    ask(&mut pair, 0, CloseParams::default()).unwrap();
    pair.run();
    assert!(closes(&pair, 1).is_empty());
    for _ in 0..2 {
        pair.nodes[1].with(|channel, cx| channel.timer_tick(cx));
        pair.run();
    }
    assert_eq!(closes(&pair, 1).len(), 1);
    assert_eq!(paid(&closes(&pair, 1)[0], &told(&pair, 0)), Some(Amount::from_sat(700_000)));
}
