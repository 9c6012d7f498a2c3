//! Blind guarding: what a keeper without keys can do with blobs once a revoked commitment is on the chain, and cannot before.
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, Transaction, Txid};
use lightning_monitor::ChannelMonitor;
use lightning_monitor::blind::{
    Avenger, BLOB, Blob, Kit, Locator, Plan, Prices, Scribe, ScribeError, SealedState, open, seal,
};
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::CoinSource as _;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use proptest::prelude::*;

use crate::support::chain::Chain;
use crate::support::pair::CAPACITY;
use crate::support::wallet::Wallet;
use crate::support::{BASE, Delta, FORMATS, Htlc, Pair, THEIR_DELAY, adding, destination, offered, received};

const CALM: Prices = prices(1_000, 253);

const fn prices(urgent: u32, background: u32) -> Prices {
    Prices { urgent: FeeratePerKw::new(urgent), background: FeeratePerKw::new(background) }
}

/// HTLCs both ways, two of them equal in hash, amount and expiry, and one too small for an output.
fn mixed() -> Vec<Htlc> {
    vec![
        offered(0, 60_000, 1, BASE + 300),
        offered(1, 60_000, 1, BASE + 300),
        received(0, 70_000, 2, BASE + 300),
        received(1, 80_000, 3, BASE + 310),
        offered(2, 300, 4, BASE + 300),
    ]
}

/// Commitment 1 has these HTLCs and is revoked; what the scribe made against it.
fn revoked(format: CommitmentFormat, htlcs: &[Htlc]) -> (Pair, SealedState) {
    let mut pair = Pair::new(format, 1, true);
    let mut scribe = Scribe::new(&pair.init);
    let steps = pair.commit(&adding(htlcs));
    let update = pair.update(steps);
    let first = scribe.learn(&pair.us.secp, &pair.us, &update).unwrap();
    assert_eq!(first.iter().map(|state| state.number.0).collect::<Vec<_>>(), [0]);
    let (theirs, gone) =
        (pair.sign_theirs(&Delta { fail: htlcs.to_vec(), ..Delta::default() }), pair.revoke_theirs());
    let update = pair.update(vec![theirs, gone]);
    let mut states = scribe.learn(&pair.us.secp, &pair.us, &update).unwrap();
    let state = states.pop().unwrap();
    assert_eq!((states.len(), state.number.0), (0, 1));
    assert_eq!(state.txid, pair.built_theirs(1).2.txid);
    (pair, state)
}

fn find(blobs: &[Blob]) -> impl FnMut(Locator) -> Vec<Vec<u8>> + '_ {
    |locator| blobs.iter().filter(|blob| blob.locator == locator).map(|blob| blob.body.clone()).collect()
}

fn kit_of(state: &SealedState) -> Kit {
    let mut kits = open(&state.txid, find(&state.blobs));
    assert_eq!(kits.len(), 1);
    kits.pop().unwrap()
}

/// The breach in the first block of a chain.
fn breached(pair: &Pair, kit: Kit) -> (Chain, Avenger, Transaction) {
    breached_after(pair, kit, 0)
}

/// The same behind so many blocks.
fn breached_after(pair: &Pair, kit: Kit, blocks: u32) -> (Chain, Avenger, Transaction) {
    let mut chain = Chain::default();
    for _ in 0..blocks {
        chain.mine(Vec::new());
    }
    let funding = &pair.init.funding;
    chain.grant(funding.outpoint, funding.txout());
    let breach = pair.their_commitment(1);
    chain.mine(vec![breach.clone()]);
    let height = BlockHeight::new(chain.height());
    let avenger = Avenger::new(&pair.us.secp, kit, &breach, height).unwrap();
    (chain, avenger, breach)
}

