//! What a test does with an LDK node.
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bitcoin::{Address, Amount, OutPoint, Transaction};
use lightning::chain::channelmonitor::Balance;
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{Bolt11InvoiceParameters, PaymentId, RecipientOnionFields, Retry};
use lightning::routing::router::{PaymentParameters, RouteParameters, RouteParametersConfig};
use lightning::types::payment::{PaymentHash as LdkHash, PaymentPreimage, PaymentSecret};
use lightning::util::sweep::OutputSpendStatus;
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use lightning_traits::payment::{PaymentHash, Preimage};

use super::entropy;
use super::journal::{Incoming, Journal, Outgoing, Will};
use super::start::LdkNode;
use crate::chain::Chain;
use crate::node::{Close, Node, Opening, Progress};
use crate::wait::{PATIENCE, tail, wait_until, wait_within};

const LOG_LINES: usize = 60;
const EVENTS: usize = 25;
const ATTEMPTS: u32 = 5;
/// Blocks that the last HTLC of a payment without an invoice has.
const KEYSEND_DELTA: u32 = 42;

impl fmt::Display for LdkNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "=== {} at {} ===", self.name, self.address)?;
        for details in self.channels() {
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
        let (wallet, unswept) = (self.wallet_balance(), self.unswept());
        writeln!(f, "wallet {wallet}, unswept {unswept}, claims {:?}", self.claims())?;
        writeln!(f, "events:\n{}", self.parts.journal.tail(EVENTS))?;
        write!(f, "{}", tail(self.parts.log.path(), LOG_LINES))
    }
}

