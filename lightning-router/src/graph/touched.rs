//! Which channels have changed since the flat graph of searches last asked.
use alloc::vec::Vec;

use lightning_traits::id::ShortChannelId;

use super::Graph;

/// Beyond so many it is as quick to take over all of them.
const MANY: usize = 4_096;

/// Channels that came, changed or went.
#[derive(Clone, Debug)]
pub(crate) enum Touched {
    /// So many that nobody counted.
    All,
    /// These, some perhaps more than once.
    Some(Vec<ShortChannelId>),
}

impl Default for Touched {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Touched {
    pub(super) fn add(&mut self, scid: ShortChannelId) {
        match self {
            Self::Some(list) if list.len() < MANY => list.push(scid),
            Self::Some(_) => *self = Self::All,
            Self::All => {}
        }
    }
}

impl Graph {
    pub(super) fn touch(&mut self, scid: ShortChannelId) {
        self.touched.add(scid);
    }

    /// What was touched since the last call.
    pub(crate) fn take_touched(&mut self) -> Touched {
        core::mem::take(&mut self.touched)
    }
}
