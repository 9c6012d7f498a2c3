//! What the user chooses for one opening, as opener or accepter (BOLT 2, `open_channel`, `accept_channel`). All else is the
//! configuration's.
use bitcoin::{Amount, ScriptBuf};
use lightning_traits::config::Trust;
use lightning_traits::units::Msat;

/// What the user chooses for a channel that we propose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// What is given to the peer at once.
    pub push: Msat,
    /// Whether the network is to know of it.
    pub announce: bool,
    /// Use it before it confirms. The peer must trust us with it; we trust ourselves.
    pub zero_conf: bool,
    /// Never name it by its place on chain; without it, what the configuration says.
    pub hide_scid: Option<bool>,
    /// Ask for no reserve, and take it that the peer asks for none; also what the configuration says of a trusted peer.
    pub zero_reserve: bool,
    /// The script that a cooperative close will pay us to. One given here binds us, whatever the configuration says.
    pub shutdown_script: Option<ScriptBuf>,
}

/// What the user chooses for a channel that a peer proposes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptOptions {
    /// What this peer may do; without it, what the configuration says.
    pub trust: Option<Trust>,
    /// The reserve that we ask of the peer, never below the dust limits; without it, what the configuration says.
    pub reserve: Option<Amount>,
    /// Confirmations before we use the channel, at least one; without it, what the configuration says.
    pub minimum_depth: Option<u32>,
    /// The script that a cooperative close will pay us to. One given here binds us, whatever the configuration says.
    pub shutdown_script: Option<ScriptBuf>,
}
