//! `lnode restore --from-tower`: a node that has only its seed gets its live channels back from its watchtowers.
//!
//! `visit.rs` calls a tower, `choose.rs` says which state is taken and whether it can be the last, `shelf.rs` writes the new store.
//! Why it is so: decision record 31.
//!
//! # Invariants
//! - the towers serve no earlier life of the node from before its channels are read on (a fence, [`life`])
//! - a channel that is not proven to be at its last state is never taken to the chain by us (RELIABILITY B1)
//! - nothing is written below its name before all of it is there, and never over a node
mod choose;
mod shelf;
mod visit;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bitcoin::{Network, ScriptBuf};
use lightning_chain_bitcoind::BitcoindClient;
use lightning_keys::{Scripts, Seed, SeedKeys};
use lightning_remote::wire::Head;
use lightning_remote::{Promise, RemoteMonitors};
use lightning_traits::id::{ChannelId, ChannelKeysId};
use lightning_traits::interface::{BlockSource as _, KeysInterface as _};
use lightning_traits::monitor::NewMonitor;
use serde::Serialize;
use tokio::runtime::{Handle, Runtime};

use super::lock::DirLock;
use super::node::STORE;
use super::{life, run, seed};
use crate::config::Config;
use crate::error::{ApiError, Code};
use crate::towers::{TowerEntry, TowerList, TowerMode};

use choose::{Choice, Offer, as_signed, choose};
use shelf::{Restored, Shelf};
pub(super) use visit::{Greeting, Visit, on_the_wire};

/// Channels that may not be at their last state.
pub(super) const DOUBTED: &str = "restored/doubted/";
/// How long a tower that takes calls may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// `node_id@host:port` of each tower.
    pub towers: Vec<String>,
    /// Where the words of the seed are; the data directory's own file if it is not said.
    pub seed_file: Option<PathBuf>,
    /// The block from which on the wallet looks for its coins.
    pub birthday: Option<u32>,
    /// The user knows that the towers were up until the end: what they have is taken for the last.
    pub assume_newest: bool,
    /// Only look.
    pub dry_run: bool,
}

/// A tower that was asked.
#[derive(Clone, Debug, Serialize)]
pub struct TowerAnswer {
    /// Where.
    pub address: String,
    /// In which mode it guards the node; empty when it did not answer.
    pub mode: String,
    /// How many channels it has.
    pub channels: usize,
    /// Why it could not be used; empty when it could.
    pub trouble: String,
}

/// A channel that was restored, or not.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelAnswer {
    /// Which.
    pub channel_id: String,
    /// With whom.
    pub peer_id: String,
    /// How large.
    pub capacity_sat: u64,
    /// The last update.
    pub update: u64,
    /// Towers that hold it.
    pub held_by: usize,
    /// `live`: it goes on. `closing`: its peer is asked to close it. `lost`: no tower gives it.
    pub state: String,
    /// Why it is not live.
    pub why: String,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreAnswer {
    /// The node.
    pub node_id: String,
    /// Whether anything was written.
    pub restored: bool,
    /// The towers.
    pub towers: Vec<TowerAnswer>,
    /// The channels.
    pub channels: Vec<ChannelAnswer>,
    /// What no tower can give back, and what to do next.
    pub notes: Vec<String>,
}

/// The seed has more uses than keys; here it has none for addresses.
struct NoScripts;

impl Scripts for NoScripts {
    fn script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }
}

/// A tower that knows the node.
struct Known {
    visit: Visit,
    entry: TowerEntry,
    /// The last life that it has served.
    life: u64,
    remote: Arc<RemoteMonitors>,
}

impl Known {
    /// Blind towers keep blobs and no records: they are fenced, and have nothing to give.
    fn has_records(&self) -> bool {
        self.entry.mode != TowerMode::Blind && !self.remote.kept_by_tower().is_empty()
    }
}

