//! Which scripts a cooperative close may pay to (BOLT 2, `shutdown`), and what is dust for them (BOLT 3).
use bitcoin::{Amount, Script};

/// Whether BOLT 2 allows `script` in `shutdown`.
///
/// "MUST set `scriptpubkey` in one of the following forms": P2WPKH, P2WSH, and with
/// `option_shutdown_anysegwit` any witness program of version 1 to 16.
#[must_use]
pub fn is_shutdown_script(script: &Script, any_segwit: bool) -> bool {
    script.is_p2wpkh() || script.is_p2wsh() || (any_segwit && is_later_segwit(script))
}

/// `OP_1` to `OP_16`, then one push of 2 to 40 bytes.
fn is_later_segwit(script: &Script) -> bool {
    match script.as_bytes() {
        [0x51..=0x60, length @ 2..=40, program @ ..] => program.len() == usize::from(*length),
        _ => false,
    }
}

/// Whether `script` gives the funds to the miners in a form that BOLT 2 allows with `option_simple_close`.
///
/// "`OP_RETURN` followed by one of: `6` to `75` inclusive followed by exactly that many bytes; `76` followed by `76` to `80`
/// followed by exactly that many bytes".
#[must_use]
pub fn is_op_return_script(script: &Script) -> bool {
    match script.as_bytes() {
        [0x6a, length @ 6..=75, data @ ..] => data.len() == usize::from(*length),
        [0x6a, 76, length @ 76..=80, data @ ..] => data.len() == usize::from(*length),
        _ => false,
    }
}

/// As [`dust_limit`], but by what bitcoind really holds against each known script: less for taproot. Between the two, peers
/// differ.
pub(crate) fn least_dust_limit(script: &Script) -> Amount {
    if script.is_p2tr() { Amount::from_sat(330) } else { dust_limit(script) }
}

/// The smallest output to `script` that nodes relay (BOLT 3, "Dust Limits").
#[must_use]
pub fn dust_limit(script: &Script) -> Amount {
    let sat = if script.is_op_return() {
        // "never dust".
        0
    } else if script.is_p2pkh() {
        546
    } else if script.is_p2sh() {
        540
    } else if script.is_p2wpkh() {
        294
    } else if script.is_p2wsh() {
        330
    } else {
        354
    };
    Amount::from_sat(sat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn program(version: u8, length: u8) -> Vec<u8> {
        let mut bytes = alloc::vec![version, length];
        bytes.resize(usize::from(length) + 2, 7);
        bytes
    }

    #[test]
    fn every_witness_version_and_length_is_judged_as_bolt_2_says() {
        for version in 0x51..=0x60_u8 {
            for length in 0..=42_u8 {
                let bytes = program(version, length);
                let allowed = (2..=40).contains(&length);
                assert_eq!(
                    is_shutdown_script(Script::from_bytes(&bytes), true),
                    allowed,
                    "{version:x} {length}"
                );
                assert!(!is_shutdown_script(Script::from_bytes(&bytes), false));
            }
        }
        for length in 0..=42_u8 {
            let bytes = program(0, length);
            assert_eq!(is_shutdown_script(Script::from_bytes(&bytes), true), length == 20 || length == 32);
        }
    }

    #[test]
    fn a_push_that_lies_about_its_length_is_refused() {
        assert!(!is_shutdown_script(Script::from_bytes(&[0x51, 4, 1, 2, 3]), true));
        assert!(!is_shutdown_script(Script::from_bytes(&[0x51, 2, 1, 2, 3]), true));
        assert!(!is_shutdown_script(Script::from_bytes(&[]), true));
    }
}