/// Every output of the breach but anchors.
fn outputs_of(pair: &Pair) -> Vec<OutPoint> {
    let commitment = pair.built_theirs(1).2;
    let htlcs = commitment.htlcs.iter().map(|htlc| htlc.vout);
    let vouts = htlcs.chain(commitment.to_broadcaster).chain(commitment.to_countersigner);
    vouts.map(|vout| OutPoint::new(commitment.txid, vout)).collect()
}

/// What goes out now, with coins where they are needed.
fn sent(
    avenger: &mut Avenger,
    wallet: &Wallet,
    tip: BlockHeight,
    prices: Prices,
) -> Vec<(Plan, Transaction)> {
    let mut sent = Vec::new();
    for plan in avenger.plans(tip, prices) {
        let coins = match plan.needed {
            Amount::ZERO => None,
            needed => Some(wallet.reserve(plan.outpoint, needed, plan.feerate).expect("coins")),
        };
        let unsigned = avenger.build(&plan, coins.as_ref()).unwrap();
        let transaction = if coins.is_some() { wallet.sign(unsigned).unwrap() } else { unsigned };
        avenger.offer(&plan, transaction.clone(), coins.as_ref(), tip);
        // What is stored is what goes on after a restart.
        *avenger = Avenger::from_bytes(&avenger.to_bytes()).unwrap();
        sent.push((plan, transaction));
    }
    sent
}

#[test]
fn l05_l06_every_output_has_a_claim_of_its_own_that_pays_its_fee() {
    for format in FORMATS {
        let (pair, state) = revoked(format, &mixed());
        let (mut chain, mut avenger, _) = breached(&pair, kit_of(&state));
        let sent = sent(&mut avenger, &Wallet::default(), BlockHeight::new(chain.height()), CALM);
        let mut taken: Vec<OutPoint> = sent.iter().map(|(plan, _)| plan.outpoint).collect();
        let mut expected = outputs_of(&pair);
        expected.sort_unstable();
        taken.sort_unstable();
        assert_eq!(expected.len(), 6, "two balances and four HTLCs");
        assert_eq!(taken, expected);
        for (_, transaction) in &sent {
            assert_eq!((transaction.input.len(), transaction.output.len()), (1, 1));
            assert_eq!(transaction.output[0].script_pubkey, destination());
            let fee = chain.check(transaction).unwrap();
            // 20 sat/vB at least, and not much more.
            let weight = transaction.weight().to_wu();
            let rate = fee.to_sat() * 1_000 / weight;
            assert!((5_000..5_300).contains(&rate), "{rate} per kw");
        }
        let block = chain.mine(sent.into_iter().map(|(_, transaction)| transaction).collect());
        for transaction in &block.txdata {
            assert!(avenger.on_transaction(&pair.us.secp, transaction, BlockHeight::new(chain.height())));
        }
        assert!(avenger.prizes().iter().all(|prize| prize.is_ours()));
        assert!(!avenger.is_done(BlockHeight::new(chain.height() + 98)));
        assert!(avenger.is_done(BlockHeight::new(chain.height() + 99)));
    }
}

