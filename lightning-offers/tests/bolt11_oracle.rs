//! Our invoices against those of another implementation: both ways, and over damaged ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod signed_text;

use std::convert::Infallible;
use std::time::Duration;

use bech32::Fe32;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bitcoin::{PubkeyHash, ScriptHash, WitnessProgram, WitnessVersion};
use lightning_invoice as oracle;
use lightning_offers::bolt11::{
    Bolt11Error, Bolt11Invoice, Currency, Description, Fallback, Field, InvoiceBuilder,
};
use lightning_traits::feature::Features;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::{HintHop, RouteHint};
use lightning_traits::units::{CltvDelta, Msat};
use oracle::{Bolt11ParseError, Bolt11SemanticError, ParseOrSemanticError};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use signed_text::{SECP, join, node_key, payee, sign, split};

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>()
        .prop_filter_map("a scalar", |bytes| SecretKey::from_slice(&bytes).ok())
        .prop_map(|key| PublicKey::from_secret_key(&SECP, &key))
}

fn hint() -> impl Strategy<Value = RouteHint> {
    let hop = (key(), any::<(u64, u32, u32, u16)>()).prop_map(|(node, (scid, base, proportional, delta))| {
        HintHop {
            node: NodeId::from(node),
            scid: ShortChannelId(scid),
            fee_base: Msat::new(u64::from(base)),
            fee_proportional_millionths: proportional,
            cltv_delta: CltvDelta::new(delta),
        }
    });
    vec(hop, 1..=12).prop_map(|hops| RouteHint { hops })
}

fn fallback() -> impl Strategy<Value = Fallback> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(|hash| Fallback::PubkeyHash(PubkeyHash::from_byte_array(hash))),
        any::<[u8; 20]>().prop_map(|hash| Fallback::ScriptHash(ScriptHash::from_byte_array(hash))),
        any::<[u8; 20]>().prop_map(|program| witness(0, &program)),
        any::<[u8; 32]>().prop_map(|program| witness(0, &program)),
        (1u8..=16, vec(any::<u8>(), 2..=40)).prop_map(|(version, program)| witness(version, &program)),
    ]
}

fn witness(version: u8, program: &[u8]) -> Fallback {
    let version = WitnessVersion::try_from(version).unwrap();
    Fallback::Witness(WitnessProgram::new(version, program).unwrap())
}

fn description() -> impl Strategy<Value = Field> {
    prop_oneof![
        "\\PC{0,150}".prop_map(Field::Description),
        any::<[u8; 32]>().prop_map(Field::DescriptionHash),
    ]
}

fn currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![Currency::Bitcoin, Currency::Testnet, Currency::Signet, Currency::Regtest])
}

/// Fields in any order. The oracle wants the feature of the payment secret, and counts in tenths of a millisatoshi.
fn builder() -> impl Strategy<Value = InvoiceBuilder> {
    let required = (any::<([u8; 32], [u8; 32])>(), description(), vec(100u16..2000, 0..4)).prop_map(
        |((hash, secret), description, extra)| {
            let odd = extra.into_iter().map(|bit| bit | 1);
            vec![
                Field::PaymentHash(PaymentHash(hash)),
                Field::PaymentSecret(PaymentSecret::new(secret)),
                description,
                Field::Features(Features::from_bits([8, 14].into_iter().chain(odd))),
            ]
        },
    );
    let optional = (
        option::of(vec(any::<u8>(), 0..=639).prop_map(Field::Metadata)),
        any::<bool>().prop_map(|named| named.then(|| Field::Payee(payee()))),
        option::of(any::<u64>().prop_map(Field::Expiry)),
        option::of(any::<u32>().prop_map(Field::MinFinalCltv)),
        vec(fallback().prop_map(Field::Fallback), 0..3),
        vec(hint().prop_map(Field::RouteHint), 0..3),
    )
        .prop_map(|(metadata, payee, expiry, delta, fallbacks, hints)| {
            let single = [metadata, payee, expiry, delta].into_iter().flatten();
            single.chain(fallbacks).chain(hints).collect::<Vec<_>>()
        });
    let fields =
        (required, optional).prop_map(|(required, optional)| [required, optional].concat()).prop_shuffle();
    (currency(), 0u64..1 << 35, option::of(1u64..=u64::MAX / 10), fields).prop_map(
        |(currency, timestamp, amount, fields)| {
            let mut builder = InvoiceBuilder::new(currency, timestamp);
            if let Some(amount) = amount {
                builder = builder.amount(Msat::new(amount));
            }
            fields.into_iter().fold(builder, InvoiceBuilder::field)
        },
    )
}

fn build(builder: &InvoiceBuilder) -> Bolt11Invoice {
    builder.build(&SECP, |digest| Ok::<_, Infallible>(sign(digest))).unwrap()
}

