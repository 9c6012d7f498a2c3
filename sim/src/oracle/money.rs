//! To the millisatoshi, when the trouble is over: money (O1), ends (O6), what users were told (O7).
use std::collections::BTreeMap;

use bitcoin::{OutPoint, Transaction};
use lightning_channel::channel::{ChannelDetails, PhaseName};
use lightning_traits::event::{CloseReason, Event};

use super::excuse::Excuse;
use super::{Oracle, broken, hold};
use crate::dice::Dice;
use crate::user::Payment;
use crate::world::{Link, World};

/// The largest payment, in msat, that may be too small for the chain.
pub(crate) const SMALL: u64 = 5_000_000;
/// What a user may lose by channels that go to the chain, at 500 sat/kw: fees, and what is too small to claim.
const CHAIN_COSTS: i128 = 29_000_000;
/// The least output of any kind that relays: what is below it is nobody's.
pub(crate) const DUST: i128 = 354_000;

/// What a node has, in msat: its share of channels that are on the chain, and its coins.
pub(crate) fn wealth(world: &World, node: usize) -> i128 {
    let node = &world.nodes[node];
    let channels = node.manager().list_channels();
    let open = channels.iter().filter(|channel| is_alive(channel.phase)).filter_map(|c| c.funded.as_ref());
    let confirmed = open.filter(|funded| world.chain.utxo(&funded.funding).is_some());
    let in_channels: i128 = confirmed.map(|funded| i128::from(funded.our_balance.to_msat())).sum();
    let on_chain = |script| -> u64 {
        crate::coins::outputs(&world.chain, script).iter().map(|(_, output)| output.value.to_sat()).sum()
    };
    let coins = on_chain(&crate::node::script(node.number)) + on_chain(&node.coins.script());
    in_channels + i128::from(coins) * 1_000
}

const fn is_alive(phase: PhaseName) -> bool {
    !phase.is_opening() && !matches!(phase, PhaseName::Resolving | PhaseName::Closed)
}

/// What each node should have: what it had, what new channels brought, and what its user was told of payments.
fn expected(world: &World, before: &[i128], known: usize) -> Vec<i128> {
    let mut expected = before.to_vec();
    for link in &world.links[known..] {
        if is_funded(world, link) {
            expected[link.ends[0]] +=
                i128::from(link.capacity.to_sat()) * 1_000 - i128::from(link.push.to_msat());
            expected[link.ends[1]] += i128::from(link.push.to_msat());
        }
    }
    for payment in &world.payments {
        if let Some(Event::PaymentSent { .. }) = world.nodes[payment.payer].user.ending(payment.id) {
            expected[payment.payer] -= i128::from(payment.msat);
        }
        let claimed = world.nodes[payment.payee].user.claimed(payment.hash());
        if !claimed.is_empty() {
            expected[payment.payee] += i128::from(payment.msat);
        }
    }
    expected
}

/// Whether the funding transaction of a channel is in the chain.
fn is_funded(world: &World, link: &Link) -> bool {
    world.chain.utxo(&link.funding).is_some() || spends(world).contains_key(&link.funding)
}

/// What spends the funding outputs.
fn spends(world: &World) -> BTreeMap<OutPoint, Transaction> {
    let mut spends = BTreeMap::new();
    for height in 1..=world.chain.height() {
        let block = world.chain.block_at(height).unwrap();
        for transaction in block.txdata.iter().skip(1) {
            for input in &transaction.input {
                if world.links.iter().any(|link| link.funding == input.previous_output) {
                    spends.insert(input.previous_output, transaction.clone());
                }
            }
        }
    }
    spends
}

/// Each payment ended once, and arrived if and only if its payer was told so. Returns how many arrived.
fn check_payments(world: &World, excuse: &Excuse) -> u64 {
    let mut arrived = 0;
    for payment in &world.payments {
        let (payer, payee) = (&world.nodes[payment.payer], &world.nodes[payment.payee]);
        let claimed = payee.user.claimed(payment.hash());
        let under_way = payer.manager().list_payments().iter().any(|other| other.id == payment.id);
        let ending = payer.user.ending(payment.id);
        let is_sent = matches!(ending, Some(Event::PaymentSent { .. }));
        arrived += u64::from(is_sent);
        if let Some(Event::PaymentSent { preimage, amount, hash, .. }) = ending {
            let proven = (preimage.hash(), *hash, amount.to_msat());
            hold(Oracle::Events, proven == (payment.hash(), payment.hash(), payment.msat), || {
                format!("{payment:?} ended with {ending:?}")
            });
        }
        if world.is_trusty(payment.payer) {
            hold(Oracle::Live, !under_way, || format!("still under way: {payment:?}"));
            hold(Oracle::Events, ending.is_some(), || format!("its user never heard how {payment:?} ended"));
        }
        let trusted = [payment.payer, payment.payee].iter().all(|node| world.is_trusty(*node));
        // What is too small for an output of its own is lost to whoever waits for it on chain.
        let is_small = payment.msat <= SMALL.max(excuse.dear);
        if trusted && (!is_small || !world.is_war) && !excuse.covers(&payment.hash()) {
            // A node in between that is late or a villain may forget to claim what it has forwarded; that is its loss.
            let all_trusty = world.villains.is_empty() && world.late.is_empty();
            let fits =
                if all_trusty { is_sent != claimed.is_empty() } else { !is_sent || !claimed.is_empty() };
            hold(Oracle::Money, fits, || format!("{payment:?}: {ending:?}, credited {claimed:?}"));
        }
        let right = claimed.iter().all(|amount| amount.to_msat() >= payment.msat);
        hold(Oracle::Money, right && claimed.len() <= 1, || {
            format!("{payment:?} was credited as {claimed:?}")
        });
    }
    arrived
}

