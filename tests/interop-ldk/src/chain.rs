//! A regtest bitcoind that all nodes of a test share: its mine, its mempool, and one wallet for each node.
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::consensus::encode;
use bitcoin::hashes::Hash;
use bitcoin::{
    Address, Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxOut, Txid, WPubkeyHash,
};
use lightning_chain_bitcoind::{Auth, BitcoindClient, RegtestBitcoind};
use lightning_traits::interface::{BlockSource, SourceError};
use serde_json::{Value, json};

/// The wallet that mines, and pays whoever needs coins.
const MINER: &str = "miner";
/// Blocks whose coins are the miner's.
const MINED: u32 = 20;
/// "COINBASE_MATURITY": how many more blocks there must be until they can be spent.
const MATURITY: u32 = 100;
const RPC_TIMEOUT: Duration = Duration::from_secs(60);

/// Wallets of bitcoind are of no worth here: few keys, no fsync, no checks of bitcoind by itself at every block.
const ARGUMENTS: [&str; 10] = [
    "-disablewallet=0",
    "-unsafesqlitesync=1",
    "-keypool=10",
    "-fallbackfee=0.00002",
    "-txindex=1",
    "-dbcache=16",
    "-checkblockindex=0",
    "-checkmempool=0",
    "-persistmempool=0",
    "-rpcworkqueue=256",
];

/// A running bitcoind with a mature miner. Fields drop in this order: the daemon before its folder.
pub struct Chain {
    daemon: RegtestBitcoind,
    client: BitcoindClient,
    miner: Wallet,
    bell: Arc<Bell>,
    _folder: tempfile::TempDir,
}

/// Rings after blocks, so that who follows the chain need not ask all the time.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<u64>,
    condition: Condvar,
}

impl Bell {
    fn count(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.condition.notify_all();
    }

    /// Waits until it rings, or has rung since `heard`, or the time is over.
    pub fn wait(&self, heard: &mut u64, patience: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condition.wait_timeout_while(rung, patience, |rung| *rung == *heard);
        let (rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *heard = *rung;
    }
}

impl Chain {
    /// Starts the bitcoind that the build script found, and mines until the miner has coins.
    #[must_use]
    pub fn start() -> Self {
        let folder = crate::wait::folder();
        let exe = Path::new(env!("BITCOIND_FOUND"));
        let daemon = RegtestBitcoind::start(exe, folder.path(), &ARGUMENTS).expect("bitcoind should start");
        let client = daemon.client().with_timeout(RPC_TIMEOUT);
        let miner = Wallet::create(&daemon, MINER);
        let chain = Self { daemon, client, miner, bell: Arc::default(), _folder: folder };
        chain.client.generate(MINED, &chain.miner.address()).expect("coins should be mined");
        chain.mine(MATURITY);
        chain
    }

    /// Mines `count` blocks from the mempool; answers the height.
    pub fn mine(&self, count: u32) -> u32 {
        self.client.generate(count, &self.nobody()).expect("a block should be mined");
        self.bell.ring();
        self.height()
    }

    /// An address without a key: blocks of a test bring nobody coins, so no wallet has to write anything for them. Another
    /// one each time: blocks that only differ in what they replace would be the same.
    fn nobody(&self) -> Address {
        let mut program = [0; 20];
        program[..8].copy_from_slice(&self.bell.count().to_be_bytes());
        let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(program));
        Address::from_script(&script, Network::Regtest).expect("an address")
    }

