//! What an invoice says, for people and for programs.
use bitcoin::{Address, Network};
use lightning_offers::bolt11::{Bolt11Invoice, Currency, Description};
use lightning_traits::Secp;

use super::response::Decoded;
use crate::error::{ApiError, Code};

/// Reads `text` for a node on `network` at `now` (seconds since 1970).
///
/// # Errors
/// [`Code::BadInvoice`] with the rule of BOLT 11 that it breaks.
pub fn decode_invoice(secp: &Secp, text: &str, network: Network, now: u64) -> Result<Decoded, ApiError> {
    let invoice = Bolt11Invoice::parse(secp, text).map_err(|error| {
        ApiError::new(Code::BadInvoice, format!("this is no invoice that can be paid: {error}"))
            .hint("copy it whole from the payee")
    })?;
    let expired = invoice.is_expired_at(now);
    let of = network_of(invoice.currency());
    let fallbacks = invoice.fallbacks().iter();
    Ok(Decoded {
        network: network_name(of).into(),
        payable: invoice.currency().is_for(network) && !expired,
        amount_msat: invoice.amount().map(lightning_traits::units::Msat::to_msat),
        // BOLT 11, "Security Considerations for Payment Descriptions": the text is the payee's and may hold anything,
        // sequences that move the cursor of a terminal included.
        description: match invoice.description() {
            Description::Text(text) => escape_control(text),
            Description::Hash(hash) => format!("sha256:{}", lightning_traits::payment::PaymentHash(*hash)),
        },
        payee: invoice.payee().to_string(),
        payment_hash: invoice.payment_hash().to_string(),
        created_at: invoice.timestamp(),
        expires_at: invoice.expires_at(),
        expired,
        min_final_cltv_expiry_delta: invoice.min_final_cltv_expiry_delta(),
        route_hints: u32::try_from(invoice.route_hints().len()).unwrap_or(u32::MAX),
        fallback_addresses: fallbacks
            .filter_map(|fallback| Address::from_script(&fallback.script_pubkey(), of).ok())
            .map(|address| address.to_string())
            .collect(),
    })
}

/// `text` with control characters as escapes.
fn escape_control(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_direction(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// Characters that make text read in another order than it is written.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn network_of(currency: Currency) -> Network {
    match currency {
        Currency::Bitcoin => Network::Bitcoin,
        Currency::Regtest => Network::Regtest,
        Currency::Signet => Network::Signet,
        Currency::Testnet => Network::Testnet,
    }
}

/// A network as users write it.
#[must_use]
pub fn network_name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "mainnet",
        Network::Testnet | Network::Testnet4 => "testnet",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // BOLT 11, "Examples": "Please make a donation of any amount ...".
    const DONATION: &str = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";

    #[test]
    fn donation_is_shown() {
        let secp = Secp::new();
        let decoded = decode_invoice(&secp, DONATION, Network::Bitcoin, 1_496_314_658).unwrap();
        assert_eq!(decoded.description, "Please consider supporting this project");
        assert_eq!(decoded.amount_msat, None);
        assert_eq!(decoded.payee, "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad");
        assert!(decoded.payable && !decoded.expired);
        let late = decode_invoice(&secp, DONATION, Network::Bitcoin, 1_600_000_000).unwrap();
        assert!(late.expired && !late.payable);
        let elsewhere = decode_invoice(&secp, DONATION, Network::Regtest, 1_496_314_658).unwrap();
        assert!(!elsewhere.payable && !elsewhere.expired);
        assert_eq!(elsewhere.network, "mainnet");
    }

    #[test]
    fn damaged_text_is_refused() {
        let damaged = DONATION.replace("pvjl", "pvjm");
        let error = decode_invoice(&Secp::new(), &damaged, Network::Bitcoin, 0).unwrap_err();
        assert_eq!(error.code, Code::BadInvoice);
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(escape_control("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
    }
}
