//! `channel_type` (BOLT 2, "Defined Channel Types"): the features a channel has for life.
use alloc::vec::Vec;

use super::{Feature, Features};
use crate::codec::{Decode, DecodeError, Encode, Reader};

/// The type of a channel: a set of even feature bits that both sides must name alike.
///
/// Equality is that of the bits, because the type is a set; the bytes are still sent back as they came.
#[derive(Clone, Debug, Default)]
pub struct ChannelType(Features);

impl ChannelType {
    /// The type in this vector.
    #[must_use]
    pub const fn from_features(features: Features) -> Self {
        Self(features)
    }

    /// `option_static_remotekey` (bit 12).
    #[must_use]
    pub fn static_remote_key() -> Self {
        Self(Features::from_bits([Feature::StaticRemoteKey.required_bit()]))
    }

    /// `option_anchors` and `option_static_remotekey` (bits 22 and 12).
    #[must_use]
    pub fn anchors() -> Self {
        Self(Features::from_bits([Feature::StaticRemoteKey.required_bit(), Feature::Anchors.required_bit()]))
    }

    /// The same type with `feature` too (BOLT 2: `option_scid_alias` and `option_zeroconf` vary a base type).
    #[must_use]
    pub fn with(mut self, feature: Feature) -> Self {
        self.0.set_required(feature.required_bit());
        self
    }

    /// The same type without `feature`.
    #[must_use]
    pub fn without(mut self, feature: Feature) -> Self {
        self.0.clear_bit(feature.required_bit());
        self.0.clear_bit(feature.optional_bit());
        self
    }

    /// Whether the type has `feature`; only the even bit counts.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.0.requires(feature)
    }

    /// The bits.
    #[must_use]
    pub const fn features(&self) -> &Features {
        &self.0
    }
}

impl PartialEq for ChannelType {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_bits(&other.0)
    }
}

impl Eq for ChannelType {}

/// As [`Features`]: a 2-byte length in front. In a TLV record the bytes stand alone.
impl Encode for ChannelType {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for ChannelType {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self)
    }
}