#[test]
fn l04_coins_of_the_keeper_pay_for_a_spike_and_change_nothing_of_what_the_client_gets() {
    for format in FORMATS {
        let (pair, state) = revoked(format, &mixed());
        let (mut chain, mut avenger, _) = breached(&pair, kit_of(&state));
        let wallet = Wallet::default();
        for number in 0..40 {
            let (outpoint, output) = wallet.fill(number, 300_000);
            chain.grant(outpoint, output);
        }
        let tip = BlockHeight::new(chain.height());
        let calm = sent(&mut avenger, &wallet, tip, CALM);
        // 50, then 200 sat/vB.
        let mut before = calm.clone();
        for (step, rate) in [(1, 12_500), (2, 50_000)] {
            let now = sent(&mut avenger, &wallet, tip.plus(step), prices(rate, 253));
            let is_urgent = |plan: &Plan| calm.iter().any(|(old, _)| old.outpoint == plan.outpoint);
            // Our own balance waits for a cheaper market: nobody else can take it.
            assert_eq!(now.len(), 5, "{format:?}");
            for (plan, transaction) in &now {
                assert!(is_urgent(plan));
                let (_, old) = before.iter().find(|(old, _)| old.outpoint == plan.outpoint).unwrap();
                let (was, fee) = (chain.check(old).unwrap(), chain.check(transaction).unwrap());
                let weight = transaction.weight().to_wu();
                assert!(fee >= was + Amount::from_sat(weight / 4), "BIP 125: {was} then {fee}");
                let claimed =
                    avenger.prizes().iter().find(|prize| prize.claim.outpoint == plan.outpoint).unwrap();
                // The market's price, or half of what is claimed.
                let asked = (u64::from(rate) * weight / 1_000).min(claimed.claim.value.to_sat() / 2);
                assert!(fee.to_sat() >= asked * 94 / 100, "{fee} for {weight}, {asked} asked");
                assert_eq!(transaction.output[0], claimed.claim.pays);
                assert!(transaction.input.len() > 1);
            }
            before.retain(|(old, _)| now.iter().all(|(plan, _)| plan.outpoint != old.outpoint));
            before.extend(now);
        }
        chain.mine(before.into_iter().map(|(_, transaction)| transaction).collect());
    }
}

#[test]
fn l06_whatever_the_cheater_takes_first_the_rest_is_taken() {
    let htlcs = mixed();
    for format in FORMATS {
        // Any of its second stages: three of ours it has preimages of, one of its own whose time has come.
        for subset in 0..16_u32 {
            let (pair, state) = revoked(format, &htlcs);
            let (mut chain, mut avenger, _) = breached_after(&pair, kit_of(&state), 311);
            let chosen: Vec<Htlc> =
                (0..4).filter(|index| subset >> index & 1 == 1).map(|index| htlcs[index as usize]).collect();
            let wallet = Wallet::default();
            let mut first = Vec::new();
            for (number, htlc) in (100_u32..).zip(&chosen) {
                let behind = if format == CommitmentFormat::AnchorsZeroFeeHtlc {
                    let (outpoint, output) = wallet.fill(number, 20_000);
                    chain.grant(outpoint, output.clone());
                    let input = bitcoin::TxIn { previous_output: outpoint, ..bitcoin::TxIn::default() };
                    vec![(input, bitcoin::TxOut { value: Amount::from_sat(10_000), ..output })]
                } else {
                    Vec::new()
                };
                let stage = pair.their_second_stage(1, &[*htlc], &[], &behind);
                first.push(if behind.is_empty() { stage } else { wallet.sign(stage).unwrap() });
            }
            let block = chain.mine(first);
            let height = BlockHeight::new(chain.height());
            for transaction in &block.txdata {
                assert!(avenger.on_transaction(&pair.us.secp, transaction, height));
            }
            let sent = sent(&mut avenger, &wallet, height, CALM);
            let second = if format == CommitmentFormat::StaticRemoteKey { chosen.len() } else { 0 };
            assert_eq!(sent.len(), 6 - chosen.len() + second, "{format:?} {subset:b}");
            chain.mine(sent.into_iter().map(|(_, transaction)| transaction).collect());
        }
    }
}

