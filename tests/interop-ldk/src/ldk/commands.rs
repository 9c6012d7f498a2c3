//! What a test does with an LDK node, and how the node answers its own events.
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, OutPoint, TxOut};
use lightning::chain::channelmonitor::Balance;
use lightning::events::{Event, PaymentPurpose, ReplayEvent};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{Bolt11InvoiceParameters, PaymentId, Retry};
use lightning::ln::types::ChannelId;
use lightning::routing::router::RouteParametersConfig;
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};

use super::journal::{Incoming, Journal, Outgoing};
use super::start::{LdkNode, Parts};
use crate::chain::Chain;
use crate::wait::{PATIENCE, tail, wait_until, wait_within};

/// How a channel should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Both agree.
    Cooperative,
    /// With our commitment.
    Force,
}

/// How a payment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentResult {
    /// Paid.
    Sent {
        /// The proof.
        preimage: PaymentPreimage,
        /// What the route cost.
        fee_msat: Option<u64>,
    },
    /// Not paid, with LDK's reason.
    Failed(String),
}

/// A channel as a test looks at it.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// LDK's own details.
    pub details: ChannelDetails,
}

impl ChannelView {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.details.channel_id
    }

    /// Where its funding is.
    #[must_use]
    pub fn funding(&self) -> Option<OutPoint> {
        self.details.funding_txo.map(|funding| funding.into_bitcoin_outpoint())
    }

    /// HTLCs in both directions.
    #[must_use]
    pub fn pending_htlcs(&self) -> usize {
        self.details.pending_inbound_htlcs.len() + self.details.pending_outbound_htlcs.len()
    }
}

impl fmt::Display for LdkNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "=== {} at {} ===", self.name, self.address)?;
        for view in self.channels() {
            let details = view.details;
            writeln!(
                f,
                "channel {} usable {} ready {} out {} in {} htlcs {}/{} shutdown {:?}",
                details.channel_id,
                details.is_usable,
                details.is_channel_ready,
                details.outbound_capacity_msat,
                details.inbound_capacity_msat,
                details.pending_outbound_htlcs.len(),
                details.pending_inbound_htlcs.len(),
                details.channel_shutdown_state
            )?;
        }
        writeln!(
            f,
            "wallet {}, unswept {}, claims {:?}",
            self.wallet_balance(),
            self.unswept(),
            self.balances()
        )?;
        writeln!(f, "events:\n{}", self.parts.journal.tail(25))?;
        write!(f, "{}", tail(self.parts.log.path(), 60))
    }
}

impl LdkNode {
    /// The node's public key.
    #[must_use]
    pub fn id(&self) -> PublicKey {
        self.parts.manager.get_our_node_id()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its events told.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.parts.journal
    }

    /// The bitcoin wallet that pays for channels and receives what they leave.
    #[must_use]
    pub fn wallet_balance(&self) -> Amount {
        self.parts.purse.wallet.balance()
    }

    /// Gives the wallet `amount` in a few coins, confirmed.
    pub fn fund(&self, chain: &Chain, amount: Amount) {
        chain.pay(&self.parts.purse.wallet.address(), amount, 4);
        chain.mine(1);
        self.sync(chain);
    }

    /// Changes the fee rate that it sees (sat per 1000 weight units) and lets it act on that.
    pub fn set_feerate(&self, sat_per_kw: u32) {
        self.parts.fees.set(sat_per_kw);
        self.parts.manager.timer_tick_occurred();
    }

    /// Waits until the node has seen the best block.
    pub fn sync(&self, chain: &Chain) {
        let height = chain.height();
        wait_until(
            &format!("{} to see block {height}", self.name),
            || self,
            || self.parts.manager.current_best_block().height >= height,
        );
    }