impl LdkNode {
    /// What its events told.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.parts.journal
    }

    /// The secret key of its node id.
    #[must_use]
    pub fn node_secret(&self) -> SecretKey {
        self.parts.keys.get_node_secret_key()
    }

    /// Changes the fee rate that it sees (sat per 1000 weight units) and lets it act on that.
    pub fn set_feerate(&self, sat_per_kw: u32) {
        self.parts.fees.set(sat_per_kw);
        self.parts.manager.timer_tick_occurred();
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

    /// All channels that are not closed.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelDetails> {
        self.parts.manager.list_channels()
    }

    /// The channel with this funding, if it is not closed.
    #[must_use]
    pub fn channel(&self, funding: OutPoint) -> Option<ChannelDetails> {
        self.channels().into_iter().find(|details| outpoint(details) == Some(funding))
    }

    /// The short id of a channel of its own.
    #[must_use]
    pub fn short_id(&self, funding: OutPoint) -> Option<u64> {
        self.channel(funding)?.short_channel_id
    }

    /// Waits until the graph has the channel with both directions, whose six signatures LDK then has verified; and looks
    /// up that the id leads to `funding`, an output of the two keys that the announcement names (BOLT 7).
    pub fn wait_announced(&self, chain: &Chain, scid: u64, funding: OutPoint) {
        let directions = || {
            let graph = self.parts.graph.read_only();
            let known = graph.channel(scid)?;
            Some([&known.one_to_two, &known.two_to_one].map(Option::is_some))
        };
        let state = || format!("known directions: {:?}\n{self}", directions());
        let what = format!("{} to hear of the channel {scid}", self.name);
        wait_until(&what, state, || directions() == Some([true, true]));
        let graph = self.parts.graph.read_only();
        let known = graph.channel(scid).and_then(|known| known.announcement_message.clone());
        let announced = known.expect("an announcement").contents;
        let [one, two] = [announced.bitcoin_key_1, announced.bitcoin_key_2]
            .map(|key| PublicKey::from_slice(key.as_slice()).expect("a key"));
        let (outpoint, output) = chain.announced_output(scid);
        assert_eq!(outpoint, funding, "the channel {scid}");
        assert_eq!(output.script_pubkey, make_funding_redeemscript(&one, &two).to_p2wsh());
    }

    /// A new invoice whose payment waits until [`claim`](Self::claim) or [`refuse`](Self::refuse).
    #[must_use]
    pub fn hold_invoice(&self, amount_msat: u64) -> (String, PaymentHash) {
        let invoice = self.invoice(amount_msat);
        let hash = PaymentHash(invoice.payment_hash().to_byte_array());
        self.parts.journal.decide(LdkHash(hash.0), Will::Hold);
        (invoice.to_string(), hash)
    }

    /// A new invoice whose payment goes back as soon as it arrives.
    #[must_use]
    pub fn refused_invoice(&self, amount_msat: u64) -> String {
        let invoice = self.invoice(amount_msat);
        self.parts.journal.decide(LdkHash(invoice.payment_hash().to_byte_array()), Will::Refuse);
        invoice.to_string()
    }

    /// Pays `payee` without an invoice, in parts if `in_parts`: then it must know that they belong together.
    #[must_use]
    pub fn keysend(&self, payee: PublicKey, amount_msat: u64, in_parts: bool) -> PaymentHash {
        let preimage = PaymentPreimage(entropy());
        let hash = LdkHash::from(preimage);
        self.parts.journal.paying(hash);
        let parameters = PaymentParameters::for_keysend(payee, KEYSEND_DELTA, in_parts);
        let route = RouteParameters::from_payment_params_and_value(parameters, amount_msat);
        let onion = if in_parts {
            RecipientOnionFields::secret_only(PaymentSecret(entropy()))
        } else {
            RecipientOnionFields::spontaneous_empty()
        };
        let (id, retry) = (PaymentId(hash.0), Retry::Attempts(ATTEMPTS));
        let begun = self.parts.manager.send_spontaneous_payment(Some(preimage), onion, id, route, retry);
        begun.unwrap_or_else(|error| panic!("{} cannot pay: {error:?}\n{self}", self.name));
        PaymentHash(hash.0)
    }

    /// Waits until a held payment has arrived; answers what claims it.
    #[must_use]
    pub fn wait_held(&self, hash: PaymentHash, payer: &dyn Node) -> Preimage {
        let what = format!("the payment {hash} to reach {}", self.name);
        let probe = || match self.parts.journal.incoming(&LdkHash(hash.0))? {
            Incoming::Claimable { preimage, .. } => Some(Preimage::new(preimage.0)),
            Incoming::Claimed { .. } => None,
        };
        wait_within(PATIENCE, &what, || format!("{self}\n{payer}"), probe)
    }

    /// Takes a held payment.
    pub fn claim(&self, preimage: &Preimage) {
        self.parts.manager.claim_funds(PaymentPreimage(*preimage.as_bytes()));
    }

    /// Sends a held payment back.
    pub fn refuse(&self, hash: PaymentHash) {
        self.parts.manager.fail_htlc_backwards(&LdkHash(hash.0));
    }

    /// The transaction that a force-close would broadcast now. Once more is paid, to broadcast it is to cheat.
    #[must_use]
    pub fn latest_commitment(&self, funding: OutPoint) -> Transaction {
        let details = self.channel(funding).unwrap_or_else(|| panic!("no channel {funding}\n{self}"));
        let monitor = self.parts.monitors.get_monitor(details.channel_id).expect("the channel's monitor");
        monitor.unsafe_get_latest_holder_commitment_txn(&self.parts.log).swap_remove(0)
    }

    /// What closed channels will still give.
    #[must_use]
    pub fn claims(&self) -> Vec<Balance> {
        let open = self.channels();
        self.parts.monitors.get_claimable_balances(&open.iter().collect::<Vec<_>>())
    }

    /// Outputs that are being moved to the wallet and are in no block yet.
    #[must_use]
    pub fn unswept(&self) -> usize {
        let mined = |status| matches!(status, OutputSpendStatus::PendingThresholdConfirmations { .. });
        let tracked = self.parts.sweeper.tracked_spendable_outputs();
        tracked.into_iter().filter(|output| !mined(output.status.clone())).count()
    }

    fn invoice(&self, amount_msat: u64) -> Bolt11Invoice {
        let text = Description::new("interop".to_owned()).expect("a short description");
        let parameters = Bolt11InvoiceParameters {
            amount_msats: Some(amount_msat),
            description: Bolt11InvoiceDescription::Direct(text),
            ..Bolt11InvoiceParameters::default()
        };
        self.parts.manager.create_bolt11_invoice(parameters).expect("an invoice")
    }

    /// One try to connect: true once `peer` has greeted, false once the connection is over.
    fn try_connect(&self, peer: PublicKey, address: SocketAddr) -> bool {
        let runtime = self.runtime.as_ref().expect("a running node");
        let attempt = lightning_net_tokio::connect_outbound(self.parts.peers.clone(), peer, address);
        let Some(closed) = runtime.block_on(attempt) else { return false };
        let mut closed = Box::pin(closed);
        loop {
            if self.is_connected(&peer) {
                return true;
            }
            let step = Duration::from_millis(20);
            if runtime.block_on(async { tokio::time::timeout(step, &mut closed).await }).is_ok() {
                return self.is_connected(&peer);
            }
        }
    }
}

fn outpoint(details: &ChannelDetails) -> Option<OutPoint> {
    details.funding_txo.map(|funding| funding.into_bitcoin_outpoint())
}

