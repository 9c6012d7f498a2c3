//! A bitcoind, asked over JSON-RPC.
//!
//! # Invariants
//! - a block is answered only if it is the one asked for, merkle root and witness commitment included
//! - network and credentials are never guessed: what is wrong is said (RELIABILITY A18, L10)
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use bitcoin::pow::{CompactTarget, Work};
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxMerkleNode, TxOut, Txid,
};
use lightning_traits::units::FeeratePerKw;
use serde_json::{Value, json};

use crate::rpc::{Auth, Transport};
use lightning_traits::interface::{BlockSource, Broadcast, HeaderInfo, SourceError, Tip, Unspent};

// Codes of Bitcoin Core's `rpc/protocol.h`.
const MISC_ERROR: i64 = -1;
const INVALID_ADDRESS_OR_KEY: i64 = -5;
const INVALID_PARAMETER: i64 = -8;
const ALREADY_CONFIRMED: i64 = -27;
const METHOD_NOT_FOUND: i64 = -32_601;

/// Outpoints that one call asks for, so that no request grows without bound.
const OUTPOINTS_PER_CALL: usize = 500;

/// A bitcoind on one network.
#[derive(Debug)]
pub struct BitcoindClient {
    transport: Transport,
    network: Network,
}

impl BitcoindClient {
    /// A client of the bitcoind whose RPC answers at `url` (`127.0.0.1:8332`, `http://host:port`), which must
    /// follow `network`. Nothing is asked yet.
    #[must_use]
    pub fn new(url: &str, auth: Auth, network: Network) -> Self {
        Self { transport: Transport::new(url, auth), network }
    }

