//! The embedded chain as a program: kept in a file, served as bitcoind would serve it, mined by the clock if wanted.
//!
//! `lnode chain` runs one for all nodes of a machine, and a node without any other chain runs its own. Both are regtest
//! chains for trying things out.
//!
//! # Invariants
//! - the file belongs to one process, and always holds a chain: blocks are added at its end, and a reorganisation replaces it as a whole
//! - a block is in the file a moment after it was mined, and all are when the chain is stopped
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Block, BlockHash, ScriptBuf};
use lightning_chain_embedded::{ChainServer, EmbeddedChain, ServeOptions};
use tracing::{info, warn};

use crate::error::{ApiError, Code};

/// Name of the chain's file in the data directory.
pub const CHAIN_FILE: &str = "chain.blocks";

/// The file's first bytes: what it is, and the version of its format.
const MAGIC: &[u8] = b"lnode chain 1\n";
/// Blocks are four million weight units at most.
const MAX_BLOCK: u32 = 4_000_000;
/// How often the chain is looked at for blocks to write or to mine.
const LOOK: Duration = Duration::from_millis(50);

/// How to run a chain.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Where its RPC listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where its cookie is written.
    pub cookie: PathBuf,
    /// Where its blocks are kept; `None` forgets them.
    pub file: Option<PathBuf>,
    /// Mine a block so often.
    pub mine_every: Option<Duration>,
}