/// Restores a node into the data directory of `config`.
///
/// # Errors
/// [`Code::NotEmpty`], [`Code::NoTower`], [`Code::WrongSeed`], [`Code::TowersDisagree`], [`Code::NothingToRestore`]; then nothing
/// was written. Others are those of the chain and the disk.
pub fn restore(config: &Config, options: &RestoreOptions) -> Result<RestoreAnswer, ApiError> {
    let _lock = DirLock::take(&config.data_dir)?;
    let path = config.data_dir.join(STORE);
    if path.exists() {
        let message = format!("{} has a node already", config.data_dir.display());
        return Err(
            ApiError::new(Code::NotEmpty, message).hint("restore into an empty directory, with --dir")
        );
    }
    let words = seed_words(&config.data_dir, options.seed_file.as_deref())?;
    let (wallet, node_seed) = seed::of_words(&words, &config.data_dir.join("seed")).map_err(seed_error)?;
    let keys = seed_keys(&node_seed)?;
    let runtime =
        Runtime::new().map_err(|error| ApiError::new(Code::Internal, format!("no threads: {error}")))?;
    let (chain, _running) = run::chain_of(config)?;
    let source = BitcoindClient::new(&chain.url, chain.auth.clone(), config.network);
    source.tip().map_err(ApiError::from)?;

    let (mut known, mut towers) = survey(options, &keys, config.network, runtime.handle())?;
    let last = known.iter().map(|tower| tower.life).max().unwrap_or(0);
    let life = if options.dry_run { last } else { life::after(last)? };
    if !options.dry_run {
        known = take_over(known, life, &mut towers)?;
    }
    let (channels, chosen) = collect(&known, options.assume_newest)?;
    for tower in &known {
        if let Some(answer) = towers.iter_mut().find(|answer| answer.address == tower.entry.address) {
            answer.channels = tower.remote.kept_by_tower().len();
        }
    }
    let promise = chosen.iter().map(|(_, promise)| *promise).find(|promise| promise.held_by > 0);
    let answer = RestoreAnswer {
        node_id: keys.node_id().to_string(),
        restored: !options.dry_run,
        notes: notes(&towers, &channels),
        towers,
        channels,
    };
    if !options.dry_run {
        let statements =
            known.iter().filter_map(|tower| Some((tower.visit.id, tower.remote.last_statement()?)));
        let shelf = Shelf {
            network: config.network,
            seed: &wallet,
            keys: &keys,
            source: &source,
            birthday: options.birthday.unwrap_or_else(|| birthday(config.network)),
            life,
            statements: statements.collect(),
            channels: chosen.into_iter().map(|(restored, _)| restored).collect(),
        };
        seed::write(&config.data_dir, &words).map_err(seed_error)?;
        tower_list(&known, promise).store(&config.data_dir)?;
        shelf.write(&path)?;
    }
    known.iter().for_each(|tower| tower.visit.end());
    Ok(answer)
}

fn seed_error(error: seed::SeedError) -> ApiError {
    ApiError::new(Code::Disk, error.to_string())
}

fn seed_keys(seed: &Seed) -> Result<SeedKeys, ApiError> {
    let keys = SeedKeys::new(seed.clone(), Arc::new(NoScripts));
    keys.map_err(|error| ApiError::new(Code::Internal, error.to_string()))
}

/// The words: given ones must not be another node's than those that are there.
fn seed_words(data_dir: &Path, given: Option<&Path>) -> Result<String, ApiError> {
    let own = data_dir.join("seed");
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map(|text| text.trim().to_owned());
        text.map_err(|error| ApiError::new(Code::Disk, format!("{} cannot be read: {error}", path.display())))
    };
    match (given, own.exists()) {
        (None, false) => Err(ApiError::bad("there are no seed words to restore from")
            .hint(format!("put them into {} or name a file with --seed-file", own.display()))),
        (None, true) => read(&own),
        (Some(given), false) => read(given),
        (Some(given), true) => {
            let (words, there) = (read(given)?, read(&own)?);
            if words == there {
                return Ok(words);
            }
            let message = format!("{} has another seed than {}", data_dir.display(), given.display());
            Err(ApiError::new(Code::NotEmpty, message).hint("restore into an empty directory, with --dir"))
        }
    }
}

/// Nothing of such wallets is older.
const fn birthday(network: Network) -> u32 {
    match network {
        // The wallet has addresses of version 0 and 1 only, and BIP 141 came into force then.
        Network::Bitcoin => 481_824,
        _ => 0,
    }
}

/// Calls all towers without beginning a life: which know the node, in which mode, and which life they serve.
fn survey(
    options: &RestoreOptions,
    keys: &SeedKeys,
    network: Network,
    runtime: &Handle,
) -> Result<(Vec<Known>, Vec<TowerAnswer>), ApiError> {
    let look = |address: &String| -> Result<Result<Known, (Code, String)>, ApiError> {
        Ok(look_at(Visit::new(keys, network, address, runtime)?, address))
    };
    let looked: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = options.towers.iter().map(|address| scope.spawn(|| look(address))).collect();
        let broke = || Err(ApiError::new(Code::Internal, "a call to a tower broke off"));
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(|_| broke())).collect()
    });
    let (mut known, mut answers, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for (address, looked) in options.towers.iter().zip(looked) {
        let mut answer = TowerAnswer {
            address: address.clone(),
            mode: String::new(),
            channels: 0,
            trouble: String::new(),
        };
        match looked? {
            Ok(tower) => {
                tower.entry.mode.word().clone_into(&mut answer.mode);
                known.push(tower);
            }
            Err((code, trouble)) => {
                answer.trouble = trouble;
                codes.push(code);
            }
        }
        answers.push(answer);
    }
    if known.is_empty() {
        return Err(nobody(&answers, &codes));
    }
    if !known.iter().any(Known::has_records) {
        return Err(nothing());
    }
    Ok((known, answers))
}

