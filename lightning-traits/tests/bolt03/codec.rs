//! Every value that crosses a crate boundary comes back from its bytes; broken ones do not decode.
use core::fmt::Debug;

use lightning_traits::codec::{Decode, Encode};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    ClosingKind, CommitmentFormat, CommitmentTx, FundingOutput, ObscureFactor, Spend, TxSide,
};

use super::setup::{Setup, htlc, spec};

fn round_trip<T: Encode + Decode + PartialEq + Debug>(value: &T) {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    for length in 0..bytes.len() {
        assert!(T::from_bytes(&bytes[..length]).is_err(), "{value:?} from {length} of {} bytes", bytes.len());
    }
}

#[test]
fn values_come_back() {
    for format in [CommitmentFormat::StaticRemoteKey, CommitmentFormat::AnchorsZeroFeeHtlc] {
        let setup = Setup::plain(format);
        let preimage = Preimage::new([3; 32]);
        let htlcs = vec![
            htlc(TxSide::Broadcaster, 1, 50_000_001, &preimage, 500),
            htlc(TxSide::Countersigner, 1, 60_000_001, &preimage, 501),
        ];
        let spec = spec(1_000, 5_000_000_000, 4_889_999_998, htlcs);
        let commitment = setup.build(&spec);
        round_trip(&format);
        round_trip(&setup.params);
        round_trip(&setup.keys);
        round_trip(&setup.broadcaster.public(&setup.secp));
        round_trip(&setup.commitment_secret);
        round_trip(&spec);
        round_trip(&commitment);
    }
    for kind in [ClosingKind::Legacy, ClosingKind::Simple { lock_time: 7 }] {
        round_trip(&kind);
    }
    round_trip(&Spend::RevokedReceived);
}

#[test]
fn broken_values_do_not_decode() {
    let setup = Setup::plain(CommitmentFormat::StaticRemoteKey);
    let funding = setup.params.funding;
    let [first, second] = *funding.keys();
    let swapped = (funding.outpoint, funding.value, second, first);
    let mut bytes = Vec::new();
    swapped.0.encode(&mut bytes);
    swapped.1.encode(&mut bytes);
    swapped.2.encode(&mut bytes);
    swapped.3.encode(&mut bytes);
    assert!(FundingOutput::from_bytes(&bytes).is_err());
    assert!(ObscureFactor::from_bytes(&(1_u64 << 48).to_bytes()).is_err());
    assert!(CommitmentFormat::from_bytes(&[2]).is_err());

    let mut commitment = setup.build(&spec(1_000, 5_000_000_000, 5_000_000_000, vec![]));
    commitment.to_countersigner = Some(2);
    assert!(CommitmentTx::from_bytes(&commitment.to_bytes()).is_err());
}

/// Hundreds of these are held for each channel; onions and the like have no place in them.
#[test]
fn htlcs_are_slim() {
    assert!(size_of::<lightning_traits::tx::HtlcSpec>() <= 56);
}
