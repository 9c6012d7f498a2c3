//! A wire between LDK and our daemon that sees every message and can be cut after any of them.
//!
//! BOLT 8 hides where a message ends, so the wire is a man in the middle: towards LDK it is our daemon, with its key,
//! and towards our daemon it is LDK. What it passes on is what it got, byte for byte, in the same order.
//!
//! # Invariants
//! - after a cut nothing more arrives on either side, while all that was passed on before arrives
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning_peer::frame::{FrameReader, FrameWriter, framed};
use lightning_peer::noise::{
    ACT_ONE_LENGTH, ACT_THREE_LENGTH, ACT_TWO_LENGTH, InitiatorAwaitsActTwo, ResponderAwaitsActOne, Session,
    StaticKey,
};
use lightning_traits::Secp;
use zeroize::Zeroizing;

use crate::ldk::LdkNode;
use crate::lnode::Lnode;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From LDK to our daemon.
    ToOurs,
    /// From our daemon to LDK.
    ToLdk,
}

/// The channel messages that have passed, with their types (BOLT 2), and when to cut.
#[derive(Default)]
struct State {
    passed: Vec<(Way, u16)>,
    cut_after: Option<usize>,
    /// Both ends of the connections that live.
    sockets: Vec<TcpStream>,
}

/// The wire. LDK connects to its [`address`](Self::address) to reach our daemon.
pub struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// A wire that leads from `ldk` to `ours`.
    #[must_use]
    pub fn new(ldk: &LdkNode, ours: &Lnode) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the wire");
        let address = listener.local_addr().expect("an address");
        let ends = Arc::new(Ends {
            ours: ours.node_secret(),
            ldk: ldk.node_secret(),
            goal: crate::node::Node::address(ours),
        });
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        // Ends with the process: a test has one wire or two.
        thread::spawn(move || {
            for caller in listener.incoming() {
                let (Ok(caller), ends, state) = (caller, ends.clone(), shared.clone()) else { return };
                // A connection that breaks off is what this is for.
                thread::spawn(move || drop(ends.join(caller, &state)));
            }
        });
        Self { address, state }
    }

    /// Where LDK finds our daemon.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets what has passed, and cuts once `count` more channel messages have.
    pub fn cut_after(&self, count: usize) {
        let mut state = self.state.lock().expect("the wire");
        state.passed.clear();
        state.cut_after = Some(count);
    }

    /// Cuts no more; whether it has since [`cut_after`](Self::cut_after).
    pub fn spare(&self) -> bool {
        let mut state = self.state.lock().expect("the wire");
        state.cut_after.take().is_none()
    }

    /// Whether it was cut since [`cut_after`](Self::cut_after).
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.lock().expect("the wire").cut_after.is_none()
    }

    /// The channel messages since [`cut_after`](Self::cut_after) that were passed on.
    #[must_use]
    pub fn passed(&self) -> Vec<(Way, u16)> {
        self.state.lock().expect("the wire").passed.clone()
    }
}

/// BOLT 2 has the types 32 to 39 and 128 to 136: all else (init, ping, gossip) is no step of a channel.
const fn is_of_channel(kind: u16) -> bool {
    matches!(kind, 32..=39 | 128..=136)
}

struct Key(SecretKey);

impl StaticKey for Key {
    fn public_key(&self) -> PublicKey {
        self.0.public_key(&Secp256k1::new())
    }

    fn ecdh(&self, other: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        Some(Zeroizing::new(SharedSecret::new(other, &self.0).secret_bytes()))
    }
}

struct Ends {
    ours: SecretKey,
    ldk: SecretKey,
    goal: SocketAddr,
}