fn nothing() -> ApiError {
    ApiError::new(Code::NothingToRestore, "the towers know this node and have no channel of it").hint(
        "`lnode run` on this seed finds the coins of its wallet; peers that still have channels close them",
    )
}

fn nobody(answers: &[TowerAnswer], codes: &[Code]) -> ApiError {
    let troubles: Vec<String> =
        answers.iter().map(|answer| format!("{}: {}", answer.address, answer.trouble)).collect();
    let message = troubles.join("; ");
    if codes.contains(&Code::WrongSeed) {
        return ApiError::new(Code::WrongSeed, message).hint(
            "check the seed words and the towers' addresses; a node that its tower's operator has removed is a stranger too",
        );
    }
    ApiError::new(Code::NoTower, message).hint("`tower.address` in a tower's directory has its address")
}

fn look_at(visit: Visit, address: &str) -> Result<Known, (Code, String)> {
    let mut served = 0;
    let mut modes = [TowerMode::Justice, TowerMode::Full, TowerMode::Blind].into_iter();
    let mut mode = modes.next();
    while let Some(asked) = mode {
        match visit.greet(asked, served, None, PATIENCE) {
            Greeting::Open(remote) => {
                let entry = TowerEntry { address: address.to_owned(), mode: asked };
                return Ok(Known { visit, entry, life: served, remote });
            }
            // It says which life it serves to whoever is of an earlier one.
            Greeting::Fenced(life) if life > served => served = life,
            Greeting::Fenced(_) => return Err((Code::NoTower, "it serves no life that it names".to_owned())),
            Greeting::OtherMode => mode = modes.next(),
            Greeting::Stranger => {
                return Err((Code::WrongSeed, "it knows no node of this seed".to_owned()));
            }
            Greeting::Refused(why) | Greeting::Silent(why) => return Err((Code::NoTower, why)),
        }
    }
    Err((Code::NoTower, "it guards this node in a mode from which nothing can be restored".to_owned()))
}

/// Begins the new life at each tower. From now on they refuse whatever an earlier instance says.
fn take_over(known: Vec<Known>, life: u64, towers: &mut [TowerAnswer]) -> Result<Vec<Known>, ApiError> {
    let mut taken = Vec::new();
    for tower in known {
        let trouble = match tower.visit.greet(tower.entry.mode, life, None, PATIENCE) {
            Greeting::Open(remote) => {
                taken.push(Known { remote, life, ..tower });
                continue;
            }
            Greeting::Fenced(later) => {
                let message = format!(
                    "another instance is being restored at the same time (life {later} at {})",
                    tower.visit.id
                );
                return Err(ApiError::new(Code::RestoredElsewhere, message)
                    .hint("only one may be; once the other has ended, try again if it failed"));
            }
            Greeting::OtherMode | Greeting::Stranger => "it does not know the node any more".to_owned(),
            Greeting::Refused(why) | Greeting::Silent(why) => why,
        };
        if let Some(answer) = towers.iter_mut().find(|answer| answer.address == tower.entry.address) {
            answer.trouble = trouble;
        }
    }
    if taken.is_empty() {
        return Err(nobody(towers, &[]));
    }
    Ok(taken)
}

type Chosen = Vec<(Restored, Promise)>;