    /// Waits at most `timeout` for an answer (30 seconds unless set).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.transport.set_timeout(timeout);
        self
    }

    /// Calls any method of bitcoind.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, SourceError> {
        self.transport.call(method, params)
    }

    /// Mines `count` blocks to `address`: regtest only.
    pub fn generate(&self, count: u32, address: &bitcoin::Address) -> Result<Vec<BlockHash>, SourceError> {
        let method = "generatetoaddress";
        let answer = self.call(method, &json!([count, address.to_string()]))?;
        let hashes = answer.as_array().ok_or_else(|| malformed(method, "no list"))?;
        hashes.iter().map(|hash| parse(method, Some(hash))).collect()
    }

    /// Offers a whole block. `None` if it was accepted, otherwise the reason in bitcoind's words.
    pub fn submit_block(&self, block: &Block) -> Result<Option<String>, SourceError> {
        let answer = self.call("submitblock", &json!([serialize_hex(block)]))?;
        Ok(answer.as_str().map(str::to_owned))
    }

    fn broadcast_one(&self, tx: &Transaction) -> Result<Broadcast, SourceError> {
        // A maximum feerate of 0 is none: what a deadline is worth is decided before.
        match self.call("sendrawtransaction", &json!([serialize_hex(tx), 0])) {
            Ok(txid) if txid.as_str() == Some(&tx.compute_txid().to_string()) => Ok(Broadcast::Accepted),
            Ok(_) => Err(malformed("sendrawtransaction", "another transaction id")),
            Err(SourceError::Rpc { code: ALREADY_CONFIRMED, .. }) => Ok(Broadcast::Confirmed),
            Err(SourceError::Rpc { code, message, .. }) => Ok(Broadcast::Refused { code, reason: message }),
            Err(other) => Err(other),
        }
    }

    /// Whether `package` was accepted as one.
    fn broadcast_package(&self, package: &[Transaction]) -> Result<bool, SourceError> {
        let transactions: Vec<String> = package.iter().map(serialize_hex).collect();
        match self.call("submitpackage", &json!([transactions, 0])) {
            Ok(answer) => Ok(answer.get("package_msg").and_then(Value::as_str) == Some("success")),
            // Not of the form child-with-parents, already confirmed in part, or an old bitcoind without it.
            Err(SourceError::Rpc { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

impl BlockSource for BitcoindClient {
    fn tip(&self) -> Result<Tip, SourceError> {
        let method = "getblockchaininfo";
        let answer = self.call(method, &json!([]))?;
        let chain = answer.get("chain").and_then(Value::as_str).unwrap_or_default();
        if Network::from_core_arg(chain).ok() != Some(self.network) {
            return Err(SourceError::WrongNetwork { expected: self.network, found: chain.to_owned() });
        }
        Ok(Tip {
            hash: parse(method, answer.get("bestblockhash"))?,
            height: number(method, answer.get("blocks"))?,
            network: self.network,
            syncing: answer.get("initialblockdownload").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        let method = "getblockhash";
        match self.call(method, &json!([height])) {
            Ok(hash) => parse(method, Some(&hash)).map(Some),
            Err(SourceError::Rpc { code: INVALID_PARAMETER, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError> {
        let method = "getblockheader";
        let answer = match self.call(method, &json!([hash.to_string(), true])) {
            Ok(answer) => answer,
            Err(SourceError::Rpc { code: INVALID_ADDRESS_OR_KEY, .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let info = header_info(method, &answer)?;
        if info.header.block_hash() != *hash {
            return Err(SourceError::WrongBlock(*hash));
        }
        Ok(Some(info))
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        let method = "getblock";
        let answer = self.call(method, &json!([hash.to_string(), 0])).map_err(|error| match error {
            SourceError::Rpc { code: MISC_ERROR, message, .. } if message.contains("pruned") => {
                SourceError::Pruned(*hash)
            }
            SourceError::Rpc { code: INVALID_ADDRESS_OR_KEY, .. } => SourceError::UnknownBlock(*hash),
            other => other,
        })?;
        let hex = answer.as_str().ok_or_else(|| malformed(method, "no hex"))?;
        let block: Block = deserialize_hex(hex).map_err(|error| malformed(method, &error.to_string()))?;
        let whole =
            block.block_hash() == *hash && block.check_merkle_root() && block.check_witness_commitment();
        if whole { Ok(block) } else { Err(SourceError::WrongBlock(*hash)) }
    }

    fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        if package.len() > 1 && self.broadcast_package(package)? {
            return Ok(vec![Broadcast::Accepted; package.len()]);
        }
        // What a package as a whole was refused for says little: one by one, each gets its own answer.
        package.iter().map(|tx| self.broadcast_one(tx)).collect()
    }

    fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError> {
        let method = "estimatesmartfee";
        let answer = self.call(method, &json!([blocks]))?;
        answer.get("feerate").map(|rate| feerate(method, rate)).transpose()
    }

    fn least_feerate(&self) -> Result<FeeratePerKw, SourceError> {
        let method = "getmempoolinfo";
        let answer = self.call(method, &json!([]))?;
        let rate = answer.get("mempoolminfee").ok_or_else(|| malformed(method, "no mempoolminfee"))?;
        feerate(method, rate)
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError> {
        let method = "gettxout";
        let answer = self.call(method, &json!([outpoint.txid.to_string(), outpoint.vout, false]))?;
        if answer.is_null() {
            return Ok(None);
        }
        let value = answer.get("value").and_then(Value::as_f64).and_then(|btc| Amount::from_btc(btc).ok());
        let script = answer.pointer("/scriptPubKey/hex").and_then(Value::as_str);
        let output = TxOut {
            value: value.ok_or_else(|| malformed(method, "no value"))?,
            script_pubkey: script
                .and_then(|hex| ScriptBuf::from_hex(hex).ok())
                .ok_or_else(|| malformed(method, "no script"))?,
        };
        Ok(Some(Unspent {
            output,
            confirmations: number(method, answer.get("confirmations"))?,
            coinbase: answer.get("coinbase").and_then(Value::as_bool).unwrap_or(false),
        }))
    }

    fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError> {
        let mut spenders = BTreeSet::new();
        for outpoints in outpoints.chunks(OUTPOINTS_PER_CALL) {
            let (method, place) = (
                "gettxspendingprevout",
                |outpoint: &OutPoint| json!({ "txid": outpoint.txid.to_string(), "vout": outpoint.vout }),
            );
            let places: Vec<Value> = outpoints.iter().map(place).collect();
            let answer = match self.call(method, &json!([places])) {
                Ok(answer) => answer,
                // A bitcoind before 24.
                Err(SourceError::Rpc { code: METHOD_NOT_FOUND, .. }) => return Ok(Vec::new()),
                Err(other) => return Err(other),
            };
            let rows = answer.as_array().ok_or_else(|| malformed(method, "no list"))?;
            for spender in rows.iter().filter_map(|row| row.get("spendingtxid")) {
                spenders.insert(parse::<Txid>(method, Some(spender))?);
            }
        }
        let method = "getrawtransaction";
        let mut waiting = Vec::new();
        for txid in spenders {
            match self.call(method, &json!([txid.to_string()])) {
                Ok(answer) => {
                    let hex = answer.as_str().ok_or_else(|| malformed(method, "no hex"))?;
                    waiting
                        .push(deserialize_hex(hex).map_err(|error| malformed(method, &error.to_string()))?);
                }
                // Gone meanwhile.
                Err(SourceError::Rpc { code: INVALID_ADDRESS_OR_KEY, .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(waiting)
    }
}

/// Puts a header together from its fields; the caller compares the hash.
fn header_info(method: &str, answer: &Value) -> Result<HeaderInfo, SourceError> {
    let version = answer.get("version").and_then(Value::as_i64).and_then(|v| i32::try_from(v).ok());
    let bits = answer.get("bits").and_then(Value::as_str);
    let bits = bits.and_then(|hex| CompactTarget::from_unprefixed_hex(hex).ok());
    let work = answer.get("chainwork").and_then(Value::as_str);
    let work = work.and_then(|hex| <[u8; 32]>::from_hex(hex).ok()).map(Work::from_be_bytes);
    let prev_blockhash = match answer.get("previousblockhash") {
        Some(hash) => parse(method, Some(hash))?,
        None => BlockHash::all_zeros(),
    };
    Ok(HeaderInfo {
        header: Header {
            version: Version::from_consensus(version.ok_or_else(|| malformed(method, "no version"))?),
            prev_blockhash,
            merkle_root: parse::<TxMerkleNode>(method, answer.get("merkleroot"))?,
            time: number(method, answer.get("time"))?,
            bits: bits.ok_or_else(|| malformed(method, "no bits"))?,
            nonce: number(method, answer.get("nonce"))?,
        },
        height: number(method, answer.get("height"))?,
        work: work.ok_or_else(|| malformed(method, "no chainwork"))?,
    })
}

/// BTC per 1000 virtual bytes to satoshi per 1000 weight units, rounded up so that the rate is reached.
fn feerate(method: &str, value: &Value) -> Result<FeeratePerKw, SourceError> {
    let per_kvb = value.as_f64().and_then(|btc| Amount::from_btc(btc).ok());
    let per_kw = per_kvb.and_then(|rate| u32::try_from(rate.to_sat().div_ceil(4)).ok());
    per_kw.map(FeeratePerKw::new).ok_or_else(|| malformed(method, "no feerate"))
}

fn parse<T: FromStr>(method: &str, value: Option<&Value>) -> Result<T, SourceError> {
    let text = value.and_then(Value::as_str).ok_or_else(|| malformed(method, "a field is missing"))?;
    text.parse().map_err(|_| malformed(method, "a hash is damaged"))
}

fn number(method: &str, value: Option<&Value>) -> Result<u32, SourceError> {
    let number = value.and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| malformed(method, "a number is missing"))
}

fn malformed(method: &str, reason: &str) -> SourceError {
    SourceError::Malformed { method: method.to_owned(), reason: reason.to_owned() }
}
