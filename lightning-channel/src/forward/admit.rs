//! Whether an HTLC pays and waits enough to be forwarded (BOLT 4, "Failure Messages"; BOLT 7, "HTLC Fees").
//!
//! # Invariants
//! - the first error in the order of BOLT 4 is the one that is reported
//! - failures leave here without `channel_update`; [`with_update`] puts it in, the same for every payer
use alloc::vec::Vec;

use lightning_traits::config::ChannelConfig;
use lightning_traits::sphinx::{Failure, ForwardPayload};
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};

use crate::channel::SendError;
use crate::commitments::OfferRefused;

/// The incoming HTLC, the onion's wish, and the chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// What the incoming HTLC carries.
    pub(crate) amount: Msat,
    /// Its expiry.
    pub(crate) expiry: CltvExpiry,
    /// What to offer.
    pub(crate) payload: &'a ForwardPayload,
    /// The tip.
    pub(crate) height: BlockHeight,
}

/// What forwarding `amount` costs; `None` when no amount could pay for it.
pub(crate) fn fee(config: &ChannelConfig, amount: Msat) -> Option<Msat> {
    // BOLT 7: "fee_base_msat + ( amount_to_forward * fee_proportional_millionths / 1000000 )".
    config.fee_base.checked_add(amount.checked_millionths(config.fee_proportional_millionths)?)
}

/// Checks the wish against our terms; `htlc_minimum` is that of the outgoing channel.
pub(crate) fn admit(wish: &Wish<'_>, config: &ChannelConfig, htlc_minimum: Msat) -> Result<(), Failure> {
    let amount = wish.payload.amount;
    if amount < htlc_minimum {
        return Err(Failure::AmountBelowMinimum { htlc_msat: amount, channel_update: Vec::new() });
    }
    let needed = fee(config, amount).and_then(|fee| amount.checked_add(fee));
    if needed.is_none_or(|needed| wish.amount < needed) {
        return Err(Failure::FeeInsufficient { htlc_msat: wish.amount, channel_update: Vec::new() });
    }
    in_time(wish, config)
}

/// The part of it that is about time, which no agreement about fees changes.
pub(crate) fn in_time(wish: &Wish<'_>, config: &ChannelConfig) -> Result<(), Failure> {
    let expiry = wish.payload.expiry;
    // Our time to claim upstream what is claimed downstream.
    if wish.expiry < expiry.plus(config.cltv_delta) {
        return Err(Failure::IncorrectCltvExpiry { cltv_expiry: expiry, channel_update: Vec::new() });
    }
    if expiry.blocks_left(wish.height) <= config.grace_blocks {
        return Err(Failure::ExpiryTooSoon { channel_update: Vec::new() });
    }
    if wish.expiry.blocks_left(wish.height) > config.max_cltv_ahead {
        return Err(Failure::ExpiryTooFar);
    }
    Ok(())
}

/// What the payer hears when the outgoing channel does not take the HTLC.
pub(crate) fn refused(error: SendError, amount: Msat) -> Failure {
    match error {
        SendError::NotOpen => Failure::PermanentChannelFailure,
        SendError::Refused(OfferRefused::BelowMinimum { .. } | OfferRefused::AmountZero) => {
            Failure::AmountBelowMinimum { htlc_msat: amount, channel_update: Vec::new() }
        }
        SendError::Refused(OfferRefused::ExpiryIsTime(_)) => Failure::ExpiryTooFar,
        _ => Failure::TemporaryChannelFailure { channel_update: Vec::new() },
    }
}

