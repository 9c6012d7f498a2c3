//! The demo's sums.
//!
//! For each node: what it had, what it has, what it paid and got over Lightning. What is left unexplained of its change is
//! what the chain cost it. All these costs together must be, to the millisatoshi, what miners got and what lies in
//! outputs that nobody owns (anchors): both are read off the blocks, without asking any node.
use std::collections::HashMap;
use std::fmt;

use bitcoin::{Amount, OutPoint};
use lightning_traits::interface::BlockSource as _;

use super::DemoError;
use super::network::Network;
use super::story::Before;
use crate::api::Backend as _;
use crate::api::response::{InvoiceState, PaymentState};

/// One node's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub name: &'static str,
    /// On chain before.
    pub before_msat: i128,
    /// On chain after.
    pub after_msat: i128,
    /// Paid to others, without fees.
    pub sent_msat: i128,
    /// Got from others.
    pub received_msat: i128,
    /// Paid to those who forwarded.
    pub routing_paid_msat: i128,
    /// Earned by forwarding.
    pub routing_earned_msat: i128,
}

impl Row {
    /// What the chain cost the node: what Lightning does not explain of its change.
    #[must_use]
    pub const fn chain_cost_msat(&self) -> i128 {
        let lightning =
            self.received_msat - self.sent_msat - self.routing_paid_msat + self.routing_earned_msat;
        self.before_msat + lightning - self.after_msat
    }
}

/// All lines, and what the blocks say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The nodes.
    pub rows: Vec<Row>,
    /// Fees of all transactions since the beginning, read off the blocks.
    pub miners_msat: i128,
    /// Outputs that nobody's wallet owns: anchors of the forced close.
    pub anchors_msat: i128,
}

impl Ledger {
    pub(super) fn close(network: &Network, before: Before) -> Result<Self, DemoError> {
        let mut rows = Vec::new();
        for (person, before_sat) in network.people.iter().zip(before.onchain_sat) {
            let balance = person.ask(|api| api.balance())?;
            let payments = person.ask(|api| api.listpayments())?.payments;
            let paid = || payments.iter().filter(|payment| payment.state == PaymentState::Succeeded);
            let invoices = person.ask(|api| api.listinvoices())?.invoices;
            let received = invoices.iter().filter(|invoice| invoice.state == InvoiceState::Paid);
            let earned = person.node().map_or(0, |node| node.books.forwards().fee_msat);
            rows.push(Row {
                name: person.name,
                before_msat: i128::from(before_sat) * 1_000,
                after_msat: i128::from(balance.onchain_confirmed_sat) * 1_000,
                sent_msat: paid().map(|payment| i128::from(payment.amount_msat)).sum(),
                received_msat: received.map(|invoice| i128::from(invoice.received_msat)).sum(),
                routing_paid_msat: paid().map(|payment| i128::from(payment.fee_msat)).sum(),
                routing_earned_msat: i128::from(earned),
            });
        }
        let (miners, ownerless) = read_blocks(network, before.height)?;
        Ok(Self { rows, miners_msat: msat(miners), anchors_msat: msat(ownerless) })
    }

    /// Whether everything adds up.
    ///
    /// # Errors
    /// [`DemoError::Unaccounted`] with what does not.
    pub fn check(&self) -> Result<(), DemoError> {
        let sum = |of: fn(&Row) -> i128| self.rows.iter().map(of).sum::<i128>();
        let (sent, received) = (sum(|row| row.sent_msat), sum(|row| row.received_msat));
        if sent != received || sent == 0 {
            return Err(DemoError::Unaccounted(format!("{sent} msat sent, {received} msat received")));
        }
        let (paid, earned) = (sum(|row| row.routing_paid_msat), sum(|row| row.routing_earned_msat));
        if paid != earned || paid == 0 {
            return Err(DemoError::Unaccounted(format!("{paid} msat of fees paid, {earned} msat earned")));
        }
        let (cost, taken) = (sum(Row::chain_cost_msat), self.miners_msat + self.anchors_msat);
        if cost != taken {
            return Err(DemoError::Unaccounted(format!("the chain cost {cost} msat, but took {taken} msat")));
        }
        if self.rows.iter().any(|row| row.chain_cost_msat() < 0) {
            return Err(DemoError::Unaccounted("a node gained from the chain's fees".to_owned()));
        }
        Ok(())
    }
}

fn msat(amount: Amount) -> i128 {
    amount.to_sat() as i128 * 1_000
}

/// Fees of all transactions above `height`, and unspent outputs of them that no wallet owns.
fn read_blocks(network: &Network, height: u32) -> Result<(Amount, Amount), DemoError> {
    let source = &network.chain.client;
    let tip = network.chain.height()?;
    let mut values: HashMap<OutPoint, Amount> = HashMap::new();
    let mut unspent: HashMap<OutPoint, bitcoin::TxOut> = HashMap::new();
    let mut fees = 0_u64;
    // Blocks from the first on, since what is spent was made in some of them.
    for at in 1..=tip {
        let Some(hash) = source.hash_at(at)? else { continue };
        for transaction in source.block(&hash)?.txdata {
            let txid = transaction.compute_txid();
            let coinbase = transaction.is_coinbase();
            if at > height && !coinbase {
                let spent = transaction.input.iter().filter_map(|input| values.get(&input.previous_output));
                let spent: u64 = spent.map(|value| value.to_sat()).sum();
                let made: u64 = transaction.output.iter().map(|output| output.value.to_sat()).sum();
                fees = fees.saturating_add(spent.saturating_sub(made));
            }
            for input in &transaction.input {
                unspent.remove(&input.previous_output);
            }
            for (vout, output) in (0..).zip(transaction.output) {
                let outpoint = OutPoint { txid, vout };
                values.insert(outpoint, output.value);
                if at > height && !coinbase {
                    unspent.insert(outpoint, output);
                }
            }
        }
    }
    let owned = |script: &bitcoin::ScriptBuf| {
        network
            .people
            .iter()
            .filter_map(|person| person.node())
            .any(|node| node.wallet.wallet().is_mine(script))
    };
    let ownerless =
        unspent.values().filter(|output| !owned(&output.script_pubkey)).map(|output| output.value.to_sat());
    Ok((Amount::from_sat(fees), Amount::from_sat(ownerless.sum())))
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "msat",
            "on chain before",
            "sent",
            "received",
            "routing fees",
            "chain cost",
            "on chain after",
        ]);
        for row in &self.rows {
            table.add_row([
                row.name.to_owned(),
                row.before_msat.to_string(),
                (-row.sent_msat).to_string(),
                row.received_msat.to_string(),
                (row.routing_earned_msat - row.routing_paid_msat).to_string(),
                (-row.chain_cost_msat()).to_string(),
                row.after_msat.to_string(),
            ]);
        }
        writeln!(f, "{table}")?;
        write!(f, "Miners took {} msat; {} msat lie in anchor outputs.", self.miners_msat, self.anchors_msat)
    }
}
