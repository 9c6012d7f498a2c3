//! A whole channel as one value: what a tower gets when it is too far behind for updates, and what it gives back.
use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use lightning_traits::monitor::StoredChannel;
use lightning_traits::units::BlockHeight;

use super::{Head, Name};

/// A channel's durable state, and up to where its monitor has seen the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Everything durable; the record sealed or empty.
    pub stored: StoredChannel,
    /// The monitor inside knows the blocks up to this height. Whoever takes it over must show it all blocks above.
    pub seen: BlockHeight,
}

impl ChannelState {
    /// How far it goes, and the name of its last update if that is still in it.
    #[must_use]
    pub fn head(&self) -> Head {
        head_of(&self.stored)
    }

    /// Roughly how many bytes it is.
    #[must_use]
    pub fn size(&self) -> usize {
        self.stored.length().saturating_add(64)
    }
}

/// How far a stored channel goes, and the name of its last update if no snapshot has swallowed it.
#[must_use]
pub fn head_of(stored: &StoredChannel) -> Head {
    let last = match (stored.updates.last(), &stored.monitor) {
        (Some(update), _) => Some(update),
        (None, None) => Some(&stored.new),
        (None, Some(_)) => None,
    };
    Head { id: stored.last_update, name: last.map(|bytes| Name::of_stored(bytes)) }
}

impl Encode for ChannelState {
    fn encode(&self, out: &mut Vec<u8>) {
        let StoredChannel { new, monitor, past, updates, record, record_changes, last_update } = &self.stored;
        self.seen.encode(out);
        last_update.encode(out);
        new.encode(out);
        monitor.encode(out);
        encode_list(past, out);
        encode_list(updates, out);
        record.encode(out);
        encode_list(record_changes, out);
    }
}

impl Decode for ChannelState {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let seen = reader.read()?;
        let last_update = reader.read()?;
        let stored = StoredChannel {
            last_update,
            new: reader.read()?,
            monitor: reader.read()?,
            past: decode_list(reader)?,
            updates: decode_list(reader)?,
            record: reader.read()?,
            record_changes: decode_list(reader)?,
        };
        Ok(Self { stored, seen })
    }
}
