//! Symbols of five bits: what bech32 carries.
//!
//! # Invariants
//! - bytes to symbols pads with zero bits at the end; symbols to bytes drops what makes no whole byte
use alloc::vec::Vec;

use bech32::primitives::gf32::Fe32;
use bech32::primitives::iter::{ByteIterExt as _, Fe32IterExt as _};

/// The bytes in `symbols`.
pub(super) fn to_bytes(symbols: &[Fe32]) -> Vec<u8> {
    symbols.iter().copied().fes_to_bytes().collect()
}

/// The symbols of `bytes`.
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<Fe32> {
    bytes.iter().copied().bytes_to_fes().collect()
}

/// The number in `symbols`, highest first; `None` above 2^64 - 1.
pub(super) fn to_number(symbols: &[Fe32]) -> Option<u64> {
    symbols.iter().try_fold(0u64, |number, symbol| {
        number.checked_mul(32).and_then(|shifted| shifted.checked_add(u64::from(symbol.to_u8())))
    })
}

/// `number` in exactly `count` symbols; `None` when it needs more.
pub(super) fn from_number(number: u64, count: usize) -> Option<Vec<Fe32>> {
    let shortest = from_number_shortest(number);
    let zeros = count.checked_sub(shortest.len())?;
    let mut symbols = alloc::vec![Fe32::Q; zeros];
    symbols.extend(shortest);
    Some(symbols)
}

/// `number` without leading zero symbols; no symbol at all for zero.
pub(super) fn from_number_shortest(mut number: u64) -> Vec<Fe32> {
    let mut symbols = Vec::new();
    while number > 0 {
        symbols.push(symbol((number % 32) as u8));
        number /= 32;
    }
    symbols.reverse();
    symbols
}

/// Positions of the set bits, counted from the last bit on.
pub(super) fn set_bits(symbols: &[Fe32]) -> impl Iterator<Item = u16> {
    // A field has at most 1023 symbols, so positions stay below 5115.
    symbols.iter().rev().zip(0u16..).flat_map(|(symbol, index)| {
        let value = symbol.to_u8();
        (0..5u16)
            .filter(move |bit| value & (1 << bit) != 0)
            .map(move |bit| index.saturating_mul(5).saturating_add(bit))
    })
}

/// The symbols with exactly these bits set, without leading zero symbols.
pub(super) fn from_set_bits(bits: impl IntoIterator<Item = u16>) -> Vec<Fe32> {
    let mut values: Vec<u8> = Vec::new();
    for bit in bits {
        let index = usize::from(bit / 5);
        if values.len() <= index {
            values.resize(index.saturating_add(1), 0);
        }
        if let Some(value) = values.get_mut(index) {
            *value |= 1 << (bit % 5);
        }
    }
    values.into_iter().rev().map(symbol).collect()
}

/// The symbol of the lowest five bits of `value`.
pub(super) fn symbol(value: u8) -> Fe32 {
    Fe32::try_from(value & 31).unwrap_or(Fe32::Q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_shortest_form() {
        assert_eq!(from_number_shortest(0), []);
        assert_eq!(from_number_shortest(60), [Fe32::P, Fe32::U]);
        assert_eq!(to_number(&[Fe32::P, Fe32::U]), Some(60));
        assert_eq!(from_number(60, 3), Some(alloc::vec![Fe32::Q, Fe32::P, Fe32::U]));
        assert_eq!(from_number(1 << 35, 7), None);
        assert_eq!(to_number(&from_number_shortest(u64::MAX)), Some(u64::MAX));
        assert_eq!(to_number(&[Fe32::L; 13]), None);
    }

    #[test]
    fn bits_count_from_the_end() {
        let symbols = from_set_bits([8, 14, 99]);
        assert_eq!(symbols.len(), 20);
        assert_eq!(set_bits(&symbols).collect::<Vec<_>>(), [8, 14, 99]);
    }
}