/// After peace: everything is conserved to the millisatoshi, and no channel is closed but by agreement.
pub(crate) fn check_peace(world: &World, before: &[i128], known: usize) -> u64 {
    let arrived = check_payments(world, &Excuse::default());
    check_channels(world);
    let expected = expected(world, before, known);
    let fees: i128 = world.payments.iter().map(|payment| fee_of(world, payment)).sum();
    let mut allowed = vec![0; world.nodes.len()];
    let mut costs = 0;
    for (funding, close) in spends(world) {
        let link = world.links.iter().find(|link| link.funding == funding).expect("it is a link's");
        let paid: u64 = close.output.iter().map(|output| output.value.to_sat()).sum();
        let cost = i128::from(link.capacity.to_sat() - paid) * 1_000;
        costs += cost;
        let pays = |end: usize| close.output.iter().any(|o| o.script_pubkey == crate::node::script(end));
        // The opener pays for a commitment and by the legacy negotiation; else whoever proposed the transaction.
        let is_anybodys = close.input.iter().any(|input| input.sequence.0 == 0xffff_fffd);
        let share = |end: usize| if pays(end) { 999 } else { DUST };
        allowed[link.ends[0]] += cost;
        allowed[link.ends[1]] += share(link.ends[1]) + if is_anybodys { cost } else { 0 };
    }
    let mut earned = 0;
    for (node, expected) in expected.into_iter().enumerate() {
        let own = world.payments.iter().filter(|payment| payment.payer == node);
        let spent: i128 = own.map(|payment| fee_of(world, payment)).sum();
        let more = wealth(world, node) - expected + spent;
        hold(Oracle::Money, more >= -allowed[node], || format!("node {node} has lost {} msat", -more));
        earned += more;
        let htlcs = world.nodes[node].htlcs();
        hold(Oracle::Live, htlcs == 0, || format!("{htlcs} HTLCs of node {node} stay in flight"));
    }
    hold(Oracle::Money, earned == fees - costs, || {
        format!("forwarding earned {earned} msat, payers paid {fees}, closes cost {costs}")
    });
    arrived
}

/// What forwarding cost a payment, as its HTLCs show it; what its user was told is the same.
fn fee_of(world: &World, payment: &Payment) -> i128 {
    let Some(Event::PaymentSent { fee, .. }) = world.nodes[payment.payer].user.ending(payment.id) else {
        return 0;
    };
    let paid = world.htlcs.paid_by(payment.payer, payment.hash());
    let cost = i128::from(paid) - i128::from(payment.msat);
    hold(Oracle::Events, fee.is_none_or(|fee| i128::from(fee.to_msat()) == cost), || {
        format!("the user was told that {payment:?} cost {fee:?}, and it cost {cost} msat")
    });
    cost
}

fn check_channels(world: &World) {
    for link in &world.links {
        let details = |node: usize| -> Option<ChannelDetails> {
            world.nodes[node].manager().list_channels().into_iter().find(|c| c.channel == link.channel)
        };
        let both = link.ends.map(details);
        if world.chain.utxo(&link.funding).is_none() {
            continue;
        }
        let [Some(ours), Some(theirs)] = both else {
            broken(Oracle::Money, format!("{link:?} is funded, and known so: {both:?}"));
        };
        for end in [&ours, &theirs] {
            let usable = end.funded.as_ref().is_some_and(|funded| funded.usable);
            hold(Oracle::Live, end.phase == PhaseName::Open && usable, || format!("not usable: {end:?}"));
        }
        let (Some(ours), Some(theirs)) = (ours.funded, theirs.funded) else { return };
        hold(Oracle::Money, ours.our_balance == theirs.their_balance, || {
            format!("the ends of a channel disagree: {ours:?}, {theirs:?}")
        });
        let total = ours.our_balance.checked_add(ours.their_balance).map(|total| total.to_msat());
        hold(Oracle::Money, total == Some(link.capacity.to_sat() * 1_000), || {
            format!("{link:?} holds {total:?}")
        });
    }
}