impl Ends {
    fn join(&self, mut caller: TcpStream, state: &Arc<Mutex<State>>) -> io::Result<()> {
        let ldk = answer(&mut caller, &Key(self.ours))?;
        let mut called = TcpStream::connect(self.goal)?;
        let ours = call(&mut called, &Key(self.ldk), self.ours.public_key(&Secp256k1::new()))?;
        caller.set_nodelay(true)?;
        called.set_nodelay(true)?;
        let ((to_ldk, from_ldk), (to_ours, from_ours)) = (framed(ldk), framed(ours));
        {
            let mut state = state.lock().expect("the wire");
            state.sockets = vec![caller.try_clone()?, called.try_clone()?];
        }
        let back = Half {
            way: Way::ToLdk,
            from: called.try_clone()?,
            reader: from_ours,
            to: caller.try_clone()?,
            writer: to_ldk,
            state: state.clone(),
        };
        let forth = Half {
            way: Way::ToOurs,
            from: caller,
            reader: from_ldk,
            to: called,
            writer: to_ours,
            state: state.clone(),
        };
        thread::spawn(move || back.carry());
        forth.carry();
        Ok(())
    }
}

/// One direction of a connection.
struct Half {
    way: Way,
    from: TcpStream,
    reader: FrameReader,
    to: TcpStream,
    writer: FrameWriter,
    state: Arc<Mutex<State>>,
}

impl Half {
    /// Until either side hangs up or the wire is cut.
    fn carry(mut self) {
        // Whatever ends one direction ends the other: a peer that has gone is gone both ways.
        let _ended = self.pass_all();
        let _closed = (self.from.shutdown(Shutdown::Both), self.to.shutdown(Shutdown::Write));
    }

    fn pass_all(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let count = self.from.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            let mut input = &buffer[..count];
            while let Some(message) = self.reader.read(&mut input).map_err(io::Error::other)? {
                let mut out = Vec::new();
                self.writer.write(message, &mut out).map_err(io::Error::other)?;
                let kind = message.first_chunk().map_or(0, |kind| u16::from_be_bytes(*kind));
                self.state.lock().expect("the wire").pass(self.way, kind, &out, &mut self.to)?;
            }
        }
    }
}

impl State {
    /// Passes one message on, and cuts behind it if it is time; nothing passes meanwhile the other way.
    fn pass(&mut self, way: Way, kind: u16, frame: &[u8], to: &mut TcpStream) -> io::Result<()> {
        // A cut connection's other half may still have something in hand.
        if self.sockets.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        to.write_all(frame)?;
        if !is_of_channel(kind) {
            return Ok(());
        }
        self.passed.push((way, kind));
        if self.cut_after.is_some_and(|count| self.passed.len() >= count) {
            self.cut_after = None;
            for socket in self.sockets.drain(..) {
                // What was written still arrives, and then the end; what comes is not read any more.
                let _ended = (socket.shutdown(Shutdown::Write), socket.shutdown(Shutdown::Read));
            }
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

fn fresh() -> SecretKey {
    SecretKey::from_slice(&crate::ldk::entropy()).expect("a key: few bytes are none")
}

/// The handshake with who calls us (BOLT 8).
fn answer(socket: &mut TcpStream, key: &Key) -> io::Result<Session> {
    socket.set_read_timeout(Some(HANDSHAKE))?;
    let secp = Secp::new();
    let mut act = [0; ACT_ONE_LENGTH];
    socket.read_exact(&mut act)?;
    let (reply, next) = ResponderAwaitsActOne::new(&key.public_key())
        .on_act_one(&secp, &act, key, fresh())
        .map_err(io::Error::other)?;
    socket.write_all(&reply)?;
    let mut act = [0; ACT_THREE_LENGTH];
    socket.read_exact(&mut act)?;
    let (_, session) = next.on_act_three(&act).map_err(io::Error::other)?;
    socket.set_read_timeout(None)?;
    Ok(session)
}

/// The handshake with whom we call.
fn call(socket: &mut TcpStream, key: &Key, whom: PublicKey) -> io::Result<Session> {
    socket.set_read_timeout(Some(HANDSHAKE))?;
    let (next, act) = InitiatorAwaitsActTwo::start(&Secp::new(), fresh(), whom);
    socket.write_all(&act)?;
    let mut reply = [0; ACT_TWO_LENGTH];
    socket.read_exact(&mut reply)?;
    let (act, session) = next.on_act_two(&reply, key).map_err(io::Error::other)?;
    socket.write_all(&act)?;
    socket.set_read_timeout(None)?;
    Ok(session)
}

/// How long a side may take for an act of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(60);