/// A chain that runs; stops when dropped.
#[derive(Debug)]
pub struct RunningChain {
    chain: EmbeddedChain,
    server: Option<ChainServer>,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl RunningChain {
    /// Reads the file and starts.
    ///
    /// # Errors
    /// [`Code::PortInUse`] and [`Code::CannotListen`]; [`Code::Disk`] and [`Code::DatabaseCorrupt`] for the file.
    pub fn start(options: ChainOptions) -> Result<Self, ApiError> {
        let chain = EmbeddedChain::new();
        let keeper = match &options.file {
            Some(path) => Some(Keeper::load(path, &chain)?),
            None => None,
        };
        chain.use_wall_clock();
        let serve =
            ServeOptions { listen: options.listen, cookie_file: Some(options.cookie), password: None };
        let server = ChainServer::start(chain.clone(), serve);
        let server = server.map_err(|error| cannot_listen(options.listen, &error))?;
        let address = server.address();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { chain: chain.clone(), keeper, mine_every: options.mine_every };
        let stopped = Arc::clone(&stop);
        let keeper = thread::Builder::new().name("chain-keeper".into()).spawn(move || work.run(&stopped));
        let keeper = keeper
            .map_err(|error| ApiError::new(Code::Internal, format!("no thread for the chain: {error}")))?;
        Ok(Self { chain, server: Some(server), address, stop, keeper: Some(keeper) })
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> &EmbeddedChain {
        &self.chain
    }

    /// Where its RPC listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RunningChain {
    fn drop(&mut self) {
        // First no more blocks, then the last ones are written.
        if let Some(server) = self.server.take() {
            server.stop();
        }
        self.stop.store(true, Ordering::SeqCst);
        if let Some(keeper) = self.keeper.take() {
            let _ended = keeper.join();
        }
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> ApiError {
    if error.kind() == io::ErrorKind::AddrInUse {
        return ApiError::new(Code::PortInUse, format!("the chain cannot listen on {address}: it is in use"))
            .hint("stop the other chain, or use it with --chain-url, or choose another port");
    }
    ApiError::new(Code::CannotListen, format!("the chain cannot listen on {address}: {error}"))
        .hint("choose another address")
}

/// A script that nobody can spend from: coins mined to it are gone.
#[must_use]
pub fn nobody() -> ScriptBuf {
    ScriptBuf::new_op_return([])
}

/// What the chain's own thread does.
struct Work {
    chain: EmbeddedChain,
    keeper: Option<Keeper>,
    mine_every: Option<Duration>,
}

impl Work {
    fn run(mut self, stop: &AtomicBool) {
        let mut mined = Instant::now();
        loop {
            // The flag first: what came before it is written.
            let last = stop.load(Ordering::SeqCst);
            if let Some(every) = self.mine_every
                && mined.elapsed() >= every
            {
                mined = Instant::now();
                self.chain.mine(1, &nobody());
                info!(height = self.chain.height(), "mined a block");
            }
            if let Some(keeper) = &mut self.keeper
                && let Err(error) = keeper.write(&self.chain)
            {
                warn!(%error, "the chain's file cannot be written; trying again");
            }
            if last {
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

/// Keeps the best chain in a file.
#[derive(Debug)]
struct Keeper {
    path: PathBuf,
    /// Held as long as this lives: two chains in one file would overwrite each other.
    _lock: File,
    /// Hashes of the blocks in the file, from height 1.
    written: Vec<BlockHash>,
    /// [`EmbeddedChain::changes`] when it was last written.
    changes: u64,
}

impl Keeper {
    /// Puts the blocks of the file, if there is one, onto the empty `chain`.
    fn load(path: &Path, chain: &EmbeddedChain) -> Result<Self, ApiError> {
        let disk = |error: &io::Error| {
            ApiError::new(Code::Disk, format!("the chain's file {} cannot be used: {error}", path.display()))
        };
        // The file itself is replaced now and then, so the lock is on another.
        let lock = File::create(path.with_extension("lock")).map_err(|error| disk(&error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => disk(&error),
            TryLockError::WouldBlock => {
                let message = format!("another process runs the chain of {}", path.display());
                ApiError::new(Code::DatabaseInUse, message)
                    .hint("use that one with --chain-url, or stop it, or choose another --dir")
            }
        })?;
        let mut keeper = Self { path: path.to_path_buf(), _lock: lock, written: Vec::new(), changes: 0 };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                keeper.replace(chain).map_err(|error| disk(&error))?;
                return Ok(keeper);
            }
            Err(error) => return Err(disk(&error)),
        };
        let damaged = |what: String| {
            let message = format!("the chain's file {} is damaged: {what}", path.display());
            ApiError::new(Code::DatabaseCorrupt, message)
                .hint("delete it to begin a new chain; nodes that knew the old one need new directories too")
        };
        let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it is no chain".into()))?;
        while !rest.is_empty() {
            let height = keeper.written.len().saturating_add(1);
            // A process that was killed while it wrote leaves half a block at the end.
            let Some(block) = next_block(&mut rest) else {
                warn!(height, "the chain's file ends in the middle of a block, which is dropped");
                break;
            };
            let block = block.map_err(|error| damaged(format!("block {height}: {error}")))?;
            chain.submit_block(&block).map_err(|error| damaged(format!("block {height}: {error}")))?;
            keeper.written.push(block.block_hash());
        }
        // Without the half block, so that the next one is not put behind it.
        keeper.replace(chain).map_err(|error| disk(&error))?;
        Ok(keeper)
    }

    /// Writes what is new.
    fn write(&mut self, chain: &EmbeddedChain) -> io::Result<()> {
        let changes = chain.changes();
        if changes == self.changes {
            return Ok(());
        }
        let top = u32::try_from(self.written.len()).unwrap_or(u32::MAX);
        if self.written.last().copied() == chain.hash_at(top).filter(|_| top > 0) {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            let before = file.metadata()?.len();
            if let Err(error) = append(&mut file, chain, top, &mut self.written) {
                // What is half written is taken back, or the next block would come behind it.
                self.written.truncate(usize::try_from(top).unwrap_or(usize::MAX));
                file.set_len(before)?;
                return Err(error);
            }
        } else {
            self.replace(chain)?;
        }
        self.changes = changes;
        Ok(())
    }

    /// Writes the whole chain in the place of what is there.
    fn replace(&mut self, chain: &EmbeddedChain) -> io::Result<()> {
        let changes = chain.changes();
        let draft = self.path.with_extension("tmp");
        let mut file = File::create(&draft)?;
        file.write_all(MAGIC)?;
        let mut written = Vec::new();
        append(&mut file, chain, 0, &mut written)?;
        fs::rename(&draft, &self.path)?;
        self.written = written;
        self.changes = changes;
        Ok(())
    }
}

/// Writes the blocks above `height` behind what is in `file`.
fn append(
    file: &mut File,
    chain: &EmbeddedChain,
    height: u32,
    written: &mut Vec<BlockHash>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut parent = written.last().copied();
    for block in (height.saturating_add(1)..).map_while(|height| chain.block_at(height)) {
        // The chain may be reorganised between two blocks; the rest is for the next time.
        if parent.is_some_and(|parent| parent != block.header.prev_blockhash) {
            break;
        }
        let encoded = serialize(&*block);
        bytes.extend_from_slice(&u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&encoded);
        let hash = block.block_hash();
        written.push(hash);
        parent = Some(hash);
    }
    file.write_all(&bytes)?;
    file.sync_data()
}

/// Takes one block off `rest`; `None` when it is not whole.
fn next_block(rest: &mut &[u8]) -> Option<Result<Block, String>> {
    let mut length = [0; 4];
    rest.read_exact(&mut length).ok()?;
    let length = u32::from_le_bytes(length);
    if length > MAX_BLOCK {
        return Some(Err(format!("{length} bytes are too many")));
    }
    let (block, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    Some(deserialize(block).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path) -> ChainOptions {
        ChainOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cookie: dir.join("cookie"),
            file: Some(dir.join(CHAIN_FILE)),
            mine_every: None,
        }
    }

    #[test]
    fn chain_is_there_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let running = RunningChain::start(options(dir.path())).unwrap();
        running.chain().mine(5, &nobody());
        let tip = running.chain().tip();
        drop(running);
        assert!(!dir.path().join("cookie").exists());
        let running = RunningChain::start(options(dir.path())).unwrap();
        assert_eq!(running.chain().tip(), tip);
        // The file is continued, a reorganisation included.
        running.chain().mine(1, &nobody());
        running.chain().reorg(3, &nobody());
        let tip = running.chain().tip();
        assert_eq!(tip.1, 7);
        drop(running);
        assert_eq!(RunningChain::start(options(dir.path())).unwrap().chain().tip(), tip);
    }

    #[test]
    fn file_follows_appends_and_reorganisations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CHAIN_FILE);
        let chain = EmbeddedChain::new();
        let mut keeper = Keeper::load(&path, &chain).unwrap();
        for step in 0..6 {
            match step % 3 {
                0 => chain.mine(3, &nobody()),
                1 => chain.reorg(2, &nobody()),
                _ => chain.disconnect_tip().map(|block| block.block_hash()).into_iter().collect(),
            };
            keeper.write(&chain).unwrap();
            let copy = EmbeddedChain::new();
            let other = dir.path().join("copy.blocks");
            fs::copy(&path, &other).unwrap();
            let again = Keeper::load(&other, &copy).unwrap();
            assert_eq!(copy.tip(), chain.tip(), "step {step}");
            assert_eq!(again.written, keeper.written);
        }
    }

    #[test]
    fn half_a_block_at_the_end_is_dropped_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CHAIN_FILE);
        let running = RunningChain::start(options(dir.path())).unwrap();
        running.chain().mine(3, &nobody());
        drop(running);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        let running = RunningChain::start(options(dir.path())).unwrap();
        assert_eq!(running.chain().height(), 2);
        drop(running);
        let mut damaged = whole;
        damaged[MAGIC.len() + 60] ^= 1;
        for wrong in [damaged, b"something else".to_vec()] {
            fs::write(&path, &wrong).unwrap();
            let error = RunningChain::start(options(dir.path())).unwrap_err();
            assert_eq!(error.code, Code::DatabaseCorrupt);
            assert_eq!(fs::read(&path).unwrap(), wrong, "the file was changed");
        }
    }

    #[test]
    fn used_port_and_used_file_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let running = RunningChain::start(options(dir.path())).unwrap();
        let other = tempfile::tempdir().unwrap();
        let same_port = ChainOptions { listen: running.address(), ..options(other.path()) };
        assert_eq!(RunningChain::start(same_port).unwrap_err().code, Code::PortInUse);
        assert_eq!(RunningChain::start(options(dir.path())).unwrap_err().code, Code::DatabaseInUse);
    }
}
