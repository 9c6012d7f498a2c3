//! Address descriptors of `node_announcement` (BOLT 7).
//!
//! # Invariants
//! - from the first descriptor of an unknown type on, the bytes are kept as they are: its length is unknown
use alloc::borrow::ToOwned as _;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::{Ipv4Addr, Ipv6Addr};

use super::table::put_counted;
use crate::codec::{Decode, DecodeError, Encode, Reader};

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NodeAddress {
    /// Type 1.
    Ipv4 {
        /// The address.
        address: Ipv4Addr,
        /// The port; an address with port 0 is to be ignored.
        port: u16,
    },
    /// Type 2.
    Ipv6 {
        /// The address.
        address: Ipv6Addr,
        /// The port; an address with port 0 is to be ignored.
        port: u16,
    },
    /// Type 3, deprecated and to be ignored.
    TorV2([u8; 12]),
    /// Type 4.
    TorV3 {
        /// Key, checksum and version, as they are written in base32 in front of `.onion`.
        address: [u8; 35],
        /// The port.
        port: u16,
    },
    /// Type 5.
    Dns {
        /// The name.
        hostname: Hostname,
        /// The port; an address with port 0 is to be ignored.
        port: u16,
    },
}

impl NodeAddress {
    /// Reads one descriptor; `None`, and nothing consumed, when its type is unknown.
    ///
    /// # Errors
    /// BOLT 7: "if `addrlen` is insufficient to hold the address descriptors of the known types".
    pub fn decode_known(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let mut ahead = reader.clone();
        let address = match ahead.read::<u8>()? {
            1 => Self::Ipv4 { address: Ipv4Addr::from(ahead.array::<4>()?), port: ahead.read()? },
            2 => Self::Ipv6 { address: Ipv6Addr::from(ahead.array::<16>()?), port: ahead.read()? },
            3 => Self::TorV2(ahead.read()?),
            4 => Self::TorV3 { address: ahead.read()?, port: ahead.read()? },
            5 => Self::Dns { hostname: ahead.read()?, port: ahead.read()? },
            _ => return Ok(None),
        };
        *reader = ahead;
        Ok(Some(address))
    }

    /// Whether a node may connect to it: not deprecated, a port, and a well-formed name.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Ipv4 { port, .. } | Self::Ipv6 { port, .. } | Self::TorV3 { port, .. } => *port != 0,
            Self::TorV2(_) => false,
            Self::Dns { hostname, port } => *port != 0 && hostname.as_str().is_some(),
        }
    }
}

impl Encode for NodeAddress {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ipv4 { address, port } => {
                out.push(1);
                address.octets().encode(out);
                port.encode(out);
            }
            Self::Ipv6 { address, port } => {
                out.push(2);
                address.octets().encode(out);
                port.encode(out);
            }
            Self::TorV2(bytes) => {
                out.push(3);
                bytes.encode(out);
            }
            Self::TorV3 { address, port } => {
                out.push(4);
                address.encode(out);
                port.encode(out);
            }
            Self::Dns { hostname, port } => {
                out.push(5);
                hostname.encode(out);
                port.encode(out);
            }
        }
    }
}

/// `host:port`, as people write and dial it.
impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4 { address, port } => write!(f, "{address}:{port}"),
            Self::Ipv6 { address, port } => write!(f, "[{address}]:{port}"),
            Self::TorV2(_) => f.write_str("(version 2 onion service)"),
            Self::TorV3 { address, port } => {
                // 5 bytes are 8 digits of base32, so 35 bytes need no padding.
                for chunk in address.chunks(5) {
                    let bits = chunk.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
                    (0..8).rev().try_for_each(|digit| f.write_char(base32((bits >> (5 * digit)) & 31)))?;
                }
                write!(f, ".onion:{port}")
            }
            Self::Dns { hostname, port } => {
                write!(f, "{}:{port}", hostname.as_str().unwrap_or("(malformed name)"))
            }
        }
    }
}

/// The digit of RFC 4648 for a value below 32, in lower case as onion names are written.
fn base32(value: u64) -> char {
    // a..z stand for 0..25, then 2..7 for 26..31.
    let digit = if value < 26 { value.saturating_add(10) } else { value.saturating_sub(24) };
    u32::try_from(digit).ok().and_then(|digit| char::from_digit(digit, 36)).unwrap_or('?')
}

/// A DNS name of at most 255 bytes, as it was announced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hostname(Vec<u8>);

impl Hostname {
    /// The name, if it is one: letters, digits, hyphens, underscores and dots, 1 to 255 of them.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let hostname = Self(name.as_bytes().to_owned());
        hostname.as_str().is_some().then_some(hostname)
    }

    /// The name, if the bytes are one (BOLT 7: "`hostname` bytes MUST be ASCII characters").
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let well_formed = (1..=255).contains(&self.0.len()) && self.0.iter().all(allowed);
        core::str::from_utf8(&self.0).ok().filter(|_| well_formed)
    }

    /// The bytes as announced.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Encode for Hostname {
    fn encode(&self, out: &mut Vec<u8>) {
        // Neither constructor nor decoder makes a longer one.
        out.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.0);
    }
}

impl Decode for Hostname {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.read::<u8>()?;
        Ok(Self(reader.take(usize::from(length))?.to_vec()))
    }
}

/// The `addresses` field of `node_announcement`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The descriptors of known types, as announced.
    pub known: Vec<NodeAddress>,
    /// The first descriptor of an unknown type and all after it.
    pub unknown: Vec<u8>,
}

impl Encode for Addresses {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = Vec::new();
        self.known.iter().for_each(|address| address.encode(&mut bytes));
        bytes.extend_from_slice(&self.unknown);
        put_counted(&bytes, out);
    }
}

impl Decode for Addresses {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.read::<u16>()?;
        let mut inner = Reader::new(reader.take(usize::from(length))?);
        let mut known = Vec::new();
        while !inner.is_empty() {
            // BOLT 7: "SHOULD ignore the first `address descriptor` that does NOT match the types defined above".
            let Some(address) = NodeAddress::decode_known(&mut inner)? else { break };
            known.push(address);
        }
        Ok(Self { known, unknown: inner.take_rest().to_vec() })
    }
}
