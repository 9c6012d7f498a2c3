//! Time, which the library knows by blocks only (I1).
//!
//! Absolute heights, absolute expiries, differences between expiries (BOLT 2 and 7), and relative
//! delays of `OP_CHECKSEQUENCEVERIFY` (BOLT 3) are four things and so four types.
use core::fmt;

macro_rules! time_unit {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number that the protocol carries.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number as the protocol carries it.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

time_unit! {
    /// The height of a block.
    BlockHeight(u32)
}
time_unit! {
    /// `cltv_expiry`: the height from which an HTLC may be timed out (BOLT 2, `update_add_htlc`).
    CltvExpiry(u32)
}
time_unit! {
    /// `cltv_expiry_delta`: blocks between an incoming and an outgoing expiry (BOLT 7).
    CltvDelta(u16)
}
time_unit! {
    /// `to_self_delay`: blocks a broadcaster waits for its own outputs (BOLT 2 and 3).
    CsvDelay(u16)
}

impl BlockHeight {
    /// The height `blocks` later; saturates.
    #[must_use]
    pub const fn plus(self, blocks: u32) -> Self {
        Self(self.0.saturating_add(blocks))
    }

    /// The height `blocks` earlier; stops at the genesis block.
    #[must_use]
    pub const fn minus(self, blocks: u32) -> Self {
        Self(self.0.saturating_sub(blocks))
    }

    /// How many confirmations a transaction of this height has at `tip`: 1 when it is in the tip itself.
    #[must_use]
    pub const fn depth_at(self, tip: Self) -> u32 {
        if tip.0 < self.0 { 0 } else { (tip.0 - self.0).saturating_add(1) }
    }
}

impl CltvExpiry {
    /// The expiry `delta` blocks after this one; saturates.
    #[must_use]
    pub const fn plus(self, delta: CltvDelta) -> Self {
        Self(self.0.saturating_add(delta.0 as u32))
    }

    /// The expiry `delta` blocks before this one; stops at zero.
    #[must_use]
    pub const fn minus(self, delta: CltvDelta) -> Self {
        Self(self.0.saturating_sub(delta.0 as u32))
    }

    /// The expiry `delta` blocks after a height; saturates.
    #[must_use]
    pub const fn after(height: BlockHeight, blocks: u32) -> Self {
        Self(height.0.saturating_add(blocks))
    }

    /// Blocks from `height` to this expiry, zero once reached.
    #[must_use]
    pub const fn blocks_left(self, height: BlockHeight) -> u32 {
        self.0.saturating_sub(height.0)
    }
}
