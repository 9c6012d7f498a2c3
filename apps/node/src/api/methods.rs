//! The table of methods: commands, HTTP routes, help, parameters and tables on the terminal all come from here.
//!
//! A method is added by a row here, a function in [`Backend`], and its two types.
//!
//! # Invariants
//! - names and aliases are unique, and a method's positional parameters come before its flags (tests)
//! - what a row says of its parameters is what its request type takes (test)
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::backend::Backend;
use super::kind::{Kind, Writer};
use super::request::{self, Nothing};
use super::response::Done;
use crate::error::{ApiError, Code};

/// One method.
#[derive(Debug)]
pub struct Method {
    /// The name of command and route.
    pub name: &'static str,
    /// What users of other nodes call it.
    pub aliases: &'static [&'static str],
    /// What it does, in one line.
    pub help: &'static str,
    /// What it takes, in the order of the command line.
    pub params: &'static [Param],
    /// How people see its answer.
    pub view: View,
    /// Whether it changes nothing, so that GET may call it.
    pub read_only: bool,
    /// What the command may wait for after the answer.
    pub wait: Wait,
    call: fn(&dyn Backend, Value) -> Result<Value, ApiError>,
}

/// One parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name in JSON; amounts end in their unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Where it stands on the command line.
    pub place: Place,
    /// What it does, in one line.
    pub help: &'static str,
}

/// Where a parameter stands on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By position, and must be there.
    Required,
    /// By position, and may be left out.
    Optional,
    /// Behind a flag of this name.
    Flag(&'static str),
}

/// What a command may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The answer is the end.
    No,
    /// The end of the payment: waited for unless told otherwise.
    Payment,
    /// The channel's use: waited for if told so.
    Open,
    /// The channel's end: waited for if told so.
    Close,
}