/// The failure with our terms, when it is due to them (BOLT 4, the codes with UPDATE).
pub(crate) fn with_update(mut failure: Failure, update: impl FnOnce() -> Vec<u8>) -> Failure {
    match &mut failure {
        Failure::TemporaryChannelFailure { channel_update }
        | Failure::AmountBelowMinimum { channel_update, .. }
        | Failure::FeeInsufficient { channel_update, .. }
        | Failure::IncorrectCltvExpiry { channel_update, .. }
        | Failure::ExpiryTooSoon { channel_update }
        | Failure::ChannelDisabled { channel_update, .. } => *channel_update = update(),
        _ => {}
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::codec::TlvRecords;
    use lightning_traits::id::ShortChannelId;
    use lightning_traits::units::CltvDelta;

    fn config() -> ChannelConfig {
        ChannelConfig {
            fee_base: Msat::new(1_000),
            fee_proportional_millionths: 100,
            cltv_delta: CltvDelta::new(80),
            ..ChannelConfig::default()
        }
    }

    fn judge(incoming: u64, expiry_in: u32, outgoing: u64, expiry_out: u32) -> Result<(), Failure> {
        let payload = ForwardPayload {
            amount: Msat::new(outgoing),
            expiry: CltvExpiry::new(expiry_out),
            short_channel_id: ShortChannelId(1),
            unknown: TlvRecords::default(),
        };
        let wish = Wish {
            amount: Msat::new(incoming),
            expiry: CltvExpiry::new(expiry_in),
            payload: &payload,
            height: BlockHeight::new(1_000),
        };
        admit(&wish, &config(), Msat::new(10))
    }

    #[test]
    fn each_term_is_kept_to_the_last_unit() {
        // Fee: 1000 + 1_000_000 * 100 / 1e6 = 1100.
        assert_eq!(judge(1_001_100, 1_200, 1_000_000, 1_120), Ok(()));
        assert!(matches!(judge(1_001_099, 1_200, 1_000_000, 1_120), Err(Failure::FeeInsufficient { .. })));
        assert!(matches!(
            judge(1_001_100, 1_199, 1_000_000, 1_120),
            Err(Failure::IncorrectCltvExpiry { .. })
        ));
        assert!(matches!(judge(5_000, 1_200, 9, 1_120), Err(Failure::AmountBelowMinimum { .. })));
        assert_eq!(judge(1_001_100, 1_084, 1_000_000, 1_004), Ok(()));
        assert!(matches!(judge(1_001_100, 1_083, 1_000_000, 1_003), Err(Failure::ExpiryTooSoon { .. })));
        assert_eq!(judge(1_001_100, 3_016, 1_000_000, 1_120), Ok(()));
        assert_eq!(judge(1_001_100, 3_017, 1_000_000, 1_120), Err(Failure::ExpiryTooFar));
    }

    #[test]
    fn amounts_and_expiries_of_any_size_are_refused_without_overflow() {
        let max = u64::MAX;
        assert!(matches!(judge(max, 1_200, max, 1_120), Err(Failure::FeeInsufficient { .. })));
        assert!(matches!(judge(1_001_100, 5, 1_000_000, u32::MAX), Err(Failure::IncorrectCltvExpiry { .. })));
    }

    /// Whatever the amounts and the terms: what is forwarded pays for it to the last millisatoshi, as BOLT 7 counts it.
    #[test]
    fn f14_nothing_is_forwarded_for_less_than_our_terms() {
        let edges =
            [0, 1, 2, 999, 1_000_000, 1 << 32, 1 << 51, (1 << 51) + 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];
        let (mut taken, mut refused) = (0, 0);
        for (base, millionths) in [0, 1, 1_000, u64::from(u32::MAX), u64::MAX]
            .into_iter()
            .flat_map(|base| [0, 1, 100, 1_000_000, 2_000_001, u32::MAX].map(|millionths| (base, millionths)))
        {
            let config = ChannelConfig {
                fee_base: Msat::new(base),
                fee_proportional_millionths: millionths,
                ..ChannelConfig::default()
            };
            for amount in edges {
                let due = u128::from(base)
                    + u128::from(amount) * u128::from(millionths) / 1_000_000
                    + u128::from(amount);
                for incoming in edges.into_iter().chain(u64::try_from(due).into_iter().flat_map(around)) {
                    let payload = ForwardPayload {
                        amount: Msat::new(amount),
                        expiry: CltvExpiry::new(1_120),
                        short_channel_id: ShortChannelId(1),
                        unknown: TlvRecords::default(),
                    };
                    let wish = Wish {
                        amount: Msat::new(incoming),
                        expiry: CltvExpiry::new(1_200),
                        payload: &payload,
                        height: BlockHeight::new(1_000),
                    };
                    let answer = admit(&wish, &config, Msat::ZERO);
                    assert_eq!(answer.is_ok(), u128::from(incoming) >= due, "{incoming} for {amount}");
                    *(if answer.is_ok() { &mut taken } else { &mut refused }) += 1;
                }
            }
        }
        assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
    }

    fn around(due: u64) -> [u64; 3] {
        [due.saturating_sub(1), due, due.saturating_add(1)]
    }
}
