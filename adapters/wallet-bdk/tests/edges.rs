//! Random sets of coins, many of them at the edge of dust, at random feerates: whatever the wallet builds is taken by the chain's relay
//! rules and pays its rate, and not more than that (RELIABILITY D22).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_chain_bitcoind::{ChainFollower, Progress};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::CoinSource;
use lightning_traits::units::FeeratePerKw;
use lightning_wallet_bdk::{OnchainWallet, WalletCoin, WalletError, WalletSeed};

/// The least that a P2WPKH output must hold.
const DUST: u64 = 294;
/// The weight of such an output, and of an input that spends one, at most.
const OUTPUT: u64 = 31 * 4;
const INPUT: u64 = 272;
/// Version, lock time, counts, marker and flag.
const FRAME: u64 = 10 * 4 + 2;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// As often small as large.
    fn sat(&mut self) -> u64 {
        let most = [40, 700, 20_000, 3_000_000][self.below(4) as usize];
        DUST + self.below(most)
    }
}

fn sat(sat: u64) -> Amount {
    Amount::from_sat(sat)
}

fn p2wsh() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x00, 0x20][..], &[9; 32]].concat())
}

/// A wallet with coins of all sizes.
fn filled(dice: &mut Dice) -> (EmbeddedChain, OnchainWallet, Vec<WalletCoin>) {
    let chain = EmbeddedChain::new();
    let seed = WalletSeed::Entropy(vec![1; 16]);
    let wallet = OnchainWallet::create(&seed, Network::Regtest, None).unwrap();
    chain.mine(1, &wallet.new_address().script_pubkey());
    chain.mine(100, &p2wsh());
    let mut follower = ChainFollower::new(chain.clone(), Network::Regtest);
    let mut sync = || while !matches!(follower.poll(&[&wallet]).unwrap(), Progress::Synced(_)) {};
    sync();
    let outputs: Vec<(ScriptBuf, Amount)> =
        (0..60).map(|_| (wallet.new_address().script_pubkey(), sat(dice.sat()))).collect();
    let (many, _) = wallet.build_batch(&outputs, FeeratePerKw::new(1_000)).unwrap();
    chain.submit(&many).unwrap();
    chain.mine(1, &p2wsh());
    sync();
    // What was left over is larger than all others together.
    let coins = wallet.list_unspent().into_iter().filter(|coin| coin.output.value < sat(10_000_000));
    let coins: Vec<WalletCoin> = coins.collect();
    assert_eq!(coins.len(), 60);
    (chain, wallet, coins)
}

/// The chain takes it, at this rate; `loose` is what may be burnt where change would be dust.
fn judge(chain: &EmbeddedChain, transaction: &Transaction, rate: FeeratePerKw, loose: u64) {
    let (fee, _) = chain.test(transaction).unwrap_or_else(|reject| panic!("{reject:?}: {transaction:?}"));
    let asked = rate.fee(transaction.weight().to_wu());
    let most = asked.to_sat() + asked.to_sat() / 100 + 2 + loose;
    assert!(fee >= asked && fee.to_sat() <= most, "{fee} for {asked}, at most {most}: {transaction:?}");
    assert!(transaction.output.iter().all(|output| output.value >= output.script_pubkey.minimal_non_dust()));
}

/// What the coins bring beyond what spending them costs, those that bring anything.
fn worth(coins: &[WalletCoin], rate: FeeratePerKw) -> u64 {
    let spend = rate.fee(INPUT).to_sat();
    coins.iter().map(|coin| coin.output.value.to_sat().saturating_sub(spend)).sum()
}

