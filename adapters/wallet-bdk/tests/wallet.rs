//! The wallet on the embedded chain: every transaction it makes is judged by real scripts and relay rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use bitcoin::absolute::LockTime;
use bitcoin::address::NetworkUnchecked;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
};
use lightning_chain_bitcoind::{ChainFollower, Progress};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::{ChainListener, CoinSource, ConfirmedTransaction};
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use lightning_wallet_bdk::{OnchainWallet, SendAmount, WalletError, WalletSeed};

const RATE: FeeratePerKw = FeeratePerKw::new(1000);
const COIN: u64 = 50_0000_0000;

fn seed(number: u8) -> WalletSeed {
    WalletSeed::Entropy(vec![number; 16])
}

fn nobody() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x00, 0x20][..], &[9; 32]].concat())
}

fn sat(sat: u64) -> Amount {
    Amount::from_sat(sat)
}

fn unchecked(address: &Address) -> Address<NetworkUnchecked> {
    address.to_string().parse().unwrap()
}

struct Setup {
    chain: EmbeddedChain,
    wallet: OnchainWallet,
    follower: ChainFollower<EmbeddedChain>,
}

impl Setup {
    /// A wallet with `coins` ripe coins of 50 BTC.
    fn new(coins: u32) -> Self {
        let chain = EmbeddedChain::new();
        let wallet = OnchainWallet::create(&seed(1), Network::Regtest, None).unwrap();
        for _ in 0..coins {
            chain.mine(1, &wallet.new_address().script_pubkey());
        }
        chain.mine(100, &nobody());
        let follower = ChainFollower::new(chain.clone(), Network::Regtest);
        let mut setup = Self { chain, wallet, follower };
        setup.sync();
        setup
    }

    fn sync(&mut self) {
        while !matches!(self.follower.poll(&[&self.wallet]).unwrap(), Progress::Synced(_)) {}
        assert_eq!(self.wallet.best_block().unwrap().0, self.chain.tip().0);
    }

    fn mine(&mut self, count: u32) {
        self.chain.mine(count, &nobody());
        self.sync();
    }

    fn broadcast(&self, transaction: &Transaction) {
        self.chain.submit(transaction).unwrap();
        self.wallet.insert_unconfirmed(transaction);
    }

    /// What is in the store of a wallet that was stored once, now.
    fn reloaded(&self) -> OnchainWallet {
        let snapshot = self.wallet.snapshot().unwrap();
        OnchainWallet::load(&seed(1), Network::Regtest, [&snapshot[..]]).unwrap()
    }
}

