//! Every value that crosses a boundary survives the way through bytes; what is of another age or damaged does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod crossing;

use core::fmt::Debug;

use lightning_traits::codec::{Decode, DecodeError, Encode, TlvRecords};
use lightning_traits::monitor::{ChannelMonitorUpdate, NewMonitor};
use proptest::prelude::*;

/// There and back, and no shorter.
fn round_trip<T: Encode + Decode + Debug + PartialEq>(value: &T) {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    for cut in 0..bytes.len() {
        assert!(T::from_bytes(&bytes[..cut]).is_err(), "cut at {cut} of {}", bytes.len());
    }
    assert!(T::from_bytes(&[bytes, vec![0]].concat()).is_err(), "a byte too many");
}

/// The same for a value with a version and records of a later age.
fn versioned<T: Debug + PartialEq>(
    value: &T,
    extra: &TlvRecords,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let bytes = encode(value);
    let back = decode(&bytes).unwrap();
    assert_eq!(&back, value, "with all records that we do not know");
    assert_eq!(encode(&back), bytes);
    let body = bytes.len() - extra.to_bytes().len();
    for cut in 0..body {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut} of {body}");
    }
    for version in [0, 2, 0xff] {
        let mut other = bytes.clone();
        other[0] = version;
        assert_eq!(decode(&other), Err(DecodeError::UnknownVersion(version)));
    }
    let mut demanding = extra.clone();
    demanding.put_raw(6, vec![1, 2, 3]);
    let demanding = [&bytes[..body], &demanding.to_bytes()].concat();
    assert_eq!(decode(&demanding), Err(DecodeError::UnknownEvenRecord(6)), "what must be understood");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn new_monitors(new in crossing::new_monitor()) {
        versioned(&new, &new.extra, NewMonitor::to_versioned, NewMonitor::from_versioned);
        round_trip(&new.init);
        prop_assert_eq!(new.receipt().channel(), new.init.channel);
    }

    #[test]
    fn updates(update in crossing::update()) {
        versioned(&update, &update.extra, ChannelMonitorUpdate::to_versioned, ChannelMonitorUpdate::from_versioned);
        round_trip(&update);
        let receipt = update.receipt();
        prop_assert_eq!((receipt.channel(), receipt.id()), (update.channel, update.id));
    }

    #[test]
    fn events_and_refusals(event in crossing::monitor_event(), refusal in crossing::refusal()) {
        round_trip(&event);
        round_trip(&refusal);
    }

    #[test]
    fn routes(
        query in crossing::query(),
        answer in crossing::answer(),
        report in crossing::report(),
    ) {
        round_trip(&query);
        round_trip(&answer);
        round_trip(&report);
    }

    #[test]
    fn no_bytes_make_any_of_them_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use lightning_traits::monitor::{MonitorEvent, MonitorInit, MonitorRefusal};
        use lightning_traits::route::{RouteAnswer, RouteQuery, RouteReport};
        let of_this_version = [&[1][..], &bytes].concat();
        let _ = NewMonitor::from_versioned(&of_this_version);
        let _ = ChannelMonitorUpdate::from_versioned(&of_this_version);
        let _ = MonitorInit::from_bytes(&bytes);
        let _ = MonitorEvent::from_bytes(&bytes);
        let _ = MonitorRefusal::from_bytes(&bytes);
        let _ = RouteQuery::from_bytes(&bytes);
        let _ = RouteAnswer::from_bytes(&bytes);
        let _ = RouteReport::from_bytes(&bytes);
    }
}
