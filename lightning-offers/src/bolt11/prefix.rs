//! The human-readable part: currency and amount (BOLT 11, "Human-Readable Part").
//!
//! # Invariants
//! - amounts are whole millisatoshi and computed with checked arithmetic (I8; RELIABILITY F7)
use alloc::format;
use alloc::string::String;
use core::fmt;

use bitcoin::Network;
use lightning_traits::units::Msat;

use super::Bolt11Error;

/// The currency of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// `bc`: mainnet.
    Bitcoin,
    /// `bcrt`: regtest.
    Regtest,
    /// `tbs`: signet.
    Signet,
    /// `tb`: testnet, third or fourth; the prefix does not tell which.
    Testnet,
}

impl Currency {
    const ALL: [Self; 4] = [Self::Bitcoin, Self::Regtest, Self::Signet, Self::Testnet];

    /// The currency of invoices on `network`.
    #[must_use]
    pub const fn of_network(network: Network) -> Self {
        match network {
            Network::Bitcoin => Self::Bitcoin,
            Network::Testnet | Network::Testnet4 => Self::Testnet,
            Network::Signet => Self::Signet,
            Network::Regtest => Self::Regtest,
        }
    }

    /// Whether an invoice in this currency can be paid on `network`.
    #[must_use]
    pub fn is_for(self, network: Network) -> bool {
        Self::of_network(network) == self
    }

    /// The prefix of BIP 173, as BOLT 11 extends it.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Bitcoin => "bc",
            Self::Regtest => "bcrt",
            Self::Signet => "tbs",
            Self::Testnet => "tb",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}

/// Multiplier letters and the millisatoshi that one unit has, largest first. A unit of `p` is a tenth of one.
const MULTIPLIERS: [(&str, u64); 4] = [("", 100_000_000_000), ("m", 100_000_000), ("u", 100_000), ("n", 100)];

/// Splits `lnbc2500u` into currency and amount.
pub(super) fn parse(prefix: &str) -> Result<(Currency, Option<Msat>), Bolt11Error> {
    let rest = prefix.strip_prefix("ln").ok_or(Bolt11Error::UnknownPrefix)?;
    // No currency has a digit in its name, so the amount begins at the first.
    let split = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (name, amount) = rest.split_at_checked(split).ok_or(Bolt11Error::UnknownPrefix)?;
    let currency =
        Currency::ALL.into_iter().find(|known| known.prefix() == name).ok_or(Bolt11Error::UnknownPrefix)?;
    if amount.is_empty() {
        return Ok((currency, None));
    }
    parse_amount(amount).map(|amount| (currency, Some(amount)))
}

fn parse_amount(text: &str) -> Result<Msat, Bolt11Error> {
    let (digits, multiplier) = match text.char_indices().next_back() {
        Some((at, last)) if !last.is_ascii_digit() => {
            text.split_at_checked(at).ok_or(Bolt11Error::BadAmount)?
        }
        _ => (text, ""),
    };
    // BOLT 11: "if `amount` contains a non-digit OR is followed by anything except a `multiplier`: MUST fail".
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // The writer "MUST encode `amount` as a positive decimal integer with no leading 0s".
    if !is_number || digits.starts_with('0') {
        return Err(Bolt11Error::BadAmount);
    }
    let number: u64 = digits.parse().map_err(|_| Bolt11Error::BadAmount)?;
    if multiplier == "p" {
        // BOLT 11: "if multiplier is `p` and the last decimal of `amount` is not 0: MUST fail the payment".
        return if number.is_multiple_of(10) {
            Ok(Msat::new(number / 10))
        } else {
            Err(Bolt11Error::SubMillisatoshi)
        };
    }
    let (_, unit) =
        MULTIPLIERS.iter().find(|(letter, _)| *letter == multiplier).ok_or(Bolt11Error::BadMultiplier)?;
    number.checked_mul(*unit).map(Msat::new).ok_or(Bolt11Error::BadAmount)
}

/// `lnbc2500u` from currency and amount; the shortest form, as BOLT 11 asks. `None` for an amount of zero.
pub(super) fn format(currency: Currency, amount: Option<Msat>) -> Option<String> {
    let Some(amount) = amount else { return Some(format!("ln{currency}")) };
    let msat = amount.to_msat();
    if msat == 0 {
        return None;
    }
    Some(match MULTIPLIERS.iter().find(|(_, unit)| msat.is_multiple_of(*unit)) {
        Some((letter, unit)) => format!("ln{currency}{}{letter}", msat / unit),
        // A tenth of a millisatoshi each, so the digits are those of the millisatoshi and a zero.
        None => format!("ln{currency}{msat}0p"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_every_multiplier() {
        for (text, msat) in [
            ("lnbc1", 100_000_000_000),
            ("lnbc20m", 2_000_000_000),
            ("lnbc2500u", 250_000_000),
            ("lnbc9n", 900),
            ("lnbc10p", 1),
            ("lnbc9678785340p", 967_878_534),
        ] {
            assert_eq!(parse(text), Ok((Currency::Bitcoin, Some(Msat::new(msat)))), "{text}");
            assert_eq!(format(Currency::Bitcoin, Some(Msat::new(msat))).as_deref(), Some(text));
        }
        // Not the shortest form, but seen in the wild.
        assert_eq!(parse("lntb1000u"), Ok((Currency::Testnet, Some(Msat::new(100_000_000)))));
        assert_eq!(parse("lnbcrt"), Ok((Currency::Regtest, None)));
        assert_eq!(parse("lntbs10n"), Ok((Currency::Signet, Some(Msat::new(1000)))));
    }

    #[test]
    fn f07_amounts_refused() {
        for (text, error) in [
            ("lnbc0", Bolt11Error::BadAmount),
            ("lnbc01m", Bolt11Error::BadAmount),
            ("lnbc1x", Bolt11Error::BadMultiplier),
            ("lnbc1mm", Bolt11Error::BadAmount),
            ("lnbc1m1", Bolt11Error::BadAmount),
            ("lnbc1-", Bolt11Error::BadMultiplier),
            ("lnbc11p", Bolt11Error::SubMillisatoshi),
            ("lnbc18446744073709551616n", Bolt11Error::BadAmount),
            ("lnbc18446744073709551615", Bolt11Error::BadAmount),
            ("lnltc1m", Bolt11Error::UnknownPrefix),
            ("lnbcm", Bolt11Error::UnknownPrefix),
            ("bc1m", Bolt11Error::UnknownPrefix),
            ("ln", Bolt11Error::UnknownPrefix),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(format(Currency::Bitcoin, Some(Msat::ZERO)), None);
        let largest = format(Currency::Bitcoin, Some(Msat::MAX)).unwrap();
        assert_eq!(largest, "lnbc184467440737095516150p");
    }
}
