//! What happens in the demo, step by step.
use std::sync::Arc;
use std::time::Instant;

use lightning_traits::units::Msat;

use super::DemoError;
use super::network::{ALICE, BOB, CAROL, Network, Person, wait};
use super::say;
use crate::api::Backend as _;
use crate::api::kind::{ChannelRef, FromText as _, Peer};
use crate::api::request::{self, AmountOrAll, AmountOrAny};
use crate::api::response::{ChannelState, PaymentState};

/// What everybody had before, in satoshi on chain.
pub(super) struct Before {
    pub(super) onchain_sat: [u64; 3],
    pub(super) height: u32,
}

const CHANNEL_SAT: u64 = 1_000_000;

pub(super) fn tell(network: &mut Network) -> Result<Before, DemoError> {
    let before = fund(network)?;
    open(network, ALICE, BOB)?;
    open(network, BOB, CAROL)?;
    announce(network)?;
    pay_there_and_back(network)?;
    restart_in_flight(network)?;
    close(network)?;
    sweep(network)?;
    Ok(before)
}

/// Everybody mines a block and waits until its reward can be spent.
fn fund(network: &Network) -> Result<Before, DemoError> {
    say("Alice, Bob and Carol start their nodes and mine a block each");
    for person in &network.people {
        let address = person.ask(|api| api.newaddr())?.address;
        let address = address.parse::<bitcoin::Address<_>>().map(bitcoin::Address::assume_checked);
        let address = address.map_err(|error| DemoError::Unaccounted(error.to_string()))?;
        network.chain.mine_to(1, &address)?;
    }
    network.mine(100)?;
    let mut onchain_sat = [0; 3];
    for (person, held) in network.people.iter().zip(&mut onchain_sat) {
        wait(&format!("{}'s reward", person.name), 30, || {
            *held = person.ask(|api| api.balance())?.onchain_confirmed_sat;
            Ok(*held > 0)
        })?;
    }
    Ok(Before { onchain_sat, height: network.chain.height()? })
}

fn open(network: &Network, from: usize, to: usize) -> Result<(), DemoError> {
    let [from, to] = [person(network, from)?, person(network, to)?];
    say(&format!("{} opens a channel of {CHANNEL_SAT} sat to {}", from.name, to.name));
    let address = to.address()?;
    let peer = Peer::from_text(&address).ok_or_else(|| DemoError::Unaccounted(address.clone()))?;
    let channel = from.ask(|api| {
        api.openchannel(request::OpenChannel {
            peer,
            amount_sat: AmountOrAll::Amount(bitcoin::Amount::from_sat(CHANNEL_SAT)),
            push_msat: Msat::ZERO,
            announce: Some(true),
            private: false,
            zero_conf: false,
            zero_reserve: false,
            psbt: false,
            feerate_sat_per_vbyte: None,
        })
    })?;
    for _ in 0..6 {
        network.mine(1)?;
    }
    for side in [from, to] {
        wait(&format!("the channel open for {}", side.name), 30, || {
            let channels = side.ask(|api| api.listchannels())?.channels;
            Ok(channels
                .iter()
                .any(|row| row.channel_id == channel.channel_id && row.state == ChannelState::Open))
        })?;
    }
    Ok(())
}

/// Everybody must know both channels, with the policies of both directions.
fn announce(network: &Network) -> Result<(), DemoError> {
    say("The network hears of both channels");
    for person in &network.people {
        let Some(node) = person.node() else { continue };
        let heard = wait(&format!("gossip at {}", person.name), 30, || {
            let counts = node.router.counts();
            Ok(counts.channels == 2 && counts.policies == 4)
        });
        heard.map_err(|error| DemoError::Unaccounted(format!("{error}: {:?}", node.router.counts())))?;
    }
    Ok(())
}

fn pay_there_and_back(network: &Network) -> Result<(), DemoError> {
    let [alice, carol] = [person(network, ALICE)?, person(network, CAROL)?];
    for amount in [100_000_000, 20_000_001, 1_234_567, 999] {
        pay(alice, carol, amount)?;
    }
    for amount in [30_000_000, 7_654_321] {
        pay(carol, alice, amount)?;
    }
    Ok(())
}

fn invoice(payee: &Person, msat: u64) -> Result<String, DemoError> {
    let request = request::Invoice {
        amount_msat: AmountOrAny::Amount(Msat::new(msat)),
        description: format!("demo for {}", payee.name),
        expiry_s: None,
    };
    Ok(payee.ask(|api| api.invoice(request))?.invoice)
}

fn begin(payer: &Person, invoice: String) -> Result<String, DemoError> {
    let request = request::Pay { invoice, amount_msat: None, max_fee_msat: None, max_parts: None };
    Ok(payer.ask(|api| api.pay(request))?.payment_hash)
}

