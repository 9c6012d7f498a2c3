//! The methods of bitcoind's JSON-RPC that our client and the demo use, with its names, fields and error codes.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::address::NetworkUnchecked;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Address, Amount, Block, BlockHash, Network, OutPoint, Transaction, Txid};
use serde_json::{Value, json};

use crate::chain::EmbeddedChain;
use crate::ledger::StoredBlock;
use crate::reject::{PackageError, RejectReason};
use crate::source::work_at;

/// An error as JSON-RPC carries it.
#[derive(Debug)]
struct RpcError {
    code: i64,
    message: String,
}

type Answer = Result<Value, RpcError>;
type Method = fn(&EmbeddedChain, &Params<'_>) -> Answer;

const PARSE_ERROR: i64 = -32700;
const METHOD_NOT_FOUND: i64 = -32601;
const MISC_ERROR: i64 = -1;
const NOT_FOUND: i64 = -5;
const INVALID_PARAMETER: i64 = -8;
const UNDECODABLE: i64 = -22;

/// Most blocks of one `generatetoaddress`.
const MAX_GENERATED: u64 = 10_000;
const WAIT_STEP: Duration = Duration::from_millis(10);

const METHODS: &[(&str, Method)] = &[
    ("estimatesmartfee", estimatesmartfee),
    ("generatetoaddress", generatetoaddress),
    ("getbestblockhash", |chain, _| Ok(json!(chain.tip().0.to_string()))),
    ("getblock", getblock),
    ("getblockchaininfo", getblockchaininfo),
    ("getblockcount", |chain, _| Ok(json!(chain.height()))),
    ("getblockhash", getblockhash),
    ("getblockheader", getblockheader),
    ("getmempoolinfo", getmempoolinfo),
    ("getnetworkinfo", getnetworkinfo),
    ("getrawmempool", getrawmempool),
    ("getrawtransaction", getrawtransaction),
    ("gettxout", gettxout),
    ("gettxspendingprevout", gettxspendingprevout),
    ("invalidateblock", invalidateblock),
    ("sendrawtransaction", sendrawtransaction),
    ("submitblock", submitblock),
    ("submitpackage", submitpackage),
    ("testmempoolaccept", testmempoolaccept),
];

/// Answers one call: HTTP status and body. `stop` ends a wait early.
pub(crate) fn answer(chain: &EmbeddedChain, body: &[u8], stop: &AtomicBool) -> (&'static str, String) {
    let (id, result) = match serde_json::from_slice::<Value>(body) {
        Err(error) => (Value::Null, Err(RpcError { code: PARSE_ERROR, message: error.to_string() })),
        Ok(call) => {
            let method = call.get("method").and_then(Value::as_str).unwrap_or_default();
            let empty = Vec::new();
            let params = Params(call.get("params").and_then(Value::as_array).unwrap_or(&empty));
            let result = match METHODS.iter().find(|(name, _)| *name == method) {
                Some((_, run)) => run(chain, &params),
                None if method == "waitfornewblock" => waitfornewblock(chain, &params, stop),
                None => {
                    Err(RpcError { code: METHOD_NOT_FOUND, message: format!("Method not found: {method}") })
                }
            };
            (call.get("id").cloned().unwrap_or_default(), result)
        }
    };
    let (status, result, error) = match result {
        Ok(result) => ("200 OK", result, Value::Null),
        Err(RpcError { code, message }) => {
            let status = if code == METHOD_NOT_FOUND { "404 Not Found" } else { "500 Internal Server Error" };
            (status, Value::Null, json!({ "code": code, "message": message }))
        }
    };
    (status, json!({ "result": result, "error": error, "id": id }).to_string())
}

/// Parameters by position.
#[derive(Debug)]
struct Params<'a>(&'a [Value]);

impl Params<'_> {
    fn text(&self, index: usize) -> Result<&str, RpcError> {
        let value = self.0.get(index).and_then(Value::as_str);
        value.ok_or_else(|| invalid(&format!("parameter {} must be a string", index.saturating_add(1))))
    }

    fn number(&self, index: usize) -> Result<u64, RpcError> {
        let value = self.0.get(index).and_then(Value::as_u64);
        value.ok_or_else(|| invalid(&format!("parameter {} must be a number", index.saturating_add(1))))
    }

    /// A number or a truth value, as `verbosity` may be given.
    fn level(&self, index: usize, default: u64) -> u64 {
        match self.0.get(index) {
            Some(Value::Bool(level)) => u64::from(*level),
            Some(value) => value.as_u64().unwrap_or(default),
            None => default,
        }
    }

    fn hash(&self, index: usize) -> Result<BlockHash, RpcError> {
        self.text(index)?.parse().map_err(|_| invalid("the block hash is not 64 hex digits"))
    }

    fn txid(&self, index: usize) -> Result<Txid, RpcError> {
        self.text(index)?.parse().map_err(|_| invalid("the transaction id is not 64 hex digits"))
    }

    fn transactions(&self, index: usize) -> Result<Vec<Transaction>, RpcError> {
        let list = self.0.get(index).and_then(Value::as_array).ok_or_else(|| invalid("a list is missing"))?;
        list.iter().map(|hex| transaction(hex.as_str().unwrap_or_default())).collect()
    }
}