#[test]
fn the_addresses_are_those_of_bip_84() {
    // The test vector of BIP 84.
    let words =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    let seed = WalletSeed::Mnemonic { words: words.into(), passphrase: String::new() };
    let wallet = OnchainWallet::create(&seed, Network::Bitcoin, None).unwrap();
    assert_eq!(wallet.new_address().to_string(), "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
    assert_eq!(wallet.new_address().to_string(), "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g");
    let entropy = WalletSeed::Entropy(vec![0; 16]);
    assert_eq!(entropy.words().unwrap(), words);
    let same = OnchainWallet::create(&entropy, Network::Bitcoin, None).unwrap();
    assert_eq!(same.new_address().to_string(), "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
    let bad = WalletSeed::Mnemonic { words: words.replace("about", "above"), passphrase: String::new() };
    assert!(matches!(OnchainWallet::create(&bad, Network::Bitcoin, None), Err(WalletError::Mnemonic(_))));
    assert_eq!(format!("{seed:?}"), "WalletSeed(..)");
}

#[test]
fn a_funding_transaction_is_final_pays_its_rate_and_locks_its_coins() {
    let mut setup = Setup::new(2);
    assert_eq!(setup.wallet.balance().confirmed, sat(2 * COIN));
    let built = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    let output = &built.transaction.output[built.output as usize];
    assert_eq!((output.value, &output.script_pubkey), (sat(1_000_000), &nobody()));
    assert!(built.transaction.input.iter().all(|input| input.script_sig.is_empty()));
    let needed = RATE.fee(built.transaction.weight().to_wu());
    assert!(built.fee >= needed && built.fee <= needed + sat(20), "{} for {needed}", built.fee);
    assert_eq!(setup.chain.test(&built.transaction).unwrap().0, built.fee);
    assert_eq!(setup.wallet.balance().reserved, sat(COIN));
    assert_eq!(setup.wallet.balance().spendable(), sat(COIN));

    // The second takes the other coin, the third finds none.
    let second = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    assert_ne!(second.transaction.input[0].previous_output, built.transaction.input[0].previous_output);
    assert!(matches!(
        setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE),
        Err(WalletError::NotEnough { available: Amount::ZERO, .. })
    ));
    // The promise outlives a restart.
    assert_eq!(setup.reloaded().balance().reserved, sat(2 * COIN));
    setup.wallet.release_transaction(&second.transaction);
    assert_eq!(setup.wallet.balance().reserved, sat(COIN));

    setup.broadcast(&built.transaction);
    let held = setup.wallet.balance();
    assert_eq!((held.reserved, held.confirmed), (Amount::ZERO, sat(COIN)));
    assert_eq!(held.change, sat(COIN) - sat(1_000_000) - built.fee);
    setup.mine(1);
    let held = setup.wallet.balance();
    assert_eq!((held.confirmed, held.change), (sat(2 * COIN) - sat(1_000_000) - built.fee, Amount::ZERO));
}

#[test]
fn one_transaction_pays_several_outputs_and_a_start_takes_back_promises_that_nobody_holds() {
    let setup = Setup::new(3);
    let other = ScriptBuf::new_op_return([7; 4]);
    let outputs = [(nobody(), sat(1_000_000)), (nobody(), sat(2_000_000)), (other, Amount::ZERO)];
    let (kept, fee) = setup.wallet.build_batch(&outputs, RATE).unwrap();
    for (script, amount) in &outputs {
        assert!(kept.output.iter().any(|output| (&output.script_pubkey, output.value) == (script, *amount)));
    }
    assert_eq!(setup.chain.test(&kept).unwrap().0, fee);
    let lost = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    assert_eq!(setup.wallet.balance().reserved, sat(2 * COIN));
    let again = setup.reloaded();
    again.release_all_but(std::slice::from_ref(&kept));
    assert_eq!(again.balance().reserved, sat(COIN));
    let free = again.list_unspent().into_iter().filter(|coin| !coin.reserved);
    assert!(
        free.clone().count() == 2
            && free.clone().any(|coin| coin.outpoint == lost.transaction.input[0].previous_output)
    );
    let too_much = [(nobody(), sat(2 * COIN)), (nobody(), sat(COIN))];
    assert!(matches!(again.build_batch(&too_much, RATE), Err(WalletError::NotEnough { .. })));
    again.release_all_but(&[]);
    assert_eq!(again.balance().reserved, Amount::ZERO);
}

#[test]
fn own_change_is_spent_unconfirmed_but_never_a_strangers_coin() {
    let mut setup = Setup::new(1);
    let first = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&first.transaction);
    let second = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&second.transaction);
    setup.mine(1);

    // Everything goes to an address of ours: on its way it could be anyone's payment.
    let back = setup.wallet.new_address();
    let all = setup.wallet.send(&unchecked(&back), SendAmount::All, RATE).unwrap();
    setup.broadcast(&all.transaction);
    let held = setup.wallet.balance();
    assert_eq!((held.confirmed, held.spendable()), (Amount::ZERO, Amount::ZERO));
    assert!(held.incoming > sat(49_0000_0000));
    assert!(matches!(
        setup.wallet.build_funding(&nobody(), sat(1000), RATE),
        Err(WalletError::NotEnough { .. })
    ));
    setup.mine(1);
    assert!(setup.wallet.build_funding(&nobody(), sat(1000), RATE).is_ok());
}

