//! Random messages of every type, from a seed: what the round-trip tests and the fuzz corpus start from.
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, ScriptBuf, SignedAmount, Txid, Witness};
use lightning_traits::codec::{BigSize, TlvRecords};
use lightning_traits::feature::{ChannelType, Features};
use lightning_traits::id::{ChannelId, CommitmentNumber, HtlcId, NodeId, ShortChannelId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::sphinx::{AttributionData, OnionPacket};
use lightning_traits::units::{CltvDelta, CltvExpiry, CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::*;
use secp256k1::ecdsa::Signature;
use secp256k1::{PublicKey, Secp256k1, SecretKey};

/// Where random values come from: a counter run through a mixing function (splitmix64), so a seed says all.
pub struct Source {
    state: u64,
    /// Empty lists and no optional records, for the shortest message of a type.
    least: bool,
}

impl Source {
    pub fn random(seed: u64) -> Self {
        Self { state: seed, least: false }
    }

    pub fn least(seed: u64) -> Self {
        Self { state: seed, least: true }
    }

    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// Length of a list of up to `most` items.
    fn length(&mut self, most: usize) -> usize {
        if self.least { 0 } else { self.below(most + 1) }
    }
}

pub trait Sample: Sized {
    fn sample(source: &mut Source) -> Self;
}

macro_rules! sample {
    ($($type:ty: |$s:ident| $make:expr;)*) => {$(
        impl Sample for $type {
            fn sample($s: &mut Source) -> Self {
                $make
            }
        }
    )*};
}
sample! {
    // All magnitudes, so that each length of a variable-length integer occurs.
    u64: |s| { let shift = s.below(65) as u32; s.word().checked_shr(shift).unwrap_or(0) };
    u32: |s| s.word() as u32;
    u16: |s| s.word() as u16;
    u8: |s| s.word() as u8;
    bool: |s| s.below(2) == 1;
    (): |_s| ();
    BigSize: |s| BigSize(Sample::sample(s));
    ChannelId: |s| Self(Sample::sample(s));
    NodeId: |s| Self(Sample::sample(s));
    ShortChannelId: |s| Self(s.word());
    HtlcId: |s| Self(Sample::sample(s));
    CommitmentNumber: |s| Self(Sample::sample(s));
    PaymentHash: |s| Self(Sample::sample(s));
    Preimage: |s| Self::new(Sample::sample(s));
    Msat: |s| Self::new(Sample::sample(s));
    FeeratePerKw: |s| Self::new(Sample::sample(s));
    CltvExpiry: |s| Self::new(Sample::sample(s));
    CltvDelta: |s| Self::new(Sample::sample(s));
    CsvDelay: |s| Self::new(Sample::sample(s));
    Amount: |s| Self::from_sat(Sample::sample(s));
    SignedAmount: |s| Self::from_sat(s.word() as i64);
    ChainHash: |s| Self::from(<[u8; 32]>::sample(s));
    Txid: |s| Self::from_byte_array(Sample::sample(s));
    ScriptBuf: |s| Self::from_bytes(Sample::sample(s));
    Features: |s| Self::from_be_bytes(Sample::sample(s));
    ChannelType: |s| Self::from_features(Sample::sample(s));
    EncodedArray: |s| Self(Sample::sample(s));
    Excess: |s| Self(Sample::sample(s));
    NodeAlias: |s| Self(Sample::sample(s));
    TxWitness: |s| Self(Witness::from_slice(&<Vec<Vec<u8>>>::sample(s)));
    Signature: |s| {
        // Both halves below the order of the group, whose first bytes are 0xff.
        let mut bytes = [0; 64];
        bytes.iter_mut().for_each(|byte| *byte = s.word() as u8);
        bytes[0] &= 0x7f;
        bytes[32] &= 0x7f;
        Self::from_compact(&bytes).unwrap()
    };
    PublicKey: |s| {
        let mut secret = [1; 32];
        secret[..8].copy_from_slice(&s.word().to_be_bytes());
        Self::from_secret_key(&Secp256k1::signing_only(), &SecretKey::from_slice(&secret).unwrap())
    };
    OnionPacket: |s| Self {
        version: Sample::sample(s),
        ephemeral_key: Sample::sample(s),
        payloads: Sample::sample(s),
        hmac: Sample::sample(s),
    };
    AttributionData: |s| lightning_traits::codec::Decode::from_bytes(&<[u8; 920]>::sample(s)).unwrap();
    Hostname: |s| {
        let name: String = (0..=s.below(255)).map(|_| char::from(b'a' + s.below(26) as u8)).collect();
        Self::new(&name).unwrap()
    };
    NodeAddress: |s| match s.below(5) {
        0 => Self::Ipv4 { address: Ipv4Addr::from(<[u8; 4]>::sample(s)), port: Sample::sample(s) },
        1 => Self::Ipv6 { address: Ipv6Addr::from(<[u8; 16]>::sample(s)), port: Sample::sample(s) },
        2 => Self::TorV2(Sample::sample(s)),
        3 => Self::TorV3 { address: Sample::sample(s), port: Sample::sample(s) },
        _ => Self::Dns { hostname: Sample::sample(s), port: Sample::sample(s) },
    };
    Addresses: |s| {
        let known = Sample::sample(s);
        let unknown = match <Vec<u8>>::sample(s) {
            bytes if bytes.is_empty() => bytes,
            bytes => [&[6 + s.below(250) as u8], &bytes[..]].concat(),
        };
        Self { known, unknown }
    };
    // Odd types that no message has a field for.
    TlvRecords: |s| {
        let mut records = Self::new();
        for _ in 0..s.length(3) {
            records.put_raw((u64::sample(s) >> 1).saturating_add(500) | 1, Sample::sample(s));
        }
        records
    };
}

impl<const N: usize> Sample for [u8; N] {
    fn sample(source: &mut Source) -> Self {
        std::array::from_fn(|_| source.word() as u8)
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source) -> Self {
        (0..source.length(6)).map(|_| T::sample(source)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source) -> Self {
        (!source.least && source.below(2) == 1).then(|| T::sample(source))
    }
}

impl<T: Sample> Sample for Arc<T> {
    fn sample(source: &mut Source) -> Self {
        Self::new(T::sample(source))
    }
}

macro_rules! structs {
    ($($name:ident { $($field:ident),* $(,)? })*) => {$(
        impl Sample for $name {
            fn sample(source: &mut Source) -> Self {
                Self { $($field: Sample::sample(source)),* }
            }
        }
    )*};
}

/// Messages with their fields, and a function that makes one of each.
macro_rules! messages {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        structs! { $($name { $($field),* })* }

        /// One message of every known type.
        pub fn one_of_each(source: &mut Source) -> Vec<Message> {
            vec![$($name::sample(source).into()),*]
        }
    };
}

structs! {
    FeeRange { min_fee_satoshis, max_fee_satoshis }
    NextFunding { next_funding_txid, retransmit_flags }
    CurrentFundingLocked { my_current_funding_locked_txid, retransmit_flags }
    ChannelUpdateChecksums { checksum_node_id_1, checksum_node_id_2 }
    ChannelAnnouncementBody {
        features, chain_hash, short_channel_id, node_id_1, node_id_2, bitcoin_key_1, bitcoin_key_2, excess
    }
    NodeAnnouncementBody { features, timestamp, node_id, rgb_color, alias, addresses, excess }
    ChannelUpdateBody {
        chain_hash, short_channel_id, timestamp, message_flags, channel_flags, cltv_expiry_delta, htlc_minimum_msat,
        fee_base_msat, fee_proportional_millionths, htlc_maximum_msat, excess
    }
}

messages! {
    WarningMessage { channel_id, data, unknown }
    Stfu { channel_id, initiator, unknown }
    PeerStorage { blob, unknown }
    PeerStorageRetrieval { blob, unknown }
    Init { globalfeatures, features, networks, remote_addr, unknown }
    ErrorMessage { channel_id, data, unknown }
    Ping { num_pong_bytes, ignored, unknown }
    Pong { ignored, unknown }
    OpenChannel {
        chain_hash, temporary_channel_id, funding_satoshis, push_msat, dust_limit_satoshis,
        max_htlc_value_in_flight_msat, channel_reserve_satoshis, htlc_minimum_msat, feerate_per_kw, to_self_delay,
        max_accepted_htlcs, funding_pubkey, revocation_basepoint, payment_basepoint, delayed_payment_basepoint,
        htlc_basepoint, first_per_commitment_point, channel_flags, upfront_shutdown_script, channel_type, unknown
    }
    AcceptChannel {
        temporary_channel_id, dust_limit_satoshis, max_htlc_value_in_flight_msat, channel_reserve_satoshis,
        htlc_minimum_msat, minimum_depth, to_self_delay, max_accepted_htlcs, funding_pubkey, revocation_basepoint,
        payment_basepoint, delayed_payment_basepoint, htlc_basepoint, first_per_commitment_point,
        upfront_shutdown_script, channel_type, unknown
    }
    FundingCreated { temporary_channel_id, funding_txid, funding_output_index, signature, unknown }
    FundingSigned { channel_id, signature, unknown }
    ChannelReady { channel_id, second_per_commitment_point, short_channel_id, unknown }
    Shutdown { channel_id, scriptpubkey, unknown }
    ClosingSigned { channel_id, fee_satoshis, signature, fee_range, unknown }
    ClosingComplete {
        channel_id, closer_scriptpubkey, closee_scriptpubkey, fee_satoshis, locktime, closer_output_only,
        closee_output_only, closer_and_closee_outputs, unknown
    }
    ClosingSig {
        channel_id, closer_scriptpubkey, closee_scriptpubkey, fee_satoshis, locktime, closer_output_only,
        closee_output_only, closer_and_closee_outputs, unknown
    }
    OpenChannel2 {
        chain_hash, temporary_channel_id, funding_feerate_perkw, commitment_feerate_perkw, funding_satoshis,
        dust_limit_satoshis, max_htlc_value_in_flight_msat, htlc_minimum_msat, to_self_delay, max_accepted_htlcs,
        locktime, funding_pubkey, revocation_basepoint, payment_basepoint, delayed_payment_basepoint, htlc_basepoint,
        first_per_commitment_point, second_per_commitment_point, channel_flags, upfront_shutdown_script, channel_type,
        require_confirmed_inputs, unknown
    }
    AcceptChannel2 {
        temporary_channel_id, funding_satoshis, dust_limit_satoshis, max_htlc_value_in_flight_msat, htlc_minimum_msat,
        minimum_depth, to_self_delay, max_accepted_htlcs, funding_pubkey, revocation_basepoint, payment_basepoint,
        delayed_payment_basepoint, htlc_basepoint, first_per_commitment_point, second_per_commitment_point,
        upfront_shutdown_script, channel_type, require_confirmed_inputs, unknown
    }
    TxAddInput { channel_id, serial_id, prevtx, prevtx_vout, sequence, shared_input_txid, unknown }
    TxAddOutput { channel_id, serial_id, sats, script, unknown }
    TxRemoveInput { channel_id, serial_id, unknown }
    TxRemoveOutput { channel_id, serial_id, unknown }
    TxComplete { channel_id, unknown }
    TxSignatures { channel_id, txid, witnesses, shared_input_signature, unknown }
    TxInitRbf { channel_id, locktime, feerate, funding_output_contribution, require_confirmed_inputs, unknown }
    TxAckRbf { channel_id, funding_output_contribution, require_confirmed_inputs, unknown }
    TxAbort { channel_id, data, unknown }
    SpliceLocked { channel_id, splice_txid, unknown }
    SpliceInit {
        channel_id, funding_contribution_satoshis, funding_feerate_perkw, locktime, funding_pubkey,
        require_confirmed_inputs, unknown
    }
    SpliceAck { channel_id, funding_contribution_satoshis, funding_pubkey, require_confirmed_inputs, unknown }
    StartBatch { channel_id, batch_size, message_type, unknown }
    UpdateAddHtlc {
        channel_id, id, amount_msat, payment_hash, cltv_expiry, onion_routing_packet, path_key, unknown
    }
    UpdateFulfillHtlc { channel_id, id, payment_preimage, attribution_data, unknown }
    UpdateFailHtlc { channel_id, id, reason, attribution_data, unknown }
    CommitmentSigned { channel_id, signature, htlc_signature, funding_txid, unknown }
    RevokeAndAck { channel_id, per_commitment_secret, next_per_commitment_point, unknown }
    UpdateFee { channel_id, feerate_per_kw, unknown }
    UpdateFailMalformedHtlc { channel_id, id, sha256_of_onion, failure_code, unknown }
    ChannelReestablish {
        channel_id, next_commitment_number, next_revocation_number, your_last_per_commitment_secret,
        my_current_per_commitment_point, next_funding, my_current_funding_locked, unknown
    }
    ChannelAnnouncement { node_signature_1, node_signature_2, bitcoin_signature_1, bitcoin_signature_2, body }
    NodeAnnouncement { signature, body }
    ChannelUpdate { signature, body }
    AnnouncementSignatures { channel_id, short_channel_id, node_signature, bitcoin_signature, unknown }
    QueryShortChannelIds { chain_hash, encoded_short_ids, query_flags, unknown }
    ReplyShortChannelIdsEnd { chain_hash, full_information, unknown }
    QueryChannelRange { chain_hash, first_blocknum, number_of_blocks, query_option, unknown }
    ReplyChannelRange {
        chain_hash, first_blocknum, number_of_blocks, sync_complete, encoded_short_ids, timestamps, checksums, unknown
    }
    GossipTimestampFilter { chain_hash, first_timestamp, timestamp_range, unknown }
    OnionMessage { path_key, onion_message_packet, unknown }
}
