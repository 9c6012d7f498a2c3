//! Invoices in a node's name that the node itself would not make: what is paid for them must come back.
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use bitcoin::secp256k1::{Message, Secp256k1};
use lightning_offers::bolt11::{Bolt11Invoice, Currency, InvoiceBuilder};
use lightning_traits::Secp;
use lightning_traits::feature::Features;
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::units::Msat;

use super::world::Daemon;

struct Forged {
    hash: PaymentHash,
    secret: PaymentSecret,
    features: Features,
    final_delta: u32,
    msat: u64,
}

fn sign(payee: &Daemon, forged: &Forged) -> String {
    let secp = Secp256k1::new();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let invoice = InvoiceBuilder::new(Currency::of_network(Network::Regtest), at)
        .payment_hash(forged.hash)
        .payment_secret(forged.secret.clone())
        .description("forged".to_owned())
        .expiry_seconds(3_600)
        .min_final_cltv_expiry_delta(forged.final_delta)
        .features(forged.features.clone())
        .amount(Msat::new(forged.msat))
        .build(&Secp::from(Secp256k1::new()), |digest| {
            Ok::<_, std::convert::Infallible>(
                secp.sign_ecdsa_recoverable(&Message::from_digest(*digest), &payee.secret),
            )
        });
    invoice.unwrap().to_string()
}

fn read(invoice: &str) -> Bolt11Invoice {
    Bolt11Invoice::parse(&Secp::from(Secp256k1::new()), invoice).unwrap()
}

/// An invoice like `like`, for a hash that its payee has never heard of.
pub fn of_unknown_hash(payee: &Daemon, like: &str, hash: PaymentHash) -> String {
    let like = read(like);
    let forged = Forged {
        hash,
        secret: like.payment_secret().clone(),
        features: like.features().clone(),
        final_delta: like.min_final_cltv_expiry_delta(),
        msat: like.amount().unwrap().to_msat(),
    };
    sign(payee, &forged)
}

/// The invoice `like`, for less than its payee asked for.
pub fn for_too_little(payee: &Daemon, like: &str) -> String {
    let like = read(like);
    let forged = Forged {
        hash: like.payment_hash(),
        secret: like.payment_secret().clone(),
        features: like.features().clone(),
        final_delta: like.min_final_cltv_expiry_delta(),
        msat: like.amount().unwrap().to_msat() - 1,
    };
    sign(payee, &forged)
}
