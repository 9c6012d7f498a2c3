//! The usual cast: our daemon between two LDK nodes on one chain, and what their tests have in common.
use bitcoin::{Amount, OutPoint};

use crate::chain::Chain;
use crate::ldk::{LdkNode, LdkOptions};
use crate::lnode::Lnode;
use crate::node::{Node, Opening, mine, mine_until, open_channel};
use crate::wait::{folder, wait_until};

/// What each wallet begins with.
pub const COINS: Amount = Amount::from_sat(20_000_000);
/// The usual channel.
pub const OPENING: Opening =
    Opening { value: Amount::from_sat(2_000_000), push_msat: 800_000_000, announce: true };
/// The usual payment.
pub const PAYMENT_MSAT: u64 = 2_000_000;
/// An HTLC that is worth a transaction of its own.
pub const HTLC_MSAT: u64 = 50_000_000;
/// What closing and sweeping may cost a side.
pub const FEES: Amount = Amount::from_sat(25_000);

/// Our daemon between two LDK nodes; most tests need one of them only.
/// Fields drop in this order: the nodes before their chain and folder.
pub struct Net {
    /// Our daemon.
    pub ours: Lnode,
    /// The first LDK node.
    pub ldk: LdkNode,
    other: Option<LdkNode>,
    /// What they share.
    pub chain: Chain,
    folder: tempfile::TempDir,
}

impl Net {
    /// Our daemon and one LDK node, both with coins.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&LdkOptions::default(), &[])
    }

    /// As [`start`](Self::start), with settings for LDK and flags for the daemon.
    #[must_use]
    pub fn start_with(options: &LdkOptions, flags: &[&str]) -> Self {
        let folder = folder();
        let chain = Chain::start();
        let ldk = LdkNode::start(&chain, folder.path(), "ldk", options);
        let ours = Lnode::start_with(&chain, folder.path(), "ours", flags);
        let net = Self { ours, ldk, other: None, chain, folder };
        net.nodes().into_iter().for_each(|node| node.give(&net.chain, COINS));
        net
    }

    /// Adds the second LDK node.
    #[must_use]
    pub fn with_other(mut self) -> Self {
        let other = LdkNode::start(&self.chain, self.folder.path(), "other", &LdkOptions::default());
        (&other as &dyn Node).give(&self.chain, COINS);
        self.other = Some(other);
        self
    }

    /// Our daemon.
    #[must_use]
    pub fn ours(&self) -> &dyn Node {
        &self.ours
    }

    /// The first LDK node.
    #[must_use]
    pub fn ldk(&self) -> &dyn Node {
        &self.ldk
    }

    /// The second LDK node.
    #[must_use]
    pub fn other(&self) -> &LdkNode {
        self.other.as_ref().unwrap()
    }

    /// All of them, ours first.
    #[must_use]
    pub fn nodes(&self) -> Vec<&dyn Node> {
        let other = self.other.iter().map(|other| other as &dyn Node);
        [self.ours(), self.ldk()].into_iter().chain(other).collect()
    }

    /// Opens the usual channel and waits until both can use it.
    pub fn open(&self, opener: &dyn Node, accepter: &dyn Node) -> OutPoint {
        open_channel(&self.chain, opener, accepter, OPENING, &self.nodes())
    }

    /// Mines until `holds`.
    pub fn mine_until(&self, what: &str, holds: impl FnMut() -> bool) {
        mine_until(&self.chain, &self.nodes(), what, holds);
    }

    /// Mines until all have brought everything home; `wanted` is the least that our wallet and LDK's must have.
    pub fn mine_until_swept(&self, wanted: [Amount; 2]) {
        let what = format!("wallets of at least {wanted:?}, and nothing left to claim");
        self.mine_until(&what, || {
            let enough =
                self.nodes().iter().zip(wanted).all(|(node, wanted)| node.wallet_balance() >= wanted);
            enough && self.nodes().iter().all(|node| node.is_settled())
        });
    }

    /// Waits for a transaction that spends the funding, and mines it.
    pub fn confirm_close(&self, funding: OutPoint) {
        let state = || self.nodes().iter().map(ToString::to_string).collect::<String>();
        wait_until("a closing transaction in the mempool", state, || !self.chain.is_unspent(funding));
        mine(&self.chain, &self.nodes(), 1);
    }

    /// Both sides agree on whose money it is, to the millisatoshi.
    pub fn assert_agreed(&self, funding: OutPoint) {
        let opener_pays = self.chain.transaction(funding.txid).unwrap().output[funding.vout as usize].value;
        let (ours, theirs) =
            (self.ours().owned_msat(funding).unwrap(), self.ldk().owned_msat(funding).unwrap());
        // LDK takes the fee and the anchors from what it says the opener owns; both count the rest alike.
        let missing = opener_pays.to_sat() * 1000 - ours - theirs;
        assert!(missing < 10_000_000, "ours {ours} and theirs {theirs} of {opener_pays}");
    }
}