fn same_currency(ours: Currency, theirs: &oracle::Currency) -> bool {
    matches!(
        (ours, theirs),
        (Currency::Bitcoin, oracle::Currency::Bitcoin)
            | (Currency::Testnet, oracle::Currency::BitcoinTestnet)
            | (Currency::Signet, oracle::Currency::Signet)
            | (Currency::Regtest, oracle::Currency::Regtest)
    )
}

/// Every figure of both views of one invoice.
fn assert_same(ours: &Bolt11Invoice, theirs: &oracle::Bolt11Invoice) {
    assert!(same_currency(ours.currency(), &theirs.currency()));
    assert_eq!(ours.amount().map(Msat::to_msat), theirs.amount_milli_satoshis());
    assert_eq!(ours.timestamp(), theirs.duration_since_epoch().as_secs());
    assert_eq!(&ours.payment_hash().0, theirs.payment_hash().as_byte_array());
    assert_eq!(ours.payment_secret().as_bytes(), &theirs.payment_secret().0);
    match (ours.description(), theirs.description()) {
        (Description::Text(ours), oracle::Bolt11InvoiceDescriptionRef::Direct(theirs)) => {
            assert_eq!(ours, &theirs.as_inner().0);
        }
        (Description::Hash(ours), oracle::Bolt11InvoiceDescriptionRef::Hash(theirs)) => {
            assert_eq!(ours, theirs.0.as_byte_array());
        }
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
    assert_eq!(ours.metadata(), theirs.payment_metadata().map(Vec::as_slice));
    assert_eq!(ours.payee(), &theirs.get_payee_pub_key());
    assert_eq!(ours.names_payee(), theirs.payee_pub_key().is_some());
    assert_eq!(ours.expiry_seconds(), theirs.expiry_time().as_secs());
    for at in [ours.expires_at(), ours.expires_at().saturating_add(1), 0, ours.timestamp()] {
        assert_eq!(ours.is_expired_at(at), theirs.would_expire(Duration::from_secs(at)), "at {at}");
    }
    assert_eq!(u64::from(ours.min_final_cltv_expiry_delta()), theirs.min_final_cltv_expiry_delta());
    let features = theirs.features().map(|features| features.le_flags().to_vec()).unwrap_or_default();
    let features = Features::from_be_bytes(features.into_iter().rev().collect());
    assert!(ours.features().same_bits(&features));
    assert_eq!(ours.digest(), theirs.signable_hash());
    assert_same_hints(ours, theirs);
}

fn assert_same_hints(ours: &Bolt11Invoice, theirs: &oracle::Bolt11Invoice) {
    let fallbacks: Vec<Fallback> = theirs
        .fallbacks()
        .into_iter()
        .filter_map(|fallback| match fallback {
            oracle::Fallback::PubKeyHash(hash) => Some(Fallback::PubkeyHash(*hash)),
            oracle::Fallback::ScriptHash(hash) => Some(Fallback::ScriptHash(*hash)),
            oracle::Fallback::SegWitProgram { version, program } => {
                WitnessProgram::new(*version, program).ok().map(Fallback::Witness)
            }
        })
        .collect();
    assert_eq!(ours.fallbacks(), fallbacks);
    let hints: Vec<RouteHint> = theirs
        .route_hints()
        .into_iter()
        .map(|hint| RouteHint {
            hops: hint
                .0
                .iter()
                .map(|hop| HintHop {
                    node: NodeId::from(hop.src_node_id),
                    scid: ShortChannelId(hop.short_channel_id),
                    fee_base: Msat::new(u64::from(hop.fees.base_msat)),
                    fee_proportional_millionths: hop.fees.proportional_millionths,
                    cltv_delta: CltvDelta::new(hop.cltv_expiry_delta),
                })
                .collect(),
        })
        .collect();
    assert_eq!(ours.route_hints(), hints);
}

/// The same invoice made by the oracle, field by field in the same order.
fn by_oracle(invoice: &Bolt11Invoice) -> String {
    let theirs = invoice.to_string().parse::<oracle::SignedRawBolt11Invoice>().unwrap();
    let raw = theirs.raw_invoice();
    // Through its own types and not through the text: only what it understood can come back.
    let rebuilt = oracle::RawBolt11Invoice {
        hrp: oracle::RawHrp {
            currency: raw.hrp.currency.clone(),
            raw_amount: raw.hrp.raw_amount,
            si_prefix: raw.hrp.si_prefix,
        },
        data: oracle::RawDataPart {
            timestamp: raw.data.timestamp.clone(),
            tagged_fields: raw.known_tagged_fields().cloned().map(Into::into).collect(),
        },
    };
    let signed =
        rebuilt.sign(|message| Ok::<_, Infallible>(SECP.sign_ecdsa_recoverable(message, &node_key())));
    signed.unwrap().to_string()
}

/// Whether both may disagree here, because we follow BOLT 11 further than the oracle, or it follows a rule of its own.
fn may_differ(
    ours: &Result<Bolt11Invoice, Bolt11Error>,
    theirs: &Result<oracle::Bolt11Invoice, ParseOrSemanticError>,
) -> bool {
    let stricter = matches!(
        ours,
        Err(Bolt11Error::NotMinimal(_)      // "SHOULD treat the invoice as invalid"
            | Bolt11Error::BadAmount        // leading zeros, an amount of zero
            | Bolt11Error::BadRouteHint     // no hop at all
            | Bolt11Error::NumberTooLarge(_) // more than 2^32 - 1 blocks
            | Bolt11Error::Features(_)      // dependencies
            | Bolt11Error::UnknownRequiredFeature(_)) // bits of proposals that it ships
    );
    let other_rules = matches!(
        theirs,
        Err(ParseOrSemanticError::SemanticError(
            // We take the first of several, as BOLT 11 orders them, and do not ask for the feature of the secret.
            Bolt11SemanticError::MultiplePaymentHashes
                | Bolt11SemanticError::MultiplePaymentSecrets
                | Bolt11SemanticError::MultipleDescriptions
                | Bolt11SemanticError::InvalidFeatures
        ) | ParseOrSemanticError::ParseError(
            // An address that cannot be used is no reason not to pay.
            Bolt11ParseError::InvalidSegWitProgramLength
                | Bolt11ParseError::InvalidPubKeyHashLength
                | Bolt11ParseError::InvalidScriptHashLength
                | Bolt11ParseError::UnexpectedEndOfTaggedFields // an empty one
                // It counts in tenths of a millisatoshi.
                | Bolt11ParseError::IntegerOverflowError
        ))
    );
    stricter || other_rules
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_oracle_reads_what_we_write(builder in builder()) {
        let invoice = build(&builder);
        let text = invoice.to_string();
        prop_assert_eq!(Bolt11Invoice::parse(&SECP, &text), Ok(invoice.clone()));
        let theirs: oracle::Bolt11Invoice = text.parse().unwrap();
        assert_same(&invoice, &theirs);
    }

    #[test]
    fn we_read_what_the_oracle_writes(builder in builder()) {
        let text = by_oracle(&build(&builder));
        let ours = Bolt11Invoice::parse(&SECP, &text).unwrap();
        assert_same(&ours, &text.parse().unwrap());
        prop_assert_eq!(ours.to_string(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn f07_damaged_and_signed_again_both_decide_alike(
        builder in builder(), edits in vec((any::<prop::sample::Index>(), 0u8..32, 0u8..4), 1..4), prefix in option::weighted(0.1, "ln(bc|tb|bcrt|tbs|xx)[0-9]{0,4}[munpx]?")
    ) {
        let (mut hrp, mut symbols) = split(&build(&builder).to_string());
        hrp = prefix.unwrap_or(hrp);
        for (at, value, kind) in edits {
            let value = Fe32::try_from(value).unwrap();
            let at = at.index(symbols.len());
            match kind {
                0 => symbols.insert(at, value),
                1 if symbols.len() > 8 => drop(symbols.remove(at)),
                _ => symbols[at] = value,
            }
        }
        let text = join(&hrp, &symbols);
        let ours = Bolt11Invoice::parse(&SECP, &text);
        if let Ok(ours) = &ours {
            prop_assert_eq!(ours.payee(), &payee());
            prop_assert_eq!(&ours.to_string(), &text);
        }
        let theirs = text.parse::<oracle::Bolt11Invoice>();
        match (&ours, &theirs) {
            // The oracle hashes what it would write itself: with bits in the padding of a field that is another text.
            _ if text.parse::<oracle::SignedRawBolt11Invoice>().is_ok_and(|raw| raw.to_string() != text) => {}
            (Ok(ours), Ok(theirs)) => assert_same(ours, theirs),
            (Err(_), Err(_)) => {}
            _ => prop_assert!(may_differ(&ours, &theirs), "{}: {:?} and {:?}", text, ours, theirs),
        }
    }

    #[test]
    fn f07_a_character_changed_is_a_wrong_checksum(builder in builder(), at: prop::sample::Index, by in 1u8..32) {
        let text = build(&builder).to_string();
        let separator = text.rfind('1').unwrap();
        let mut characters: Vec<char> = text.chars().collect();
        let at = separator + 1 + at.index(characters.len() - separator - 1);
        let value = Fe32::from_char(characters[at]).unwrap().to_u8() ^ by;
        characters[at] = Fe32::try_from(value).unwrap().to_char();
        let changed: String = characters.into_iter().collect();
        prop_assert_eq!(Bolt11Invoice::parse(&SECP, &changed), Err(Bolt11Error::BadChecksum));
    }

    #[test]
    fn f07_any_text_is_an_invoice_or_an_error(text in "\\PC{0,300}", tail in "ln[a-z0-9]{0,200}1[ac-hj-np-z02-9]{0,300}") {
        prop_assert!(Bolt11Invoice::parse(&SECP, &text).is_err());
        prop_assert!(Bolt11Invoice::parse(&SECP, &tail).is_err());
        prop_assert!(Bolt11Invoice::parse(&SECP, &(tail + &text)).is_err());
    }
}