    /// Rings after each [`mine`](Self::mine).
    #[must_use]
    pub fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    /// The height of the best block.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.client.tip().expect("a tip").height
    }

    /// Any RPC of the node.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, SourceError> {
        self.client.call(method, params)
    }

    /// A client of its own, for another thread.
    #[must_use]
    pub fn client(&self) -> BitcoindClient {
        self.daemon.client().with_timeout(RPC_TIMEOUT)
    }

    /// Where the RPC answers (`host:port`).
    #[must_use]
    pub fn rpc_address(&self) -> String {
        self.daemon.url()
    }

    /// The cookie file of the RPC.
    #[must_use]
    pub fn cookie(&self) -> std::path::PathBuf {
        self.daemon.cookie()
    }

    /// A new wallet inside bitcoind.
    #[must_use]
    pub fn wallet(&self, name: &str) -> Wallet {
        Wallet::create(&self.daemon, name)
    }

    /// Pays `amount` to each address, in one transaction, and mines it.
    pub fn pay(&self, addresses: &[Address], amount: Amount) {
        let outputs: serde_json::Map<String, Value> =
            addresses.iter().map(|address| (address.to_string(), btc(amount))).collect();
        assert_eq!(outputs.len(), addresses.len(), "an address was given twice");
        let answer = self.miner.call("sendmany", &json!(["", outputs])).expect("the miner pays");
        let txid: Txid = answer.as_str().expect("a txid").parse().expect("a txid");
        // A wallet answers with an id even when its node refuses the transaction.
        assert!(self.mempool().contains(&txid), "bitcoind does not take its own wallet's transaction {txid}");
        self.mine(1);
        assert!(!self.mempool().contains(&txid), "{txid} was not mined");
    }

    /// What waits to be mined.
    #[must_use]
    pub fn mempool(&self) -> Vec<Txid> {
        let answer = self.call("getrawmempool", &json!([])).expect("a mempool");
        let txids = answer.as_array().expect("a list of txids").iter();
        txids.map(|txid| txid.as_str().expect("a txid").parse().expect("a txid")).collect()
    }

    /// A transaction of the mempool or the chain.
    #[must_use]
    pub fn transaction(&self, txid: Txid) -> Option<Transaction> {
        let hex = self.call("getrawtransaction", &json!([txid.to_string()])).ok()?;
        encode::deserialize_hex(hex.as_str()?).ok()
    }

    /// What a short channel id leads to: block, transaction and output in 24, 24 and 16 bits (BOLT 7).
    #[must_use]
    pub fn announced_output(&self, scid: u64) -> (OutPoint, TxOut) {
        let height = u32::try_from(scid >> 40).expect("24 bits");
        let [index, vout] = [(scid >> 16) & 0x00ff_ffff, scid & 0xffff].map(|part| part as usize);
        let hash = self.client.hash_at(height).expect("an answer").expect("a block");
        let block = self.client.block(&hash).expect("a block");
        let tx = &block.txdata[index];
        let outpoint = OutPoint { txid: tx.compute_txid(), vout: u32::try_from(vout).expect("16 bits") };
        (outpoint, tx.output[vout].clone())
    }

    /// Whether `outpoint` is unspent, the mempool counted.
    #[must_use]
    pub fn is_unspent(&self, outpoint: OutPoint) -> bool {
        let params = json!([outpoint.txid.to_string(), outpoint.vout, true]);
        !self.call("gettxout", &params).expect("an answer about an output").is_null()
    }

    /// The confirmed transaction that spends `outpoint`, searched in the blocks from `height`.
    #[must_use]
    pub fn spender(&self, outpoint: OutPoint, height: u32) -> Option<Transaction> {
        (height..=self.height()).find_map(|height| {
            let hash = self.client.hash_at(height).ok()??;
            let block = self.client.block(&hash).ok()?;
            block.txdata.into_iter().find(|tx| tx.input.iter().any(|input| input.previous_output == outpoint))
        })
    }
}

/// One of bitcoind's own wallets.
pub struct Wallet {
    client: BitcoindClient,
}

/// An output of a wallet.
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: TxOut,
}

impl Wallet {
    fn create(daemon: &RegtestBitcoind, name: &str) -> Self {
        match daemon.client().call("createwallet", &json!([name])) {
            Ok(_) => {}
            // A node that starts again has its wallet already.
            Err(SourceError::Rpc { message, .. }) if message.contains("already exists") => {}
            Err(error) => panic!("bitcoind makes no wallet {name}: {error}"),
        }
        let url = format!("{}/wallet/{name}", daemon.url());
        let client = BitcoindClient::new(&url, Auth::Cookie(daemon.cookie()), Network::Regtest);
        Self { client: client.with_timeout(RPC_TIMEOUT) }
    }