impl Node for LdkNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> PublicKey {
        self.parts.manager.get_our_node_id()
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn height(&self) -> u32 {
        self.parts.manager.current_best_block().height
    }

    fn new_address(&self) -> Address {
        self.parts.purse.wallet.address()
    }

    fn wallet_balance(&self) -> Amount {
        self.parts.purse.wallet.balance()
    }

    fn connect_to(&self, peer: PublicKey, address: SocketAddr) {
        let what = format!("{} to connect to {peer} at {address}", self.name);
        wait_until(&what, || self, || self.is_connected(&peer) || self.try_connect(peer, address));
    }

    fn open(&self, chain: &Chain, peer: PublicKey, opening: Opening) -> OutPoint {
        let before: Vec<OutPoint> = self.channels().iter().filter_map(outpoint).collect();
        let mut config = self.options.config.clone();
        config.channel_handshake_config.announce_for_forwarding = opening.announce;
        let (value, push) = (opening.value.to_sat(), opening.push_msat);
        let asked = self.parts.manager.create_channel(peer, value, push, 0, None, Some(config));
        asked.unwrap_or_else(|error| panic!("{} cannot open a channel: {error:?}\n{self}", self.name));
        let probe = || {
            let troubles = self.parts.journal.troubles();
            assert!(troubles.is_empty(), "{troubles:?}\n{self}");
            let fresh =
                |funding: &OutPoint| !before.contains(funding) && chain.mempool().contains(&funding.txid);
            self.channels().iter().filter_map(outpoint).find(fresh)
        };
        wait_within(PATIENCE, &format!("{} to fund its channel", self.name), || self, probe)
    }

    fn is_usable(&self, funding: OutPoint) -> bool {
        self.channel(funding).is_some_and(|details| details.is_usable)
    }

    fn htlcs(&self, funding: OutPoint) -> Option<usize> {
        let details = self.channel(funding)?;
        Some(details.pending_inbound_htlcs.len() + details.pending_outbound_htlcs.len())
    }

    fn owned_msat(&self, funding: OutPoint) -> Option<u64> {
        let details = self.channel(funding)?;
        let reserve = details.unspendable_punishment_reserve.unwrap_or(0) * 1000;
        Some(details.outbound_capacity_msat + reserve)
    }

    fn close(&self, funding: OutPoint, how: Close) {
        let details = self.channel(funding).unwrap_or_else(|| panic!("no channel {funding}\n{self}"));
        let (id, peer) = (details.channel_id, details.counterparty.node_id);
        let manager = &self.parts.manager;
        let asked = match how {
            Close::Cooperative => manager.close_channel(&id, &peer),
            Close::Force => manager.force_close_broadcasting_latest_txn(&id, &peer, "as asked".to_owned()),
        };
        asked.unwrap_or_else(|error| panic!("{} cannot close {id}: {error:?}\n{self}", self.name));
    }

    fn is_settled(&self) -> bool {
        self.claims().is_empty() && self.unswept() == 0
    }

    fn new_invoice(&self, amount_msat: u64) -> String {
        self.invoice(amount_msat).to_string()
    }

    fn begin_payment(&self, invoice: &str) -> Result<PaymentHash, String> {
        let invoice = Bolt11Invoice::from_str(invoice).map_err(|error| format!("{invoice}: {error:?}"))?;
        let hash = LdkHash(invoice.payment_hash().to_byte_array());
        self.parts.journal.paying(hash);
        let (limits, retry) = (RouteParametersConfig::default(), Retry::Attempts(ATTEMPTS));
        let begun =
            self.parts.manager.pay_for_bolt11_invoice(&invoice, PaymentId(hash.0), None, limits, retry);
        begun.map(|()| PaymentHash(hash.0)).map_err(|error| format!("{error:?}"))
    }

    fn progress(&self, hash: PaymentHash) -> Progress {
        match self.parts.journal.outgoing(&LdkHash(hash.0)) {
            None | Some(Outgoing::Pending) => Progress::Pending,
            Some(Outgoing::Sent { preimage, fee_msat }) => {
                Progress::Sent { preimage: Preimage::new(preimage.0), fee_msat: fee_msat.unwrap_or(0) }
            }
            Some(Outgoing::Failed(reason)) => Progress::Failed(format!("{reason:?}")),
        }
    }

    fn received_msat(&self, hash: PaymentHash) -> u64 {
        match self.parts.journal.incoming(&LdkHash(hash.0)) {
            Some(Incoming::Claimed { amount_msat }) => amount_msat,
            Some(Incoming::Claimable { .. }) | None => 0,
        }
    }
}
