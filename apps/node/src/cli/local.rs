//! The commands that need no node: they run one, or tell about the program.
use clap::{Arg, ArgAction, ArgMatches, Command};
use lightning_chain_bitcoind::Auth;
use serde_json::{Value, json};

use super::{args, completions, miner, print, restore, towers};
use crate::api::methods::View;
use crate::config::{Config, Sources};
use crate::demo::{self, DemoChain};
use crate::error::{ApiError, Code, Exit};
use crate::output::{self, Format};
use crate::{daemon, logging};

type Run = fn(&ArgMatches, &Sources, Format) -> Result<(), ApiError>;

struct Local {
    name: &'static str,
    build: fn(Command) -> Command,
    run: Run,
}

const LOCALS: &[Local] = &[
    Local {
        name: "run",
        build: |command| command.about("Run a node until it is stopped").args(args::settings()),
        run: |_, sources, _| {
            let config = Config::load(sources)?;
            logging::start(&config.log)?;
            daemon::run(&config)
        },
    },
    Local { name: "chain", build: miner::build_chain, run: miner::run_chain },
    Local { name: "mine", build: miner::build_mine, run: miner::run_mine },
    Local { name: "restore", build: restore::build, run: restore::run },
    Local { name: "wtclient", build: towers::build, run: towers::run },
    Local { name: "demo", build: build_demo, run: run_demo },
    Local { name: "config", build: build_config, run: run_config },
    Local { name: "explain", build: build_explain, run: explain },
    Local { name: "completions", build: completions::build, run: completions::run },
];

/// The commands.
pub(super) fn commands() -> Vec<Command> {
    LOCALS.iter().map(|local| (local.build)(Command::new(local.name))).collect()
}

/// Runs the command `name`.
pub(super) fn run(
    name: &str,
    given: &ArgMatches,
    sources: &Sources,
    format: Format,
) -> Result<Exit, ApiError> {
    let local = LOCALS.iter().find(|local| local.name == name);
    let local =
        local.ok_or_else(|| ApiError::new(Code::UnknownMethod, format!("there is no command {name:?}")))?;
    (local.run)(given, sources, format).map(|()| Exit::Ok)
}

fn build_demo(command: Command) -> Command {
    let bitcoind = Arg::new("bitcoind").long("bitcoind").value_name("URL").help("Use this regtest bitcoind");
    let cookie =
        Arg::new("bitcoind-cookie").long("bitcoind-cookie").value_name("FILE").help("Its cookie file");
    let user = Arg::new("bitcoind-user").long("bitcoind-user").value_name("NAME").help("Its RPC user");
    let password = Arg::new("bitcoind-password-file")
        .long("bitcoind-password-file")
        .value_name("FILE")
        .help("A file with its RPC password");
    let about =
        "Run three nodes that open channels, pay, restart and close, and account for every millisatoshi";
    let tower =
        Arg::new("watchtower").long("watchtower").action(ArgAction::SetTrue).conflicts_with("bitcoind");
    let tower =
        tower.help("Another story: a node loses its disk, its peer cheats, and `lntower` alone punishes it");
    let bitcoinds = [bitcoind, cookie.requires("bitcoind"), user.requires("bitcoind"), password];
    command.about(about).args(bitcoinds).arg(tower)
}

fn run_demo(given: &ArgMatches, _: &Sources, _: Format) -> Result<(), ApiError> {
    let not_held = |error| ApiError::new(Code::Internal, format!("the demo did not hold: {error}"));
    if given.get_flag("watchtower") {
        return demo::watchtower().map_err(not_held);
    }
    let text = |name: &str| given.get_one::<String>(name).cloned();
    let chain = match text("bitcoind") {
        None => DemoChain::Embedded,
        Some(url) => {
            let auth = match (text("bitcoind-cookie"), text("bitcoind-user"), text("bitcoind-password-file"))
            {
                (Some(cookie), ..) => Auth::Cookie(cookie.into()),
                (None, Some(user), Some(file)) => {
                    let password = std::fs::read_to_string(&file).map_err(|error| {
                        ApiError::new(Code::Disk, format!("{file} cannot be read: {error}"))
                    })?;
                    Auth::Password { user, password: password.trim().to_owned() }
                }
                _ => {
                    return Err(ApiError::bad("bitcoind wants credentials")
                        .hint("give --bitcoind-cookie, or --bitcoind-user with --bitcoind-password-file"));
                }
            };
            DemoChain::Bitcoind { url, auth }
        }
    };
    let filter = std::env::var("LNODE_LOG").unwrap_or_else(|_| "error".to_owned());
    logging::start(&crate::config::LogConfig { filter, json: false })?;
    demo::run(&chain).map(|_| ()).map_err(not_held)
}

fn build_config(command: Command) -> Command {
    let origin = Arg::new("origin").long("origin").action(ArgAction::SetTrue).help("Say who set each value");
    let show = Command::new("show").about("Show all settings as `lnode run` would use them").arg(origin);
    command.about("Show the configuration").subcommand_required(true).subcommand(show.args(args::settings()))
}

fn run_config(given: &ArgMatches, _: &Sources, format: Format) -> Result<(), ApiError> {
    let Some(("show", given)) = given.subcommand() else {
        return Err(ApiError::bad("`lnode config show` is what there is"));
    };
    let config = Config::load(&args::sources(given))?;
    let origin = given.get_flag("origin");
    let row = |setting: &crate::config::Setting| {
        let mut row = json!({ "setting": setting.name, "value": setting.shown() });
        if let (true, Some(row)) = (origin, row.as_object_mut()) {
            row.insert("origin".into(), Value::from(setting.origin.to_string()));
        }
        row
    };
    let rows: Vec<Value> = config.settings().iter().map(row).collect();
    const COLUMNS: &[(&str, &str)] = &[("setting", "setting"), ("value", "value"), ("origin", "set by")];
    let columns = if origin { COLUMNS } else { COLUMNS.get(..2).unwrap_or(COLUMNS) };
    let answer = json!({ "data_dir": config.data_dir.display().to_string(), "settings": rows });
    print(&output::show(format, View::List("settings", columns), &answer));
    Ok(())
}

fn build_explain(command: Command) -> Command {
    command
        .about("Explain an error code")
        .arg(Arg::new("code").value_name("CODE").required(true).help("Such as LN0012"))
}

fn explain(given: &ArgMatches, _: &Sources, format: Format) -> Result<(), ApiError> {
    let text = given.get_one::<String>("code").map(String::as_str).unwrap_or_default();
    let code = Code::parse(text)
        .ok_or_else(|| ApiError::bad(format!("there is no error {text:?}")).hint("codes look like LN0012"))?;
    let explanation: Vec<_> = code.explanation().lines().map(str::trim).collect();
    let explanation = explanation.join(" ");
    print(&match format {
        Format::Table => format!("{code}: {}", explanation.trim()),
        Format::Json => {
            json!({ "code": code, "explanation": explanation.trim(), "exit": code.exit() as u8 }).to_string()
        }
    });
    Ok(())
}