    /// Connects to a peer and waits for both `init` messages.
    pub fn connect(&self, peer: PublicKey, address: SocketAddr) {
        if self.is_connected(&peer) {
            return;
        }
        let runtime = self.runtime.as_ref().expect("a running node");
        wait_within(
            PATIENCE,
            &format!("{} to connect to {peer} at {address}", self.name),
            || self,
            || {
                let peers = self.parts.peers.clone();
                let attempt = lightning_net_tokio::connect_outbound(peers, peer, address);
                let closed = runtime.block_on(attempt)?;
                // The peer may refuse until it is ready: wait for `init` or for the end of the connection.
                let mut closed = Box::pin(closed);
                loop {
                    if self.is_connected(&peer) {
                        return Some(());
                    }
                    let step = tokio::time::Duration::from_millis(20);
                    let over = runtime.block_on(async { tokio::time::timeout(step, &mut closed).await });
                    if over.is_ok() {
                        return self.is_connected(&peer).then_some(());
                    }
                }
            },
        );
    }

    /// Whether `peer` is connected and has greeted.
    #[must_use]
    pub fn is_connected(&self, peer: &PublicKey) -> bool {
        self.parts.peers.list_peers().iter().any(|found| found.counterparty_node_id == *peer)
    }

    /// Drops the connection to `peer`.
    pub fn disconnect(&self, peer: PublicKey) {
        self.parts.peers.disconnect_by_node_id(peer);
    }

    /// Opens a channel and waits until its funding transaction waits to be mined.
    pub fn open_channel(
        &self,
        chain: &Chain,
        peer: PublicKey,
        value: Amount,
        push_msat: u64,
        announce: bool,
    ) -> OutPoint {
        let before: Vec<OutPoint> = self.channels().iter().filter_map(ChannelView::funding).collect();
        let mut config = self.options.config.clone();
        config.channel_handshake_config.announce_for_forwarding = announce;
        let asked = self.parts.manager.create_channel(peer, value.to_sat(), push_msat, 0, None, Some(config));
        asked.unwrap_or_else(|error| panic!("{} cannot open a channel: {error:?}\n{self}", self.name));
        let funding = wait_within(
            PATIENCE,
            &format!("{} to fund its channel", self.name),
            || self,
            || {
                let troubles = self.parts.journal.troubles();
                assert!(troubles.is_empty(), "{troubles:?}\n{self}");
                let mut fundings = self.channels().into_iter().filter_map(|view| view.funding());
                fundings
                    .find(|funding| !before.contains(funding) && funding.txid != bitcoin::Txid::all_zeros())
            },
        );
        wait_until("the funding in the mempool", || self, || chain.mempool().contains(&funding.txid));
        funding
    }