/// How people see an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Each field in a row.
    Fields,
    /// The only field, and nothing else.
    Bare(&'static str),
    /// The entries of this field in rows, with these columns (field, heading).
    List(&'static str, &'static [(&'static str, &'static str)]),
    /// This sentence.
    Sentence(&'static str),
}

const fn required(name: &'static str, kind: Kind, help: &'static str) -> Param {
    Param { name, kind, place: Place::Required, help }
}

const fn optional(name: &'static str, kind: Kind, help: &'static str) -> Param {
    Param { name, kind, place: Place::Optional, help }
}

const fn flag(name: &'static str, flag: &'static str, kind: Kind, help: &'static str) -> Param {
    Param { name, kind, place: Place::Flag(flag), help }
}

const MAX_FEERATE: u64 = 10_000;
const MAX_EXPIRY: u64 = 365 * 24 * 3_600;
/// BOLT 11: a field holds 639 bytes at most.
const MAX_DESCRIPTION: usize = 639;
const FEERATE: Param = flag(
    "feerate_sat_per_vbyte",
    "feerate",
    Kind::Number(MAX_FEERATE),
    "Feerate of the transaction in sat per vbyte; estimated if not given",
);
const PRIVATE: Param = flag(
    "private",
    "private",
    Kind::Flag,
    "Never announce it, nor tell anybody where it is on the chain; the peer must know scid_alias",
);
const ZERO_CONF: Param =
    flag("zero_conf", "zero-conf", Kind::Flag, "Use it before it confirms; the peer must trust this node");
/// An `error` holds 65,535 bytes, but is meant for people.
const MAX_REASON: usize = 200;
/// Parts at a time: more make a payment dearer and slower, not likelier to arrive.
const MAX_PARTS: u64 = 64;
/// Blocks that a payment may wait for its payee: what comes on top of it on the way must stay below the two weeks that nodes
/// forward (BOLT 4, `expiry_too_far`).
const MAX_HOLD: u64 = 1_008;
const MAX_FEE: Param = flag("max_fee_msat", "max-fee", Kind::Msat, "The most to pay in fees");
const INVOICE: Param = required("invoice", Kind::Invoice, "The invoice");

const CHANNEL_COLUMNS: &[(&str, &str)] = &[
    ("short_channel_id", "channel"),
    ("channel_id", "id"),
    ("peer_id", "peer"),
    ("state", "state"),
    ("capacity_sat", "capacity"),
    ("sendable_msat", "can send"),
    ("receivable_msat", "can receive"),
    ("htlcs", "HTLCs"),
];
const PAYMENT_COLUMNS: &[(&str, &str)] = &[
    ("created_at", "begun"),
    ("payment_hash", "payment hash"),
    ("state", "state"),
    ("amount_msat", "amount"),
    ("fee_msat", "fee"),
    ("attempts", "attempts"),
    ("failure", "why it failed"),
];

/// All methods. `help`, which answers this table, and the commands that need no node are elsewhere.
pub const METHODS: &[Method] = &[
    Method {
        name: "getinfo",
        aliases: &["get-node-info"],
        help: "Show who this node is and how it is",
        params: &[],
        view: View::Fields,
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.getinfo()),
    },
    Method {
        name: "newaddr",
        aliases: &["newaddress", "getnewaddress", "onchain-receive"],
        help: "Make a new on-chain address of this node's wallet",
        params: &[],
        view: View::Bare("address"),
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.newaddr()),
    },
    Method {
        name: "balance",
        aliases: &[
            "walletbalance",
            "channelbalance",
            "listfunds",
            "onchainbalance",
            "usablebalances",
            "get-balances",
        ],
        help: "Show what this node owns, on chain and in channels",
        params: &[],
        view: View::Fields,
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.balance()),
    },
    Method {
        name: "send",
        aliases: &["sendcoins", "withdraw", "sendonchain", "onchain-send"],
        help: "Send bitcoin on chain",
        params: &[
            required("address", Kind::Address, "Where to"),
            required("amount_sat", Kind::SatOrAll, "How much; `all` empties the wallet"),
            FEERATE,
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::Send| node.send(request)),
    },
    Method {
        name: "listunspent",
        aliases: &["utxos"],
        help: "List the coins of this node's wallet",
        params: &[],
        view: View::List(
            "outputs",
            &[
                ("outpoint", "output"),
                ("amount_sat", "amount"),
                ("confirmations", "confirmations"),
                ("address", "address"),
            ],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listunspent()),
    },
    Method {
        name: "connect",
        aliases: &["connect-peer"],
        help: "Connect to another node",
        params: &[required("peer", Kind::Peer, "Its id and address")],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::Connect| node.connect(request)),
    },
    Method {
        name: "disconnect",
        aliases: &["disconnect-peer"],
        help: "End the connection with a node",
        params: &[required("node_id", Kind::NodeId, "Its id")],
        view: View::Sentence("Disconnected."),
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::Disconnect| node.disconnect(request)),
    },
    Method {
        name: "listpeers",
        aliases: &["peers"],
        help: "List the nodes that this one is connected to or has channels with",
        params: &[],
        view: View::List(
            "peers",
            &[
                ("node_id", "node"),
                ("connected", "connected"),
                ("inbound", "inbound"),
                ("address", "address"),
                ("channels", "channels"),
            ],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listpeers()),
    },
    Method {
        name: "listtowers",
        aliases: &["gettowerinfo", "towers"],
        help: "List this node's watchtowers and how they stand; see `lnode wtclient`",
        params: &[],
        view: View::List(
            "towers",
            &[
                ("node_id", "tower"),
                ("address", "address"),
                ("mode", "mode"),
                ("up", "up"),
                ("block_height", "height"),
                ("channels", "channels"),
                ("behind", "behind"),
            ],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listtowers()),
    },
    Method {
        name: "coverage",
        aliases: &["tower-coverage"],
        help: "Show for each channel how many watchtowers hold its last state",
        params: &[],
        view: View::List(
            "channels",
            &[
                ("channel_id", "channel"),
                ("peer_id", "peer"),
                ("update", "update"),
                ("held_by", "held by"),
                ("towers", "of"),
                ("behind", "behind"),
                ("blind_from", "blind from"),
            ],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.coverage()),
    },
    Method {
        name: "openchannel",
        aliases: &["fundchannel", "open", "open-channel"],
        help: "Open a channel",
        params: &[
            required("peer", Kind::Peer, "With whom; connected to if need be"),
            required("amount_sat", Kind::SatOrAll, "Its capacity; `all` takes what the wallet has"),
            flag("push_msat", "push", Kind::Msat, "Give this much of it to the peer"),
            flag("announce", "announce", Kind::Flag, "Tell the network about the channel"),
            PRIVATE,
            ZERO_CONF,
            flag(
                "zero_reserve",
                "zero-reserve",
                Kind::Flag,
                "Neither side keeps a reserve; the peer must trust this node",
            ),
            flag(
                "psbt",
                "psbt",
                Kind::Flag,
                "Another wallet pays: answer a PSBT to add coins to, for fundpsbt",
            ),
            FEERATE,
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::Open,
        call: |node, value| run(value, |request: request::OpenChannel| node.openchannel(request)),
    },
    Method {
        name: "multiopen",
        aliases: &["multifundchannel", "batchopenchannel"],
        help: "Open several channels by one transaction: all of them or none",
        params: &[
            required("channels", Kind::Opens, "With whom and how large; connected to if need be"),
            flag("announce", "announce", Kind::Flag, "Tell the network about the channels"),
            PRIVATE,
            ZERO_CONF,
            flag(
                "psbt",
                "psbt",
                Kind::Flag,
                "Another wallet pays: answer a PSBT to add coins to, for fundpsbt",
            ),
            FEERATE,
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::MultiOpen| node.multiopen(request)),
    },
    Method {
        name: "fundpsbt",
        aliases: &["fundchannel_complete", "verifypsbt"],
        help: "Fund channels of openchannel --psbt or multiopen --psbt by another wallet's unsigned PSBT; sign it when this has answered, not before",
        params: &[required(
            "psbt",
            Kind::Psbt,
            "The PSBT with the wallet's coins, native segwit only, not signed",
        )],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::FundPsbt| node.fundpsbt(request)),
    },
    Method {
        name: "signedpsbt",
        aliases: &["finalizepsbt", "sendpsbt"],
        help: "Broadcast the funding transaction of fundpsbt, signed by the other wallet",
        params: &[required("psbt", Kind::Psbt, "The finalized PSBT, or the transaction in hexadecimal")],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::FundPsbt| node.signedpsbt(request)),
    },
    Method {
        name: "cancelfunding",
        aliases: &["fundchannel_cancel"],
        help: "Call off a channel that another wallet was to fund; its transaction must never be broadcast",
        params: &[required(
            "channel",
            Kind::Channel,
            "Its id, or that of another channel of the same transaction",
        )],
        view: View::Sentence("Called off."),
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::CancelFunding| node.cancelfunding(request)),
    },
    Method {
        name: "listrequests",
        aliases: &["channelrequests"],
        help: "List the channels that peers propose and that wait for an answer (channels.ask)",
        params: &[],
        view: View::List(
            "requests",
            &[
                ("peer_id", "peer"),
                ("channel_id", "id"),
                ("capacity_sat", "capacity"),
                ("push_msat", "push"),
                ("announced", "announced"),
                ("zero_conf", "zero-conf"),
                ("reserve_sat", "reserve"),
            ],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listrequests()),
    },
    Method {
        name: "acceptchannel",
        aliases: &["channelaccept"],
        help: "Accept a channel that a peer proposes",
        params: &[
            required("node_id", Kind::NodeId, "Whose proposal"),
            required("channel", Kind::Channel, "Its temporary id, of listrequests"),
            flag(
                "zero_conf",
                "zero-conf",
                Kind::Flag,
                "Use it before it confirms: only if you trust the node",
            ),
            flag(
                "zero_reserve",
                "zero-reserve",
                Kind::Flag,
                "Neither side keeps a reserve: only if you trust the node",
            ),
            flag("reserve_sat", "reserve", Kind::Sat, "What the peer must keep"),
            flag("minimum_depth", "depth", Kind::Number(144), "Confirmations before it is used"),
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::AcceptChannel| node.acceptchannel(request)),
    },
    Method {
        name: "refusechannel",
        aliases: &["rejectchannel"],
        help: "Refuse a channel that a peer proposes",
        params: &[
            required("node_id", Kind::NodeId, "Whose proposal"),
            required("channel", Kind::Channel, "Its temporary id, of listrequests"),
            optional("reason", Kind::Text(MAX_REASON), "What the peer is told"),
        ],
        view: View::Sentence("Refused."),
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::RefuseChannel| node.refusechannel(request)),
    },
    Method {
        name: "listchannels",
        aliases: &["listpeerchannels", "channels", "pendingchannels", "closedchannels", "listclosedchannels"],
        help: "List the channels, those that wait and those that are closed included",
        params: &[],
        view: View::List("channels", CHANNEL_COLUMNS),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listchannels()),
    },
    Method {
        name: "closechannel",
        aliases: &["close", "close-channel"],
        help: "Close a channel",
        params: &[
            required("channel", Kind::Channel, "Its id, long or short"),
            flag(
                "force",
                "force",
                Kind::Flag,
                "Do it without the peer, by our last commitment: slower and dearer",
            ),
            flag("address", "to", Kind::Address, "Send our share there instead of into the wallet"),
            flag(
                "feerate_sat_per_vbyte",
                "feerate",
                Kind::Number(MAX_FEERATE),
                "What we pay for the closing transaction in sat per vbyte; asked again with more, it is replaced",
            ),
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::Close,
        call: |node, value| run(value, |request: request::CloseChannel| node.closechannel(request)),
    },
    Method {
        name: "forceclose",
        aliases: &["force-close-channel"],
        help: "Close a channel without the peer, as `closechannel --force` does",
        params: &[required("channel", Kind::Channel, "Its id, long or short")],
        view: View::Fields,
        read_only: false,
        wait: Wait::Close,
        call: |node, value| run(value, |request: request::ForceClose| node.closechannel(request.into())),
    },
    Method {
        name: "invoice",
        aliases: &["addinvoice", "createinvoice", "bolt11-receive"],
        help: "Make an invoice, to be paid by another node",
        params: &[
            required("amount_msat", Kind::MsatOrAny, "How much; with `any` the payer chooses"),
            optional("description", Kind::Text(MAX_DESCRIPTION), "What for"),
            flag("expiry_s", "expiry", Kind::Number(MAX_EXPIRY), "Seconds in which it can be paid"),
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::Invoice| node.invoice(request)),
    },
    Method {
        name: "holdinvoice",
        aliases: &["addholdinvoice", "bolt11-receive-for-hash"],
        help: "Make an invoice whose payment waits until it is settled or cancelled",
        params: &[
            required("payment_hash", Kind::PaymentHash, "Hash of a preimage that you keep"),
            required("amount_msat", Kind::MsatOrAny, "How much; with `any` the payer chooses"),
            optional("description", Kind::Text(MAX_DESCRIPTION), "What for"),
            flag("expiry_s", "expiry", Kind::Number(MAX_EXPIRY), "Seconds in which it can be paid"),
            flag("blocks", "blocks", Kind::Number(MAX_HOLD), "Blocks in which you can decide, at least"),
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::HoldInvoice| node.holdinvoice(request)),
    },
    Method {
        name: "settleinvoice",
        aliases: &["settle", "bolt11-claim-for-hash"],
        help: "Take a payment that waits, with the preimage of its invoice",
        params: &[required("preimage", Kind::Preimage, "The preimage")],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::SettleInvoice| node.settleinvoice(request)),
    },
    Method {
        name: "cancelinvoice",
        aliases: &["cancel", "bolt11-fail-for-hash"],
        help: "Call an invoice off, and give back a payment that waits for it",
        params: &[required("payment_hash", Kind::PaymentHash, "Its hash")],
        view: View::Fields,
        read_only: false,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::CancelInvoice| node.cancelinvoice(request)),
    },
    Method {
        name: "listinvoices",
        aliases: &["lookupinvoice", "getinvoice"],
        help: "List the invoices that this node made",
        params: &[],
        view: View::List(
            "invoices",
            &[
                ("created_at", "made"),
                ("payment_hash", "payment hash"),
                ("state", "state"),
                ("amount_msat", "amount"),
                ("received_msat", "received"),
                ("description", "what for"),
            ],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listinvoices()),
    },
    Method {
        name: "decode",
        aliases: &["decodepayreq", "parseinvoice", "decode-invoice"],
        help: "Show what an invoice says",
        params: &[INVOICE],
        view: View::Fields,
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::Decode| node.decode(request)),
    },
    Method {
        name: "pay",
        aliases: &["payinvoice", "sendpayment", "xpay", "bolt11-send"],
        help: "Pay an invoice",
        params: &[
            INVOICE,
            optional("amount_msat", Kind::Msat, "How much, if the invoice leaves it open"),
            MAX_FEE,
            flag(
                "max_parts",
                "max-parts",
                Kind::Number(MAX_PARTS),
                "At most this many parts at a time; 1 for none",
            ),
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::Payment,
        call: |node, value| run(value, |request: request::Pay| node.pay(request)),
    },
    Method {
        name: "keysend",
        aliases: &["sendtonode", "spontaneous-send"],
        help: "Pay a node that has not asked for it",
        params: &[
            required("node_id", Kind::NodeId, "Its id"),
            required("amount_msat", Kind::Msat, "How much"),
            MAX_FEE,
        ],
        view: View::Fields,
        read_only: false,
        wait: Wait::Payment,
        call: |node, value| run(value, |request: request::Keysend| node.keysend(request)),
    },
    Method {
        name: "listpayments",
        aliases: &["listpays", "payments"],
        help: "List the payments that this node made or tried",
        params: &[],
        view: View::List("payments", PAYMENT_COLUMNS),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |Nothing {}| node.listpayments()),
    },
    Method {
        name: "getpayment",
        aliases: &["trackpayment", "getsentinfo", "get-payment-details"],
        help: "Show one payment that this node made or tried",
        params: &[required("payment_hash", Kind::PaymentHash, "Its hash")],
        view: View::Fields,
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::GetPayment| node.getpayment(request)),
    },
    Method {
        name: "listevents",
        aliases: &["events", "subscribe-events"],
        help: "List what happened: channels, payments, punishments",
        params: &[
            flag("after", "after", Kind::Number(u64::MAX), "Only those behind this id"),
            flag("limit", "limit", Kind::Number(10_000), "At most this many, the oldest first"),
        ],
        view: View::List(
            "events",
            &[("id", "id"), ("at", "when"), ("kind", "kind"), ("text", "what happened")],
        ),
        read_only: true,
        wait: Wait::No,
        call: |node, value| run(value, |request: request::ListEvents| node.listevents(request)),
    },
    Method {
        name: STOP,
        aliases: &[],
        help: "Stop the node",
        params: &[],
        view: View::Sentence("The node is stopping."),
        read_only: false,
        wait: Wait::No,
        // The server makes it true by its `Shutdown`, which works also while there is no backend yet.
        call: |_, value| run(value, |Nothing {}| Ok(Done {})),
    },
];

