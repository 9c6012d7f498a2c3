//! ChannelManager: the shell around channels and payments.
//!
//! `&self` everywhere: one small lock a channel, one for node-wide tables, one for messages, one for events; no two at once,
//! and nothing foreign but signer, entropy and log under one (I7). Each entry locks, steps, unlocks, carries out what the
//! channel gave, then does the work that came of it for other channels (`work.rs`), and signs.
//!
//! | kind | methods |
//! | --- | --- |
//! | inputs | `ChannelMessageHandler`, `ChainListener`, [`process`](ChannelManager::process), [`timer_tick`](ChannelManager::timer_tick), [`note_time`](ChannelManager::note_time) |
//! | commands: channels | `open_channel`, `open_channel_with`, `accept_channel`, `accept_channel_with`, `refuse_channel`, `funding_transaction`, `funding_transaction_for`, `funding_signed`, `cancel_funding`, `close_channel`, `force_close`, `quiesce_channel`, `announce_node` |
//! | commands: payments | `pay`, `send_along`, `abandon`, `send_probe`, `probe_along`, `create_inbound_payment`, `create_inbound_payment_for_hash`, `claim`, `claim_with`, `fail` |
//! | commands: forwards | `promise_channel`, `forward_intercepted`, `refuse_intercepted` |
//! | outputs | `MessageSendEventsProvider`, `EventsProvider`, [`take_record`](ChannelManager::take_record) |
//! | getters | `list_channels`, `channel_requests`, `funding_transactions`, `list_payments`, `first_hops`, `route_hints`, `node_id` |
//!
//! | file | what |
//! | --- | --- |
//! | `slot.rs` `drain.rs` | one channel behind its lock; its outputs carried out in order |
//! | `table.rs` `work.rs` | the node-wide table; work between channels |
//! | `outbox.rs` `events.rs` | what waits for the peer layer and for the user |
//! | `inputs.rs` `chain.rs` `poll.rs` | what comes from peers, chain, monitors, route finder, clock |
//! | `funding.rs` | one transaction for several channels, or signed by others |
//! | `opening.rs` `commands.rs` `gossip.rs` | channels as the user and the network see them |
//! | `forwarding.rs` `sending.rs` `receiving.rs` | HTLCs: forwarded, ours, for us |
//! | `probing.rs` | HTLCs that only find out |
//! | `intercepting.rs` | forwards that the user decides on |
//! | `stuck.rs` | forwards of which nobody hears any more |
//! | `returning.rs` | what goes back, and how long it was held |
//!
//! # Invariants
//! - no lock is taken while another is held; nothing foreign but signer, entropy and log is called under one (I7)
//! - the manager's own record is a cache of intents: nothing closes and no money is lost without it (I6)
mod chain;
mod commands;
mod drain;
pub(crate) mod events;
mod forwarding;
mod funding;
mod gossip;
mod inputs;
mod intercepting;
mod opening;
mod outbox;
mod poll;
mod probing;
mod receiving;
pub(crate) mod returning;
mod sending;
pub(crate) mod slot;
mod stuck;
pub(crate) mod table;
pub(crate) mod work;

use bitcoin::constants::ChainHash;
use lightning_traits::Secp;
use lightning_traits::config::UserConfig;
use lightning_traits::event::Event;
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::NodeId;
use lightning_traits::interface::{EntropySource as _, Environment, KeysInterface, Level, LogRecord, Logger};
use lightning_traits::sync::Mutex;

pub use commands::CommandError;
pub use funding::FundingError;
pub use gossip::AnnounceError;
pub use intercepting::InterceptError;
pub use opening::{AcceptChannelError, OpenChannelError};
pub use receiving::InboundPayment;
pub use table::Tip;

use crate::channel::{Context, FeeQuotes};
use crate::forward::intercepted::Promises;
use crate::payment::secret::Secrets;
use events::{Events, Source};
use outbox::Outbox;
use table::{Now, Table};

/// Channels, payments, forwarding.
pub struct ChannelManager<E: Environment> {
    env: E,
    config: UserConfig,
    chain: ChainHash,
    secp: Secp,
    node: NodeId,
    features: Features,
    secrets: Secrets,
    promises: Promises,
    pub(crate) table: Mutex<Table<E::Keys>>,
    outbox: Mutex<Outbox>,
    pub(crate) events: Mutex<Events>,
}

impl<E: Environment> ChannelManager<E> {
    /// A manager without channels, for `chain`, whose best block is `tip`.
    pub fn new(env: E, config: UserConfig, chain: ChainHash, tip: Tip) -> Self {
        let node = NodeId::from(env.keys().node_id());
        let env_key = env.keys().inbound_payment_key();
        let secrets = Secrets::new(&env_key);
        let fees = FeeQuotes::ask(env.fees());
        let [a, b, c, ..] = env.keys().bytes32();
        let mut features = Features::node_default();
        if config.handshake.zero_conf {
            features.set_optional(Feature::ZeroConf.optional_bit());
        }
        let first_event = events::first_id(tip.height.get(), [a, b, c]);
        Self {
            env,
            config,
            chain,
            secp: Secp::new(),
            node,
            features,
            secrets,
            promises: Promises::new(&env_key),
            table: Mutex::new(Table::new(Now { tip, fees })),
            outbox: Mutex::new(Outbox::default()),
            events: Mutex::new(Events::new(first_event)),
        }
    }

    /// Our node's id.
    #[must_use]
    pub const fn node_id(&self) -> NodeId {
        self.node
    }

    /// What the user chose.
    #[must_use]
    pub const fn config(&self) -> &UserConfig {
        &self.config
    }

    /// What the manager calls.
    pub const fn environment(&self) -> &E {
        &self.env
    }

    pub(crate) fn now(&self) -> Now {
        self.table.lock().now
    }

    pub(crate) fn context<'a>(&'a self, now: &Now) -> Context<'a, E::Keys> {
        Context {
            secp: &self.secp,
            keys: self.env.keys(),
            config: &self.config,
            fees: now.fees,
            chain: self.chain,
            features: &self.features,
            height: now.tip.height,
            time: now.tip.time,
            log: self.env.log(),
        }
    }

    /// Tells the user, durably where `source` says so.
    fn tell(&self, event: Event, source: Source) {
        let runs_out = {
            let mut events = self.events.lock();
            events.tell(event, source);
            events.runs_out()
        };
        if runs_out || !matches!(source, Source::Once { .. } | Source::Request { .. }) {
            self.table.lock().records.is_due = true;
        }
    }

    fn tell_once(&self, event: Event) {
        self.events.lock().tell_once(event);
    }

    fn log(&self, level: Level, message: core::fmt::Arguments<'_>) {
        let record = LogRecord { level, module: "manager", peer: None, channel: None, message };
        self.env.log().log(&record);
    }
}