fn invalid(message: &str) -> RpcError {
    RpcError { code: INVALID_PARAMETER, message: message.to_owned() }
}

fn not_found(message: &str) -> RpcError {
    RpcError { code: NOT_FOUND, message: message.to_owned() }
}

fn transaction(hex: &str) -> Result<Transaction, RpcError> {
    let undecodable = |_| RpcError { code: UNDECODABLE, message: "TX decode failed".into() };
    deserialize_hex(hex).map_err(undecodable)
}

/// A rate of satoshi per 1000 virtual bytes as BTC.
fn btc(sat: u64) -> f64 {
    Amount::from_sat(sat).to_btc()
}

fn stored(chain: &EmbeddedChain, hash: &BlockHash) -> Result<(StoredBlock, bool), RpcError> {
    chain.block_by_hash(hash).ok_or_else(|| not_found("Block not found"))
}

fn estimatesmartfee(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let blocks = params.number(0)?;
    Ok(match chain.fee_estimate() {
        Some(rate) => {
            json!({ "feerate": btc(u64::from(rate.to_sat_per_kw()).saturating_mul(4)), "blocks": blocks })
        }
        None => json!({ "errors": ["Insufficient data or no feerate found"], "blocks": blocks }),
    })
}

fn generatetoaddress(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let count = params.number(0)?;
    let address: Address<NetworkUnchecked> =
        params.text(1)?.parse().map_err(|_| not_found("Error: Invalid address"))?;
    let address =
        address.require_network(Network::Regtest).map_err(|_| not_found("Error: Invalid address"))?;
    let count = u32::try_from(count.min(MAX_GENERATED)).unwrap_or_default();
    let hashes = chain.mine(count, &address.script_pubkey());
    Ok(json!(hashes.iter().map(ToString::to_string).collect::<Vec<_>>()))
}

fn getblock(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let hash = params.hash(0)?;
    let (stored, active) = stored(chain, &hash)?;
    if params.level(1, 1) == 0 {
        return Ok(json!(serialize_hex(&*stored.block)));
    }
    let mut answer = header_fields(chain, &hash, &stored, active);
    let ids: Vec<String> = stored.block.txdata.iter().map(|tx| tx.compute_txid().to_string()).collect();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("tx".into(), json!(ids));
        fields.insert("size".into(), json!(stored.block.total_size()));
        fields.insert("weight".into(), json!(stored.block.weight().to_wu()));
    }
    Ok(answer)
}

fn getblockchaininfo(chain: &EmbeddedChain, _: &Params<'_>) -> Answer {
    let (hash, height) = chain.tip();
    Ok(json!({
        "chain": "regtest",
        "blocks": height,
        "headers": height,
        "bestblockhash": hash.to_string(),
        "mediantime": chain.median_time_at(height),
        "initialblockdownload": false,
        "verificationprogress": 1,
        "chainwork": hex_of_work(height),
        "pruned": false,
    }))
}

fn getblockhash(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let height = u32::try_from(params.number(0)?).ok();
    let hash = height.and_then(|height| chain.hash_at(height));
    hash.map(|hash| json!(hash.to_string())).ok_or_else(|| invalid("Block height out of range"))
}

fn getblockheader(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let hash = params.hash(0)?;
    let (stored, active) = stored(chain, &hash)?;
    Ok(match params.level(1, 1) {
        0 => json!(serialize_hex(&stored.block.header)),
        _ => header_fields(chain, &hash, &stored, active),
    })
}

