//! Decoders of the wire: no input panics, and what decodes encodes to the same bytes.
use lightning_traits::codec::{BigSize, Decode, Encode, Reader, TlvRecords, Tu16, Tu32, Tu64};
use lightning_traits::feature::{Feature, Features};
use lightning_traits::wire::{
    Addresses, ChannelAnnouncementBody, ChannelMessage, ChannelUpdateBody, EncodedArray, MAX_MESSAGE_LEN,
    Message, NodeAddress, NodeAnnouncementBody, RoutingMessage, TxWitness,
};

/// If `data` decodes as a `T`, then to a value that encodes to `data`.
fn identity<T: Encode + Decode>(data: &[u8]) -> Option<T> {
    let value = T::from_bytes(data).ok()?;
    assert_eq!(value.to_bytes(), data);
    Some(value)
}

/// A whole message, type included; also through the groups that the interfaces carry.
pub fn message(data: &[u8]) {
    // The transport carries no more (BOLT 8), so nothing longer reaches the decoder.
    let data = data.get(..MAX_MESSAGE_LEN).unwrap_or(data);
    let Ok(message) = Message::decode(data) else { return };
    assert_eq!(message.to_wire().as_deref(), Ok(data));
    let _ = format!("{message:?}");
    let type_id = message.type_id();
    assert_eq!(Message::KNOWN_TYPES.contains(&type_id), !matches!(message, Message::Unknown(_)));
    match ChannelMessage::try_from(message.clone()) {
        Ok(member) => {
            let _ = member.channel_id();
            assert_eq!(member.type_id(), type_id);
            assert_eq!(Message::from(member), message);
        }
        Err(back) => assert_eq!(back, message),
    }
    match RoutingMessage::try_from(message.clone()) {
        Ok(member) => assert_eq!(Message::from(member), message),
        Err(back) => assert_eq!(back, message),
    }
}

/// The bodies of signed gossip: what is hashed for a signature is what came.
pub fn gossip_body(data: &[u8]) {
    if let Some(body) = identity::<ChannelAnnouncementBody>(data) {
        let _ = body.signed_hash();
    }
    if let Some(body) = identity::<NodeAnnouncementBody>(data) {
        let _ = (body.signed_hash(), body.alias.to_string());
    }
    if let Some(body) = identity::<ChannelUpdateBody>(data) {
        let _ = (body.signed_hash(), body.checksum());
    }
}

/// The `addresses` field, and witnesses, which hold lengths of their own.
pub fn addresses(data: &[u8]) {
    if let Some(addresses) = identity::<Addresses>(data) {
        assert!(addresses.known.len() <= data.len());
        let _ = addresses.known.iter().filter(|address| address.is_usable()).count();
    }
    let mut reader = Reader::new(data);
    if let Ok(Some(address)) = NodeAddress::decode_known(&mut reader) {
        assert_eq!([&address.to_bytes()[..], reader.rest()].concat(), data);
    }
    identity::<TxWitness>(data);
}

/// Arrays of gossip queries: items that can be read give the array back.
pub fn encoded_array(data: &[u8]) {
    let array = EncodedArray(data.to_vec());
    // No bytes and no items differ, though both hold nothing.
    if data.is_empty() {
        return;
    }
    if let Ok(ids) = array.short_channel_ids() {
        assert_eq!(EncodedArray::of_short_channel_ids(ids), array);
    }
    if let Ok(flags) = array.query_flags() {
        assert_eq!(EncodedArray::of_query_flags(&flags), array);
    }
    if let Ok(timestamps) = array.timestamps() {
        assert_eq!(EncodedArray::of_timestamps(&timestamps), array);
    }
}

/// Feature vectors: bits, sets and negotiation agree with each other.
pub fn features(data: &[u8]) {
    identity::<Features>(data);
    let theirs = Features::from_be_bytes(data.to_vec());
    let ours = Features::node_default();
    if Features::check_peer(&ours, &theirs).is_ok() {
        let assumed = |bit: u16| Feature::from_bit(bit).is_some_and(Feature::is_assumed);
        assert!(
            theirs
                .bits()
                .filter(|bit| bit % 2 == 0)
                .all(|bit| ours.is_set(bit) || ours.is_set(bit | 1) || assumed(bit))
        );
        assert_eq!(theirs.check_dependencies(), Ok(()));
    }
    // Up to here every bit has a number of its own.
    if data.len() <= 8_192 {
        assert!(Features::from_bits(theirs.bits()).same_bits(&theirs));
        assert_eq!(theirs.is_empty(), theirs.bits().next().is_none());
    }
    assert!(theirs.union(&ours).bits().count() >= theirs.bits().count());
}

/// TLV streams and the integers in them.
pub fn tlv_stream(data: &[u8]) {
    if let Some(records) = identity::<TlvRecords>(data) {
        assert!(records.as_slice().is_sorted_by(|a, b| a.kind < b.kind));
        let mut rebuilt = TlvRecords::new();
        for record in records.as_slice().iter().rev() {
            rebuilt.put_raw(record.kind, record.value.clone());
        }
        assert_eq!(rebuilt, records);
    }
    identity::<BigSize>(data);
    identity::<Tu16>(data);
    identity::<Tu32>(data);
    identity::<Tu64>(data);
}