#[test]
fn sending_all_leaves_nothing() {
    let mut setup = Setup::new(3);
    let stranger = Address::from_script(&nobody(), Network::Regtest).unwrap();
    let built = setup.wallet.send(&unchecked(&stranger), SendAmount::All, RATE).unwrap();
    assert_eq!((built.transaction.output.len(), built.transaction.input.len()), (1, 3));
    assert_eq!(built.transaction.output[0].value + built.fee, sat(3 * COIN));
    setup.broadcast(&built.transaction);
    setup.mine(1);
    assert_eq!(setup.wallet.balance(), Default::default());
    let history = setup.wallet.transactions();
    assert_eq!(history.len(), 4);
    let last = history.last().unwrap();
    assert_eq!(
        (last.net.to_sat(), last.fee, last.confirmed_at),
        (-i64::try_from(3 * COIN).unwrap(), Some(built.fee), Some(setup.chain.height()))
    );
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_reason_and_changes_nothing() {
    let setup = Setup::new(1);
    let wallet = &setup.wallet;
    let main: Address<NetworkUnchecked> = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu".parse().unwrap();
    let wrong = wallet.send(&main, SendAmount::Exactly(sat(1000)), RATE);
    assert_eq!(wrong, Err(WalletError::AddressNetwork(Network::Regtest)));
    assert_eq!(wallet.build_funding(&nobody(), sat(100), RATE), Err(WalletError::Dust));
    assert!(matches!(
        wallet.build_funding(&nobody(), sat(COIN), RATE),
        Err(WalletError::NotEnough { available, needed }) if available == sat(COIN) && needed > sat(COIN)
    ));
    let empty = OnchainWallet::create(&seed(2), Network::Regtest, None).unwrap();
    let stranger = Address::from_script(&nobody(), Network::Regtest).unwrap();
    assert!(matches!(
        empty.send(&unchecked(&stranger), SendAmount::All, RATE),
        Err(WalletError::NotEnough { .. })
    ));
    assert_eq!(wallet.balance().reserved, Amount::ZERO);
}

#[test]
fn unripe_coinbases_are_shown_and_not_spent() {
    let mut setup = Setup::new(0);
    let script = setup.wallet.new_address().script_pubkey();
    setup.chain.mine(1, &script);
    setup.mine(50);
    let held = setup.wallet.balance();
    assert_eq!((held.immature, held.confirmed), (sat(COIN), Amount::ZERO));
    assert!(setup.wallet.build_funding(&nobody(), sat(100_000), RATE).is_err());
    let claim = OutPoint { txid: setup.chain.block_at(1).unwrap().txdata[0].compute_txid(), vout: 0 };
    assert_eq!(setup.wallet.reserve(claim, sat(1000), RATE), None);
    setup.mine(50);
    assert!(setup.wallet.build_funding(&nobody(), sat(100_000), RATE).is_ok());
}

#[test]
fn every_change_is_stored_and_read_again() {
    let mut setup = Setup::new(1);
    let mut store: Vec<Vec<u8>> = Vec::new();
    let mut last = setup.wallet.new_address();
    for _ in 0..5 {
        store.extend(setup.wallet.take_changes().unwrap());
        last = setup.wallet.new_address();
        setup.mine(1);
    }
    let built = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&built.transaction);
    store.extend(setup.wallet.take_changes().unwrap());
    assert_eq!(setup.wallet.take_changes(), Ok(None));

    let read =
        |seed: &WalletSeed, network| OnchainWallet::load(seed, network, store.iter().map(Vec::as_slice));
    let again = read(&seed(1), Network::Regtest).unwrap();
    assert_eq!(again.balance(), setup.wallet.balance());
    assert_eq!(again.list_unspent(), setup.wallet.list_unspent());
    assert_eq!(again.transactions(), setup.wallet.transactions());
    assert_eq!(again.best_block(), setup.wallet.best_block());
    assert_ne!(again.new_address(), last);
    assert_eq!(setup.reloaded().balance(), again.balance());
    assert_eq!(read(&seed(2), Network::Regtest).unwrap_err(), WalletError::OtherSeed);
    assert!(matches!(
        read(&seed(1), Network::Signet),
        Err(WalletError::OtherNetwork(Network::Signet) | WalletError::OtherSeed)
    ));
    // Applied twice, they say the same.
    let twice = store.iter().chain(&store).map(Vec::as_slice);
    assert!(OnchainWallet::load(&seed(1), Network::Regtest, twice).is_ok());
}

#[test]
fn damaged_bytes_are_refused() {
    let load = |bytes: &[u8]| OnchainWallet::load(&seed(1), Network::Regtest, [bytes]).unwrap_err();
    assert!(matches!(load(&[]), WalletError::Damaged(_)));
    assert!(matches!(load(&[2, b'{', b'}']), WalletError::Damaged(_)));
    assert!(matches!(load(b"\x01{\"bdk\":"), WalletError::Damaged(_)));
    let nothing = OnchainWallet::load(&seed(1), Network::Regtest, []).unwrap_err();
    assert_eq!(nothing, WalletError::Nothing);
    let one = OnchainWallet::create(&seed(1), Network::Regtest, None).unwrap().snapshot().unwrap();
    let two = OnchainWallet::create(&seed(2), Network::Regtest, None).unwrap().snapshot().unwrap();
    let mixed = OnchainWallet::load(&seed(1), Network::Regtest, [&one[..], &two[..]]);
    assert!(matches!(mixed, Err(WalletError::Damaged(_))));
}

