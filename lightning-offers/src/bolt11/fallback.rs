//! On-chain addresses to fall back to (BOLT 11, field `f`).
use alloc::vec::Vec;

use bech32::primitives::gf32::Fe32;
use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Network, PubkeyHash, Script, ScriptBuf, ScriptHash, WitnessProgram, WitnessVersion};

use super::symbol;

const PUBKEY_HASH: u8 = 17;
const SCRIPT_HASH: u8 = 18;

/// Where to pay on chain when the Lightning payment fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// P2PKH.
    PubkeyHash(PubkeyHash),
    /// P2SH.
    ScriptHash(ScriptHash),
    /// Any segwit version.
    Witness(WitnessProgram),
}

impl Fallback {
    /// The fallback that pays to `script`, if an address can.
    #[must_use]
    pub fn from_script(script: &Script) -> Option<Self> {
        // What the network means does not matter: only the kind and the hash are read.
        let address = Address::from_script(script, Network::Bitcoin).ok()?;
        address
            .pubkey_hash()
            .map(Self::PubkeyHash)
            .or_else(|| address.script_hash().map(Self::ScriptHash))
            .or_else(|| address.witness_program().map(Self::Witness))
    }

    /// The script to pay to.
    #[must_use]
    pub fn script_pubkey(&self) -> ScriptBuf {
        match self {
            Self::PubkeyHash(hash) => ScriptBuf::new_p2pkh(hash),
            Self::ScriptHash(hash) => ScriptBuf::new_p2sh(hash),
            Self::Witness(program) => ScriptBuf::new_witness_program(program),
        }
    }

    /// `None` for what a reader skips: an unknown version, or a length that the version does not have.
    pub(super) fn decode(data: &[Fe32]) -> Option<Self> {
        let (version, program) = data.split_first()?;
        let program = symbol::to_bytes(program);
        match version.to_u8() {
            PUBKEY_HASH => PubkeyHash::from_slice(&program).ok().map(Self::PubkeyHash),
            SCRIPT_HASH => ScriptHash::from_slice(&program).ok().map(Self::ScriptHash),
            version => {
                let version = WitnessVersion::try_from(version).ok()?;
                WitnessProgram::new(version, &program).ok().map(Self::Witness)
            }
        }
    }

    pub(super) fn encode(&self) -> Vec<Fe32> {
        let (version, program) = match self {
            Self::PubkeyHash(hash) => (PUBKEY_HASH, &hash.as_byte_array()[..]),
            Self::ScriptHash(hash) => (SCRIPT_HASH, &hash.as_byte_array()[..]),
            Self::Witness(program) => (program.version().to_num(), program.program().as_bytes()),
        };
        let mut data = alloc::vec![symbol::symbol(version)];
        data.extend(symbol::from_bytes(program));
        data
    }
}
