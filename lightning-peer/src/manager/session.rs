//! Joining and leaving: which connection of a node the handlers know.
//!
//! A connection that finished `init` joins the line; the session's next step tells the handlers that the old one is
//! gone, and then of the new one. Steps are taken by the one thread that drives (`drain.rs`), because the handlers
//! must never see a message of the old connection after they were told of the new one, nor the other way round.
//!
//! # Invariants
//! - `peer_disconnected` is called once for each `peer_connected` that was not refused
//! - a connection whose messages are being handed over leaves only after the last of them
use alloc::sync::Arc;

use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    ChannelMessageHandler as _, Level, RefusePeer, RoutingMessageHandler as _,
};
use lightning_traits::sync::assert_unlocked;
use lightning_traits::wire::Init;

use super::PeerManager;
use super::environment::PeerEnvironment;
use super::table::{Connection, Turn};
use crate::disconnect::Disconnect;
use crate::peer::{Entry, Standing};

impl<E: PeerEnvironment> PeerManager<E> {
    /// A connection has finished `init` and gets in line.
    pub(super) fn join(&self, connection: &Arc<Connection>, node: NodeId) {
        let rival = self.table.lock().rival(node);
        let rival_lives = rival.is_some_and(|rival| rival.lock().ended().is_none());
        let displaced = self.table.lock().join(node, connection, self.our_id < node, rival_lives);
        for (connection, reason) in displaced {
            self.end(&connection, reason, None);
        }
    }

    /// Takes every session as far as it goes now.
    pub(super) fn step_sessions(&self) {
        let nodes = self.table.lock().take_changes();
        for node in nodes {
            while self.step_session(node) {}
        }
    }

    /// One step of the session of `node`; `false` when it can go no further now.
    fn step_session(&self, node: NodeId) -> bool {
        let turn = self.table.lock().turn(node);
        match turn {
            Turn::Watch(connection) => self.watch(node, &connection),
            Turn::Admit(connection) => self.admit(node, &connection),
            Turn::Rest => false,
        }
    }

    /// Lets the current connection go if it has ended.
    fn watch(&self, node: NodeId, connection: &Arc<Connection>) -> bool {
        let standing = connection.lock().standing();
        match standing {
            // Whoever hands over its messages touches the session again when done.
            Standing::Alive | Standing::EndedBusy => false,
            Standing::Ended { announced } => {
                if announced {
                    assert_unlocked();
                    self.environment.channels().peer_disconnected(node);
                    self.environment.routing().peer_disconnected(node);
                }
                self.table.lock().leave(node);
                true
            }
        }
    }

    /// Lets the next connection in, and reads what it has sent meanwhile.
    fn admit(&self, node: NodeId, connection: &Arc<Connection>) -> bool {
        let entry = connection.lock().enter();
        match entry {
            // Its reader touches the session again when done.
            Entry::Busy => false,
            Entry::Over => {
                self.table.lock().settle_next(node, connection, false);
                true
            }
            Entry::Open(init) => {
                self.table.lock().settle_next(node, connection, true);
                match self.announce(node, &init, connection.inbound) {
                    Ok(()) => self.log(Level::Info, Some(node), format_args!("connected")),
                    Err(RefusePeer) => {
                        connection.lock().refused();
                        self.end(connection, Disconnect::Refused, None);
                    }
                }
                self.read_all(connection, &[]);
                true
            }
        }
    }

    fn announce(&self, node: NodeId, init: &Init, inbound: bool) -> Result<(), RefusePeer> {
        assert_unlocked();
        self.environment.channels().peer_connected(node, init, inbound)?;
        self.environment.routing().peer_connected(node, init, inbound);
        Ok(())
    }
}
