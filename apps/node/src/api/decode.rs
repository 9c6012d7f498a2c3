//! What an invoice says, for people and for programs.
use bitcoin::{Address, Network};
use lightning_offers::bolt11::{Bolt11Invoice, Currency, Description};
use lightning_traits::Secp;
use lightning_traits::feature::Feature;
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::Msat;

use super::kind::strip_scheme;
use super::response::Decoded;
use crate::error::{ApiError, Code};

/// Reads an invoice as people paste it.
///
/// # Errors
/// [`Code::BadInvoice`] with the rule of BOLT 11 that it breaks.
pub fn parse_invoice(secp: &Secp, text: &str) -> Result<Bolt11Invoice, ApiError> {
    Bolt11Invoice::parse(secp, strip_scheme(text.trim(), "lightning:")).map_err(|error| {
        ApiError::new(Code::BadInvoice, format!("this is no invoice that can be paid: {error}"))
            .hint("copy the whole text, from `ln` to its end")
    })
}

/// What `invoice` says to a node on `network` that has the features `understood`, at `now` (seconds since 1970).
#[must_use]
pub fn describe_invoice(
    invoice: &Bolt11Invoice,
    network: Network,
    understood: &[Feature],
    now: u64,
) -> Decoded {
    let expired = invoice.is_expired_at(now);
    let of = network_of(invoice.currency());
    let fallbacks = invoice.fallbacks().iter();
    Decoded {
        network: currency_network(invoice.currency()).into(),
        payable: invoice.currency().is_for(network)
            && !expired
            && invoice.required_beyond(understood).is_none(),
        amount_msat: invoice.amount().map(Msat::to_msat),
        description: match invoice.description() {
            Description::Text(text) => text.clone(),
            Description::Hash(hash) => format!("sha256:{}", PaymentHash(*hash)),
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
    }
}

/// The network of a currency as users write it.
#[must_use]
pub fn currency_network(currency: Currency) -> &'static str {
    network_name(network_of(currency))
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

    fn described(text: &str, network: Network, now: u64) -> Decoded {
        let invoice = parse_invoice(&Secp::new(), text).unwrap();
        describe_invoice(&invoice, network, &[Feature::VarOnion, Feature::PaymentSecret], now)
    }

    #[test]
    fn donation_is_shown() {
        let pasted = format!(" Lightning:{DONATION}\n");
        let decoded = described(&pasted, Network::Bitcoin, 1_496_314_658);
        assert_eq!(decoded.description, "Please consider supporting this project");
        assert_eq!(decoded.amount_msat, None);
        assert_eq!(decoded.payee, "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad");
        assert!(decoded.payable && !decoded.expired);
        let late = described(DONATION, Network::Bitcoin, 1_600_000_000);
        assert!(late.expired && !late.payable);
        let elsewhere = described(DONATION, Network::Regtest, 1_496_314_658);
        assert!(!elsewhere.payable && !elsewhere.expired);
        assert_eq!(elsewhere.network, "mainnet");
        let invoice = parse_invoice(&Secp::new(), DONATION).unwrap();
        assert!(!describe_invoice(&invoice, Network::Bitcoin, &[], 1_496_314_658).payable);
    }

    #[test]
    fn damaged_text_is_refused() {
        let damaged = DONATION.replace("pvjl", "pvjm");
        assert_eq!(parse_invoice(&Secp::new(), &damaged).unwrap_err().code, Code::BadInvoice);
    }
}