/// Pays somebody else; whether there was enough.
fn pays(
    chain: &EmbeddedChain,
    wallet: &OnchainWallet,
    free: &[WalletCoin],
    rate: FeeratePerKw,
    dice: &mut Dice,
) -> bool {
    let amount = 330 + dice.below(worth(free, rate).max(1_000) * 11 / 10);
    match wallet.build_funding(&p2wsh(), sat(amount), rate) {
        Ok(built) => {
            let has_change = built.transaction.output.len() == 2;
            let loose = if has_change { 0 } else { DUST + rate.fee(OUTPUT).to_sat() };
            judge(chain, &built.transaction, rate, loose);
            assert_eq!(built.transaction.output[built.output as usize].value, sat(amount));
            assert!(
                built
                    .transaction
                    .input
                    .iter()
                    .all(|input| free.iter().any(|coin| coin.outpoint == input.previous_output))
            );
            wallet.release_transaction(&built.transaction);
            true
        }
        Err(WalletError::NotEnough { .. }) => {
            let needed = amount + rate.fee(FRAME + 43 * 4).to_sat();
            assert!(
                worth(free, rate) <= needed + free.len() as u64,
                "{amount} at {rate:?} of {}",
                worth(free, rate)
            );
            false
        }
        Err(other) => panic!("{other}"),
    }
}

/// Coins for a claim, which the claim spends; whether there was enough.
fn claims(
    chain: &EmbeddedChain,
    wallet: &OnchainWallet,
    free: &[WalletCoin],
    rate: FeeratePerKw,
    dice: &mut Dice,
) -> bool {
    let claim = OutPoint { vout: 1, ..OutPoint::null() };
    let fixed = rate.fee(FRAME + OUTPUT).to_sat();
    let needed = fixed + dice.below(worth(free, rate).max(1_000) * 11 / 10);
    let Some(coins) = wallet.reserve(claim, sat(needed), rate) else {
        assert!(
            worth(free, rate) < needed + free.len() as u64,
            "{needed} at {rate:?} of {}",
            worth(free, rate)
        );
        return false;
    };
    let spend = |weight: u64| rate.fee(weight).to_sat();
    let brought = coins.inputs.iter().map(|coin| coin.output.value.to_sat() - spend(coin.input_weight));
    let brought: Vec<u64> = brought.collect();
    let sum: u64 = brought.iter().sum();
    assert!(sum >= needed && sum - brought.iter().min().unwrap() < needed, "enough, and no coin too many");
    let total: u64 = coins.inputs.iter().map(|coin| coin.output.value.to_sat()).sum();
    let weight: u64 = FRAME + OUTPUT + coins.inputs.iter().map(|coin| coin.input_weight).sum::<u64>();
    let input = coins.inputs.iter().map(|coin| TxIn {
        previous_output: coin.outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    });
    let change = total - spend(weight);
    let output = vec![TxOut { value: sat(change), script_pubkey: coins.change.clone() }];
    let unsigned =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: input.collect(), output };
    if change >= DUST {
        judge(chain, &wallet.sign(unsigned).unwrap(), rate, 0);
    }
    wallet.release(claim);
    true
}

/// A thousand sets here, a hundred thousand with `WALLET_COIN_SETS=100000`.
#[test]
fn d22_any_set_of_coins_builds_what_the_chain_takes() {
    let sets: u64 = std::env::var("WALLET_COIN_SETS").map_or(1_000, |sets| sets.parse().unwrap());
    let mut dice = Dice(22);
    let (chain, wallet, coins) = filled(&mut dice);
    let (away, all) = (OutPoint { vout: 7, ..OutPoint::null() }, wallet.list_unspent());
    let mut enough = [0_u64; 2];
    for set in 0..sets {
        let share = 1 + dice.below(12);
        let free: Vec<WalletCoin> = coins.iter().filter(|_| dice.below(12) < share).cloned().collect();
        let lent: Vec<OutPoint> =
            all.iter().filter(|coin| !free.contains(coin)).map(|coin| coin.outpoint).collect();
        wallet.hold(away, &lent, None);
        let rate = FeeratePerKw::new(253 + dice.below([300, 3_000, 60_000][set as usize % 3]) as u32);
        let of = set as usize % 2;
        let done = [pays, claims][of](&chain, &wallet, &free, rate, &mut dice);
        enough[of] += u64::from(done);
        wallet.release(away);
        assert_eq!(wallet.balance().reserved, Amount::ZERO);
    }
    assert!(enough.iter().all(|enough| enough * 4 > sets && enough * 2 < sets), "{enough:?} of {sets}");
}
