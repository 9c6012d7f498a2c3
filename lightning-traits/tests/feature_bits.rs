//! Feature vectors: bits, bytes, dependencies, negotiation, channel types (BOLT 9, BOLT 1 and 2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::feature::{
    ChannelType, Context, Feature, FeatureError, Features, NODE_OPTIONAL, NODE_REQUIRED,
};
use proptest::prelude::*;

fn bits(bits: &[u16]) -> Features {
    Features::from_bits(bits.iter().copied())
}

#[test]
fn bits_count_from_the_end_of_the_bytes() {
    assert_eq!(bits(&[0]).as_bytes(), [0x01]);
    assert_eq!(bits(&[7, 8]).as_bytes(), [0x01, 0x80]);
    assert_eq!(bits(&[12, 22]).as_bytes(), [0x40, 0x10, 0x00]);
    // The default vector of widespread peers, bit by bit.
    let peer = Features::from_be_bytes(vec![0x80, 0x08, 0x98, 0x88, 0x0a, 0x8a, 0x51, 0xa1]);
    let expected = [0, 5, 7, 8, 12, 14, 17, 19, 23, 25, 27, 35, 39, 43, 44, 47, 51, 63];
    assert_eq!(peer.bits().collect::<Vec<_>>(), expected);
    assert_eq!(Features::from_bits(expected), peer);
}

#[test]
fn leading_zero_bytes_are_kept_but_mean_nothing() {
    let padded = Features::from_be_bytes(vec![0, 0, 0x10, 0x00]);
    assert_eq!(padded.to_bytes(), [0, 4, 0, 0, 0x10, 0x00]);
    assert_eq!(Features::from_bytes(&padded.to_bytes()).unwrap(), padded);
    assert_ne!(padded, bits(&[12]));
    assert!(padded.same_bits(&bits(&[12])));
    assert_eq!(ChannelType::from_features(padded.clone()), ChannelType::static_remote_key());
    assert!(
        !padded.is_empty() && Features::from_be_bytes(vec![0; 3]).is_empty() && Features::empty().is_empty()
    );
}

#[test]
fn one_bit_of_a_pair_at_a_time() {
    let mut features = Features::empty();
    features.set_optional(22);
    assert!(features.supports(Feature::Anchors) && !features.requires(Feature::Anchors));
    features.set_required(23);
    assert_eq!(features.bits().collect::<Vec<_>>(), [22]);
    features.set_optional(22);
    assert_eq!(features.bits().collect::<Vec<_>>(), [23]);
    // BOLT 9: "if both the optional and the mandatory feature bits in a pair are set, ... treated as mandatory".
    assert!(bits(&[22, 23]).requires(Feature::Anchors));
    features.clear_bit(500);
    features.clear_bit(23);
    assert!(features.is_empty());
}

#[test]
fn table_is_that_of_bolt_9() {
    // Every row of BOLT 9, 40 and 80 of the proposals that peers ship, and 54 of bLIP 3.
    let even =
        [0, 4, 6, 8, 10, 12, 14, 16, 18, 22, 24, 26, 28, 34, 36, 38, 40, 42, 44, 46, 48, 50, 54, 60, 62, 80];
    assert_eq!(Feature::ALL.iter().map(|f| f.required_bit()).collect::<Vec<_>>(), even);
    for &feature in Feature::ALL {
        assert_eq!(Feature::from_bit(feature.required_bit()), Some(feature));
        assert_eq!(Feature::from_bit(feature.optional_bit()), Some(feature));
        assert!(feature.contexts().chars().all(|letter| "INCTB9".contains(letter)), "{}", feature.name());
    }
    assert_eq!(Feature::from_bit(2), None);
    assert_eq!(Feature::from_bit(64), None);
    assert_eq!(
        Feature::ALL.iter().filter(|f| f.is_assumed()).map(|f| f.required_bit()).collect::<Vec<_>>(),
        [0, 8, 12, 14, 44]
    );
    assert_eq!(Feature::BasicMpp.depends_on(), [Feature::PaymentSecret]);
    assert_eq!(Feature::ZeroConf.depends_on(), [Feature::ScidAlias]);
    assert_eq!(Feature::SimpleClose.depends_on(), [Feature::ShutdownAnySegwit]);
    assert_eq!(Feature::ALL.iter().filter(|f| !f.depends_on().is_empty()).count(), 3);
    let in_invoices: Vec<u16> =
        Feature::ALL.iter().filter(|f| f.is_in(Context::Invoice)).map(|f| f.required_bit()).collect();
    assert_eq!(in_invoices, [8, 14, 16, 24, 36, 48]);
}

