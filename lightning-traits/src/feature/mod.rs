//! Feature bits (BOLT 9): what a node, channel, invoice or path offers and demands.
//!
//! [`Features`] is the bit vector exactly as it was received; `bits.rs` is the table of known bits as
//! data; `rules.rs` checks dependencies and whether two nodes can talk to each other.
//!
//! # Invariants
//! - unknown bits and leading zero bytes survive decoding and encoding
mod bits;
mod channel_type;
mod rules;

pub use bits::{Context, Feature};
pub use channel_type::ChannelType;
pub use rules::{FeatureError, NODE_OPTIONAL, NODE_REQUIRED};

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// A vector of feature bits, byte by byte as on the wire: bit 0 is the lowest bit of the *last* byte.
///
/// Equality is that of the bytes; [`Features::same_bits`] looks past leading zero bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Features(Vec<u8>);

impl Features {
    /// No bits, no bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The vector in these bytes, kept as they are.
    #[must_use]
    pub const fn from_be_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The shortest vector with exactly these bits.
    #[must_use]
    pub fn from_bits(bits: impl IntoIterator<Item = u16>) -> Self {
        let mut features = Self::empty();
        for bit in bits {
            features.set_bit(bit);
        }
        features
    }

    /// The bytes as on the wire, without a length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `bit` itself is set.
    #[must_use]
    pub fn is_set(&self, bit: u16) -> bool {
        let byte = self.0.iter().rev().nth(usize::from(bit / 8));
        byte.is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    }

    /// Sets `bit`; grows the vector in front where needed.
    pub fn set_bit(&mut self, bit: u16) {
        let from_end = usize::from(bit / 8);
        if from_end >= self.0.len() {
            let missing = from_end.saturating_add(1).saturating_sub(self.0.len());
            self.0.splice(0..0, vec![0; missing]);
        }
        if let Some(byte) = self.0.iter_mut().rev().nth(from_end) {
            *byte |= 1 << (bit % 8);
        }
    }

    /// Clears `bit`; the length of the vector stays.
    pub fn clear_bit(&mut self, bit: u16) {
        if let Some(byte) = self.0.iter_mut().rev().nth(usize::from(bit / 8)) {
            *byte &= !(1 << (bit % 8));
        }
    }

    /// Makes a feature compulsory, whichever bit of the pair is given (BOLT 9: never both bits of a pair).
    pub fn set_required(&mut self, bit: u16) {
        self.clear_bit(bit | 1);
        self.set_bit(bit & !1);
    }

    /// Makes a feature optional, whichever bit of the pair is given.
    pub fn set_optional(&mut self, bit: u16) {
        self.clear_bit(bit & !1);
        self.set_bit(bit | 1);
    }

    /// Whether the feature is set, compulsory or optional.
    #[must_use]
    pub fn supports(&self, feature: Feature) -> bool {
        self.is_set(feature.required_bit()) || self.is_set(feature.optional_bit())
    }

    /// Whether the feature is compulsory (BOLT 9: "if both ... are set, the feature should be treated as mandatory").
    #[must_use]
    pub fn requires(&self, feature: Feature) -> bool {
        self.is_set(feature.required_bit())
    }

    /// All set bits, lowest first.
    pub fn bits(&self) -> impl Iterator<Item = u16> + '_ {
        // A vector on the wire has at most 2^16 - 1 bytes, of which bits beyond 65535 name no feature that a u16 can:
        // they are reported as the highest bit of their parity, so an even one is still refused.
        self.0.iter().rev().enumerate().flat_map(|(index, byte)| {
            (0..8_usize).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| {
                let position = index.saturating_mul(8).saturating_add(bit);
                u16::try_from(position).unwrap_or(if position % 2 == 0 { u16::MAX - 1 } else { u16::MAX })
            })
        })
    }

    /// Compulsory bits that the table of this library does not know, lowest first.
    pub fn unknown_required(&self) -> impl Iterator<Item = u16> + '_ {
        self.bits().filter(|bit| bit % 2 == 0 && Feature::from_bit(*bit).is_none())
    }

    /// Whether no bit is set, however many bytes there are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Equality of the bits, whatever the number of leading zero bytes.
    #[must_use]
    pub fn same_bits(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }

    /// Both vectors in one (BOLT 1: the two bitmaps of `init` are combined by bitwise OR).
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.0.len() >= other.0.len() { (self, other) } else { (other, self) };
        let mut union = long.clone();
        for (byte, more) in union.0.iter_mut().rev().zip(short.0.iter().rev()) {
            *byte |= more;
        }
        union
    }

    /// The known bits of this vector that BOLT 9 presents in `context`.
    #[must_use]
    pub fn in_context(&self, context: Context) -> Self {
        Self::from_bits(
            self.bits().filter(|bit| Feature::from_bit(*bit).is_some_and(|feature| feature.is_in(context))),
        )
    }

    fn significant(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|byte| **byte == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Features")?;
        f.debug_set().entries(self.bits()).finish()
    }
}

/// A 2-byte length, then the bytes: the form of every `features` field of a message.
impl Encode for Features {
    fn encode(&self, out: &mut Vec<u8>) {
        crate::wire::table::put_counted(&self.0, out);
    }
}

impl Decode for Features {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.read::<u16>()?;
        Ok(Self(reader.take(usize::from(length))?.to_vec()))
    }
}