/// What waits for the chain still; what a node that is not trusted waits for is its own affair.
pub(crate) fn noise(world: &World) -> Vec<String> {
    let mut noise = Vec::new();
    for node in world.nodes.iter().filter(|node| world.is_trusty(node.number)) {
        let channels = node.manager().list_channels();
        // One that was never funded waits for weeks, or is given up; so does one that borrows the output of an earlier one.
        let is_funded = |channel: &ChannelDetails| {
            let is_it = |link: &&Link| link.channel == channel.channel && link.ends.contains(&node.number);
            let is_over = node.user.has_seen(|event| *event == Event::Resolved { channel: channel.channel });
            let is_new = !is_over || world.is_trusty(world.index(channel.peer));
            is_new && world.links.iter().find(is_it).is_some_and(|link| is_funded(world, link))
        };
        let closing =
            channels.iter().filter(|channel| channel.phase != PhaseName::Open && is_funded(channel));
        noise.extend(closing.map(|channel| format!("node {}: {channel:?}", node.number)));
        let payments = node.manager().list_payments();
        noise.extend(payments.iter().map(|payment| format!("node {}: {payment:?}", node.number)));
        let monitored = node.running().monitors.inner().channels();
        let left = monitored.iter().filter(|id| channels.iter().all(|channel| channel.channel != **id));
        noise.extend(left.map(|id| format!("node {}: monitors {id} for nobody", node.number)));
        if node.htlcs() > 0 {
            noise.push(format!("node {}: {} HTLCs", node.number, node.htlcs()));
        }
    }
    noise
}

/// After channels went to the chain: nobody who keeps to the rules has lost more than the chain costs.
pub(crate) fn check_war(world: &World, before: &[i128], known: usize) -> u64 {
    let excuse = Excuse::new(world);
    let arrived = check_payments(world, &excuse);
    let expected = expected(world, before, known);
    let (mut all_before, mut all_after) = (0, 0);
    for (node, expected) in expected.into_iter().enumerate() {
        let after = wealth(world, node);
        let lost = expected - after;
        let excused = excuse.of_node(node);
        hold(Oracle::Money, !world.is_trusty(node) || lost <= CHAIN_COSTS + excused, || {
            format!("node {node} has lost {lost} msat, of which {excused} are excused")
        });
        all_before += expected;
        all_after += after;
    }
    let all_trusty = world.villains.is_empty() && world.late.is_empty();
    hold(Oracle::Money, !all_trusty || all_after <= all_before, || "money from nowhere".to_owned());
    arrived
}

/// Closes every channel together with its peer, and checks what the chain pays out. Returns how many there were.
pub(crate) fn close(world: &mut World, dice: &mut Dice) -> u64 {
    let links: Vec<Link> =
        world.links.iter().filter(|link| world.chain.utxo(&link.funding).is_some()).copied().collect();
    let mut due = Vec::new();
    for link in &links {
        let closer = link.ends[dice.pick(2)];
        for end in link.ends {
            let channels = world.nodes[end].manager().list_channels();
            let funded =
                channels.into_iter().find(|c| c.channel == link.channel).and_then(|c| c.funded).unwrap();
            due.push((link.funding, end, funded.our_balance.to_sat_floor()));
        }
        let closed = world.nodes[closer].manager().close_channel(link.channel, Default::default());
        hold(Oracle::Live, closed.is_ok(), || format!("an open channel does not close: {closed:?}"));
        world.settle();
    }
    world.mine(1);
    world.catch_up();
    let spends = spends(world);
    for (funding, end, balance) in due {
        let Some(close) = spends.get(&funding) else {
            broken(Oracle::Live, format!("the close of {funding} is not in the next block"));
        };
        let capacity = links.iter().find(|link| link.funding == funding).unwrap().capacity;
        let total: u64 = close.output.iter().map(|output| output.value.to_sat()).sum();
        let script = crate::node::script(end);
        let to_us = close.output.iter().filter(|output| output.script_pubkey == script);
        let (paid, fee) = (to_us.map(|o| o.value.to_sat()).sum::<u64>(), capacity.to_sat() - total);
        // Either side may have proposed the transaction that was mined, and pays for it.
        let least = balance.saturating_sub(fee);
        let is_dust = paid == 0 && i128::from(balance) * 1_000 < DUST;
        hold(Oracle::Money, paid >= least && paid <= balance || is_dust, || {
            format!("node {end} is paid {paid} of {balance} at a fee of {fee}")
        });
    }
    world.mine(160);
    world.catch_up();
    for link in &links {
        for end in link.ends {
            let node = &world.nodes[end];
            let told = node.user.has_seen(|event| matches!(event,
                Event::ChannelClosed { channel, reason: CloseReason::Cooperative, .. } if *channel == link.channel));
            hold(Oracle::Events, told, || format!("node {end} was not told that a channel closed"));
            let resolved = node.user.has_seen(|event| *event == Event::Resolved { channel: link.channel });
            hold(Oracle::Events, resolved, || format!("node {end} was not told that a channel is resolved"));
            let left = node.disk.has_channel(&link.channel);
            hold(Oracle::Bounded, !left, || format!("a channel that is done stays on the disk of {end}"));
        }
    }
    links.len() as u64
}
