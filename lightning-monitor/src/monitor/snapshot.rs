//! The encoding of a whole monitor: versioned, with room for a later age.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::codec::{
    Decode, DecodeError, Encode, Reader, TlvRecords, decode_list, decode_versioned, encode_list,
    encode_versioned,
};
use lightning_traits::payment::Preimage;

use super::{ChannelMonitor, Duty};

const VERSION: u8 = 1;

impl ChannelMonitor {
    /// The versioned encoding.
    #[must_use]
    pub fn to_versioned(&self) -> Vec<u8> {
        encode_versioned(VERSION, self, &TlvRecords::new())
    }

    /// Reads the versioned encoding.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (monitor, extra) = decode_versioned::<Self>(VERSION, bytes)?;
        extra.into_unknown_odd()?;
        Ok(monitor)
    }
}

impl Encode for ChannelMonitor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.init.encode(out);
        self.last_update.encode(out);
        self.ours.encode(out);
        self.theirs.encode(out);
        self.secrets.encode(out);
        let preimages: Vec<Preimage> = self.preimages.values().cloned().collect();
        encode_list(&preimages, out);
        self.shutdown_started.encode(out);
        self.stance.encode(out);
        self.closing.encode(out);
        encode_list(&self.pending, out);
        self.told.encode(out);
        self.undone.encode(out);
    }
}

impl Decode for ChannelMonitor {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (init, last_update, ours, theirs) =
            (reader.read()?, reader.read()?, reader.read()?, reader.read()?);
        let secrets = reader.read()?;
        let preimages: Vec<Preimage> = decode_list(reader)?;
        let preimages: BTreeMap<_, _> =
            preimages.into_iter().map(|preimage| (preimage.hash(), preimage)).collect();
        Ok(Self {
            init,
            last_update,
            ours,
            theirs,
            secrets,
            preimages,
            shutdown_started: reader.read()?,
            stance: reader.read()?,
            closing: reader.read()?,
            pending: decode_list(reader)?,
            told: reader.read()?,
            undone: reader.read()?,
            duty: Duty::default(),
        })
    }
}
