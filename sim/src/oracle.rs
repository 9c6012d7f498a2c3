//! What must be true when the trouble is over.
use lightning_channel::channel::PhaseName;
use lightning_traits::event::{CloseReason, Event};

use crate::dice::Dice;
use crate::user::Payment;
use crate::world::World;

/// Money is conserved to the millisatoshi, every payment ends once, the receiver is credited once, no channel is closed.
/// Returns how many payments arrived.
pub(crate) fn check(world: &World, payments: &[Payment], before: &[u64]) -> u64 {
    let mut expected: Vec<i128> = before.iter().map(|msat| i128::from(*msat)).collect();
    let (mut arrived, mut fees) = (0, 0);
    for payment in payments {
        let node = &world.nodes[payment.payer];
        let endings = node.user.endings(payment.id);
        let claimed = world.nodes[payment.payee].user.claimed(payment.hash);
        assert!(endings.len() <= 1, "two endings: {endings:?}");
        if let Some(Event::PaymentSent { preimage, fee, amount, hash, .. }) = endings.first() {
            assert_eq!(
                (preimage.hash(), *hash, amount.to_msat()),
                (payment.hash, payment.hash, payment.msat)
            );
            let fee = fee.expect("the first time it is told, the fee is known");
            let credited: Vec<u64> = claimed.iter().map(|amount| amount.to_msat()).collect();
            assert_eq!(credited, [payment.msat], "what {} was credited for {}", payment.payee, payment.hash);
            expected[payment.payer] -= i128::from(payment.msat) + i128::from(fee.to_msat());
            expected[payment.payee] += i128::from(payment.msat);
            fees += i128::from(fee.to_msat());
            arrived += 1;
        } else {
            assert!(claimed.is_empty(), "credited but not sent: {payment:?}, {endings:?}");
        }
        let under_way = node.manager().list_payments();
        assert!(under_way.iter().all(|other| other.id != payment.id), "still under way: {payment:?}");
    }
    let mut earned = 0;
    for (node, expected) in world.nodes.iter().zip(expected) {
        assert_eq!(node.htlcs(), 0, "an HTLC of node {} stays in flight", node.number);
        let more = i128::from(node.balance()) - expected;
        assert!(more >= 0, "node {} has lost {} msat", node.number, -more);
        earned += more;
    }
    assert_eq!(earned, fees, "what forwarding earned is not what payers paid for it");
    check_channels(world);
    arrived
}

/// Whether nothing waits for the chain any more; what a node that is `late` waits for is its own affair.
pub(crate) fn is_quiet(world: &World, late: Option<usize>) -> bool {
    world.nodes.iter().filter(|node| Some(node.number) != late).all(|node| {
        let channels = node.manager().list_channels();
        let open = channels.iter().filter(|channel| channel.phase == PhaseName::Open).count();
        open == channels.len()
            && node.htlcs() == 0
            && node.manager().list_payments().is_empty()
            && node.running().monitors.inner().channels().len() == open
    })
}

/// Prints what is not settled.
pub(crate) fn explain_noise(world: &World) {
    for node in &world.nodes {
        for channel in
            node.manager().list_channels().iter().filter(|channel| channel.phase != PhaseName::Open)
        {
            println!("node {}: {channel:?}", node.number);
        }
        println!("node {}: payments {:?}", node.number, node.manager().list_payments());
        println!("node {}: on chain {:?}", node.number, node.running().monitors.inner().balances());
        println!("node {}: monitored {:?}", node.number, node.running().monitors.inner().channels());
    }
}

/// What a user may lose by a channel that goes to the chain: fees, and what is too small to claim.
const CHAIN_COSTS: i128 = 29_000_000;

/// After channels went to the chain: every payment ends once, the receiver is credited if and only if it arrived, and
/// nobody has lost more than the chain costs. A node that was `late` has lost its memory, and maybe its honour: the
/// others must have what is theirs all the same.
pub(crate) fn check_war(world: &World, payments: &[Payment], before: &[u64], late: Option<usize>) -> u64 {
    let coins = i128::from(crate::world::purse().to_sat()) * 1_000;
    let mut expected: Vec<i128> = before.iter().map(|msat| i128::from(*msat) + coins).collect();
    let mut arrived = 0;
    for payment in payments {
        let endings = world.nodes[payment.payer].user.endings(payment.id);
        let claimed = world.nodes[payment.payee].user.claimed(payment.hash);
        let sent = endings.iter().any(|ending| matches!(ending, Event::PaymentSent { .. }));
        arrived += u64::from(sent);
        // Each side's own words count for itself.
        if sent {
            expected[payment.payer] -= i128::from(payment.msat);
        }
        if !claimed.is_empty() {
            expected[payment.payee] += i128::from(payment.msat);
        }
        let is_of_late = late.is_some_and(|late| [payment.payer, payment.payee].contains(&late));
        assert!(is_of_late || endings.len() <= 1, "two endings: {endings:?}");
        // What is too small for an output of its own is lost to whoever waits for it.
        if payment.msat > SMALL && !is_of_late {
            // A late node in between forgets to claim what it has forwarded; that is its loss.
            let fits = if late.is_some() { !sent || !claimed.is_empty() } else { sent != claimed.is_empty() };
            assert!(fits, "{payment:?}: {endings:?}, credited {claimed:?}");
        }
    }
    let (mut all_before, mut all_after) = (0, 0);
    for (node, expected) in world.nodes.iter().zip(expected) {
        let on_chain = |script| -> u64 {
            crate::coins::outputs(&world.chain, script).iter().map(|(_, output)| output.value.to_sat()).sum()
        };
        let sats = on_chain(&crate::node::script(node.number)) + on_chain(&node.coins.script());
        let after = i128::from(node.balance()) + i128::from(sats) * 1_000;
        let lost = expected - after;
        assert!(
            late == Some(node.number) || lost <= CHAIN_COSTS,
            "node {} has lost {lost} msat",
            node.number
        );
        all_before += expected;
        all_after += after;
    }
    assert!(late.is_some() || all_after <= all_before, "money from nowhere");
    arrived
}