    /// Any RPC of the wallet.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, SourceError> {
        self.client.call(method, params)
    }

    /// A new address, segwit version 0.
    #[must_use]
    pub fn address(&self) -> Address {
        let answer = self.call("getnewaddress", &json!(["", "bech32"])).expect("an address");
        let address = Address::from_str(answer.as_str().expect("an address is text")).expect("an address");
        address.require_network(Network::Regtest).expect("an address on regtest")
    }

    /// Confirmed and unconfirmed coins together.
    #[must_use]
    pub fn balance(&self) -> Amount {
        self.let_go();
        let answer = self.call("getbalances", &json!([])).expect("balances");
        let part = |name: &str| {
            let value = answer["mine"][name].as_f64().expect("an amount");
            Amount::from_btc(value).expect("an amount")
        };
        part("trusted") + part("untrusted_pending")
    }

    /// Lets go of transactions that the mempool has dropped. bitcoind holds their coins for ever otherwise: both sides may send their
    /// commitments, and a child of the one that is replaced has lost its parent, of which the wallet does not know.
    fn let_go(&self) {
        let answer = self.call("listtransactions", &json!(["*", 1_000])).expect("transactions");
        for entry in answer.as_array().expect("a list of transactions") {
            let is_pending = entry["confirmations"].as_i64() == Some(0) && entry["abandoned"] != json!(true);
            // Refused for what is in the mempool.
            if is_pending && entry["category"] == json!("send") {
                let _in_mempool = self.call("abandontransaction", &json!([entry["txid"]]));
            }
        }
    }

    /// Coins with at least one confirmation.
    pub fn confirmed_coins(&self) -> Result<Vec<Coin>, SourceError> {
        let answer = self.call("listunspent", &json!([1]))?;
        let coins = answer.as_array().expect("a list of coins").iter();
        Ok(coins
            .map(|coin| Coin {
                outpoint: OutPoint {
                    txid: coin["txid"].as_str().expect("a txid").parse().expect("a txid"),
                    vout: coin["vout"].as_u64().expect("an index").try_into().expect("an index"),
                },
                output: TxOut {
                    value: Amount::from_btc(coin["amount"].as_f64().expect("an amount")).expect("an amount"),
                    script_pubkey: ScriptBuf::from_hex(coin["scriptPubKey"].as_str().expect("a script"))
                        .expect("a script"),
                },
            })
            .collect())
    }

    /// A signed transaction that pays `output`, with its coins kept for it; broadcasts nothing.
    pub fn fund(&self, output: &TxOut) -> Result<Transaction, SourceError> {
        let address = Address::from_script(&output.script_pubkey, Network::Regtest).expect("an address");
        let outputs = json!([{ address.to_string(): btc(output.value) }]);
        // Only bitcoind itself writes a transaction without inputs in a way that it can read again.
        let empty = self.call("createrawtransaction", &json!([[], outputs]))?;
        let options = json!({ "lockUnspents": true, "fee_rate": 2, "change_type": "bech32" });
        let funded = self.call("fundrawtransaction", &json!([empty, options]))?;
        self.sign_hex(funded["hex"].as_str().expect("a transaction"))
    }

    /// Signs the inputs of `tx` that are this wallet's; others are left to others.
    pub fn sign(&self, tx: &Transaction) -> Result<Transaction, SourceError> {
        self.sign_hex(&encode::serialize_hex(tx))
    }

    fn sign_hex(&self, tx: &str) -> Result<Transaction, SourceError> {
        let signed = self.call("signrawtransactionwithwallet", &json!([tx]))?;
        Ok(encode::deserialize_hex(signed["hex"].as_str().expect("a transaction")).expect("a transaction"))
    }
}

/// Puts `transactions` into the mempool: each alone, and as a package where the first pays too little alone.
pub fn broadcast(client: &BitcoindClient, transactions: &[&Transaction]) -> Result<(), String> {
    let hexes: Vec<String> = transactions.iter().map(encode::serialize_hex).collect();
    let mut refusals = Vec::new();
    for hex in &hexes {
        if let Err(error) = client.call("sendrawtransaction", &json!([hex])) {
            refusals.push(error.to_string());
        }
    }
    if refusals.is_empty() {
        return Ok(());
    }
    if hexes.len() > 1 {
        match client.call("submitpackage", &json!([hexes])) {
            Ok(answer) if answer["package_msg"] == "success" => return Ok(()),
            Ok(answer) => refusals.push(answer.to_string()),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    Err(refusals.join("; "))
}

/// An amount as bitcoind's JSON takes it.
fn btc(amount: Amount) -> Value {
    json!(format!("{:.8}", amount.to_btc()))
}

/// The hash of the best block.
pub fn best_block(client: &BitcoindClient) -> (BlockHash, u32) {
    let tip = client.tip().expect("a tip");
    (tip.hash, tip.height)
}