fn header_fields(chain: &EmbeddedChain, hash: &BlockHash, stored: &StoredBlock, active: bool) -> Value {
    let header = &stored.block.header;
    let depth = i64::from(chain.height()).saturating_sub(i64::from(stored.height)).saturating_add(1);
    let mut fields = json!({
        "hash": hash.to_string(),
        "confirmations": if active { depth } else { -1 },
        "height": stored.height,
        "version": header.version.to_consensus(),
        "merkleroot": header.merkle_root.to_string(),
        "time": header.time,
        "nonce": header.nonce,
        "bits": format!("{:08x}", header.bits.to_consensus()),
        "chainwork": hex_of_work(stored.height),
        "nTx": stored.block.txdata.len(),
    });
    if let Some(fields) = fields.as_object_mut() {
        if stored.height > 0 {
            fields.insert("previousblockhash".into(), json!(header.prev_blockhash.to_string()));
        }
        if let Some(next) = chain.hash_at(stored.height.saturating_add(1)).filter(|_| active) {
            fields.insert("nextblockhash".into(), json!(next.to_string()));
        }
    }
    fields
}

fn getmempoolinfo(chain: &EmbeddedChain, _: &Params<'_>) -> Answer {
    let entries = chain.mempool();
    let policy = chain.policy();
    Ok(json!({
        "loaded": true,
        "size": entries.len(),
        "bytes": entries.iter().map(|entry| entry.vsize).sum::<u64>(),
        "total_fee": entries.iter().map(|entry| entry.fee).sum::<Amount>().to_btc(),
        "mempoolminfee": btc(policy.min_relay_fee.max(policy.mempool_min_fee)),
        "minrelaytxfee": btc(policy.min_relay_fee),
        "incrementalrelayfee": btc(policy.incremental_relay_fee),
        "fullrbf": true,
    }))
}

fn getnetworkinfo(chain: &EmbeddedChain, _: &Params<'_>) -> Answer {
    let policy = chain.policy();
    Ok(json!({
        "version": 290_000,
        "subversion": concat!("/embedded-chain:", env!("CARGO_PKG_VERSION"), "/"),
        "connections": 0,
        "networkactive": false,
        "relayfee": btc(policy.min_relay_fee),
        "incrementalfee": btc(policy.incremental_relay_fee),
        "warnings": [],
    }))
}

fn getrawmempool(chain: &EmbeddedChain, _: &Params<'_>) -> Answer {
    let ids: Vec<String> = chain.mempool().iter().map(|entry| entry.tx.compute_txid().to_string()).collect();
    Ok(json!(ids))
}

/// Of the mempool, or of the block that the third parameter names.
fn getrawtransaction(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let txid = params.txid(0)?;
    let found = if params.0.len() > 2 {
        let (stored, _) = stored(chain, &params.hash(2)?)?;
        stored.block.txdata.iter().find(|tx| tx.compute_txid() == txid).cloned()
    } else {
        chain.mempool_entry(&txid).map(|entry| entry.tx)
    };
    let tx = found.ok_or_else(|| not_found("No such mempool transaction; name its block"))?;
    Ok(json!(serialize_hex(&tx)))
}

fn gettxspendingprevout(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let places =
        params.0.first().and_then(Value::as_array).ok_or_else(|| invalid("a list of outputs is needed"))?;
    let row = |place: &Value| {
        let txid = place.get("txid").and_then(Value::as_str).and_then(|txid| txid.parse().ok());
        let vout = place.get("vout").and_then(Value::as_u64).and_then(|vout| u32::try_from(vout).ok());
        let outpoint = txid.zip(vout).map(|(txid, vout)| OutPoint { txid, vout });
        let outpoint = outpoint.ok_or_else(|| invalid("an output has txid and vout"))?;
        let mut row = json!({ "txid": outpoint.txid.to_string(), "vout": outpoint.vout });
        if let (Some(spender), Some(row)) = (chain.mempool_spender(&outpoint), row.as_object_mut()) {
            row.insert("spendingtxid".to_owned(), json!(spender.to_string()));
        }
        Ok(row)
    };
    places.iter().map(row).collect::<Result<Vec<Value>, _>>().map(Value::Array)
}

fn gettxout(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let vout = u32::try_from(params.number(1)?).map_err(|_| invalid("the output index is too high"))?;
    let outpoint = OutPoint { txid: params.txid(0)?, vout };
    let with_mempool = params.level(2, 1) != 0;
    let (tip, height) = chain.tip();
    let (output, confirmations, coinbase) = match chain.utxo(&outpoint) {
        Some(_) if with_mempool && chain.mempool_spender(&outpoint).is_some() => return Ok(Value::Null),
        Some(coin) => (coin.output, height.saturating_sub(coin.height).saturating_add(1), coin.coinbase),
        None if with_mempool && chain.mempool_spender(&outpoint).is_none() => {
            let entry = chain.mempool_entry(&outpoint.txid);
            let index = usize::try_from(vout).unwrap_or(usize::MAX);
            match entry.and_then(|entry| entry.tx.output.get(index).cloned()) {
                Some(output) => (output, 0, false),
                None => return Ok(Value::Null),
            }
        }
        None => return Ok(Value::Null),
    };
    Ok(json!({
        "bestblock": tip.to_string(),
        "confirmations": confirmations,
        "value": output.value.to_btc(),
        "scriptPubKey": { "hex": output.script_pubkey.to_hex_string() },
        "coinbase": coinbase,
    }))
}