/// The largest payment, in msat, that may be too small for the chain.
const SMALL: u64 = 5_000_000;

fn check_channels(world: &World) {
    for node in &world.nodes {
        let channels = node.manager().list_channels();
        let links = world.links.iter().filter(|link| link.ends.contains(&node.number));
        assert_eq!(channels.len(), links.count(), "channels of node {}", node.number);
        for channel in &channels {
            assert_eq!(channel.phase, PhaseName::Open, "a channel of node {}", node.number);
            assert!(channel.funded.as_ref().is_some_and(|funded| funded.usable), "{channel:?}");
        }
        let closed = node.user.has_seen(|event| matches!(event, Event::ChannelClosed { .. }));
        assert!(!closed, "node {} was told that a channel closed", node.number);
    }
    for link in &world.links {
        let here = |node: usize| {
            let channels = world.nodes[node].manager().list_channels();
            channels
                .into_iter()
                .find(|channel| channel.channel == link.channel)
                .and_then(|c| c.funded)
                .unwrap()
        };
        let [ours, theirs] = link.ends.map(here);
        assert_eq!(ours.our_balance, theirs.their_balance, "the ends of a channel disagree");
        let total = ours.our_balance.checked_add(ours.their_balance).unwrap();
        assert_eq!(
            total.to_msat(),
            link.capacity.to_sat() * 1_000,
            "a channel is not what it was funded with"
        );
        let coin = world.chain.utxo(&link.funding).expect("nobody spends a funding output");
        assert_eq!(coin.output.value, link.capacity);
        assert_eq!(world.chain.mempool_spender(&link.funding), None);
    }
}

/// Closes every channel together with its peer, and checks what the chain pays out. Returns how many there were.
pub(crate) fn close(world: &mut World, dice: &mut Dice) -> u64 {
    let links = world.links.clone();
    let mut due = Vec::new();
    for link in &links {
        let closer = link.ends[dice.pick(2)];
        for end in link.ends {
            let channels = world.nodes[end].manager().list_channels();
            let funded =
                channels.into_iter().find(|c| c.channel == link.channel).and_then(|c| c.funded).unwrap();
            due.push((link.funding, end, funded.our_balance.to_sat_floor(), funded.we_opened));
        }
        world.nodes[closer].manager().close_channel(link.channel, None).expect("an open channel closes");
        world.settle();
    }
    world.mine(1);
    world.catch_up();
    for (funding, end, balance, pays) in due {
        let (paid, fee) = paid_by(world, funding, end);
        let least = if pays { balance.saturating_sub(fee) } else { balance };
        assert!(paid >= least && paid <= balance, "node {end} is paid {paid} of {balance} at a fee of {fee}");
    }
    world.mine(160);
    world.catch_up();
    for link in &links {
        for end in link.ends {
            let node = &world.nodes[end];
            let told = node.user.has_seen(|event| matches!(event,
                Event::ChannelClosed { channel, reason: CloseReason::Cooperative, .. } if *channel == link.channel));
            assert!(told, "node {end} was not told that a channel closed");
            assert!(node.user.has_seen(|event| *event == Event::Resolved { channel: link.channel }));
            assert!(node.disk.channels().is_empty(), "a channel that is done stays on the disk of {end}");
        }
    }
    links.len() as u64
}

/// What the transaction that spends `funding` pays to a node, and its fee.
fn paid_by(world: &World, funding: bitcoin::OutPoint, end: usize) -> (u64, u64) {
    let tip = world.chain.block_at(world.chain.height()).unwrap();
    let spends = |transaction: &&bitcoin::Transaction| {
        transaction.input.iter().any(|input| input.previous_output == funding)
    };
    let transaction = tip.txdata.iter().find(spends).expect("the close confirms in the next block");
    let capacity = world.links.iter().find(|link| link.funding == funding).unwrap().capacity;
    let total: u64 = transaction.output.iter().map(|output| output.value.to_sat()).sum();
    let script = crate::node::script(end);
    let to_us = transaction.output.iter().filter(|output| output.script_pubkey == script);
    (to_us.map(|output| output.value.to_sat()).sum(), capacity.to_sat() - total)
}