#[test]
fn l19_nothing_opens_but_with_the_commitment_and_all_blobs_are_of_one_length() {
    for format in FORMATS {
        for count in [0_u64, 1, 3, 6, 7, 30, 200] {
            let htlcs: Vec<Htlc> = (0..count).map(|id| received(id, 10_000, 9, BASE + 300)).collect();
            let (pair, state) = revoked(format, &htlcs);
            assert!(state.blobs.iter().all(|blob| blob.body.len() == BLOB));
            let anchors = format == CommitmentFormat::AnchorsZeroFeeHtlc;
            if count <= if anchors { 6 } else { 3 } {
                assert_eq!(state.blobs.len(), 1, "{count} HTLCs show");
            }
            assert!(state.blobs.len() as u64 <= 1 + count / if anchors { 6 } else { 4 }, "bytes are bounded");
            assert_eq!(
                kit_of(&state).claims(&pair.us.secp, &pair.their_commitment(1)).len() as u64,
                2 + count
            );
            // The locator is half of the id; the other half is the secret.
            assert_eq!(state.blobs[0].locator.0, state.txid.to_byte_array()[..16]);
            for bit in 128..256 {
                let mut guess = state.txid.to_byte_array();
                guess[bit / 8] ^= 1 << (bit % 8);
                // It is given all blobs, whatever their locators.
                let all = |_| state.blobs.iter().map(|blob| blob.body.clone()).collect();
                assert_eq!(open(&Txid::from_byte_array(guess), all), []);
            }
            // Nothing of the channel stands in them as it is.
            let keys = pair.built_theirs(1).1;
            for secret in [
                destination().to_bytes(),
                keys.revocation_key.serialize()[1..].to_vec(),
                pair.init.channel.0.to_vec(),
                htlcs.first().map_or(vec![1; 32], |htlc| htlc.hash().0.to_vec()),
            ] {
                for blob in &state.blobs {
                    assert!(!blob.body.windows(secret.len()).any(|window| window == secret));
                }
            }
        }
    }
}

#[test]
fn l19_a_kit_pays_nobody_but_the_client() {
    for format in FORMATS {
        let (pair, state) = revoked(format, &mixed());
        let (chain, avenger, breach) = breached(&pair, kit_of(&state));
        for prize in avenger.prizes() {
            let honest = prize.claim.alone();
            chain.check(&honest).unwrap();
            let mut stolen = honest.clone();
            stolen.output[0].script_pubkey = bitcoin::ScriptBuf::new_op_return([1; 20]);
            assert!(chain.check(&stolen).is_err(), "another script");
            let mut shaved = honest.clone();
            shaved.output[0].value -= Amount::from_sat(1);
            assert!(chain.check(&shaved).is_err(), "less");
        }
        // Of another state's commitment it has nothing.
        assert_eq!(kit_of(&state).claims(&pair.us.secp, &pair.their_commitment(0)), []);
        assert_eq!(kit_of(&state).claims(&pair.us.secp, &breach).len(), 6);
    }
}

#[test]
fn l13_junk_under_the_same_locator_hides_nothing() {
    let (_, state) = revoked(CommitmentFormat::AnchorsZeroFeeHtlc, &mixed());
    let (_, other) = revoked(CommitmentFormat::StaticRemoteKey, &[]);
    let honest = kit_of(&state);
    let junk = |body: Vec<u8>| Blob { locator: state.blobs[0].locator, body };
    let mut blobs = vec![
        junk(vec![0; BLOB]),
        junk(Vec::new()),
        junk(vec![7; 100_000]),
        junk(other.blobs[0].body.clone()),
    ];
    blobs.extend(state.blobs.clone());
    assert_eq!(open(&state.txid, find(&blobs)), core::slice::from_ref(&honest));
    // Somebody who knows the id leaves a kit of its own there: both open, and only good signatures make claims.
    let stranger = kit_of(&other);
    blobs.extend(seal(&state.txid, &stranger));
    let kits = open(&state.txid, find(&blobs));
    assert_eq!(kits, [honest, stranger]);
}