#[test]
fn a_seed_alone_restores_the_coins() {
    let mut setup = Setup::new(2);
    let script = setup.wallet.script_for(b"channel 7");
    let pay = setup.wallet.build_funding(&script, sat(777_777), RATE).unwrap();
    setup.broadcast(&pay.transaction);
    setup.mine(1);
    let restored = OnchainWallet::create(&seed(1), Network::Regtest, None).unwrap();
    let mut follower = ChainFollower::new(setup.chain.clone(), Network::Regtest);
    follower.poll(&[&restored]).unwrap();
    assert_eq!(restored.balance(), setup.wallet.balance());
    assert_eq!(restored.list_unspent().len(), 3);
}

#[test]
fn a_label_has_one_script_for_good() {
    let setup = Setup::new(0);
    let (one, two) = (setup.wallet.script_for(b"one"), setup.wallet.script_for(b"two"));
    assert_ne!(one, two);
    assert_eq!(setup.wallet.script_for(b"one"), one);
    assert!(setup.wallet.is_mine(&one) && !setup.wallet.is_mine(&nobody()));
    let again = setup.reloaded();
    assert_eq!((again.script_for(b"one"), again.script_for(b"two")), (one, two));
}

#[test]
fn a_birthday_spares_the_blocks_before_it() {
    let chain = EmbeddedChain::new();
    chain.mine(50, &nobody());
    let wallet = OnchainWallet::create(&seed(1), Network::Regtest, Some(chain.tip())).unwrap();
    assert_eq!(wallet.best_block().unwrap().1, BlockHeight::new(50));
    chain.mine(2, &wallet.new_address().script_pubkey());
    let mut follower = ChainFollower::new(chain.clone(), Network::Regtest);
    follower.poll(&[&wallet]).unwrap();
    assert_eq!(wallet.balance().immature, sat(2 * COIN));
    // A reorganisation that goes below the birthday.
    chain.reorg(5, &nobody());
    follower.poll(&[&wallet]).unwrap();
    assert_eq!(wallet.best_block().unwrap(), (chain.tip().0, BlockHeight::new(53)));
    assert_eq!(wallet.balance().immature, Amount::ZERO);
}

#[test]
fn a_reorganisation_takes_confirmations_back_and_gives_them_again() {
    let mut setup = Setup::new(2);
    let built = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&built.transaction);
    setup.mine(3);
    let confirmed = setup.wallet.balance();
    let at = setup.chain.height() - 2;
    assert_eq!(setup.wallet.transactions()[2].confirmed_at, Some(at));

    // Blocks leave one by one; what they confirmed waits, and is read so from the store as well.
    let (_, height) = setup.chain.tip();
    for height in (height - 2..=height).rev() {
        let block = setup.chain.disconnect_tip().unwrap();
        setup.wallet.block_disconnected(&block.header, BlockHeight::new(height));
    }
    let waiting = setup.wallet.balance();
    assert_eq!((waiting.confirmed, waiting.change), (sat(COIN), confirmed.confirmed - sat(COIN)));
    assert_eq!(setup.wallet.best_block().unwrap(), (setup.chain.tip().0, BlockHeight::new(height - 3)));
    assert_eq!(setup.reloaded().balance(), waiting);
    setup.mine(5);
    assert_eq!(setup.wallet.balance(), confirmed);
}

#[test]
fn a_rival_that_confirms_instead_is_what_counts() {
    let mut setup = Setup::new(1);
    let built = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&built.transaction);
    setup.mine(3);
    setup.chain.reorg_empty(3, &nobody());
    // The same seed elsewhere, which does not know of the first.
    let other = OnchainWallet::create(&seed(1), Network::Regtest, None).unwrap();
    ChainFollower::new(setup.chain.clone(), Network::Regtest).poll(&[&other]).unwrap();
    let rival = other.build_funding(&nobody(), sat(2_000_000), RATE).unwrap();
    assert_eq!(rival.transaction.input[0].previous_output, built.transaction.input[0].previous_output);
    setup.chain.mine_transactions(vec![rival.transaction.clone()], &nobody()).unwrap();
    setup.sync();
    let held = setup.wallet.balance();
    assert_eq!((held.confirmed, held.change), (sat(COIN) - sat(2_000_000) - rival.fee, Amount::ZERO));
    assert_eq!(setup.reloaded().balance(), held);
}