/// The method that the server also acts upon itself.
pub const STOP: &str = "stop";

fn run<Q: DeserializeOwned, R: Serialize>(
    request: Value,
    call: impl FnOnce(Q) -> Result<R, ApiError>,
) -> Result<Value, ApiError> {
    let request = serde_json::from_value(request).map_err(|error| ApiError::bad(error.to_string()))?;
    let response = call(request)?;
    serde_json::to_value(response).map_err(|error| ApiError::new(Code::Internal, error.to_string()))
}

/// The method with this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name || method.aliases.contains(&name))
}

/// The name among all names and aliases that `name` may have been meant as.
#[must_use]
pub fn suggest(name: &str) -> Option<&'static str> {
    let names = METHODS.iter().flat_map(|method| method.aliases.iter().copied().chain([method.name]));
    crate::output::nearest(name, names)
}

impl Method {
    /// Checks `given` against the table and answers it as the request type takes it.
    ///
    /// # Errors
    /// [`Code::BadRequest`], naming the parameter.
    pub fn read(&self, given: &Map<String, Value>, writer: Writer) -> Result<Value, ApiError> {
        let mut read = Map::new();
        for (name, value) in given {
            let Some(param) = self.params.iter().find(|param| param.name == name) else {
                return Err(self.unknown(name));
            };
            // `null` is how programs leave something out.
            if value.is_null() {
                continue;
            }
            let value = param.kind.read(value, writer).map_err(|expected| {
                ApiError::bad(format!("{} must be {expected}, not {}", param.shown(writer), shown(value)))
            })?;
            read.insert(name.clone(), value);
        }
        let missing = |param: &&Param| param.place == Place::Required && !read.contains_key(param.name);
        match self.params.iter().find(missing) {
            Some(param) => {
                let what =
                    format!("{} needs {}, {}", self.name, param.shown(writer), param.kind.placeholder());
                Err(ApiError::bad(what))
            }
            None => Ok(Value::Object(read)),
        }
    }

