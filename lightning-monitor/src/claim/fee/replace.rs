//! When a better price is worth a new transaction, and what it must pay to replace the one that is out (BIP 125).
//!
//! # Invariants
//! - a replacement pays all that the replaced one paid, and the relay of itself on top (BIP 125, rules 3 and 4)
use bitcoin::Amount;
use lightning_traits::record;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

/// What a claim that is out pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) feerate: FeeratePerKw,
    pub(crate) fee: Amount,
}
record!(struct Price { feerate, fee });

/// The most that was offered for an output, and since when something has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) feerate: FeeratePerKw,
    pub(crate) since: BlockHeight,
}
record!(struct Offer { feerate, since });

impl Price {
    /// Whether `next` is worth a replacement: each costs the relay of itself, and hundreds of claims may be out. In the
    /// last block everything counts.
    pub(crate) fn is_beaten_by(self, next: FeeratePerKw, is_last: bool) -> bool {
        let (now, next) = (self.feerate.to_sat_per_kw(), next.to_sat_per_kw());
        let relay = FeeratePerKw::FLOOR.to_sat_per_kw();
        let step = if is_last { relay } else { relay.max(now / 8) };
        next >= now.saturating_add(step)
    }
}

/// The least fee of a transaction of this weight that replaces what paid `fee`.
///
/// BIP 125: "The replacement transaction pays an absolute fee of at least the sum paid by the original transactions", and
/// "must also pay for its own bandwidth at or above the rate set by the node's minimum relay fee setting".
pub(crate) fn least_replacing(fee: Amount, weight: u64) -> Amount {
    // One more for the rounding up of virtual bytes.
    let relay = FeeratePerKw::FLOOR.fee(weight).to_sat().saturating_add(1);
    Amount::from_sat(fee.to_sat().saturating_add(relay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_pays_for_its_own_relay() {
        for weight in 200_u64..3_000 {
            let least = least_replacing(Amount::from_sat(1_000), weight).to_sat();
            assert!(least >= 1_000 + weight.div_ceil(4), "{weight}: {least}");
        }
    }

    #[test]
    fn steps_are_an_eighth_or_one_relay_and_any_relay_in_the_last_block() {
        let price = |feerate| Price { feerate: FeeratePerKw::new(feerate), fee: Amount::ZERO };
        let beaten = |now: u32, next: u32, is_last| price(now).is_beaten_by(FeeratePerKw::new(next), is_last);
        assert!(!beaten(1_000, 1_252, false) && beaten(1_000, 1_253, false));
        assert!(!beaten(16_000, 17_999, false) && beaten(16_000, 18_000, false));
        assert!(!beaten(16_000, 16_252, true) && beaten(16_000, 16_253, true));
        assert!(!beaten(u32::MAX, u32::MAX - 1, true));
    }
}