#[test]
fn a_forgotten_transaction_gives_its_coins_back() {
    let setup = Setup::new(1);
    let built = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&built.transaction);
    assert_eq!(setup.wallet.balance().confirmed, Amount::ZERO);
    setup.wallet.forget_unconfirmed(built.transaction.compute_txid());
    assert_eq!(setup.wallet.balance().confirmed, sat(COIN));
    assert_eq!(setup.reloaded().balance().spendable(), sat(COIN));
}

#[test]
fn filtered_blocks_tell_the_same() {
    let mut setup = Setup::new(2);
    let built = setup.wallet.build_funding(&nobody(), sat(1_000_000), RATE).unwrap();
    setup.broadcast(&built.transaction);
    setup.mine(2);
    let filtered = OnchainWallet::create(&seed(1), Network::Regtest, None).unwrap();
    for height in 1..=setup.chain.height() {
        let block: Block = (*setup.chain.block_at(height).unwrap()).clone();
        let all: Vec<ConfirmedTransaction<'_>> = block
            .txdata
            .iter()
            .enumerate()
            .map(|(index, transaction)| ConfirmedTransaction { index, transaction })
            .collect();
        filtered.filtered_block_connected(&block.header, &all, BlockHeight::new(height));
    }
    assert_eq!(filtered.best_block(), setup.wallet.best_block());
    assert_eq!(filtered.balance(), setup.wallet.balance());
    // Nothing is skipped: a block that does not fit is not taken.
    setup.mine(2);
    let ahead = setup.chain.block_at(setup.chain.height()).unwrap();
    let before = filtered.best_block();
    filtered.block_connected(&ahead, BlockHeight::new(setup.chain.height()));
    assert_eq!(filtered.best_block(), before);
}

#[test]
fn claims_borrow_confirmed_coins_and_give_them_back() {
    let mut setup = Setup::new(3);
    let claim = |vout| OutPoint { txid: setup.chain.block_at(1).unwrap().txdata[0].compute_txid(), vout };
    let (one, two) = (claim(100), claim(200));
    let lent = setup.wallet.reserve(one, sat(10_000), RATE).unwrap();
    assert_eq!(lent.inputs.len(), 1);
    assert!(setup.wallet.is_mine(&lent.change));
    assert_eq!(setup.wallet.reserve(one, sat(20_000), RATE), Some(lent.clone()), "the same coins again");
    let other = setup.wallet.reserve(two, sat(10_000), RATE).unwrap();
    assert_ne!(other.inputs[0].outpoint, lent.inputs[0].outpoint);
    assert_ne!(other.change, lent.change);
    assert_eq!(setup.wallet.balance().reserved, sat(2 * COIN));
    let more = setup.wallet.reserve(one, sat(COIN), RATE).unwrap();
    assert_eq!((more.inputs.len(), &more.inputs[0]), (2, &lent.inputs[0]), "the same coins and more");
    assert_eq!(setup.wallet.reserve(two, sat(COIN), RATE), None);
    assert!(setup.wallet.build_funding(&nobody(), sat(1000), RATE).is_err());

    // A claim of two coins of the wallet and one input of somebody else, which stays as it is.
    let foreign = Witness::from_slice(&[vec![1, 2, 3]]);
    let mut inputs: Vec<TxIn> = more.inputs.iter().map(|coin| input(coin.outpoint)).collect();
    let value = sat(2 * COIN) - sat(10_000);
    let outputs = vec![TxOut { value, script_pubkey: more.change.clone() }];
    let claim = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: inputs.clone(),
        output: outputs.clone(),
    };
    let signed = setup.wallet.sign(claim.clone()).unwrap();
    for (coin, signed) in more.inputs.iter().zip(&signed.input) {
        let weight = 164 + u64::try_from(signed.witness.size()).unwrap();
        assert!(weight <= coin.input_weight && weight + 3 >= coin.input_weight, "{weight}");
    }
    let mut stranger = input(OutPoint { vout: 7, ..two });
    stranger.witness = foreign.clone();
    inputs.push(stranger);
    let mixed = setup.wallet.sign(Transaction { input: inputs, ..claim }).unwrap();
    assert_eq!(mixed.input[2].witness, foreign);

    setup.broadcast(&signed);
    let again = setup.wallet.reserve(one, sat(COIN), RATE).unwrap();
    assert_eq!(again, more, "its own unconfirmed version takes nothing away: it may be replaced");
    setup.mine(1);
    assert_eq!(
        setup.wallet.reserve(one, sat(COIN), RATE).map(|coins| coins.inputs.len()),
        Some(1),
        "the change"
    );
    setup.wallet.release(one);
    setup.wallet.release(two);
    assert_eq!(setup.wallet.balance().reserved, Amount::ZERO);
}