#[test]
fn a_scribe_goes_on_after_a_restart_and_passes_over_what_comes_twice() {
    for format in FORMATS {
        let mut pair = Pair::new(format, 1, true);
        let (mut scribe, mut monitor) = (Scribe::new(&pair.init), ChannelMonitor::new(pair.init.clone()));
        let mut live: Vec<Htlc> = Vec::new();
        for round in 0..12_u64 {
            let htlc = offered(round, 20_000 + round, round as u8, BASE + 300);
            let delta = if round % 3 == 2 {
                Delta { fail: core::mem::take(&mut live), ..Delta::default() }
            } else {
                live.push(htlc);
                adding(&[htlc])
            };
            let steps = pair.commit(&delta);
            let update = pair.update(steps);
            let mut again = Scribe::of(&monitor);
            let sealed = scribe.learn(&pair.us.secp, &pair.us, &update).unwrap();
            assert_eq!(
                again.learn(&pair.us.secp, &pair.us, &update),
                Ok(sealed.clone()),
                "as before the restart"
            );
            assert_eq!(again.covers_from(), CommitmentNumber(round));
            assert_eq!(scribe.covers_from(), CommitmentNumber(0));
            assert_eq!(sealed.len(), 1);
            assert_eq!(scribe.learn(&pair.us.secp, &pair.us, &update), Ok(Vec::new()), "twice");
            monitor.apply(&pair.us.secp, &update).unwrap();
        }
        let gap = MonitorStep::TheirRevocation {
            number: CommitmentNumber(99),
            secret: pair.them.seed.secret(CommitmentNumber(99)).unwrap(),
        };
        let gap = pair.update(vec![gap]);
        assert_eq!(scribe.learn(&pair.us.secp, &pair.us, &gap), Err(ScribeError::Contradiction));
    }
}

#[test]
fn l15_a_breach_that_is_undone_waits_and_goes_on_when_it_comes_again() {
    for format in FORMATS {
        let (pair, state) = revoked(format, &mixed());
        let (chain, mut avenger, breach) = breached(&pair, kit_of(&state));
        let tip = BlockHeight::new(chain.height());
        let sent = sent(&mut avenger, &Wallet::default(), tip, CALM);
        avenger.on_transaction(&pair.us.secp, &sent[0].1, tip.plus(1));
        assert!(avenger.on_disconnected(tip.plus(1)));
        assert_eq!(avenger.waiting().count(), 6, "what a block had taken waits again");
        assert!(avenger.on_disconnected(tip));
        assert_eq!((avenger.confirmed(), avenger.waiting().count()), (None, 0));
        assert_eq!(avenger.plans(tip, CALM), []);
        assert!(!avenger.is_done(tip.plus(100)) && avenger.is_done(tip.plus(145)), "not for ever");
        avenger.on_confirmed(tip.plus(3));
        assert_eq!(avenger.waiting().count(), 6);
        assert_eq!(avenger.txid(), breach.compute_txid());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the market does, offers never fall, and no more than half of an output is given for it by its keeper.
    #[test]
    fn l04_offers_never_fall_and_have_a_bound(rates in prop::collection::vec(253_u32..400_000, 1..60), anchors: bool) {
        let (pair, state) = revoked(FORMATS[usize::from(anchors)], &mixed());
        let (mut chain, mut avenger, _) = breached(&pair, kit_of(&state));
        let wallet = Wallet::default();
        for number in 0..60 {
            let (outpoint, output) = wallet.fill(number, CAPACITY / 4);
            chain.grant(outpoint, output);
        }
        let mut last = std::collections::BTreeMap::new();
        let mut tip = BlockHeight::new(chain.height());
        for rate in rates {
            for (plan, transaction) in sent(&mut avenger, &wallet, tip, prices(rate, rate.min(2_000))) {
                let fee = chain.check(&transaction).unwrap();
                let before = last.insert(plan.outpoint, fee);
                prop_assert!(before.is_none_or(|before| before < fee), "{before:?} then {fee}");
                let prize = avenger.prizes().iter().find(|prize| prize.claim.outpoint == plan.outpoint).unwrap();
                let most = prize.claim.value / 2;
                let relay = Amount::from_sat(2_000);
                prop_assert!(fee <= most + relay, "{fee} for {}", prize.claim.value);
            }
            tip = tip.plus(1);
        }
        prop_assert!(u32::from(THEIR_DELAY) > 60);
    }
}
