//! Our `init`, and whether theirs goes together with it.
//!
//! BOLT 1, "The `init` Message"; BOLT 9.
//!
//! # Invariants
//! - our `init` always carries the bits that common peers hang up without
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use lightning_traits::codec::{Encode as _, TlvRecords};
use lightning_traits::feature::{Features, NODE_REQUIRED};
use lightning_traits::wire::{Init, NodeAddress, WireMessage as _};

use crate::disconnect::Disconnect;

/// What we tell a peer of ourselves.
pub(crate) struct OurInit {
    features: Features,
    chains: Vec<ChainHash>,
    remote_address: Option<NodeAddress>,
}

impl OurInit {
    /// An `init` with what the handlers need, and the five bits without which LDK, LND or Eclair disconnect although
    /// BOLT 9 calls them `ASSUMED`.
    pub(crate) fn new(
        needed: &Features,
        chains: Vec<ChainHash>,
        remote_address: Option<NodeAddress>,
    ) -> Self {
        let mut features = needed.clone();
        for feature in NODE_REQUIRED {
            features.set_required(feature.required_bit());
        }
        Self { features, chains, remote_address: remote_address.filter(is_public) }
    }

    /// The message as it goes out.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let init = Init {
            // "SHOULD NOT set features greater than 13 in `globalfeatures`": none at all is simplest.
            globalfeatures: Features::empty(),
            features: self.features.clone(),
            // "SHOULD set `networks` to all chains it will gossip or open channels for."
            networks: Some(self.chains.clone()),
            remote_addr: self.remote_address.as_ref().map(NodeAddress::to_bytes),
            unknown: TlvRecords::new(),
        };
        // A handful of chains and some bytes of features are far below 65535 bytes.
        init.to_wire().unwrap_or_default()
    }

    /// Whether we can talk with a peer that sent `theirs`.
    pub(crate) fn check(&self, theirs: &Init) -> Result<(), Disconnect> {
        // "upon receiving `networks` containing no common chains MAY close the connection"
        let disjoint = |chains: &Vec<ChainHash>| !chains.iter().any(|chain| self.chains.contains(chain));
        if theirs.networks.as_ref().is_some_and(disjoint) {
            return Err(Disconnect::NoCommonChain);
        }
        // "MUST combine (bitwise OR) the two feature bitmaps into one logical `features` map"
        Features::check_peer(&self.features, &theirs.combined_features()).map_err(Disconnect::Features)
    }
}

/// BOLT 1: "SHOULD set `remote_addr` to reflect the remote IP address (and port) of an incoming connection", but
/// "SHOULD NOT set private addresses as `remote_addr`".
fn is_public(address: &NodeAddress) -> bool {
    match address {
        NodeAddress::Ipv4 { address, .. } => {
            let shared = matches!(address.octets(), [100, 64..=127, _, _]);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_multicast()
                || shared)
        }
        NodeAddress::Ipv6 { address, .. } => {
            let local = address.is_unique_local() || address.is_unicast_link_local();
            !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || local)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::codec::Decode as _;
    use lightning_traits::feature::Feature;

    fn ipv4(octets: [u8; 4]) -> Option<NodeAddress> {
        Some(NodeAddress::Ipv4 { address: octets.into(), port: 9735 })
    }

    #[test]
    fn the_five_compulsory_bits_are_always_set() {
        let ours = OurInit::new(&Features::empty(), [ChainHash::BITCOIN].to_vec(), None);
        let wire = ours.to_wire();
        let init = Init::from_bytes(wire.get(2..).unwrap()).unwrap();
        let bits: Vec<u16> = init.features.bits().collect();
        assert_eq!(bits, [0, 8, 12, 14, 44]);
        assert_eq!(init.networks, Some([ChainHash::BITCOIN].to_vec()));
        assert_eq!(init.remote_addr, None);
    }

    #[test]
    fn an_optional_bit_of_a_handler_becomes_compulsory() {
        let mut needed = Features::empty();
        needed.set_optional(Feature::StaticRemoteKey.required_bit());
        let ours = OurInit::new(&needed, Vec::new(), None);
        assert!(ours.features.is_set(12) && !ours.features.is_set(13));
    }

    #[test]
    fn private_addresses_are_not_told() {
        let told =
            |octets| OurInit::new(&Features::empty(), Vec::new(), ipv4(octets)).remote_address.is_some();
        assert!(told([8, 8, 8, 8]));
        for private in [[10, 0, 0, 1], [127, 0, 0, 1], [192, 168, 1, 1], [169, 254, 0, 1], [100, 64, 0, 1]] {
            assert!(!told(private), "{private:?}");
        }
    }
}
