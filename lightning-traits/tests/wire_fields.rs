//! Fields with a form of their own: addresses, names, texts, flags.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use std::net::{Ipv4Addr, Ipv6Addr};

use bitcoin::constants::ChainHash;
use bitcoin::hex::FromHex as _;
use lightning_traits::codec::{Decode as _, DecodeError, Encode as _};
use lightning_traits::feature::Features;
use lightning_traits::id::ChannelId;
use lightning_traits::units::{CltvDelta, Msat};
use lightning_traits::wire::{
    Addresses, ChannelUpdateBody, ErrorMessage, Hostname, Init, Message, NodeAddress, NodeAlias,
    WarningMessage,
};

fn counted(descriptors: &[u8]) -> Vec<u8> {
    [&(descriptors.len() as u16).to_be_bytes()[..], descriptors].concat()
}

#[test]
fn addresses_of_every_known_type() {
    let onion: [u8; 35] = std::array::from_fn(|i| i as u8);
    let bytes = counted(
        &[
            &[1, 127, 0, 0, 1, 0x26, 0x07][..],
            &[2, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x26, 0x07],
            &[3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            &[4],
            &onion,
            &[0x26, 0x07],
            &[5, 11],
            b"example.com",
            &[0x26, 0x07],
        ]
        .concat(),
    );
    let addresses = Addresses::from_bytes(&bytes).unwrap();
    let hostname = Hostname::new("example.com").unwrap();
    assert_eq!(
        addresses.known,
        [
            NodeAddress::Ipv4 { address: Ipv4Addr::LOCALHOST, port: 9735 },
            NodeAddress::Ipv6 { address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), port: 9735 },
            NodeAddress::TorV2([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
            NodeAddress::TorV3 { address: onion, port: 9735 },
            NodeAddress::Dns { hostname, port: 9735 },
        ]
    );
    assert_eq!(addresses.unknown, []);
    assert_eq!(addresses.to_bytes(), bytes);
    assert_eq!(
        addresses.known.iter().map(NodeAddress::is_usable).collect::<Vec<_>>(),
        [true, true, false, true, true]
    );
}

#[test]
fn addresses_as_people_write_them() {
    let key = "d1b38b83a83b3ed918c5bb69dd444ad56bc8d5835a914de73447474e5f02591bddd903";
    let address = <[u8; 35]>::from_hex(key).unwrap();
    let hostname = Hostname::new("node.example").unwrap();
    for (address, text) in [
        (NodeAddress::Ipv4 { address: Ipv4Addr::LOCALHOST, port: 9735 }, "127.0.0.1:9735"),
        (NodeAddress::Ipv6 { address: Ipv6Addr::LOCALHOST, port: 1 }, "[::1]:1"),
        (
            NodeAddress::TorV3 { address, port: 80 },
            "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:80",
        ),
        (NodeAddress::Dns { hostname, port: 9735 }, "node.example:9735"),
    ] {
        assert_eq!(address.to_string(), text);
    }
}

#[test]
fn from_an_unknown_address_type_on_bytes_are_kept() {
    for unknown in [0_u8, 6, 255] {
        let bytes = counted(&[1, 1, 2, 3, 4, 0, 80, unknown, 9, 9, 1, 1]);
        let addresses = Addresses::from_bytes(&bytes).unwrap();
        assert_eq!(addresses.known, [NodeAddress::Ipv4 { address: Ipv4Addr::new(1, 2, 3, 4), port: 80 }]);
        assert_eq!(addresses.unknown, [unknown, 9, 9, 1, 1]);
        assert_eq!(addresses.to_bytes(), bytes);
    }
}

#[test]
fn address_cut_by_its_field_does_not_decode() {
    // BOLT 7: "if `addrlen` is insufficient to hold the address descriptors of the known types"
    for cut in [&[1, 1, 2, 3, 4, 0][..], &[2, 0], &[3], &[4, 0], &[5], &[5, 3, b'a', b'b', b'c', 0]] {
        assert_eq!(Addresses::from_bytes(&counted(cut)), Err(DecodeError::UnexpectedEnd), "{cut:?}");
    }
}

#[test]
fn hostnames_are_kept_but_only_well_formed_ones_are_used() {
    assert_eq!(Hostname::new(""), None);
    assert_eq!(Hostname::new("a b"), None);
    assert_eq!(Hostname::new("n\u{f6}de.example"), None);
    assert_eq!(Hostname::new(&"a".repeat(256)), None);
    assert_eq!(Hostname::new(&"a".repeat(255)).unwrap().as_bytes().len(), 255);
    let odd = NodeAddress::decode_known(&mut lightning_traits::codec::Reader::new(&[5, 2, 0xff, b'/', 0, 1]))
        .unwrap()
        .unwrap();
    let NodeAddress::Dns { hostname, port: 1 } = &odd else { panic!("{odd:?}") };
    assert_eq!((hostname.as_str(), hostname.as_bytes()), (None, &[0xff, b'/'][..]));
    assert!(!odd.is_usable());
    assert_eq!(odd.to_bytes(), [5, 2, 0xff, b'/', 0, 1]);
    assert!(!NodeAddress::Ipv4 { address: Ipv4Addr::LOCALHOST, port: 0 }.is_usable());
}

#[test]
fn alias_without_padding_and_without_surprises() {
    let alias = NodeAlias::new("IRATEMONK").unwrap();
    assert_eq!((alias.to_string().as_str(), alias.0[9..].iter().max()), ("IRATEMONK", Some(&0)));
    assert_eq!(NodeAlias::new(&"x".repeat(32)).unwrap().to_string(), "x".repeat(32));
    assert_eq!(NodeAlias::new(&"x".repeat(33)), None);
    assert_eq!(NodeAlias([0; 32]).to_string(), "");
    let mut hostile = [0; 32];
    hostile[..6].copy_from_slice(b"a\x1b[2J\xff");
    assert_eq!(NodeAlias(hostile).to_string(), "a\u{fffd}[2J\u{fffd}");
}

#[test]
fn texts_of_strangers_are_printable() {
    let data = b"bad\n\x1b[31m sig\xc3\xa9 ~".to_vec();
    let error = ErrorMessage { channel_id: ChannelId::ALL, data: data.clone(), unknown: Default::default() };
    let warning = WarningMessage { channel_id: ChannelId::ALL, data, unknown: Default::default() };
    assert_eq!(error.text(), "bad??[31m sig?? ~");
    assert_eq!(warning.text(), error.text());
}

#[test]
fn init_combines_both_bitmaps_and_reads_our_address() {
    let mut init = Init {
        globalfeatures: Features::from_bits([8]),
        features: Features::from_bits([0, 44]),
        networks: None,
        remote_addr: Some(vec![1, 10, 0, 0, 1, 0x26, 0x07]),
        unknown: Default::default(),
    };
    assert_eq!(init.combined_features(), Features::from_bits([0, 8, 44]));
    let address = NodeAddress::Ipv4 { address: Ipv4Addr::new(10, 0, 0, 1), port: 9735 };
    assert_eq!(init.remote_address(), Some(address));
    for other in [vec![], vec![1, 10], vec![9, 1], vec![1, 10, 0, 0, 1, 0x26, 0x07, 0]] {
        init.remote_addr = Some(other);
        assert_eq!(init.remote_address(), None);
    }
    init.remote_addr = None;
    assert_eq!(init.remote_address(), None);
}

/// An update of a test network, and the checksum that two other implementations agree on for it.
#[test]
fn channel_update_and_its_checksum() {
    let bytes = Vec::from_hex(concat!(
        "0102",
        "06737e9e18d3e4d0ab4066ccaecdcc10e648c5f1c5413f1610747e0d463fa7fa39c1b02ea2fd694275ecfefe4fe9631f24afd182ab75b805e16cd550941f858c",
        "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f",
        "00006d0000010000",
        "5d50f935",
        "0100003000000000000000000000006400",
        "00000b00000000000186a0",
    ))
    .unwrap();
    let Message::ChannelUpdate(mut update) = Message::decode(&bytes).unwrap() else { panic!("another type") };
    assert_eq!(update.body.chain_hash, ChainHash::REGTEST);
    assert_eq!(update.body.short_channel_id.to_string(), "109x1x0");
    assert_eq!(update.body.timestamp, 1_565_587_765);
    assert_eq!((update.body.message_flags, update.body.channel_flags), (1, 0));
    assert_eq!(update.body.cltv_expiry_delta, CltvDelta::new(48));
    assert_eq!((update.body.fee_base_msat, update.body.fee_proportional_millionths), (100, 11));
    assert_eq!(update.body.htlc_minimum_msat, Msat::ZERO);
    assert_eq!(update.body.htlc_maximum_msat, Msat::new(100_000));
    assert_eq!(update.body.checksum(), 0xf32c_e968);
    update.body.timestamp = 1;
    assert_eq!(update.body.checksum(), 0xf32c_e968);
    update.body.channel_flags |= ChannelUpdateBody::DISABLED | ChannelUpdateBody::DIRECTION;
    assert!(update.body.is_disabled() && update.body.is_by_node_2() && !update.body.is_for_receiver_only());
    assert_ne!(update.body.checksum(), 0xf32c_e968);
}