fn arrived(payer: &Person, hash: &str) -> Result<bool, DemoError> {
    let payments = payer.ask(|api| api.listpayments())?.payments;
    let Some(payment) = payments.into_iter().find(|payment| payment.payment_hash == hash) else {
        return Ok(false);
    };
    match payment.state {
        PaymentState::Succeeded => Ok(true),
        PaymentState::Failed => {
            let why = payment.failure.unwrap_or_default();
            Err(DemoError::Unaccounted(format!("a payment of {} failed: {why}", payer.name)))
        }
        _ => Ok(false),
    }
}

fn pay(payer: &Person, payee: &Person, msat: u64) -> Result<(), DemoError> {
    let begun = Instant::now();
    let hash = begin(payer, invoice(payee, msat)?)?;
    wait(&format!("a payment of {}", payer.name), 60, || arrived(payer, &hash))?;
    let took = begun.elapsed().as_millis();
    say(&format!("{} pays {msat} msat to {} through Bob ({took} ms)", payer.name, payee.name));
    Ok(())
}

/// Bob goes away while a payment is under way, and comes back.
fn restart_in_flight(network: &mut Network) -> Result<(), DemoError> {
    let hash = {
        let [alice, carol] = [person(network, ALICE)?, person(network, CAROL)?];
        let hash = begin(alice, invoice(carol, 5_000_000)?)?;
        let Some(node) = alice.node().map(Arc::clone) else { return Ok(()) };
        wait("a payment under way", 30, || {
            let channels = node.channels.list_channels();
            let funded = channels.iter().filter_map(|channel| channel.funded.as_ref());
            Ok(funded.map(|funded| funded.outgoing_htlcs).sum::<usize>() > 0 || arrived(alice, &hash)?)
        })?;
        hash
    };
    say("Bob's node is restarted with a payment under way");
    if let Some(bob) = network.people.get_mut(BOB) {
        bob.restart()?;
    }
    let alice = person(network, ALICE)?;
    wait("the payment after Bob's restart", 60, || arrived(alice, &hash))?;
    say("The payment has arrived all the same");
    Ok(())
}

fn close(network: &mut Network) -> Result<(), DemoError> {
    say("Alice and Bob close their channel together");
    let [alice, bob] = [person(network, ALICE)?, person(network, BOB)?];
    close_with(alice, &bob.ask(|api| api.getinfo())?.node_id, false)?;
    wait("the closing in the mempool", 30, || Ok(mempool(network)? == 1))?;
    network.mine(1)?;
    // With Carol away nobody can say that it was her commitment that won.
    say("Bob closes his channel with Carol by force, while she is away");
    if let Some(carol) = network.people.get_mut(CAROL) {
        let id = carol.ask(|api| api.getinfo())?.node_id;
        carol.stop();
        let bob = person(network, BOB)?;
        close_with(bob, &id, true)?;
    }
    wait("the commitment in the mempool", 30, || Ok(mempool(network)? == 1))?;
    network.mine(1)?;
    if let Some(carol) = network.people.get_mut(CAROL) {
        carol.restart()?;
    }
    Ok(())
}

fn close_with(who: &Person, peer_id: &str, force: bool) -> Result<(), DemoError> {
    let channels = who.ask(|api| api.listchannels())?.channels;
    let found =
        channels.into_iter().find(|channel| channel.peer_id == peer_id).map(|channel| channel.channel_id);
    let id =
        found.ok_or_else(|| DemoError::Unaccounted(format!("{} has no channel with {peer_id}", who.name)))?;
    let channel = ChannelRef::from_text(&id).ok_or_else(|| DemoError::Unaccounted(id.clone()))?;
    who.ask(|api| {
        api.closechannel(request::CloseChannel { channel, force, address: None, feerate_sat_per_vbyte: None })
    })?;
    Ok(())
}

fn mempool(network: &Network) -> Result<usize, DemoError> {
    let answer = network.chain.client.call("getrawmempool", &serde_json::json!([]))?;
    Ok(answer.as_array().map_or(0, Vec::len))
}

/// Mines until nothing is left on its way back.
fn sweep(network: &Network) -> Result<(), DemoError> {
    say("Blocks are mined until every output is back in a wallet");
    let mut blocks = 0_u32;
    loop {
        network.mine(1)?;
        blocks = blocks.saturating_add(1);
        if blocks > 400 {
            return Err(DemoError::Late("the sweep of every output".to_owned(), 400));
        }
        let mut left = mempool(network)?;
        for person in &network.people {
            let Some(node) = person.node() else { continue };
            left = left.saturating_add(node.monitors.balances().len());
            let balance = person.ask(|api| api.balance())?;
            left = left.saturating_add(usize::from(balance.onchain_unconfirmed_sat > 0));
        }
        if left == 0 {
            say(&format!("Everything is back after {blocks} blocks"));
            return Ok(());
        }
    }
}

fn person(network: &Network, which: usize) -> Result<&Person, DemoError> {
    network.people.get(which).ok_or_else(|| DemoError::Unaccounted("nobody".to_owned()))
}