    /// All channels that are not closed.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelView> {
        self.parts.manager.list_channels().into_iter().map(|details| ChannelView { details }).collect()
    }

    /// The channel with this funding, if it is not closed.
    #[must_use]
    pub fn channel(&self, funding: OutPoint) -> Option<ChannelView> {
        self.channels().into_iter().find(|view| view.funding() == Some(funding))
    }

    /// Waits until the channel can carry payments.
    pub fn wait_usable(&self, funding: OutPoint) {
        wait_until(
            &format!("{}'s channel to be usable", self.name),
            || self,
            || self.channel(funding).is_some_and(|view| view.details.is_usable),
        );
    }

    /// Waits until the graph knows the channel with both directions.
    pub fn wait_announced(&self, funding: OutPoint, peer_of_channel: Option<u64>) {
        let scid = || peer_of_channel.or_else(|| self.channel(funding)?.details.short_channel_id);
        wait_until(
            &format!("{} to hear of the channel {funding}", self.name),
            || self,
            || scid().is_some_and(|scid| self.knows_channel(scid)),
        );
    }

    /// Whether the graph has the channel with both directions.
    #[must_use]
    pub fn knows_channel(&self, scid: u64) -> bool {
        let graph = self.parts.graph.read_only();
        graph.channel(scid).is_some_and(|found| found.one_to_two.is_some() && found.two_to_one.is_some())
    }

    /// How many channels the graph has.
    #[must_use]
    pub fn graph_size(&self) -> usize {
        self.parts.graph.read_only().channels().len()
    }

    /// A new invoice.
    #[must_use]
    pub fn invoice(&self, amount_msat: u64, description: &str) -> Bolt11Invoice {
        let text = Description::new(description.to_owned()).expect("a short description");
        let parameters = Bolt11InvoiceParameters {
            amount_msats: Some(amount_msat),
            description: Bolt11InvoiceDescription::Direct(text),
            ..Bolt11InvoiceParameters::default()
        };
        self.parts.manager.create_bolt11_invoice(parameters).expect("an invoice")
    }

    /// A new invoice whose payment waits until [`claim`](Self::claim) or [`refuse`](Self::refuse).
    #[must_use]
    pub fn hold_invoice(&self, amount_msat: u64) -> Bolt11Invoice {
        let invoice = self.invoice(amount_msat, "held");
        self.parts.journal.hold(hash_of(&invoice));
        invoice
    }

    /// Starts to pay; [`outcome`](Self::outcome) waits for the end.
    pub fn pay(&self, invoice: &Bolt11Invoice) -> Result<PaymentHash, String> {
        let hash = hash_of(invoice);
        self.parts.journal.paying(hash);
        let limits = RouteParametersConfig::default();
        let retry = Retry::Attempts(5);
        let sent = self.parts.manager.pay_for_bolt11_invoice(invoice, PaymentId(hash.0), None, limits, retry);
        sent.map(|()| hash).map_err(|error| format!("{error:?}"))
    }

    /// Starts to pay what is written as text.
    pub fn pay_text(&self, invoice: &str) -> Result<PaymentHash, String> {
        let invoice = Bolt11Invoice::from_str(invoice).map_err(|error| format!("{invoice}: {error:?}"))?;
        self.pay(&invoice)
    }

    /// Waits for the end of a payment.
    #[must_use]
    pub fn outcome(&self, hash: PaymentHash) -> PaymentResult {
        wait_within(
            PATIENCE,
            &format!("the outcome of {}'s payment {hash}", self.name),
            || self,
            || match self.parts.journal.outgoing(&hash)? {
                Outgoing::Pending => None,
                Outgoing::Sent { preimage, fee_msat } => Some(PaymentResult::Sent { preimage, fee_msat }),
                Outgoing::Failed(reason) => Some(PaymentResult::Failed(format!("{reason:?}"))),
            },
        )
    }

    /// Pays and waits; panics unless paid.
    pub fn pay_now(&self, invoice: &Bolt11Invoice) {
        let hash =
            self.pay(invoice).unwrap_or_else(|error| panic!("{} cannot pay: {error}\n{self}", self.name));
        let outcome = self.outcome(hash);
        assert!(
            matches!(outcome, PaymentResult::Sent { .. }),
            "{} did not pay: {outcome:?}\n{self}",
            self.name
        );
    }

    /// Waits until a held payment has arrived; answers what claims it.
    #[must_use]
    pub fn wait_held(&self, hash: PaymentHash) -> PaymentPreimage {
        wait_within(
            PATIENCE,
            &format!("a payment to reach {}", self.name),
            || self,
            || match self.parts.journal.incoming(&hash)? {
                Incoming::Claimable { preimage, .. } => Some(preimage),
                Incoming::Claimed { .. } => None,
            },
        )
    }

    /// Takes a held payment.
    pub fn claim(&self, preimage: PaymentPreimage) {
        self.parts.manager.claim_funds(preimage);
    }

    /// Sends a held payment back.
    pub fn refuse(&self, hash: PaymentHash) {
        self.parts.manager.fail_htlc_backwards(&hash);
    }

    /// Begins to close a channel.
    pub fn close_channel(&self, funding: OutPoint, how: Close) {
        let view = self.channel(funding).unwrap_or_else(|| panic!("no channel {funding}\n{self}"));
        let (id, peer) = (view.id(), view.details.counterparty.node_id);
        let manager = &self.parts.manager;
        let asked = match how {
            Close::Cooperative => manager.close_channel(&id, &peer),
            Close::Force => manager.force_close_broadcasting_latest_txn(&id, &peer, "as asked".to_owned()),
        };
        asked.unwrap_or_else(|error| panic!("{} cannot close {id}: {error:?}\n{self}", self.name));
    }

    /// What closed channels will still give, and open ones would.
    #[must_use]
    pub fn balances(&self) -> Vec<Balance> {
        self.parts.monitors.get_claimable_balances(&[])
    }

    /// Outputs that are being moved to the wallet and are not there yet.
    #[must_use]
    pub fn unswept(&self) -> usize {
        let tracked = self.parts.sweeper.tracked_spendable_outputs();
        let mined = |output: &&lightning::util::sweep::TrackedSpendableOutput| {
            !matches!(
                output.status,
                lightning::util::sweep::OutputSpendStatus::PendingThresholdConfirmations { .. }
            )
        };
        tracked.iter().filter(mined).count()
    }
}