/// Takes the block and all above it out of the best chain; unlike bitcoind's, the block may come back.
fn invalidateblock(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let hash = params.hash(0)?;
    stored(chain, &hash)?;
    while chain.block_by_hash(&hash).is_some_and(|(_, active)| active) {
        if chain.disconnect_tip().is_none() {
            return Err(RpcError { code: MISC_ERROR, message: "the genesis block stays".into() });
        }
    }
    Ok(Value::Null)
}

fn sendrawtransaction(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let tx = transaction(params.text(0)?)?;
    match chain.submit(&tx) {
        Ok(_) | Err(RejectReason::AlreadyInMempool) => Ok(json!(tx.compute_txid().to_string())),
        Err(reason) => Err(RpcError { code: reason.code(), message: reason.to_string() }),
    }
}

fn submitblock(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let undecodable = |_| RpcError { code: UNDECODABLE, message: "Block decode failed".into() };
    let block: Block = deserialize_hex(params.text(0)?).map_err(undecodable)?;
    if chain.block_by_hash(&block.block_hash()).is_some_and(|(_, active)| active) {
        return Ok(json!("duplicate"));
    }
    Ok(chain.submit_block(&block).err().map_or(Value::Null, |error| json!(error.to_string())))
}

fn submitpackage(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let package = params.transactions(0)?;
    let refused = match chain.submit_package(&package) {
        Ok(_) => None,
        Err(PackageError::Transaction { txid, reason }) => Some((txid, reason)),
        Err(PackageError::Shape(shape)) => return Err(invalid(shape)),
    };
    let mut results = serde_json::Map::new();
    for tx in &package {
        let txid = tx.compute_txid();
        let mut result = json!({ "txid": txid.to_string() });
        if let Some(fields) = result.as_object_mut() {
            match (chain.mempool_entry(&txid), &refused) {
                (Some(entry), _) => {
                    fields.insert("vsize".into(), json!(entry.vsize));
                    fields.insert("fees".into(), json!({ "base": entry.fee.to_btc() }));
                }
                (None, Some((at, reason))) if *at == txid => {
                    fields.insert("error".into(), json!(reason.to_string()));
                }
                (None, Some(_)) => {
                    fields.insert("error".into(), json!("package-not-validated"));
                }
                (None, None) => {}
            }
        }
        results.insert(tx.compute_wtxid().to_string(), result);
    }
    let message = if refused.is_none() { "success" } else { "transaction failed" };
    Ok(json!({ "package_msg": message, "tx-results": results, "replaced-transactions": [] }))
}

fn testmempoolaccept(chain: &EmbeddedChain, params: &Params<'_>) -> Answer {
    let transactions = params.transactions(0)?;
    let verdicts = transactions.iter().map(|tx| {
        let (txid, wtxid) = (tx.compute_txid().to_string(), tx.compute_wtxid().to_string());
        match chain.test(tx) {
            Ok((fee, vsize)) => json!({
                "txid": txid, "wtxid": wtxid, "allowed": true, "vsize": vsize, "fees": { "base": fee.to_btc() },
            }),
            Err(reason) => json!({
                "txid": txid, "wtxid": wtxid, "allowed": false, "reject-reason": reason.to_string(),
            }),
        }
    });
    Ok(Value::Array(verdicts.collect()))
}

/// Answers when the tip has changed, or after so many milliseconds (0: at most a minute, as no caller waits longer).
fn waitfornewblock(chain: &EmbeddedChain, params: &Params<'_>, stop: &AtomicBool) -> Answer {
    let limit = match params.level(0, 0) {
        0 => Duration::from_secs(60),
        milliseconds => Duration::from_millis(milliseconds),
    };
    let (start, before) = (Instant::now(), chain.changes());
    while chain.changes() == before && start.elapsed() < limit && !stop.load(Ordering::SeqCst) {
        thread::sleep(WAIT_STEP);
    }
    let (hash, height) = chain.tip();
    Ok(json!({ "hash": hash.to_string(), "height": height }))
}

fn hex_of_work(height: u32) -> String {
    format!("{:x}", work_at(height))
}
