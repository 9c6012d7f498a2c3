//! Messages, read from bytes and written again: ours and LDK's, from the same bytes.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing better to do than to stop")]

use std::hint::black_box;
use std::sync::Arc;

use bitcoin::Amount;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use criterion::{Criterion, Throughput};
use lightning::ln::msgs;
use lightning::util::ser::{LengthReadable, Writeable};
use lightning_traits::codec::{Decode, Encode};
use lightning_traits::feature::ChannelType;
use lightning_traits::id::{ChannelId, HtlcId, ShortChannelId};
use lightning_traits::payment::PaymentHash;
use lightning_traits::sphinx::OnionPacket;
use lightning_traits::units::{CltvDelta, CltvExpiry, CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::{ChannelUpdate, ChannelUpdateBody, OpenChannel, UpdateAddHtlc};

fn key(byte: u8) -> PublicKey {
    SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&Secp256k1::new())
}

fn channel_update() -> ChannelUpdate {
    let body = ChannelUpdateBody {
        chain_hash: ChainHash::BITCOIN,
        short_channel_id: ShortChannelId(0x000d_3b5e_0004_d200),
        timestamp: 1_700_000_000,
        message_flags: 1,
        channel_flags: 1,
        cltv_expiry_delta: CltvDelta::new(80),
        htlc_minimum_msat: Msat::new(1_000),
        fee_base_msat: 1_000,
        fee_proportional_millionths: 100,
        htlc_maximum_msat: Msat::new(990_000_000),
        excess: Default::default(),
    };
    ChannelUpdate { signature: Signature::from_compact(&[0x42; 64]).unwrap(), body }
}

fn update_add_htlc() -> UpdateAddHtlc {
    let onion = OnionPacket {
        version: 0,
        ephemeral_key: key(9).serialize(),
        payloads: [0x5a; 1_300],
        hmac: [0x77; 32],
    };
    UpdateAddHtlc {
        channel_id: ChannelId([3; 32]),
        id: HtlcId(17),
        amount_msat: Msat::new(10_000_000),
        payment_hash: PaymentHash([4; 32]),
        cltv_expiry: CltvExpiry::new(800_000),
        onion_routing_packet: Arc::new(onion),
        path_key: None,
        unknown: Default::default(),
    }
}

fn open_channel() -> OpenChannel {
    OpenChannel {
        chain_hash: ChainHash::BITCOIN,
        temporary_channel_id: ChannelId([3; 32]),
        funding_satoshis: Amount::from_sat(1_000_000),
        push_msat: Msat::ZERO,
        dust_limit_satoshis: Amount::from_sat(354),
        max_htlc_value_in_flight_msat: Msat::new(1_000_000_000),
        channel_reserve_satoshis: Amount::from_sat(10_000),
        htlc_minimum_msat: Msat::new(1),
        feerate_per_kw: FeeratePerKw::new(1_000),
        to_self_delay: CsvDelay::new(144),
        max_accepted_htlcs: 483,
        funding_pubkey: key(1),
        revocation_basepoint: key(2),
        payment_basepoint: key(3),
        delayed_payment_basepoint: key(4),
        htlc_basepoint: key(5),
        first_per_commitment_point: key(6),
        channel_flags: 0,
        upfront_shutdown_script: Some(Default::default()),
        channel_type: Some(ChannelType::anchors()),
        unknown: Default::default(),
    }
}

fn ours<T: Decode + Encode>(bytes: &[u8]) -> Vec<u8> {
    T::from_bytes(black_box(bytes)).unwrap().to_bytes()
}

fn ldk<T: LengthReadable + Writeable>(bytes: &[u8]) -> Vec<u8> {
    T::read_from_fixed_length_buffer(&mut black_box(bytes)).unwrap().encode()
}

fn bench<O: Decode + Encode, L: LengthReadable + Writeable>(
    criterion: &mut Criterion,
    name: &str,
    message: &O,
) {
    let bytes = message.to_bytes();
    assert_eq!(ours::<O>(&bytes), bytes);
    assert_eq!(ldk::<L>(&bytes), bytes);
    let mut group = criterion.benchmark_group(format!("codec/{name}"));
    group.throughput(Throughput::Bytes(bytes.len().try_into().unwrap()));
    group.bench_function("ours", |bencher| bencher.iter(|| ours::<O>(&bytes)));
    group.bench_function("ldk", |bencher| bencher.iter(|| ldk::<L>(&bytes)));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench::<_, msgs::ChannelUpdate>(&mut criterion, "channel_update", &channel_update());
    bench::<_, msgs::UpdateAddHTLC>(&mut criterion, "update_add_htlc", &update_add_htlc());
    bench::<_, msgs::OpenChannel>(&mut criterion, "open_channel", &open_channel());
    criterion.final_summary();
}
