//! The curve: the library's context, and a table that makes sums of public points cheap.
//!
//! BOLT 3 asks for five keys of each commitment, three of them of the form `basepoint + scalar * G` with a scalar that both
//! sides know, and for a product with `G` to see that a revealed secret is the one that was promised. The library
//! computes these one by one, each with its own chain of doublings. Here the multiples of `G` that all of them are sums of
//! are in a table ([`Secp::sum`]): a key costs half as much (`docs/adr/0015`).
//!
//! # Invariants
//! - only scalars that are no secret pass through the table: its reads depend on them
//! - the table holds what the library itself computes (`tests/curve.rs` asks it for every entry); `cargo xtask multiples`
//!   makes it
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use secp256k1::{All, PublicKey, Secp256k1};
use spin::Once;

/// The secp256k1 context that callers create once and hand down: components keep no global state (I1).
///
/// It is the library's context, and can be used wherever that is asked for. Cloning copies the context and shares the table.
#[derive(Clone, Debug)]
pub struct Secp {
    context: Secp256k1<All>,
    multiples: Arc<Multiples>,
}

/// `j * 64^window * G` for every window and `j` from 1 to 32, each read out of the table when it is first asked for: most who
/// make a context ask for few, or for none.
struct Multiples(Vec<Once<Option<PublicKey>>>);

impl fmt::Debug for Multiples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Multiples(..)")
    }
}

/// Bits of a window. Digits are signed, from -31 to 32, so that half as many multiples are enough.
const BITS: usize = 6;
/// Windows that 256 bits and a carry need.
const WINDOWS: usize = 43;
/// Multiples of a window.
const PER_WINDOW: usize = 1 << (BITS - 1);
/// Bytes of an entry, an uncompressed key: 4, x, y.
const ENTRY: usize = 65;
/// The entries one after another.
const TABLE: &[u8; WINDOWS * PER_WINDOW * ENTRY] = include_bytes!("curve/multiples.bin");

impl Default for Secp {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Secp256k1<All>> for Secp {
    fn from(context: Secp256k1<All>) -> Self {
        Self { context, multiples: Arc::new(Multiples::unread()) }
    }
}

impl Deref for Secp {
    type Target = Secp256k1<All>;

    fn deref(&self) -> &Secp256k1<All> {
        &self.context
    }
}

impl Secp {
    /// A context. Cheap: a sum reads what it needs of the table, and keeps it.
    #[must_use]
    pub fn new() -> Self {
        Self::from(Secp256k1::new())
    }

    /// `base + scalar * G`, or `scalar * G` without a base, for a big-endian scalar **that is no secret**: how long it takes and
    /// what it reads tells something about it. A scalar above the curve's order counts as its remainder.
    ///
    /// `None` when the sum is no point: both cancel out, or there is nothing to add.
    #[must_use]
    pub fn sum(&self, base: Option<&PublicKey>, scalar: &[u8; 32]) -> Option<PublicKey> {
        let mut parts = Vec::with_capacity(WINDOWS.saturating_add(1));
        parts.extend(base.copied());
        for (window, digit) in digits(scalar).into_iter().enumerate() {
            let Some(multiple) = self.multiples.get(window, digit.unsigned_abs()) else { continue };
            parts.push(if digit < 0 { multiple.negate(&self.context) } else { *multiple });
        }
        PublicKey::combine_keys(&parts.iter().collect::<Vec<_>>()).ok()
    }
}

impl Multiples {
    fn unread() -> Self {
        Self((0..WINDOWS * PER_WINDOW).map(|_| Once::new()).collect())
    }

    /// `multiple * 64^window * G`, if that is a point.
    fn get(&self, window: usize, multiple: u8) -> Option<&PublicKey> {
        let index = window.checked_mul(PER_WINDOW)?.checked_add(usize::from(multiple).checked_sub(1)?)?;
        let (entries, _) = TABLE.as_chunks::<ENTRY>();
        let read = || PublicKey::from_slice(entries.get(index)?).ok();
        self.0.get(index)?.call_once(read).as_ref()
    }
}

/// The digits of a scalar to the base 64, least first, each from -31 to 32.
fn digits(scalar: &[u8; 32]) -> [i8; WINDOWS] {
    let mut digits = [0; WINDOWS];
    let mut bytes = scalar.iter().rev();
    let (mut buffer, mut held) = (0_u16, 0_usize);
    let mut carry = 0;
    for digit in &mut digits {
        if held < BITS {
            buffer |= u16::from(bytes.next().copied().unwrap_or(0)) << held;
            held += 8;
        }
        let value = (buffer & 0x3f) as i8 + carry;
        buffer >>= BITS;
        held -= BITS;
        carry = i8::from(value > 32);
        *digit = value - carry * 64;
    }
    digits
}
