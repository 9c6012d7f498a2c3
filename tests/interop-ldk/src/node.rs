//! What every node of a test can do, whoever wrote it, and the waits that follow from it.
use std::fmt::{self, Display};
use std::net::SocketAddr;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, OutPoint};
use lightning_traits::payment::{PaymentHash, Preimage};

use crate::chain::Chain;
use crate::wait::{PATIENCE, wait_until, wait_within};

/// A wallet with one coin could not open two channels, or pay for two claims, in the same block.
const COINS_EACH: u64 = 4;

/// How a channel should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Both agree.
    Cooperative,
    /// With the own commitment.
    Force,
}

/// A channel to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Its capacity.
    pub value: Amount,
    /// What the other side gets at once.
    pub push_msat: u64,
    /// Whether the network hears of it.
    pub announce: bool,
}

/// Where a payment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It may still succeed.
    Pending,
    /// Paid.
    Sent {
        /// The proof.
        preimage: Preimage,
        /// What the route cost.
        fee_msat: u64,
    },
    /// Not paid, with the node's reason.
    Failed(String),
}

/// A node. Its [`Display`] is what one wants to read when a test fails: channels, balances, the end of its log.
pub trait Node: Display {
    /// What the test calls it.
    fn name(&self) -> &str;
    /// Its public key.
    fn id(&self) -> PublicKey;
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// Up to which block it has worked.
    fn height(&self) -> u32;
    /// A new address of its wallet.
    fn new_address(&self) -> bitcoin::Address;
    /// What its wallet has, confirmed or not.
    fn wallet_balance(&self) -> Amount;
    /// Connects to `peer` and waits for both `init` messages.
    fn connect_to(&self, peer: PublicKey, address: SocketAddr);
    /// Opens a channel with a connected peer; answers its funding output, which waits in the mempool.
    fn open(&self, chain: &Chain, peer: PublicKey, opening: Opening) -> OutPoint;
    /// Whether the channel can carry payments now.
    fn is_usable(&self, funding: OutPoint) -> bool;
    /// HTLCs of the channel, in both directions; `None` when it is no longer open.
    fn htlcs(&self, funding: OutPoint) -> Option<usize>;
    /// Ours in the channel, in millisatoshi; `None` when it is no longer open.
    fn owned_msat(&self, funding: OutPoint) -> Option<u64>;
    /// Begins to close a channel.
    fn close(&self, funding: OutPoint, how: Close);
    /// Whether nothing is left to be brought home from closed channels.
    fn is_settled(&self) -> bool;
    /// A new invoice.
    fn new_invoice(&self, amount_msat: u64) -> String;
    /// Begins to pay.
    fn begin_payment(&self, invoice: &str) -> Result<PaymentHash, String>;
    /// How a payment fares that it made.
    fn progress(&self, hash: PaymentHash) -> Progress;
    /// How much it was paid for an invoice.
    fn received_msat(&self, hash: PaymentHash) -> u64;
}

impl dyn Node + '_ {
    /// Waits until the node has seen the best block.
    pub fn sync(&self, chain: &Chain) {
        let height = chain.height();
        wait_until(&format!("{} to see block {height}", self.name()), || self, || self.height() >= height);
    }

    /// Waits until the channel can carry payments.
    pub fn wait_usable(&self, funding: OutPoint) {
        let what = format!("{}'s channel {funding} to be usable", self.name());
        wait_until(&what, || self, || self.is_usable(funding));
    }

    /// Waits until no HTLC is left in the channel.
    pub fn wait_idle(&self, funding: OutPoint) {
        let what = format!("{}'s channel {funding} to have no HTLC", self.name());
        wait_until(&what, || self, || self.htlcs(funding) == Some(0));
    }

    /// Begins to pay; panics if the node refuses.
    pub fn must_begin(&self, invoice: &str) -> PaymentHash {
        let begun = self.begin_payment(invoice);
        begun.unwrap_or_else(|reason| panic!("{} cannot pay: {reason}\n{self}", self.name()))
    }

    /// Waits for the end of a payment; `other` is shown too when it takes too long.
    pub fn outcome(&self, hash: PaymentHash, other: &dyn Display) -> Progress {
        let what = format!("the outcome of {}'s payment {hash}", self.name());
        let probe = || match self.progress(hash) {
            Progress::Pending => None,
            ended @ (Progress::Sent { .. } | Progress::Failed(_)) => Some(ended),
        };
        wait_within(PATIENCE, &what, || Both(self, other), probe)
    }

    /// Waits for the end of a payment and panics unless it is paid and received in full.
    pub fn must_be_paid(&self, hash: PaymentHash, payee: &dyn Node, amount_msat: u64) -> Preimage {
        let outcome = self.outcome(hash, payee);
        let Progress::Sent { preimage, .. } = outcome else {
            panic!("{} did not pay {}: {outcome:?}\n{self}\n{payee}", self.name(), payee.name())
        };
        assert_eq!(preimage.hash(), hash, "a proof that proves nothing\n{self}");
        let what = format!("{} to have {amount_msat} msat for {hash}", payee.name());
        wait_until(&what, || Both(self, payee), || payee.received_msat(hash) == amount_msat);
        preimage
    }

    /// One payment from beginning to end.
    pub fn pay(&self, payee: &dyn Node, amount_msat: u64) {
        let hash = self.must_begin(&payee.new_invoice(amount_msat));
        self.must_be_paid(hash, payee, amount_msat);
    }
}

/// Two nodes, for a message.
pub struct Both<'a, A: Display + ?Sized, B: Display + ?Sized>(pub &'a A, pub &'a B);

impl<A: Display + ?Sized, B: Display + ?Sized> Display for Both<'_, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.0, self.1)
    }
}

/// Gives each wallet `amount` in a few coins, confirmed.
pub fn give(chain: &Chain, nodes: &[&dyn Node], amount: Amount) {
    let before: Vec<Amount> = nodes.iter().map(|node| node.wallet_balance()).collect();
    let addresses: Vec<_> =
        nodes.iter().flat_map(|node| (0..COINS_EACH).map(|_| node.new_address())).collect();
    chain.pay(&addresses, amount / COINS_EACH);
    for (node, before) in nodes.iter().zip(before) {
        let what = format!("{}'s coins", node.name());
        wait_until(&what, || node, || node.wallet_balance() >= before + amount);
    }
}

/// Mines block by block until `holds`; every node sees each block before the next.
pub fn mine_until(chain: &Chain, nodes: &[&dyn Node], what: &str, mut holds: impl FnMut() -> bool) {
    let state = || nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    wait_within(3 * PATIENCE, what, state, || {
        if holds() {
            return Some(());
        }
        mine(chain, nodes, 1);
        None
    });
}

/// Mines `count` blocks and waits until all have seen them.
pub fn mine(chain: &Chain, nodes: &[&dyn Node], count: u32) {
    chain.mine(count);
    for node in nodes {
        node.sync(chain);
    }
}

/// Opens a channel from `opener` to `accepter` and waits until both can use it.
pub fn open_channel(
    chain: &Chain,
    opener: &dyn Node,
    accepter: &dyn Node,
    opening: Opening,
    all: &[&dyn Node],
) -> OutPoint {
    opener.connect_to(accepter.id(), accepter.address());
    let funding = opener.open(chain, accepter.id(), opening);
    // Six are what an announcement needs (BOLT 7).
    mine(chain, all, 6);
    opener.wait_usable(funding);
    accepter.wait_usable(funding);
    funding
}