/// What was lent is not stored: it is said again, and is as it was.
#[test]
fn d21_loans_that_are_said_again_after_a_start_are_as_before() {
    let setup = Setup::new(4);
    let claim = |vout| OutPoint { vout, ..OutPoint::null() };
    let (one, two) = (claim(100), claim(200));
    let lent = setup.wallet.reserve(one, sat(COIN + 10_000), RATE).unwrap();
    let coins: Vec<OutPoint> = lent.inputs.iter().map(|coin| coin.outpoint).collect();
    assert_eq!(coins.len(), 2);
    let again = setup.reloaded();
    assert_eq!(again.balance().reserved, Amount::ZERO);
    again.hold(one, &coins, Some(lent.change.clone()));
    assert_eq!(again.balance().reserved, sat(2 * COIN));
    again.hold(one, &coins[..1], None);
    assert_eq!(again.reserve(one, sat(10_000), RATE), Some(lent.clone()), "the same coins, all of them");
    let other = again.reserve(two, sat(COIN + 10_000), RATE).unwrap();
    assert!(other.inputs.iter().all(|coin| !coins.contains(&coin.outpoint)));
    assert_ne!(other.change, lent.change);
    assert!(again.build_funding(&nobody(), sat(1_000), RATE).is_err(), "all are lent");
    again.release(one);
    assert!(again.build_funding(&nobody(), sat(1_000), RATE).is_ok());
}

/// The wallet was stored before the block with the coin, the claim after it; the coin comes with the blocks.
#[test]
fn d21_a_coin_that_is_held_before_the_wallet_has_seen_it_is_lent_to_nobody_else() {
    let mut setup = Setup::new(2);
    let behind = setup.reloaded();
    let mut follower = ChainFollower::new(setup.chain.clone(), Network::Regtest);
    let script = setup.wallet.new_address().script_pubkey();
    let built = setup
        .wallet
        .send(
            &unchecked(&Address::from_script(&script, Network::Regtest).unwrap()),
            SendAmount::Exactly(sat(30 * COIN / 50)),
            RATE,
        )
        .unwrap();
    setup.broadcast(&built.transaction);
    setup.mine(1);
    let coin = OutPoint { txid: built.transaction.compute_txid(), vout: built.output };
    let (one, two) = (OutPoint { vout: 100, ..coin }, OutPoint { vout: 200, ..coin });
    let foreign = nobody();
    behind.hold(one, &[coin], Some(foreign.clone()));
    let before = behind.reserve(one, sat(10_000), RATE).unwrap();
    assert!(before.inputs.iter().all(|lent| lent.outpoint != coin), "it is not there yet");
    assert_ne!(before.change, foreign, "what is left over stays in the wallet");
    while !matches!(follower.poll(&[&behind]).unwrap(), Progress::Synced(_)) {}
    let after = behind.reserve(one, sat(10_000), RATE).unwrap();
    assert!(after.inputs.iter().any(|lent| lent.outpoint == coin));
    let other = behind.reserve(two, sat(10_000), RATE).unwrap();
    assert!(other.inputs.iter().all(|lent| after.inputs.iter().all(|known| known.outpoint != lent.outpoint)));
    // Spent by a confirmed transaction, it is no help any more.
    let spent = setup
        .wallet
        .send(&unchecked(&Address::from_script(&script, Network::Regtest).unwrap()), SendAmount::All, RATE)
        .unwrap();
    setup.broadcast(&spent.transaction);
    setup.mine(1);
    while !matches!(follower.poll(&[&behind]).unwrap(), Progress::Synced(_)) {}
    let last =
        behind.reserve(one, sat(10_000), RATE).unwrap_or_else(|| panic!("{:?}", behind.list_unspent()));
    assert!(last.inputs.iter().all(|lent| lent.outpoint != coin));
}

fn input(previous_output: OutPoint) -> TxIn {
    TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    }
}
