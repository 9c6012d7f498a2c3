//! What must hold in the end: every payment over, both ends of one mind, every millisatoshi accounted for.
use std::collections::BTreeMap;

use serde_json::Value;

use super::traffic::{KINDS, Kind, Ledger, Must};
use super::world::Daemon;

/// What a node says at the end.
pub struct Account {
    payments: BTreeMap<String, Value>,
    invoices: BTreeMap<String, Value>,
    channels: Vec<Value>,
}

fn by_hash(rows: Vec<Value>) -> BTreeMap<String, Value> {
    rows.into_iter().map(|row| (row["payment_hash"].as_str().unwrap().to_owned(), row)).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

impl Account {
    pub fn of(node: &Daemon) -> Self {
        Self {
            payments: by_hash(node.list("listpayments", "payments")),
            invoices: by_hash(node.list("listinvoices", "invoices")),
            channels: node.list("listchannels", "channels"),
        }
    }

    /// Ours in all channels.
    pub fn balance(&self) -> u64 {
        self.channels.iter().map(|row| number(&row["local_msat"])).sum()
    }

    fn sent(&self, field: &str) -> u64 {
        let succeeded = self.payments.values().filter(|row| row["state"] == "succeeded");
        succeeded.map(|row| number(&row[field])).sum()
    }

    fn received(&self) -> u64 {
        self.invoices.values().map(|row| number(&row["received_msat"])).sum()
    }
}

/// Of each kind: how many arrived, and how many did not.
type Ends = BTreeMap<Kind, (u64, u64)>;

/// Everything that is wrong, and how payments ended.
pub fn audit(
    nodes: &[Daemon; 3],
    accounts: &[Account; 3],
    ledger: &Ledger,
    before: [u64; 3],
) -> (Vec<String>, Ends) {
    let mut wrong = Vec::new();
    let ends = fates(nodes, accounts, ledger, &mut wrong);
    channels(nodes, accounts, &mut wrong);
    balances(nodes, accounts, before, &mut wrong);
    for node in nodes {
        wrong.extend(node.complaints().into_iter().map(|line| format!("{} logged: {line}", node.name)));
    }
    (wrong, ends)
}

/// Each payment's fate is the same on both ends, and is what it must be.
fn fates(nodes: &[Daemon; 3], accounts: &[Account; 3], ledger: &Ledger, wrong: &mut Vec<String>) -> Ends {
    let mut ends: Ends = KINDS.iter().map(|(kind, _)| (*kind, (0, 0))).collect();
    for (hash, ordered) in &ledger.ordered {
        if !accounts[ordered.payer].payments.contains_key(hash) {
            wrong.push(format!("{:?} {hash} of {} is lost", ordered.kind, nodes[ordered.payer].name));
        }
    }
    for (payer, account) in accounts.iter().enumerate() {
        for (hash, payment) in &account.payments {
            let ordered = ledger.ordered.get(hash);
            let kind = ordered.map_or(Kind::Keysend, |ordered| ordered.kind);
            let payee = nodes.iter().position(|node| node.id == payment["payee"].as_str().unwrap()).unwrap();
            let invoice = accounts[payee].invoices.get(hash);
            let is_paid = invoice.is_some_and(|invoice| invoice["state"] == "paid");
            let must = ordered.map_or(Must::End, |ordered| ordered.must);
            if ordered.is_some_and(|ordered| (ordered.payer, ordered.payee) != (payer, payee)) {
                wrong.push(format!("{hash} was not ordered so: {payment}, {ordered:?}"));
            }
            let (state, end) = (payment["state"].as_str().unwrap(), ends.get_mut(&kind).unwrap());
            let name = nodes[payer].name;
            let mut complain =
                |what: &str| wrong.push(format!("{kind:?} {hash} of {name} {what}: {payment} {invoice:?}"));
            match state {
                "succeeded" => {
                    end.0 += 1;
                    if !is_paid || invoice.unwrap()["received_msat"] != payment["amount_msat"] {
                        complain("arrived, and its payee does not have it");
                    }
                    if must == Must::Fail {
                        complain("must not arrive");
                    }
                }
                "failed" => {
                    end.1 += 1;
                    if is_paid {
                        complain("failed, and its payee has it");
                    }
                    if must == Must::Succeed {
                        complain("was settled and failed");
                    }
                }
                _ => complain("is not over"),
            }
        }
    }
    for (payee, account) in accounts.iter().enumerate() {
        for (hash, invoice) in &account.invoices {
            let paid_by = accounts.iter().filter(|other| {
                other.payments.get(hash).is_some_and(|payment| payment["state"] == "succeeded")
            });
            let (is_paid, payers) = (invoice["state"] == "paid", paid_by.count());
            if usize::from(is_paid) != payers || invoice["state"] == "held" {
                wrong.push(format!("{} has {invoice}, paid by {payers} nodes", nodes[payee].name));
            }
        }
    }
    ends
}

/// No channel is closed, nothing is under way, and both sides say the same.
fn channels(nodes: &[Daemon; 3], accounts: &[Account; 3], wrong: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (node, account) in nodes.iter().zip(accounts) {
        for row in &account.channels {
            if row["state"] != "open" || row["htlcs"] != 0 {
                wrong.push(format!("a channel of {}: {row}", node.name));
            }
            seen.entry(row["channel_id"].as_str().unwrap()).or_default().push(row);
        }
    }
    for (id, rows) in seen {
        let agreed = matches!(rows[..], [one, two]
            if one["local_msat"] == two["remote_msat"] && one["remote_msat"] == two["local_msat"]
                && number(&one["local_msat"]) + number(&one["remote_msat"]) == number(&one["capacity_sat"]) * 1_000);
        if !agreed {
            wrong.push(format!("the sides of channel {id} do not agree: {rows:?}"));
        }
    }
}

/// What each node has is what it had, and received, and earned, less what it sent and paid for that.
fn balances(nodes: &[Daemon; 3], accounts: &[Account; 3], before: [u64; 3], wrong: &mut Vec<String>) {
    let earned: u64 = accounts.iter().map(|account| account.sent("fee_msat")).sum();
    for (at, account) in accounts.iter().enumerate() {
        // Only the node in the middle forwards.
        let plus = before[at] + account.received() + if at == 1 { earned } else { 0 };
        let minus = account.sent("amount_msat") + account.sent("fee_msat");
        if account.balance() + minus != plus {
            wrong.push(format!(
                "{} has {} msat: had {}, received {}, sent {} for {} in fees; all fees are {earned}",
                nodes[at].name,
                account.balance(),
                before[at],
                account.received(),
                account.sent("amount_msat"),
                account.sent("fee_msat"),
            ));
        }
    }
    let (had, have) = (before.iter().sum::<u64>(), accounts.iter().map(Account::balance).sum::<u64>());
    if had != have {
        wrong.push(format!("all nodes had {had} msat and have {have}"));
    }
}

/// The figures, for people.
pub fn show(ends: &Ends, ledger: &Ledger) {
    println!("{:<18}{:>9}{:>9}{:>9}", "kind", "arrived", "failed", "refused");
    let mut sums = [0; 3];
    for (kind, (arrived, failed)) in ends {
        let row = [*arrived, *failed, ledger.refused.get(kind).copied().unwrap_or(0)];
        println!("{:<18}{:>9}{:>9}{:>9}", format!("{kind:?}"), row[0], row[1], row[2]);
        sums.iter_mut().zip(row).for_each(|(sum, one)| *sum += one);
    }
    println!("{:<18}{:>9}{:>9}{:>9}", "all", sums[0], sums[1], sums[2]);
    for (why, count) in &ledger.refusals {
        println!("refused {count} times: {why}");
    }
}
