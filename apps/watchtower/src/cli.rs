//! The commands of `lntower`.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use lightning_chain_bitcoind::{Auth, BitcoindClient};
use lightning_net_tokio::NetError;
use serde_json::{Value, json};

use crate::clients::{self, Client, Mode};
use crate::desk::Door;
use crate::tower::{Options, Tower};
use crate::{http, logging};

const API_FILE: &str = "api.address";
/// Holds `node_id@host:port`, for clients' `wtclient add`.
const DOOR_FILE: &str = "tower.address";

/// What went wrong: a sentence, and the exit code (1 error, 2 usage, 4 no daemon).
struct Failure(u8, String);

impl Failure {
    fn new(error: &dyn std::fmt::Display) -> Self {
        Self(1, error.to_string())
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match matches.subcommand() {
        Some(("run", given)) => run(given),
        Some(("client", given)) => client(given),
        Some(("info", given)) => info(given),
        _ => Err(Failure(2, "there is no such command".to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, message)) => {
            eprintln!("lntower: {message}");
            ExitCode::from(code)
        }
    }
}

fn command() -> Command {
    let data = Arg::new("data")
        .long("data")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .help("Directory of all data; one for each network");
    let text = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(name).help(help)
    };
    let seconds = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("SECONDS").value_parser(value_parser!(u64)).help(help)
    };
    let socket = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("HOST:PORT").value_parser(value_parser!(SocketAddr)).help(help)
    };
    let path = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let run = Command::new("run").about("Guard the channels of the clients, until stopped").args([
        data.clone(),
        socket("listen", "Where clients connect").default_value("127.0.0.1:9911"),
        socket("api-listen", "Status page, health and metrics").default_value("127.0.0.1:9741"),
        text("network", "NAME", "bitcoin, testnet, testnet4, signet or regtest").default_value("bitcoin"),
        text("chain-url", "URL", "RPC of a bitcoind, or of `lnode chain`").default_value("127.0.0.1:8332"),
        path("chain-cookie", "Its cookie file").conflicts_with("chain-user"),
        text("chain-user", "NAME", "Its RPC user").requires("chain-password-file"),
        path("chain-password-file", "A file with the RPC password"),
        Arg::new("poll-ms")
            .long("poll-ms")
            .value_parser(value_parser!(u64).range(10..))
            .default_value("1000")
            .help("How often to look for new blocks and clients"),
        seconds("stale-after", "Alarm when no block came for so long; 0 never [default: 3600, regtest: 0]"),
        text("log", "FILTER", "Such as info, or component=debug").default_value("info"),
    ]);
    let node = Arg::new("node").value_name("NODE_ID").required(true).help("The client's node id");
    let add = Command::new("add").about("Let a node in, or change its quota").args([
        data.clone(),
        node.clone(),
        text("mode", "MODE", "What is done for it, and so which keys it gives")
            .value_parser(["justice", "full", "blind"])
            .default_value("justice"),
        Arg::new("max-channels")
            .long("max-channels")
            .value_parser(value_parser!(u32))
            .default_value("100")
            .help("How many channels it may have here"),
        Arg::new("max-megabytes")
            .long("max-megabytes")
            .value_parser(value_parser!(u64).range(1..1_000_000))
            .default_value("100")
            .help("How much may be kept for it"),
    ]);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    let client = Command::new("client").about("Who is guarded").subcommand_required(true).subcommands([
        add,
        Command::new("list").about("All clients").args([data.clone(), json]),
        Command::new("remove")
            .about("Take no more from a node; what was taken is guarded until it is resolved")
            .args([data.clone(), node]),
    ]);
    let info = Command::new("info").about("How the running tower stands, as JSON").arg(data);
    Command::new("lntower")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A watchtower: guards the channels of other nodes")
        .after_help("Exit codes: 0 done, 1 error, 2 usage, 4 the tower does not run.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([run, client, info])
}

fn data(given: &ArgMatches) -> PathBuf {
    given.get_one::<PathBuf>("data").cloned().unwrap_or_default()
}

fn text<'a>(given: &'a ArgMatches, name: &str) -> Option<&'a str> {
    given.get_one::<String>(name).map(String::as_str)
}

fn client(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("add", given)) => {
            let id = clients::parse_id(text(given, "node").unwrap_or_default());
            let id = id.map_err(|error| Failure::new(&error))?;
            let mode = match text(given, "mode") {
                Some("full") => Mode::Full,
                Some("blind") => Mode::Blind,
                _ => Mode::Justice,
            };
            let megabytes = given.get_one::<u64>("max-megabytes").copied().unwrap_or(100);
            let client = Client {
                id: id.to_string(),
                mode,
                max_channels: given.get_one::<u32>("max-channels").copied().unwrap_or(100),
                max_bytes: megabytes.saturating_mul(1_000_000),
                admitted: true,
            };
            clients::add(&data(given), &client).map_err(|error| Failure::new(&error))
        }
        Some(("remove", given)) => {
            let id = clients::parse_id(text(given, "node").unwrap_or_default());
            let id = id.map_err(|error| Failure::new(&error))?;
            clients::remove(&data(given), id).map_err(|error| Failure::new(&error))
        }
        Some(("list", given)) => {
            let all = clients::list(&data(given)).map_err(|error| Failure::new(&error))?;
            if given.get_flag("json") {
                let rows: Vec<_> = all.into_iter().map(|(_, client)| client).collect();
                println!("{}", json!({ "clients": rows }));
                return Ok(());
            }
            for (id, client) in all {
                let state = if client.admitted { "" } else { " (removed)" };
                let (mode, channels) = (client.mode.word(), client.max_channels);
                let megabytes = client.max_bytes / 1_000_000;
                println!("{id} {mode}, up to {channels} channels and {megabytes} MB{state}");
            }
            Ok(())
        }
        _ => Err(Failure(2, "there is no such command".to_owned())),
    }
}