    /// Does it. `request` comes from [`Method::read`].
    ///
    /// # Errors
    /// Those of the backend.
    pub fn call(&self, backend: &dyn Backend, request: Value) -> Result<Value, ApiError> {
        (self.call)(backend, request)
    }

    fn unknown(&self, name: &str) -> ApiError {
        let error = ApiError::bad(format!("{} has no parameter {name:?}", self.name));
        match crate::output::nearest(name, self.params.iter().map(|param| param.name)) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None if self.params.is_empty() => error.hint("it takes none"),
            None => {
                let names: Vec<_> = self.params.iter().map(|param| param.name).collect();
                error.hint(format!("it takes {}", names.join(", ")))
            }
        }
    }
}

impl Param {
    /// Its name as its writer knows it.
    #[must_use]
    pub fn shown(&self, writer: Writer) -> String {
        match (writer, self.place) {
            (Writer::Program, _) => self.name.to_owned(),
            (Writer::Person, Place::Flag(flag)) => format!("--{flag}"),
            (Writer::Person, _) => self.title().to_uppercase(),
        }
    }

    /// Its name without the unit: people may give amounts in any.
    #[must_use]
    pub fn title(&self) -> &'static str {
        let name = self.name;
        name.strip_suffix("_msat").or_else(|| name.strip_suffix("_sat")).unwrap_or(name)
    }
}

/// A wrong value for an error message: short, whatever it is.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
