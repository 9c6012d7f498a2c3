//! How the tower stands: one value, shown as JSON, as a page, and as metrics.
use std::fmt::Write as _;

use lightning_traits::interface::ChainListener as _;
use serde::Serialize;

use crate::book::{Breach, ClaimRow};
use crate::health::{self, Alarm};
use crate::tower::{Inner, lock};

/// One client's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientRow {
    /// Its node id.
    pub id: String,
    /// What is done for it.
    pub mode: &'static str,
    /// Whether more is taken from it.
    pub admitted: bool,
    /// Channels guarded.
    pub channels: usize,
    /// How many it may have.
    pub max_channels: u32,
    /// Bytes kept, about.
    pub bytes: u64,
    /// How many there may be.
    pub max_bytes: u64,
    /// The block up to which its channels were looked for.
    pub height: Option<u32>,
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether no alarm is red.
    pub healthy: bool,
    /// The tower's node id.
    pub node_id: String,
    /// The network.
    pub network: String,
    /// The tip of the block source.
    pub height: Option<u32>,
    /// Seconds since that changed, as seen from here.
    pub tip_age_seconds: Option<u64>,
    /// Since when it runs, in Unix seconds.
    pub started: u64,
    /// Coins for fees that can be spent now, in satoshi.
    pub coins_sat: u64,
    /// Where to pay such coins to.
    pub deposit_address: String,
    /// Claims and commitments that were broadcast and have not confirmed.
    pub unconfirmed: usize,
    /// Broadcasts that the source refused since the start; each is tried again.
    pub broadcasts_refused: u64,
    /// What is wrong.
    pub alarms: Vec<Alarm>,
    /// Who is guarded.
    pub clients: Vec<ClientRow>,
    /// Revoked commitments that were published.
    pub breaches: Vec<Breach>,
    /// Claims that confirmed.
    pub claims: Vec<ClaimRow>,
}

impl Status {
    /// As it is now.
    #[must_use]
    pub fn of(tower: &Inner) -> Self {
        let standing = *lock(&tower.progress);
        let clients = tower.guards().into_iter().map(|guard| {
            let (client, monitors) = (guard.client(), guard.monitors());
            ClientRow {
                id: guard.id.to_string(),
                mode: guard.mode().word(),
                admitted: client.admitted,
                channels: guard.channels(),
                max_channels: client.max_channels,
                bytes: guard.used(),
                max_bytes: client.max_bytes,
                height: monitors.best_block().map(|(_, height)| height.get()),
            }
        });
        Self {
            healthy: tower.alarms.is_healthy(),
            node_id: tower.id().to_string(),
            network: tower.options.network.to_string(),
            height: standing.tip.map(|tip| tip.height),
            tip_age_seconds: standing.changed.map(|at| at.elapsed().as_secs()),
            started: tower.started,
            coins_sat: tower.wallet.wallet().balance().spendable().to_sat(),
            deposit_address: tower.wallet.deposit.clone(),
            unconfirmed: tower.shared.broadcaster.unconfirmed().len(),
            broadcasts_refused: standing.refused,
            alarms: tower.alarms.all(),
            clients: clients.collect(),
            breaches: tower.book.breaches(),
            claims: tower.book.claims(),
        }
    }

