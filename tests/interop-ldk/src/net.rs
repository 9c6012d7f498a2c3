//! The usual cast: our daemon between two LDK nodes on one chain, and what their tests have in common.
use bitcoin::{Amount, OutPoint};

use lightning_traits::payment::{PaymentHash, Preimage};

use crate::chain::Chain;
use crate::knife::Wire;
use crate::ldk::{LdkNode, LdkOptions};
use crate::lnode::Lnode;
use crate::node::{Both, Close, Node, Opening, Progress, give, mine, mine_until, open_channel};
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

/// What was pushed, as it reaches a wallet.
pub const PUSH: Amount = Amount::from_sat(OPENING.push_msat / 1000);
/// The HTLC, as it reaches a wallet.
pub const HTLC: Amount = Amount::from_sat(HTLC_MSAT / 1000);

/// What our wallet and LDK's have at least after the usual channel ended with nothing paid but the push.
#[must_use]
pub fn shares(we_open: bool) -> [Amount; 2] {
    let (less, more) = (COINS - PUSH - FEES, COINS + PUSH - FEES);
    if we_open { [less, more] } else { [more, less] }
}

/// A payment under way.
pub struct Payment {
    /// What is paid.
    pub invoice: String,
    /// Its name.
    pub hash: PaymentHash,
}

/// Payments under way.
#[derive(Default)]
pub struct Begun {
    /// Ours to LDK.
    pub to_ldk: Vec<Payment>,
    /// LDK's to us.
    pub to_ours: Vec<Payment>,
}

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
        give(&net.chain, &net.nodes(), COINS);
        net
    }

    /// Adds the second LDK node.
    #[must_use]
    pub fn with_other(mut self) -> Self {
        let other = LdkNode::start(&self.chain, self.folder.path(), "other", &LdkOptions::default());
        give(&self.chain, &[&other], COINS);
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

    /// All that is known of all of them.
    #[must_use]
    pub fn show(&self) -> String {
        self.nodes().iter().map(|node| format!("{node}\n")).collect()
    }

    /// Opens the usual channel and waits until both can use it.
    pub fn open(&self, opener: &dyn Node, accepter: &dyn Node) -> OutPoint {
        open_channel(&self.chain, opener, accepter, OPENING, &self.nodes())
    }

    /// LDK to us and us to the other LDK: both channels, once LDK knows the way.
    pub fn open_both(&self) -> [OutPoint; 2] {
        let channels = [self.open(self.ldk(), self.ours()), self.open(self.ours(), self.other())];
        self.wait_announced(self.other(), channels[1]);
        channels
    }

    /// Waits until LDK knows of a channel that `party` has.
    pub fn wait_announced(&self, party: &LdkNode, funding: OutPoint) {
        let scid = party.short_id(funding).expect("an announced channel");
        self.ldk.wait_announced(&self.chain, scid, funding);
    }

    /// A payment of an HTLC worth a transaction, from `payer`, which has reached `payee` and waits there for its word.
    pub fn hold(&self, payer: &dyn Node, payee: &LdkNode) -> (PaymentHash, Preimage) {
        let (invoice, hash) = payee.hold_invoice(HTLC_MSAT);
        payer.must_begin(&invoice);
        (hash, payee.wait_held(hash, payer))
    }

    /// Begins `count` of the usual payments each way.
    #[must_use]
    pub fn begin(&self, count: usize) -> Begun {
        let mut begun = Begun::default();
        let begin = |payer: &dyn Node, payee: &dyn Node| {
            let invoice = payee.new_invoice(PAYMENT_MSAT);
            Payment { hash: payer.must_begin(&invoice), invoice }
        };
        for _ in 0..count {
            begun.to_ldk.push(begin(self.ours(), self.ldk()));
            begun.to_ours.push(begin(self.ldk(), self.ours()));
        }
        begun
    }

    /// Waits until all of them are paid, nothing is left in the channel, and both agree on whose money it is.
    pub fn settle(&self, begun: &Begun, funding: OutPoint) {
        for payment in &begun.to_ldk {
            self.ours().must_be_paid(payment.hash, self.ldk(), PAYMENT_MSAT);
        }
        for payment in &begun.to_ours {
            self.ldk().must_be_paid(payment.hash, self.ours(), PAYMENT_MSAT);
        }
        self.wait_idle(funding);
    }

    /// As [`settle`](Self::settle), after the two were apart: what was not sent by then has failed, must not have been
    /// received, and is paid now.
    pub fn settle_after_all(&self, begun: &Begun, funding: OutPoint) {
        let retry = |payer: &dyn Node, payee: &dyn Node, payment: &Payment| {
            if let Progress::Failed(reason) = payer.outcome(payment.hash, payee) {
                assert_eq!(payee.received_msat(payment.hash), 0, "{reason}\n{}", self.show());
                assert_eq!(payer.must_begin(&payment.invoice), payment.hash);
            }
        };
        begun.to_ldk.iter().for_each(|payment| retry(self.ours(), self.ldk(), payment));
        begun.to_ours.iter().for_each(|payment| retry(self.ldk(), self.ours(), payment));
        self.settle(begun, funding);
    }

    /// Waits until nothing is under way in the channel of ours and LDK's; then both agree on whose money it is.
    pub fn wait_idle(&self, funding: OutPoint) {
        self.ours().wait_idle(funding);
        self.ldk().wait_idle(funding);
        self.assert_agreed(funding);
    }

    /// One payment each way.
    pub fn pay_both_ways(&self) {
        self.ours().pay(self.ldk(), PAYMENT_MSAT);
        self.ldk().pay(self.ours(), PAYMENT_MSAT);
    }

    /// A wire between `ldk` and our daemon, over which they are connected.
    #[must_use]
    pub fn wire(&self, ldk: &LdkNode) -> Wire {
        let wire = Wire::new(ldk, &self.ours);
        self.rewire(ldk, &wire);
        wire
    }

    /// Connects over the wire once both have seen that it was cut.
    pub fn rewire(&self, ldk: &LdkNode, wire: &Wire) {
        let apart = || !ldk.is_connected(&self.ours().id()) && !self.ours.is_connected(&ldk.id());
        wait_until("both to see that the wire is cut", || Both(&self.ours, ldk), apart);
        ldk.connect_to(self.ours().id(), wire.address());
    }

    /// Waits until `node` knows how its payment ended, and checks that it is as it should be.
    pub fn assert_outcome(&self, payer: &dyn Node, hash: PaymentHash, proof: Option<&Preimage>) {
        let outcome = payer.outcome(hash, self.ldk());
        match (&outcome, proof) {
            (Progress::Sent { preimage, .. }, Some(proof)) => assert_eq!(preimage, proof),
            (Progress::Failed(_), None) => {}
            _ => panic!("{outcome:?}, with the proof {proof:?}\n{payer}"),
        }
    }

    /// Closes with the own commitment, which then is in a block.
    pub fn force_close(&self, closer: &dyn Node, funding: OutPoint) {
        closer.close(funding, Close::Force);
        self.confirm_close(funding);
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
        let what = "a closing transaction in the mempool";
        wait_until(what, || self.show(), || !self.chain.is_unspent(funding));
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
