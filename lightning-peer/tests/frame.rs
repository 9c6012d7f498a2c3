//! Framing: any split of the bytes gives the same messages; changed bytes give none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use lightning_peer::frame::{
    FRAME_OVERHEAD, FrameError, FrameReader, FrameWriter, MAX_MESSAGE_LENGTH, TooLong, framed,
};
use lightning_peer::noise::Session;
use proptest::prelude::*;

fn pair() -> (FrameWriter, FrameReader) {
    let (writer, _) = framed(Session::from_keys([1; 32], [2; 32], [3; 32]));
    let (_, reader) = framed(Session::from_keys([2; 32], [1; 32], [3; 32]));
    (writer, reader)
}

fn read_all(reader: &mut FrameReader, mut input: &[u8], into: &mut Vec<Vec<u8>>) -> Result<(), FrameError> {
    while let Some(message) = reader.read(&mut input)? {
        into.push(message.to_vec());
    }
    assert!(input.is_empty(), "a reader that wants more has taken all there was");
    Ok(())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 2..300), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let (mut writer, mut reader) = pair();
        let mut bytes = Vec::new();
        for message in &messages {
            writer.write(message, &mut bytes).unwrap();
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut found, mut start) = (Vec::new(), 0);
        for cut in cuts {
            read_all(&mut reader, &bytes[start..cut], &mut found).unwrap();
            start = cut;
        }
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn one_flipped_bit_is_noticed(
        message in prop::collection::vec(any::<u8>(), 2..100), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let (mut writer, mut reader) = pair();
        let mut bytes = Vec::new();
        writer.write(&message, &mut bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let expected = if at < 18 { FrameError::BadLengthTag } else { FrameError::BadMessageTag };
        prop_assert_eq!(read_all(&mut reader, &bytes, &mut Vec::new()), Err(expected));
    }
}

#[test]
fn byte_by_byte() {
    let (mut writer, mut reader) = pair();
    let mut bytes = Vec::new();
    writer.write(&[0, 16, 7], &mut bytes).unwrap();
    assert_eq!(bytes.len(), 3 + FRAME_OVERHEAD);
    let mut found = Vec::new();
    for byte in &bytes {
        assert!(found.is_empty());
        read_all(&mut reader, std::slice::from_ref(byte), &mut found).unwrap();
    }
    assert_eq!(found, [[0, 16, 7]]);
}

#[test]
fn the_largest_message_passes_and_one_more_byte_does_not() {
    let (mut writer, mut reader) = pair();
    let mut bytes = vec![9];
    let message = vec![7; MAX_MESSAGE_LENGTH + 1];
    assert_eq!(writer.write(&message, &mut bytes), Err(TooLong(MAX_MESSAGE_LENGTH + 1)));
    assert_eq!(bytes, [9], "nothing was written");
    bytes.clear();
    writer.write(&message[1..], &mut bytes).unwrap();
    let mut found = Vec::new();
    read_all(&mut reader, &bytes, &mut found).unwrap();
    assert_eq!(found, [&message[1..]]);
}

#[test]
fn a_message_without_a_type_is_refused() {
    let (mut writer, mut reader) = pair();
    let mut bytes = Vec::new();
    writer.write(&[1], &mut bytes).unwrap();
    assert_eq!(read_all(&mut reader, &bytes, &mut Vec::new()), Err(FrameError::TooShort(1)));
}

#[test]
fn forty_rotations_stay_in_step() {
    let (mut writer, mut reader) = pair();
    let mut bytes = Vec::new();
    for number in 0..20_000_u16 {
        bytes.clear();
        writer.write(&number.to_be_bytes(), &mut bytes).unwrap();
        let mut input = bytes.as_slice();
        assert_eq!(reader.read(&mut input).unwrap().unwrap(), number.to_be_bytes());
    }
}