    /// In Prometheus' text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, rows: &[(String, u64)]| {
            // Writing to a string cannot fail.
            let _ = write!(text, "# HELP lntower_{name} {help}\n# TYPE lntower_{name} gauge\n");
            for (labels, value) in rows {
                let _ = writeln!(text, "lntower_{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value)];
        let each = |value: fn(&ClientRow) -> u64| -> Vec<(String, u64)> {
            let label = |row: &ClientRow| format!("{{client=\"{}\",mode=\"{}\"}}", row.id, row.mode);
            self.clients.iter().map(|row| (label(row), value(row))).collect()
        };
        gauge("healthy", "1 while no alarm is red", &one(u64::from(self.healthy)));
        gauge("tip_height", "Height of the block source", &one(self.height.unwrap_or(0).into()));
        gauge(
            "tip_age_seconds",
            "Seconds since the last block came",
            &one(self.tip_age_seconds.unwrap_or(0)),
        );
        gauge("uptime_seconds", "Seconds since the start", &one(health::now().saturating_sub(self.started)));
        gauge("coins_sat", "Coins for fees", &one(self.coins_sat));
        gauge("unconfirmed_transactions", "Broadcast and not confirmed", &one(self.unconfirmed as u64));
        gauge("broadcasts_refused_total", "Refused by the block source", &one(self.broadcasts_refused));
        gauge("clients", "Clients", &one(self.clients.len() as u64));
        gauge("channels", "Channels guarded", &each(|row| row.channels as u64));
        gauge("stored_bytes", "Bytes kept", &each(|row| row.bytes));
        gauge("scanned_height", "Block looked at last", &each(|row| row.height.unwrap_or(0).into()));
        gauge("breaches_total", "Revoked commitments seen", &one(self.breaches.len() as u64));
        gauge("claims_total", "Claims confirmed", &one(self.claims.len() as u64));
        let value = self.claims.iter().fold(0_u64, |sum, claim| sum.saturating_add(claim.value_sat));
        gauge("claimed_sat_total", "What they pay", &one(value));
        let alarms: Vec<(String, u64)> = self
            .alarms
            .iter()
            .map(|alarm| (format!("{{trouble=\"{:?}\",subject=\"{}\"}}", alarm.trouble, alarm.subject), 1))
            .collect();
        gauge("alarm", "Alarms that last", &alarms);
        text
    }

    /// As a page without scripts, that fits a telephone.
    #[must_use]
    pub fn page(&self) -> String {
        let colour = if self.healthy { "#2a7" } else { "#c33" };
        let word = if self.healthy { "healthy" } else { "NOT HEALTHY" };
        let alarms = self.alarms.iter().map(|alarm| {
            let kind = if alarm.red { "red" } else { "note" };
            [kind.to_owned(), format!("{:?}", alarm.trouble), alarm.message.clone()]
        });
        let clients = self.clients.iter().map(|row| {
            let height = row.height.map_or("-".to_owned(), |height| height.to_string());
            let channels = format!("{} of {}", row.channels, row.max_channels);
            [
                row.id.clone(),
                row.mode.to_owned(),
                channels,
                format!("{} of {}", row.bytes, row.max_bytes),
                height,
            ]
        });
        let breaches = self.breaches.iter().map(|breach| {
            [breach.client.clone(), breach.channel.clone(), breach.txid.clone(), breach.height.to_string()]
        });
        let claims = self
            .claims
            .iter()
            .map(|claim| [claim.channel.clone(), claim.txid.clone(), claim.value_sat.to_string()]);
        let facts = [
            ("tower", self.node_id.clone()),
            ("network", self.network.clone()),
            ("height", self.height.map_or("-".to_owned(), |height| height.to_string())),
            ("last block", self.tip_age_seconds.map_or("-".to_owned(), |age| format!("{age} s ago"))),
            ("coins for fees", format!("{} sat; pay more to {}", self.coins_sat, self.deposit_address)),
        ];
        let facts = facts.map(|(name, value)| [name.to_owned(), value]);
        format!(
            "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <meta http-equiv=refresh content=10><title>lntower: {word}</title>\
             <style>body{{font:15px sans-serif;margin:2em;overflow-wrap:anywhere}}table{{border-collapse:collapse}}\
             td,th{{text-align:left;padding:.2em .8em .2em 0;vertical-align:top}}</style>\
             <h1 style=\"color:{colour}\">{word}</h1>{}{}{}{}{}",
            table("", &["", ""], facts),
            table("Alarms", &["", "what", "message"], alarms),
            table("Clients", &["node", "mode", "channels", "bytes", "height"], clients),
            table("Breaches", &["client", "channel", "commitment", "height"], breaches),
            table("Claims", &["channel", "transaction", "sat"], claims),
        )
    }
}

fn table<const N: usize>(
    title: &str,
    head: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let cells = |cells: &[String; N], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let body: String = rows.into_iter().map(|row| format!("<tr>{}</tr>", cells(&row, "td"))).collect();
    let head = head.map(str::to_owned);
    format!("<h2>{}</h2><table><tr>{}</tr>{body}</table>", escaped(title), cells(&head, "th"))
}

/// What bitcoind says is quoted in alarms.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