/// The hash that an invoice asks to be paid for.
#[must_use]
pub fn hash_of(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash(invoice.payment_hash().to_byte_array())
}

impl Parts {
    /// After each block: sweep what has matured, tell the network who we are.
    pub(super) fn on_blocks(&self) {
        if self.sweeper.regenerate_and_broadcast_spend_if_necessary().is_err() {
            self.journal.note("the sweeper cannot sweep".to_owned());
        }
        if self.manager.list_channels().iter().any(|details| details.is_announced) {
            self.peers.broadcast_node_announcement([0; 3], [0; 32], Vec::new());
        }
    }

    /// LDK's events, most of which only need to be known.
    pub(super) fn on_event(&self, event: Event) -> Result<(), ReplayEvent> {
        self.journal.note(format!("{event:?}").chars().take(400).collect());
        match event {
            Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } => {
                let accepted = self.manager.accept_inbound_channel(
                    &temporary_channel_id,
                    &counterparty_node_id,
                    0,
                    None,
                );
                self.note_failure("accept a channel", accepted);
            }
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let output =
                    TxOut { value: Amount::from_sat(channel_value_satoshis), script_pubkey: output_script };
                self.fund(temporary_channel_id, counterparty_node_id, &output);
            }
            Event::PaymentClaimable { payment_hash, amount_msat, purpose, .. } => {
                self.on_claimable(payment_hash, amount_msat, &purpose);
            }
            Event::PaymentClaimed { payment_hash, amount_msat, .. } => {
                self.journal.received(payment_hash, Incoming::Claimed { amount_msat });
            }
            Event::PaymentSent { payment_hash, payment_preimage, fee_paid_msat, .. } => {
                self.journal.paid(payment_hash, payment_preimage, fee_paid_msat);
            }
            Event::PaymentFailed { payment_id, payment_hash, reason } => {
                self.journal.gave_up(payment_hash.unwrap_or(PaymentHash(payment_id.0)), reason);
            }
            Event::PaymentForwarded { .. } => self.journal.forwarded(),
            Event::ChannelClosed { channel_id, reason, .. } => {
                self.journal.channel_closed(channel_id, reason);
            }
            Event::SpendableOutputs { outputs, channel_id } => {
                let count = outputs.len();
                self.sweeper
                    .track_spendable_outputs(outputs, channel_id, false, None)
                    .map_err(|()| ReplayEvent())?;
                self.journal.sweeping(count);
                let _swept = self.sweeper.regenerate_and_broadcast_spend_if_necessary();
            }
            Event::BumpTransaction(bump) => self.bumper.handle_event(&bump),
            _ => {}
        }
        Ok(())
    }

    fn on_claimable(&self, hash: PaymentHash, amount_msat: u64, purpose: &PaymentPurpose) {
        let Some(preimage) = purpose.preimage() else {
            self.journal.note(format!("no preimage for {hash}"));
            return self.manager.fail_htlc_backwards(&hash);
        };
        self.journal.received(hash, Incoming::Claimable { amount_msat, preimage });
        if !self.journal.is_held(&hash) {
            self.manager.claim_funds(preimage);
        }
    }

    fn fund(&self, channel: ChannelId, peer: PublicKey, output: &TxOut) {
        let funded = self.purse.wallet.fund(output).map_err(|error| error.to_string()).and_then(|tx| {
            let given = self.manager.funding_transaction_generated(channel, peer, tx);
            given.map_err(|error| format!("{error:?}"))
        });
        self.note_failure("fund a channel", funded);
    }

    fn note_failure<T, E: fmt::Debug>(&self, what: &str, outcome: Result<T, E>) {
        if let Err(error) = outcome {
            self.journal.trouble(format!("cannot {what}: {error:?}"));
        }
    }
}