#[test]
fn our_own_vector_is_what_peers_accept() {
    let ours = Features::node_default();
    assert_eq!(ours.bits().collect::<Vec<_>>(), [0, 5, 7, 8, 12, 14, 17, 19, 23, 27, 35, 37, 44, 47, 61]);
    assert_eq!(NODE_REQUIRED.len() + NODE_OPTIONAL.len(), 15);
    assert_eq!(ours.check_peers_want(), Ok(()));
    // At least one common peer hangs up for each of these bits when even.
    for bit in [4, 10, 28, 36, 40, 42, 50, 54, 60, 62, 66, 80] {
        assert!(!ours.is_set(bit), "{bit}");
    }
    // Default vectors of four common implementations, and the smallest that all of them accept.
    for theirs in [
        &[0x10, 0x88, 0x8a, 0x82, 0x51, 0xa1][..],
        &[0x80, 0x08, 0x98, 0x88, 0x0a, 0x8a, 0x51, 0xa1],
        &[0x80, 0x08, 0x98, 0x88, 0x0a, 0x8a, 0x59, 0xa1],
        &[0x02, 0x00, 0x00, 0xa0, 0x00, 0x90, 0xa8, 0x2a, 0x8a, 0x59, 0x81],
        &[0x10, 0x00, 0x08, 0x82, 0x51, 0x81],
    ] {
        let theirs = Features::from_be_bytes(theirs.to_vec());
        assert_eq!(Features::check_peer(&ours, &theirs), Ok(()), "{theirs:?}");
        assert_eq!(Features::check_peer(&theirs, &ours), Ok(()), "{theirs:?}");
        assert!(Features::negotiated(&ours, &theirs, Feature::Anchors));
    }
}

#[test]
fn compulsory_bits_that_we_do_not_offer_refuse_the_peer() {
    let ours = Features::node_default();
    let with = |bit: u16| {
        let mut theirs = Features::node_default();
        theirs.set_bit(bit);
        Features::check_peer(&ours, &theirs)
    };
    // Unknown to the table, and known to it but not offered.
    assert_eq!(with(98), Err(FeatureError::PeerRequires(98)));
    assert_eq!(with(50), Err(FeatureError::PeerRequires(50)));
    assert_eq!(with(62), Err(FeatureError::PeerRequires(62)));
    assert_eq!(with(65_534), Err(FeatureError::PeerRequires(65_534)));
    // Optional ones, and compulsory ones that we offer.
    assert_eq!(with(99), Ok(()));
    assert_eq!(with(63), Ok(()));
    assert_eq!(with(22), Ok(()));
    assert_eq!(with(60), Ok(()));
    assert_eq!(with(18), Ok(()));
    // A bit above all that a number of ours can name is still refused.
    let mut huge = vec![0; 9_000];
    huge[0] = 0b0100_0000;
    assert_eq!(
        Features::check_peer(&ours, &Features::from_be_bytes(huge)),
        Err(FeatureError::PeerRequires(65_534))
    );
}

#[test]
fn what_we_demand_the_peer_must_have_unless_all_have_it() {
    let mut ours = Features::node_default();
    // BOLT 9: assumed features "can be safely ignored", so a peer without their bits is no worse.
    assert_eq!(Features::check_peer(&ours, &Features::empty()), Ok(()));
    // And one that demands them from us while we are silent is right to.
    assert_eq!(Features::check_peer(&Features::empty(), &bits(&[0, 8, 12, 14, 44])), Ok(()));
    // An assumed bit does not hide a later one that is not ours.
    assert_eq!(
        Features::check_peer(&Features::empty(), &bits(&[0, 22])),
        Err(FeatureError::PeerRequires(22))
    );
    ours.set_required(22);
    assert_eq!(
        Features::check_peer(&ours, &bits(&[0, 8, 12, 14, 44])),
        Err(FeatureError::PeerLacks(Feature::Anchors))
    );
    assert_eq!(Features::check_peer(&ours, &bits(&[23])), Ok(()));
    assert!(Features::negotiated(&ours, &Features::empty(), Feature::Anchors));
    assert!(!Features::negotiated(&Features::empty(), &ours, Feature::Anchors));
}