/// All channels that the towers have, and what is taken of each.
fn collect(known: &[Known], assume_newest: bool) -> Result<(Vec<ChannelAnswer>, Chosen), ApiError> {
    let mut offers: BTreeMap<ChannelId, Vec<Offer>> = BTreeMap::new();
    for tower in known.iter().filter(|tower| tower.has_records()) {
        let kept: BTreeMap<ChannelId, Head> = tower.remote.kept_by_tower().into_iter().collect();
        let channels: Vec<ChannelId> = kept.keys().copied().collect();
        let mut given: BTreeMap<ChannelId, _> =
            tower.visit.fetch(&tower.remote, &channels).into_iter().collect();
        for (channel, head) in kept {
            let given =
                given.remove(&channel).unwrap_or_else(|| Err("the tower does not give it".to_owned()));
            let offer = Offer { tower: tower.visit.id, head, given: as_signed(head, given) };
            offers.entry(channel).or_default().push(offer);
        }
    }
    let (mut answers, mut chosen) = (Vec::new(), Vec::new());
    for (channel, offers) in offers {
        let taken = choose(channel, &offers)?.and_then(|choice| {
            let new = NewMonitor::from_versioned(&choice.fetched.stored.new).ok()?;
            (new.init.channel == channel).then_some((choice, new))
        });
        let Some((choice, new)) = taken else {
            answers.push(lost(channel, &offers));
            continue;
        };
        let Choice { fetched, held_by, doubt } = choice;
        let doubt = doubt.filter(|_| !assume_newest);
        answers.push(ChannelAnswer {
            channel_id: channel.to_string(),
            peer_id: new.init.peer.to_string(),
            capacity_sat: new.init.funding.value.to_sat(),
            update: fetched.stored.last_update.0,
            held_by,
            state: if doubt.is_none() { "live" } else { "closing" }.to_owned(),
            why: doubt.clone().unwrap_or_default(),
        });
        let restored = Restored { channel, stored: fetched.stored, new, is_doubted: doubt.is_some() };
        chosen.push((restored, fetched.promise));
    }
    if chosen.is_empty() {
        let why = answers.into_iter().next().map(|answer| answer.why).unwrap_or_default();
        return Err(ApiError::new(
            Code::NothingToRestore,
            format!("the towers guard this node and give none of its channels: {why}"),
        ));
    }
    Ok((answers, chosen))
}

fn lost(channel: ChannelId, offers: &[Offer]) -> ChannelAnswer {
    let whys = offers.iter().filter_map(|offer| offer.given.as_ref().err().cloned());
    ChannelAnswer {
        channel_id: channel.to_string(),
        peer_id: String::new(),
        capacity_sat: 0,
        update: 0,
        held_by: 0,
        state: "lost".to_owned(),
        why: whys.collect::<Vec<_>>().join("; "),
    }
}

/// The towers as the node had them, as far as they answered, and its policy if it waited for them. Blind ones know the channels by
/// names of the lost instance's making; they are to be added anew.
fn tower_list(known: &[Known], promise: Option<Promise>) -> TowerList {
    let entries = known.iter().map(|tower| tower.entry.clone());
    let towers: Vec<TowerEntry> = entries.filter(|entry| entry.mode != TowerMode::Blind).collect();
    let all = towers.len();
    let is_full = known.iter().any(|tower| tower.entry.mode == TowerMode::Full);
    match promise {
        Some(promise) if !is_full => {
            let needed = usize::from(promise.held_by).min(all).saturating_add(1);
            TowerList { towers, needed, max_ahead: 0 }
        }
        _ => TowerList { towers, ..TowerList::default() },
    }
}

/// What the user must know.
fn notes(towers: &[TowerAnswer], channels: &[ChannelAnswer]) -> Vec<String> {
    let mut notes = vec![
        "The coins of the wallet are found on the chain when the node starts; until then the balance is less.".to_owned(),
        "Invoices, payments and events of before are not listed any more. Invoices can still be paid; payments that were under way \
         go on or come back in their channels. What waits for a held invoice is listed again, and can be settled or called off."
            .to_owned(),
        "Addresses of peers are not kept by towers: connect to those that do not call by themselves (`lnode connect`).".to_owned(),
        "Channels that were opened while no tower was reached, and those that were never handed over, are not restored.".to_owned(),
    ];
    if towers.iter().any(|tower| tower.mode == TowerMode::Blind.word()) {
        notes.push(
            "Blind towers are fenced, and are not used until they are added again (`lnode wtclient add`)."
                .to_owned(),
        );
    }
    let silent: Vec<&str> =
        towers.iter().filter(|tower| !tower.trouble.is_empty()).map(|tower| tower.address.as_str()).collect();
    if !silent.is_empty() {
        notes.push(format!(
            "Not fenced at {}: an old instance of this node that reaches no other tower does not know that it was replaced. See to it \
             that none runs.",
            silent.join(", ")
        ));
    }
    if channels.iter().any(|channel| channel.state == "closing") {
        notes.push(
            "Channels in state `closing` may not be at their last state: this node never publishes them, and asks their peers to close \
             them; what is ours comes to the wallet."
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_there_are_not_replaced_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let given = dir.path().join("given");
        assert_eq!(seed_words(dir.path(), None).unwrap_err().code, Code::BadRequest);
        fs::write(&given, " a b c\n").unwrap();
        assert_eq!(seed_words(dir.path(), Some(&given)).unwrap(), "a b c");
        fs::write(dir.path().join("seed"), "a b c").unwrap();
        assert_eq!(seed_words(dir.path(), Some(&given)).unwrap(), "a b c");
        fs::write(dir.path().join("seed"), "d e f").unwrap();
        assert_eq!(seed_words(dir.path(), Some(&given)).unwrap_err().code, Code::NotEmpty);
        assert_eq!(seed_words(dir.path(), None).unwrap(), "d e f");
    }
}