/// Asks the running tower.
fn info(given: &ArgMatches) -> Result<(), Failure> {
    let away = |why: String| Failure(4, format!("no tower runs on {}: {why}", data(given).display()));
    let address =
        std::fs::read_to_string(data(given).join(API_FILE)).map_err(|error| away(error.to_string()))?;
    let answer =
        bitreq::get(format!("http://{}/v1/status", address.trim())).with_timeout(Duration::from_secs(30));
    let answer = answer.send().map_err(|error| away(error.to_string()))?;
    let status: Value = serde_json::from_slice(answer.as_bytes()).map_err(|error| Failure::new(&error))?;
    println!("{status:#}");
    Ok(())
}

fn run(given: &ArgMatches) -> Result<(), Failure> {
    logging::start(text(given, "log").unwrap_or("info")).map_err(|error| Failure(2, error))?;
    let name = text(given, "network").unwrap_or_default();
    let network = if name == "mainnet" { Ok(Network::Bitcoin) } else { name.parse::<Network>() };
    let network = network.map_err(|_| Failure(2, format!("there is no network {name:?}")))?;
    let usual = if network == Network::Regtest { 0 } else { 3_600 };
    let stale = given.get_one::<u64>("stale-after").copied().unwrap_or(usual);
    let options = Options {
        data: data(given),
        network,
        poll: Duration::from_millis(given.get_one::<u64>("poll-ms").copied().unwrap_or(1_000)),
        stale_after: (stale > 0).then(|| Duration::from_secs(stale)),
    };
    let url = text(given, "chain-url").unwrap_or_default();
    let source = Arc::new(BitcoindClient::new(url, auth(given)?, network));
    let socket = |name: &str| given.get_one::<SocketAddr>(name).copied();
    let (Some(listen), Some(api)) = (socket("listen"), socket("api-listen")) else {
        return Err(Failure(2, "where to listen is not said".to_owned()));
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(&error))?;
    runtime.block_on(async {
        let data = options.data.clone();
        let tower = tokio::task::spawn_blocking(move || Tower::start(options, source)).await;
        let tower = tower.map_err(|error| Failure::new(&error))?.map_err(|error| Failure::new(&error))?;
        serve(&tower, listen, api, &data).await?;
        let stopped = tokio::task::spawn_blocking(move || tower.stop()).await;
        let _gone = std::fs::remove_file(data.join(API_FILE));
        stopped.map_err(|error| Failure::new(&error))
    })
}

async fn serve(tower: &Tower, listen: SocketAddr, api: SocketAddr, data: &Path) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed =
        |what: SocketAddr, error: std::io::Error| Failure(1, format!("cannot listen on {what}: {error}"));
    let bound = http::serve(Arc::clone(tower.inner()), api).await.map_err(|error| failed(api, error))?;
    std::fs::write(data.join(API_FILE), format!("{bound}\n")).map_err(|error| Failure::new(&error))?;
    tracing::info!(tower = %tower.inner().id(), api = %bound, "the tower runs");
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| Failure::new(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| Failure::new(&error))?;
    let door = Door::new(Arc::clone(tower.inner()));
    let open = async {
        let bound = door.open(listen).await?;
        let written = std::fs::write(data.join(DOOR_FILE), format!("{}@{bound}\n", tower.inner().id()));
        tracing::info!(tower = %tower.inner().id(), %bound, ?written, "clients are let in");
        // The door stays open while this waits.
        std::future::pending::<Result<(), NetError>>().await
    };
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = open => ended,
    };
    tracing::info!("stopping");
    door.shut().await;
    let _gone = std::fs::remove_file(data.join(DOOR_FILE));
    ended.map_err(|error| Failure::new(&error))
}

fn auth(given: &ArgMatches) -> Result<Auth, Failure> {
    let path = |name: &str| given.get_one::<PathBuf>(name).cloned();
    if let Some(cookie) = path("chain-cookie") {
        return Ok(Auth::Cookie(cookie));
    }
    let (Some(user), Some(file)) = (text(given, "chain-user"), path("chain-password-file")) else {
        return Err(Failure(2, "give --chain-cookie, or --chain-user with --chain-password-file".to_owned()));
    };
    let password = std::fs::read_to_string(&file)
        .map_err(|error| Failure(1, format!("{} cannot be read: {error}", file.display())))?;
    Ok(Auth::Password { user: user.to_owned(), password: password.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_consistent() {
        // Doubled names, flags and positions panic here.
        super::command().debug_assert();
        assert_eq!(super::command().get_subcommands().count(), 3);
    }
}
