//! Rules over feature vectors: what our node sets, dependencies, and whether two nodes can talk.
//!
//! BOLT 9, "Requirements"; BOLT 1, "The `init` Message".
use thiserror::Error;

use super::{Feature, Features};

/// Bits our node sets as compulsory in `init`: BOLT 9 calls them `ASSUMED`, yet common peers hang up without them.
pub const NODE_REQUIRED: &[Feature] = &[
    Feature::DataLossProtect,
    Feature::VarOnion,
    Feature::StaticRemoteKey,
    Feature::PaymentSecret,
    Feature::ChannelType,
];

/// Bits our node sets as optional: those and only those that it does.
pub const NODE_OPTIONAL: &[Feature] = &[
    Feature::UpfrontShutdownScript,
    Feature::GossipQueries,
    Feature::BasicMpp,
    Feature::LargeChannel,
    Feature::Anchors,
    Feature::ShutdownAnySegwit,
    Feature::AttributionData,
    Feature::ScidAlias,
    Feature::SimpleClose,
    Feature::Quiesce,
];

/// Why a feature vector is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A feature is set without one that it needs.
    #[error("{} is set without {}", .feature.name(), .needs.name())]
    MissingDependency {
        /// The feature that is set.
        feature: Feature,
        /// The feature that is not.
        needs: Feature,
    },
    /// We demand a feature that the peer does not have.
    #[error("the peer lacks {}", .0.name())]
    PeerLacks(Feature),
    /// The peer demands a bit that we do not offer.
    #[error("the peer demands feature bit {0}")]
    PeerRequires(u16),
}

impl Features {
    /// What our node sets in `init` unless configured otherwise.
    #[must_use]
    pub fn node_default() -> Self {
        let mut features = Self::empty();
        for feature in NODE_REQUIRED {
            features.set_required(feature.required_bit());
        }
        for feature in NODE_OPTIONAL {
            features.set_optional(feature.optional_bit());
        }
        features
    }

    /// Checks that every known feature that is set has its dependencies set too.
    ///
    /// # Errors
    /// BOLT 1: "if the feature vector does not set all known, transitive dependencies: MUST close the connection".
    pub fn check_dependencies(&self) -> Result<(), FeatureError> {
        self.check(Feature::depends_on)
    }

    /// Checks a vector of ours against what widespread peers demand beyond BOLT 9.
    ///
    /// # Errors
    /// When a peer would hang up; not to be used on the vectors of others.
    pub fn check_peers_want(&self) -> Result<(), FeatureError> {
        self.check_dependencies()?;
        self.check(Feature::peers_want)
    }

    // Each dependency that is set is itself checked, which makes the check transitive.
    fn check(&self, needs: fn(Feature) -> &'static [Feature]) -> Result<(), FeatureError> {
        for &feature in Feature::ALL.iter().filter(|feature| self.supports(**feature)) {
            if let Some(&missing) = needs(feature).iter().find(|need| !self.supports(**need)) {
                return Err(FeatureError::MissingDependency { feature, needs: missing });
            }
        }
        Ok(())
    }

    /// Whether a node that offers `ours` can talk to one that offers `theirs`.
    ///
    /// A compulsory bit of ours that BOLT 9 calls `ASSUMED` is taken as present in any peer ("can be safely ignored").
    ///
    /// # Errors
    /// BOLT 1: "upon receiving unknown _even_ feature bits that are non-zero: MUST close the connection"; where a bit that
    /// we know but do not offer is as unknown as any. Also when the peer lacks what we demand, or breaks a dependency.
    pub fn check_peer(ours: &Self, theirs: &Self) -> Result<(), FeatureError> {
        // An assumed feature is ours whether we set its bit or not.
        let offered = |bit: u16| {
            ours.is_set(bit)
                || ours.is_set(bit | 1)
                || Feature::from_bit(bit).is_some_and(Feature::is_assumed)
        };
        if let Some(bit) = theirs.bits().find(|bit| bit % 2 == 0 && !offered(*bit)) {
            return Err(FeatureError::PeerRequires(bit));
        }
        let lacking =
            Feature::ALL.iter().find(|f| ours.requires(**f) && !theirs.supports(**f) && !f.is_assumed());
        if let Some(&feature) = lacking {
            return Err(FeatureError::PeerLacks(feature));
        }
        theirs.check_dependencies()
    }

    /// Whether both sides offer `feature`, or we demand it (BOLT 1: "negotiated").
    #[must_use]
    pub fn negotiated(ours: &Self, theirs: &Self, feature: Feature) -> bool {
        ours.supports(feature) && (theirs.supports(feature) || ours.requires(feature))
    }
}
