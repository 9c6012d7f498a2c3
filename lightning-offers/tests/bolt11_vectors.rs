//! The examples of BOLT 11: sixteen valid invoices, ten invalid ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use lightning_traits::Secp;
use std::convert::Infallible;
use std::path::PathBuf;

use bitcoin::hex::{DisplayHex as _, FromHex as _};
use bitcoin::secp256k1::{Message, PublicKey, SecretKey};
use bitcoin::{Address, Network};
use lightning_offers::bolt11::{
    Bolt11Error, Bolt11Invoice, Currency, DEFAULT_EXPIRY_SECONDS, DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA,
    Description, Fallback, InvoiceBuilder,
};
use lightning_traits::payment::PaymentSecret;
use lightning_traits::units::Msat;
use serde_json::Value;

fn vectors() -> Option<Value> {
    let shared = std::env::var_os("LN_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = shared.join("vectors/bolt11/invoices.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no vectors at {} (set LN_SHARED)", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("vectors are JSON"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("string")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("list")
}

fn array(value: &Value) -> [u8; 32] {
    Vec::from_hex(text(value)).expect("hex").try_into().expect("32 bytes")
}

#[test]
fn valid_invoices_decode_to_every_listed_field() {
    let Some(vectors) = vectors() else { return };
    let secp = Secp::new();
    let key = SecretKey::from_slice(&array(&vectors["private_key"])).unwrap();
    let (mut cases, mut resigned, mut rebuilt) = (0, 0, 0);
    for case in list(&vectors["valid"]) {
        let title = text(&case["title"]);
        let expected = &case["decoded"];
        let invoice = Bolt11Invoice::parse(&secp, text(&case["invoice"]))
            .unwrap_or_else(|error| panic!("{title}: {error}"));
        compare(&invoice, expected, title);
        assert_eq!(invoice.to_string(), text(&case["invoice"]).to_lowercase(), "{title}");
        let upper = invoice.to_string().to_uppercase();
        assert_eq!(Bolt11Invoice::parse(&secp, &upper).as_ref(), Ok(&invoice), "{title}");
        cases += 1;

        let sign = |digest: &[u8; 32]| secp.sign_ecdsa_recoverable(&Message::from_digest(*digest), &key);
        if !expected["high_s"].as_bool().unwrap() {
            // Signing is deterministic, so the key gives the very signature again.
            assert_eq!(&sign(&invoice.digest()), invoice.signature(), "{title}");
            resigned += 1;
            if list(&expected["ignored_fields"]).is_empty() {
                let again = rebuild(&invoice).build(&secp, |digest| Ok::<_, Infallible>(sign(digest)));
                assert_eq!(again.unwrap().to_string(), invoice.to_string(), "{title}");
                rebuilt += 1;
            }
        }
    }
    assert_eq!((cases, resigned, rebuilt), (16, 15, 14));
}

fn compare(invoice: &Bolt11Invoice, expected: &Value, title: &str) {
    assert_eq!(invoice.currency().prefix(), text(&expected["network_prefix"]), "{title}");
    assert_eq!(invoice.amount(), expected["amount_msat"].as_u64().map(Msat::new), "{title}");
    assert_eq!(invoice.timestamp(), expected["timestamp"].as_u64().unwrap(), "{title}");
    assert_eq!(invoice.payment_hash().0, array(&expected["payment_hash"]), "{title}");
    assert_eq!(invoice.payment_secret(), &PaymentSecret::new(array(&expected["payment_secret"])), "{title}");
    match invoice.description() {
        Description::Text(found) => {
            assert_eq!(found, text(&expected["description"]), "{title}");
            assert!(expected["description_hash"].is_null(), "{title}");
        }
        Description::Hash(hash) => {
            assert_eq!(hash, &array(&expected["description_hash"]), "{title}");
            assert!(expected["description"].is_null(), "{title}");
            assert!(invoice.description().describes(text(&expected["description_hash_preimage"])), "{title}");
        }
    }
    assert!(!invoice.description().describes("something else"), "{title}");
    let metadata = expected["payment_metadata"].as_str().map(|hex| Vec::from_hex(hex).unwrap());
    assert_eq!(invoice.metadata(), metadata.as_deref(), "{title}");
    let expiry = expected["expiry_seconds"].as_u64().unwrap_or(DEFAULT_EXPIRY_SECONDS);
    assert_eq!(invoice.expiry_seconds(), expiry, "{title}");
    assert!(!invoice.is_expired_at(invoice.timestamp() + expiry), "{title}");
    assert!(invoice.is_expired_at(invoice.timestamp() + expiry + 1), "{title}");
    let delta = expected["min_final_cltv_expiry_delta"].as_u64();
    assert_eq!(
        u64::from(invoice.min_final_cltv_expiry_delta()),
        delta.unwrap_or(u64::from(DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA)),
        "{title}"
    );
    let features: Vec<u64> = invoice.features().bits().map(u64::from).collect();
    let expected_features: Vec<u64> =
        list(&expected["features"]).iter().map(|bit| bit.as_u64().unwrap()).collect();
    assert_eq!(features, expected_features, "{title}");
    compare_fallbacks(invoice, expected, title);
    compare_routes(invoice, expected, title);

    let (recovery_id, signature) = invoice.signature().serialize_compact();
    assert_eq!(signature.to_lower_hex_string(), text(&expected["signature"]), "{title}");
    assert_eq!(i64::from(recovery_id.to_i32()), expected["recovery_id"].as_i64().unwrap(), "{title}");
    assert_eq!(invoice.digest().to_lower_hex_string(), text(&expected["signed_data_sha256"]), "{title}");
    assert_eq!(invoice.payee().to_string(), text(&expected["payee"]), "{title}");

    let raw: Vec<(String, String)> = invoice
        .raw_fields()
        .map(|(tag, data)| (tag.to_string(), data.iter().map(|symbol| symbol.to_char()).collect()))
        .collect();
    let expected_raw: Vec<(String, String)> = list(&expected["tagged_fields"])
        .iter()
        .map(|field| (text(&field["type"]).to_owned(), text(&field["data5"]).to_owned()))
        .collect();
    assert_eq!(raw, expected_raw, "{title}");
}

fn compare_fallbacks(invoice: &Bolt11Invoice, expected: &Value, title: &str) {
    let found: Vec<(u64, String)> = invoice
        .fallbacks()
        .iter()
        .map(|fallback| match fallback {
            Fallback::PubkeyHash(hash) => (17, hash.to_string()),
            Fallback::ScriptHash(hash) => (18, hash.to_string()),
            Fallback::Witness(program) => {
                (u64::from(program.version().to_num()), program.program().as_bytes().to_lower_hex_string())
            }
        })
        .collect();
    let listed: Vec<(u64, String)> = list(&expected["fallbacks"])
        .iter()
        .map(|fallback| (fallback["version"].as_u64().unwrap(), text(&fallback["program"]).to_owned()))
        .collect();
    assert_eq!(found, listed, "{title}");
    for fallback in invoice.fallbacks() {
        let script = fallback.script_pubkey();
        assert_eq!(Fallback::from_script(&script).as_ref(), Some(fallback), "{title}");
        let network =
            if invoice.currency() == Currency::Bitcoin { Network::Bitcoin } else { Network::Testnet };
        let address = Address::from_script(&script, network).unwrap();
        assert_eq!(address.to_string(), text(&expected["fallback_address_in_title"]), "{title}");
    }
}

fn compare_routes(invoice: &Bolt11Invoice, expected: &Value, title: &str) {
    let routes = list(&expected["routes"]);
    assert_eq!(invoice.route_hints().len(), routes.len(), "{title}");
    for (hint, route) in invoice.route_hints().iter().zip(routes) {
        assert_eq!(hint.hops.len(), list(route).len(), "{title}");
        for (hop, listed) in hint.hops.iter().zip(list(route)) {
            assert_eq!(hop.node.to_string(), text(&listed["pubkey"]), "{title}");
            assert_eq!(hop.scid.to_string(), text(&listed["short_channel_id"]), "{title}");
            assert_eq!(hop.fee_base, Msat::new(listed["fee_base_msat"].as_u64().unwrap()), "{title}");
            assert_eq!(
                u64::from(hop.fee_proportional_millionths),
                listed["fee_proportional_millionths"].as_u64().unwrap(),
                "{title}"
            );
            assert_eq!(
                u64::from(hop.cltv_delta.get()),
                listed["cltv_expiry_delta"].as_u64().unwrap(),
                "{title}"
            );
        }
    }
}

/// A builder with what the getters tell, in the order of the fields.
fn rebuild(invoice: &Bolt11Invoice) -> InvoiceBuilder {
    let mut builder = InvoiceBuilder::new(invoice.currency(), invoice.timestamp());
    if let Some(amount) = invoice.amount() {
        builder = builder.amount(amount);
    }
    let mut fallbacks = invoice.fallbacks().iter().cloned();
    let mut hints = invoice.route_hints().iter().cloned();
    for (tag, _) in invoice.raw_fields() {
        builder = match (tag.to_string().as_str(), invoice.description()) {
            ("s", _) => builder.payment_secret(invoice.payment_secret().clone()),
            ("p", _) => builder.payment_hash(invoice.payment_hash()),
            ("d", Description::Text(text)) => builder.description(text.clone()),
            ("h", Description::Hash(hash)) => builder.description_hash(*hash),
            ("x", _) => builder.expiry_seconds(invoice.expiry_seconds()),
            ("c", _) => builder.min_final_cltv_expiry_delta(invoice.min_final_cltv_expiry_delta()),
            ("m", _) => builder.metadata(invoice.metadata().unwrap().to_vec()),
            ("n", _) => builder.payee(*invoice.payee()),
            ("9", _) => builder.features(invoice.features().clone()),
            ("f", _) => builder.fallback(fallbacks.next().unwrap()),
            ("r", _) => builder.route_hint(hints.next().unwrap()),
            (other, _) => panic!("field {other}"),
        };
    }
    builder
}

#[test]
fn high_s_signature_recovers_as_its_recovery_id_says() {
    let Some(vectors) = vectors() else { return };
    let secp = Secp::new();
    let case = list(&vectors["valid"]).last().unwrap();
    assert!(case["decoded"]["high_s"].as_bool().unwrap());
    let invoice = Bolt11Invoice::parse(&secp, text(&case["invoice"])).unwrap();
    let payee: PublicKey = text(&case["decoded"]["payee"]).parse().unwrap();
    assert_eq!(invoice.payee(), &payee);
    assert!(!invoice.names_payee());
}

#[test]
fn invalid_invoices_are_refused_for_their_reason() {
    let Some(vectors) = vectors() else { return };
    let secp = Secp::new();
    let reasons = [
        ("Same, but adding invalid unknown feature 100", Bolt11Error::UnknownRequiredFeature(100)),
        ("Bech32 checksum is invalid.", Bolt11Error::BadChecksum),
        ("Malformed bech32 string (no 1)", Bolt11Error::BadEncoding),
        ("Malformed bech32 string (mixed case)", Bolt11Error::BadEncoding),
        ("Signature is not recoverable.", Bolt11Error::BadSignature),
        ("String is too short.", Bolt11Error::TooShort),
        ("Invalid multiplier", Bolt11Error::BadMultiplier),
        ("Invalid sub-millisatoshi precision.", Bolt11Error::SubMillisatoshi),
        ("Missing required `s` field.", Bolt11Error::MissingPaymentSecret),
        ("Non canonical signature (high-S) with 'n' field defined", Bolt11Error::HighS),
    ];
    let cases = list(&vectors["invalid"]);
    assert_eq!(cases.len(), reasons.len());
    for (case, (title, reason)) in cases.iter().zip(reasons) {
        assert_eq!(text(&case["title"]), title);
        assert_eq!(Bolt11Invoice::parse(&secp, text(&case["invoice"])).unwrap_err(), reason, "{title}");
    }
}