#[test]
fn dependencies() {
    let missing = |feature, needs| Err(FeatureError::MissingDependency { feature, needs });
    assert_eq!(bits(&[17]).check_dependencies(), missing(Feature::BasicMpp, Feature::PaymentSecret));
    assert_eq!(bits(&[15, 17]).check_dependencies(), Ok(()));
    assert_eq!(bits(&[51]).check_dependencies(), missing(Feature::ZeroConf, Feature::ScidAlias));
    assert_eq!(bits(&[61]).check_dependencies(), missing(Feature::SimpleClose, Feature::ShutdownAnySegwit));
    assert_eq!(bits(&[26, 61]).check_dependencies(), Ok(()));
    // Demanded by peers only: not held against others, but kept by us.
    assert_eq!(bits(&[23]).check_dependencies(), Ok(()));
    assert_eq!(bits(&[23]).check_peers_want(), missing(Feature::Anchors, Feature::StaticRemoteKey));
    assert_eq!(
        bits(&[12, 23, 27, 44, 81]).check_peers_want(),
        missing(Feature::SimpleTaproot, Feature::SimpleClose)
    );
    assert_eq!(bits(&[12, 23, 27, 44, 61, 81]).check_peers_want(), Ok(()));
    let ours = Features::node_default();
    assert_eq!(Features::check_peer(&ours, &bits(&[17])), missing(Feature::BasicMpp, Feature::PaymentSecret));
}

#[test]
fn unknown_required_and_contexts() {
    let features = bits(&[0, 2, 3, 14, 17, 23, 64, 65, 1001]);
    assert_eq!(features.unknown_required().collect::<Vec<_>>(), [2, 64]);
    assert_eq!(features.in_context(Context::Invoice).bits().collect::<Vec<_>>(), [14, 17]);
    assert_eq!(features.in_context(Context::Node).bits().collect::<Vec<_>>(), [0, 14, 17, 23]);
    assert!(features.in_context(Context::Channel).is_empty());
    assert_eq!(bits(&[1, 9]).union(&bits(&[0])).bits().collect::<Vec<_>>(), [0, 1, 9]);
    assert_eq!(bits(&[0]).union(&bits(&[1, 9])).as_bytes(), [0x02, 0x03]);
}

#[test]
fn channel_types() {
    assert_eq!(ChannelType::static_remote_key().features().bits().collect::<Vec<_>>(), [12]);
    assert_eq!(ChannelType::anchors().features().bits().collect::<Vec<_>>(), [12, 22]);
    assert_ne!(ChannelType::anchors(), ChannelType::static_remote_key());
    let private = ChannelType::anchors().with(Feature::ScidAlias);
    assert_eq!(private.features().bits().collect::<Vec<_>>(), [12, 22, 46]);
    assert!(private.has(Feature::ScidAlias) && !private.has(Feature::ZeroConf));
    assert_ne!(private, ChannelType::anchors());
    assert_eq!(private.without(Feature::ScidAlias), ChannelType::anchors());
    // An odd bit is another type, and says nothing about what the channel has.
    let odd = ChannelType::from_features(bits(&[12, 23]));
    assert_ne!(odd, ChannelType::anchors());
    assert!(!odd.has(Feature::Anchors));
}

proptest! {
    #[test]
    fn any_bytes_come_back_and_bits_agree(bytes in proptest::collection::vec(any::<u8>(), 0..40), bit in 0_u16..400) {
        let mut features = Features::from_be_bytes(bytes.clone());
        prop_assert_eq!(features.as_bytes(), &bytes[..]);
        prop_assert_eq!(Features::from_bytes(&features.to_bytes()).unwrap(), features.clone());
        let listed: Vec<u16> = features.bits().collect();
        prop_assert!(listed.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(listed.contains(&bit), features.is_set(bit));
        prop_assert!(Features::from_bits(listed.iter().copied()).same_bits(&features));
        features.set_bit(bit);
        prop_assert!(features.is_set(bit));
        features.clear_bit(bit);
        prop_assert!(!features.is_set(bit));
        let rest: Vec<u16> = listed.into_iter().filter(|other| *other != bit).collect();
        prop_assert_eq!(features.bits().collect::<Vec<_>>(), rest);
    }
}
