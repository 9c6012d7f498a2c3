//! The demo's nodes and their chain.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bitcoin::{Address, Network as BitcoinNetwork};
use lightning_chain_bitcoind::{Auth, BitcoindClient};
use lightning_chain_embedded::{ChainServer, EmbeddedChain, ServeOptions};
use lightning_traits::config::UserConfig;
use lightning_traits::interface::BlockSource as _;

use super::{DemoChain, DemoError};
use crate::api::Backend as _;
use crate::daemon::{ChainOptions, Inner, Node, NodeBackend, NodeOptions};
use crate::error::ApiError;

/// The chain that all share.
pub(super) struct Chain {
    pub(super) client: BitcoindClient,
    options: ChainOptions,
    /// Nobody's address: where the rewards of the story's blocks go.
    nobody: Address,
    _server: Option<ChainServer>,
}

/// One of the demo's people.
pub(super) struct Person {
    pub(super) name: &'static str,
    options: NodeOptions,
    node: Option<Node>,
}

/// Alice, Bob and Carol.
pub(super) struct Network {
    pub(super) chain: Chain,
    pub(super) people: [Person; 3],
    folder: PathBuf,
}

pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;
pub(super) const CAROL: usize = 2;

const NAMES: [&str; 3] = ["Alice", "Bob", "Carol"];

impl Chain {
    fn start(chosen: &DemoChain, folder: &std::path::Path) -> Result<Self, DemoError> {
        let (options, server) = match chosen {
            DemoChain::Embedded => {
                let cookie = folder.join("chain.cookie");
                let chain = EmbeddedChain::new();
                let listen = SocketAddr::from(([127, 0, 0, 1], 0));
                let options = ServeOptions { listen, cookie_file: Some(cookie.clone()), password: None };
                let server = ChainServer::start(chain, options)?;
                let url = format!("http://{}", server.address());
                (ChainOptions { url, auth: Auth::Cookie(cookie) }, Some(server))
            }
            DemoChain::Bitcoind { url, auth } => {
                (ChainOptions { url: url.clone(), auth: auth.clone() }, None)
            }
        };
        let client = BitcoindClient::new(&options.url, options.auth.clone(), BitcoinNetwork::Regtest);
        // A pay-to-witness-script-hash of a script that nothing satisfies.
        let script = bitcoin::ScriptBuf::from_bytes(vec![bitcoin::opcodes::all::OP_RETURN.to_u8()]);
        let nobody = Address::p2wsh(&script, BitcoinNetwork::Regtest);
        client.tip()?;
        Ok(Self { client, options, nobody, _server: server })
    }

    /// Mines blocks whose rewards are nobody's.
    pub(super) fn mine(&self, blocks: u32) -> Result<(), DemoError> {
        self.mine_to(blocks, &self.nobody)
    }

    pub(super) fn mine_to(&self, blocks: u32, address: &Address) -> Result<(), DemoError> {
        self.client.generate(blocks, address)?;
        Ok(())
    }

    pub(super) fn height(&self) -> Result<u32, DemoError> {
        Ok(self.client.tip()?.height)
    }
}

impl Person {
    fn start(&mut self) -> Result<(), DemoError> {
        let node =
            Node::start(self.options.clone()).map_err(|error| DemoError::Start { name: self.name, error })?;
        // The same port after a restart, so that others find the node again.
        self.options.listen = node.inner().bound();
        self.node = Some(node);
        Ok(())
    }

    /// The parts of the running node.
    pub(super) fn node(&self) -> Option<&Arc<Inner>> {
        self.node.as_ref().map(Node::inner)
    }

    /// Calls a method of the node's API.
    pub(super) fn ask<T>(
        &self,
        call: impl FnOnce(&NodeBackend) -> Result<T, ApiError>,
    ) -> Result<T, DemoError> {
        let refused = |error| DemoError::Refused { name: self.name, error };
        let Some(inner) = self.node() else {
            return Err(refused(ApiError::new(crate::error::Code::NotReady, "the node is not running")));
        };
        call(&NodeBackend(Arc::clone(inner))).map_err(refused)
    }

    pub(super) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
    }

    pub(super) fn restart(&mut self) -> Result<(), DemoError> {
        self.stop();
        self.start()
    }

    /// `node_id@host:port`.
    pub(super) fn address(&self) -> Result<String, DemoError> {
        let info = self.ask(|api| api.getinfo())?;
        Ok(info.addresses.into_iter().next().unwrap_or_default())
    }
}

impl Network {
    pub(super) fn start(chosen: &DemoChain) -> Result<Self, DemoError> {
        // Several demos may run at once, in one process too.
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("lnode-demo-{}-{run}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let chain = Chain::start(chosen, &folder)?;
        let mut people = NAMES.map(|name| {
            let mut user = UserConfig::default();
            user.handshake.announce = true;
            let options = NodeOptions {
                network: BitcoinNetwork::Regtest,
                data_dir: folder.join(name.to_lowercase()),
                chain: chain.options.clone(),
                listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
                announce: Vec::new(),
                alias: name.to_owned(),
                color: [0; 3],
                user,
                poll: Duration::from_millis(50),
                // Whatever is idle is let go of at once, so that the story also shows it come back.
                rest_after: 0,
            };
            Person { name, options, node: None }
        });
        for person in &mut people {
            person.start()?;
        }
        Ok(Self { chain, people, folder })
    }

    pub(super) fn stop(&mut self) {
        for person in &mut self.people {
            person.stop();
        }
        // What is left is in a temporary folder, and of no worth: an error here concerns nobody.
        let _left = std::fs::remove_dir_all(&self.folder);
    }

    /// Mines, and waits until every running node has seen it.
    pub(super) fn mine(&self, blocks: u32) -> Result<(), DemoError> {
        self.chain.mine(blocks)?;
        self.settle()
    }

    /// Waits until every running node is at the tip.
    pub(super) fn settle(&self) -> Result<(), DemoError> {
        let height = self.chain.height()?;
        let nodes: Vec<&Arc<Inner>> = self.people.iter().filter_map(Person::node).collect();
        nodes.iter().for_each(|node| node.chain_wake.raise());
        wait(&format!("block {height} everywhere"), 30, || {
            Ok(nodes.iter().all(|node| node.height().get() >= height))
        })
    }
}

/// Waits until `done`, looking often.
pub(super) fn wait(
    what: &str,
    seconds: u64,
    mut done: impl FnMut() -> Result<bool, DemoError>,
) -> Result<(), DemoError> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > Duration::from_secs(seconds) {
            return Err(DemoError::Late(what.to_owned(), seconds));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
