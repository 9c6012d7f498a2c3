//! The rules of BOLT 11 one by one: what a reader refuses, what it skips, and what a builder does not write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod signed_text;

use std::convert::Infallible;

use bech32::Fe32;
use bech32::primitives::iter::ByteIterExt as _;
use bitcoin::Network;
use bitcoin::secp256k1::ecdsa::RecoverableSignature;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_offers::bolt11::{
    Bolt11Error, Bolt11Invoice, BuildError, Currency, Description, InvoiceBuilder,
};
use lightning_traits::feature::{Feature, FeatureError, Features};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::{HintHop, RouteHint};
use lightning_traits::units::{CltvDelta, Msat};
use signed_text::{SECP, join, payee, sign, split};

const NOW: u64 = 1_700_000_000;

fn minimal() -> InvoiceBuilder {
    InvoiceBuilder::new(Currency::Bitcoin, NOW)
        .payment_hash(PaymentHash([1; 32]))
        .payment_secret(PaymentSecret::new([2; 32]))
        .description("tea")
}

fn build(builder: &InvoiceBuilder) -> Result<Bolt11Invoice, BuildError<Infallible>> {
    builder.build(&SECP, |digest| Ok(sign(digest)))
}

/// The minimal invoice with one more field behind the others, signed.
fn with_field(tag: char, data: &[Fe32]) -> Result<Bolt11Invoice, Bolt11Error> {
    let (prefix, mut symbols) = split(&build(&minimal()).unwrap().to_string());
    symbols.push(Fe32::from_char(tag).unwrap());
    symbols.push(Fe32::try_from((data.len() / 32) as u8).unwrap());
    symbols.push(Fe32::try_from((data.len() % 32) as u8).unwrap());
    symbols.extend_from_slice(data);
    Bolt11Invoice::parse(&SECP, &join(&prefix, &symbols))
}

fn symbols(bytes: &[u8]) -> Vec<Fe32> {
    bytes.iter().copied().bytes_to_fes().collect()
}

fn hint(fee_base: u64) -> RouteHint {
    let node = NodeId::from(payee());
    let hop = HintHop {
        node,
        scid: ShortChannelId(7),
        fee_base: Msat::new(fee_base),
        fee_proportional_millionths: 1,
        cltv_delta: CltvDelta::new(40),
    };
    RouteHint { hops: vec![hop] }
}

#[test]
fn defaults_are_those_of_the_bolt() {
    let invoice = build(&minimal()).unwrap();
    assert_eq!(invoice.amount(), None);
    assert_eq!(invoice.expiry_seconds(), 3600);
    assert_eq!(invoice.min_final_cltv_expiry_delta(), 18);
    assert_eq!(invoice.payee(), &payee());
    assert!(!invoice.names_payee());
    assert!(invoice.features().is_empty());
    assert_eq!((invoice.metadata(), invoice.fallbacks().len(), invoice.route_hints().len()), (None, 0, 0));
    assert!(!invoice.is_expired_at(NOW + 3600));
    assert!(invoice.is_expired_at(NOW + 3601));
}

#[test]
fn endless_expiry_never_wraps() {
    let invoice = build(&minimal().expiry_seconds(u64::MAX)).unwrap();
    assert_eq!(invoice.expires_at(), u64::MAX);
    assert!(!invoice.is_expired_at(u64::MAX));
}

#[test]
fn networks_do_not_mix() {
    let networks = [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest];
    for network in networks {
        let currency = Currency::of_network(network);
        let payable: Vec<Network> = networks.into_iter().filter(|other| currency.is_for(*other)).collect();
        match network {
            // One prefix for both.
            Network::Testnet | Network::Testnet4 => {
                assert_eq!(payable, [Network::Testnet, Network::Testnet4]);
            }
            other => assert_eq!(payable, [other]),
        }
    }
}

#[test]
fn field_of_another_length_is_skipped() {
    for tag in ['p', 's', 'h', 'n'] {
        for len in [0, 51, 54, 1023] {
            let invoice = with_field(tag, &vec![Fe32::Q; len]).unwrap();
            assert_eq!(invoice.payment_hash(), PaymentHash([1; 32]), "{tag} {len}");
            assert_eq!(invoice.description(), &Description::Text("tea".to_owned()), "{tag} {len}");
        }
    }
}

#[test]
fn second_field_of_a_kind_is_not_used() {
    let invoice = with_field('p', &symbols(&[9; 32])).unwrap();
    assert_eq!(invoice.payment_hash(), PaymentHash([1; 32]));
    let invoice = with_field('s', &symbols(&[9; 32])).unwrap();
    assert_eq!(invoice.payment_secret(), &PaymentSecret::new([2; 32]));
    let invoice = with_field('d', &symbols(b"coffee")).unwrap();
    assert_eq!(invoice.description(), &Description::Text("tea".to_owned()));
    assert_eq!(invoice.raw_fields().count(), 4);
}

#[test]
fn unknown_fields_are_kept_in_the_text() {
    let invoice = with_field('z', &[Fe32::P; 9]).unwrap();
    let (tag, data) = invoice.raw_fields().last().unwrap();
    assert_eq!((tag.to_string().as_str(), data), ("z", &[Fe32::P; 9][..]));
    assert_eq!(Bolt11Invoice::parse(&SECP, &invoice.to_string()), Ok(invoice));
}

#[test]
fn f07_refused_fields() {
    let refused = |tag, data: &[Fe32]| with_field(tag, data).unwrap_err();
    assert_eq!(refused('h', &symbols(&[9; 32])), Bolt11Error::BothDescriptions);
    assert_eq!(refused('d', &symbols(&[0xff, 0xfe])), Bolt11Error::DescriptionNotUtf8);
    assert_eq!(refused('n', &symbols(&[9; 33])), Bolt11Error::BadPayee);
    assert_eq!(refused('r', &symbols(&[2; 50])), Bolt11Error::BadRouteHint);
    assert_eq!(refused('r', &symbols(&[9; 51])), Bolt11Error::BadRouteHint);
    assert_eq!(refused('r', &[]), Bolt11Error::BadRouteHint);
    for tag in ['x', 'c', '9'] {
        let Bolt11Error::NotMinimal(found) = refused(tag, &[Fe32::Q, Fe32::P]) else { panic!("{tag}") };
        assert_eq!(found.to_string(), tag.to_string());
    }
    for (tag, len) in [('x', 14), ('c', 7)] {
        let Bolt11Error::NumberTooLarge(found) = refused(tag, &vec![Fe32::L; len]) else { panic!("{tag}") };
        assert_eq!(found.to_string(), tag.to_string());
    }
}

#[test]
fn another_key_in_n_does_not_verify() {
    let other = PublicKey::from_secret_key(&SECP, &SecretKey::from_slice(&[7; 32]).unwrap());
    assert_eq!(with_field('n', &symbols(&other.serialize())).unwrap_err(), Bolt11Error::BadSignature);
    let own = with_field('n', &symbols(&payee().serialize())).unwrap();
    assert!(own.names_payee());
    assert_eq!(own.payee(), &payee());
}

#[test]
fn useless_fallbacks_are_skipped() {
    let program = |version: u8, len: usize| {
        let mut data = vec![Fe32::try_from(version).unwrap()];
        data.extend(symbols(&vec![3; len]));
        data
    };
    for data in [
        vec![],
        program(19, 20),
        program(31, 20),
        program(17, 19),
        program(18, 21),
        program(0, 21),
        program(1, 41),
    ] {
        assert_eq!(with_field('f', &data).unwrap().fallbacks(), []);
    }
    for data in
        [program(17, 20), program(18, 20), program(0, 20), program(0, 32), program(1, 32), program(16, 2)]
    {
        assert_eq!(with_field('f', &data).unwrap().fallbacks().len(), 1);
    }
}

#[test]
fn features_decide_who_may_pay() {
    let with = |bits: &[u16]| build(&minimal().features(Features::from_bits(bits.iter().copied())));
    assert_eq!(with(&[100]).unwrap_err(), BuildError::Invalid(Bolt11Error::UnknownRequiredFeature(100)));
    // Known, but not as something an invoice could ask for.
    assert_eq!(with(&[22]).unwrap_err(), BuildError::Invalid(Bolt11Error::UnknownRequiredFeature(22)));
    assert!(with(&[23, 101, 5001]).is_ok());
    let missing =
        FeatureError::MissingDependency { feature: Feature::BasicMpp, needs: Feature::PaymentSecret };
    assert_eq!(with(&[8, 17]).unwrap_err(), BuildError::Invalid(Bolt11Error::Features(missing)));

    let invoice = with(&[8, 14, 16]).unwrap();
    let understood = [Feature::VarOnion, Feature::PaymentSecret];
    assert_eq!(invoice.required_beyond(&understood), Some(Feature::BasicMpp));
    assert_eq!(invoice.required_beyond(&[&understood[..], &[Feature::BasicMpp]].concat()), None);
    assert_eq!(with(&[8, 14, 17]).unwrap().required_beyond(&understood), None);
    // "MUST omit the `9` field altogether" without bits.
    let empty = build(&minimal().features(Features::from_be_bytes(vec![0, 0]))).unwrap();
    assert_eq!(empty, build(&minimal()).unwrap());
}

#[test]
fn truncated_and_short_texts() {
    let (prefix, symbols) = split(&build(&minimal()).unwrap().to_string());
    let parse = |symbols: &[Fe32]| Bolt11Invoice::parse(&SECP, &join(&prefix, symbols)).unwrap_err();
    assert_eq!(parse(&[]), Bolt11Error::TooShort);
    assert_eq!(parse(&symbols[..6]), Bolt11Error::TooShort);
    assert_eq!(parse(&symbols[..7]), Bolt11Error::MissingDescription);
    for cut in [1, 2, 3, 20] {
        assert_eq!(parse(&symbols[..symbols.len() - cut]), Bolt11Error::TruncatedField, "{cut}");
    }
    for text in
        ["", "1", "ln", "lnbc", "lnbc1", "lightning:lnbc1", "LNbc1qqqqqqqq", "lnbc1é", "ｌｎbc1qqqqqq"]
    {
        assert_eq!(Bolt11Invoice::parse(&SECP, text).unwrap_err(), Bolt11Error::BadEncoding, "{text}");
    }
}

#[test]
fn builder_writes_nothing_that_nobody_could_pay() {
    let error = |builder: InvoiceBuilder| build(&builder).unwrap_err();
    let empty = InvoiceBuilder::new(Currency::Regtest, NOW);
    assert_eq!(error(empty.clone()), BuildError::Invalid(Bolt11Error::MissingDescription));
    let described = empty.description("tea");
    assert_eq!(error(described.clone()), BuildError::Invalid(Bolt11Error::MissingPaymentHash));
    let hashed = described.payment_hash(PaymentHash([1; 32]));
    assert_eq!(error(hashed), BuildError::Invalid(Bolt11Error::MissingPaymentSecret));

    assert_eq!(error(minimal().amount(Msat::ZERO)), BuildError::Invalid(Bolt11Error::BadAmount));
    assert_eq!(
        error(minimal().description_hash([1; 32])),
        BuildError::Invalid(Bolt11Error::BothDescriptions)
    );
    assert_eq!(error(InvoiceBuilder::new(Currency::Bitcoin, 1 << 35)), BuildError::TimestampDoesNotFit);
    assert!(matches!(error(minimal().description("again")), BuildError::Duplicate(_)));
    assert!(matches!(error(minimal().metadata(vec![0; 640])), BuildError::FieldDoesNotFit(_)));
    assert!(matches!(error(minimal().route_hint(hint(1 << 32))), BuildError::FieldDoesNotFit(_)));
    assert!(matches!(
        error(minimal().route_hint(RouteHint { hops: vec![] })),
        BuildError::FieldDoesNotFit(_)
    ));
    let two = minimal().route_hint(hint(1)).route_hint(hint(2)).metadata(vec![0; 639]);
    assert_eq!(build(&two).unwrap().route_hints(), [hint(1), hint(2)]);
}

#[test]
fn signer_is_not_asked_for_an_invalid_invoice_and_its_refusal_is_returned() {
    let invalid = InvoiceBuilder::new(Currency::Bitcoin, NOW).description("tea");
    let mut asked = false;
    let outcome = invalid.build(&SECP, |digest| {
        asked = true;
        Ok::<_, Infallible>(sign(digest))
    });
    assert_eq!(outcome.unwrap_err(), BuildError::Invalid(Bolt11Error::MissingPaymentHash));
    assert!(!asked);

    let refused = minimal().build(&SECP, |_| Err::<RecoverableSignature, _>("locked"));
    assert_eq!(refused.unwrap_err(), BuildError::Signer("locked"));
    // A signature over something else by a key that is not the named one.
    let wrong = minimal().payee(payee()).build(&SECP, |_| Ok::<_, Infallible>(sign(&[5; 32])));
    assert_eq!(wrong.unwrap_err(), BuildError::Invalid(Bolt11Error::BadSignature));
}

#[test]
fn secret_is_not_printed() {
    let invoice = build(&minimal()).unwrap();
    let shown = format!("{invoice:?} {:?}", minimal());
    assert!(!shown.contains("0202"), "{shown}");
}

/// A field has 639 bytes at most: a text that would need more is refused whole, never cut, wherever its characters end.
#[test]
fn f08_a_description_is_written_whole_or_refused_wherever_its_characters_end() {
    for character in ['t', '\u{e9}', '\u{20ac}', '\u{1f375}'] {
        let width = character.len_utf8();
        for length in 635..=644_usize {
            // One-byte characters in front, so that every offset of a character against the limit is seen.
            let text: String = core::iter::repeat_n('a', length % width)
                .chain(core::iter::repeat_n(character, length / width))
                .collect();
            assert_eq!(text.len(), length);
            let builder = InvoiceBuilder::new(Currency::Bitcoin, NOW)
                .payment_hash(PaymentHash([1; 32]))
                .payment_secret(PaymentSecret::new([2; 32]))
                .description(text.clone());
            match build(&builder) {
                Ok(invoice) => {
                    assert!(length <= 639, "{length} bytes");
                    let read = Bolt11Invoice::parse(&SECP, &invoice.to_string()).unwrap();
                    assert_eq!(read.description(), &Description::Text(text));
                }
                Err(error) => {
                    assert!(length > 639, "{length} bytes: {error:?}");
                    assert!(matches!(error, BuildError::FieldDoesNotFit(_)), "{error:?}");
                }
            }
        }
    }
    // And a text that somebody else has cut within a character is no text.
    for cut in 1..4 {
        let bytes = "\u{1f375}".as_bytes();
        assert_eq!(with_field('d', &symbols(&bytes[..cut])).unwrap_err(), Bolt11Error::DescriptionNotUtf8);
    }
}

/// What is empty or nothing: metadata of no bytes is metadata, an amount of nothing is no amount.
#[test]
fn f16_empty_and_zero_are_what_the_bolt_says() {
    for length in [0, 1, 638, 639, 640] {
        match build(&minimal().metadata(vec![7; length])) {
            Ok(invoice) => {
                assert!(length <= 639);
                let read = Bolt11Invoice::parse(&SECP, &invoice.to_string()).unwrap();
                assert_eq!(read.metadata(), Some(&vec![7; length][..]));
            }
            Err(error) => {
                assert!(length > 639 && matches!(error, BuildError::FieldDoesNotFit(_)), "{error:?}");
            }
        }
    }
    assert!(build(&minimal().amount(Msat::ZERO)).is_err());
    assert_eq!(build(&minimal()).unwrap().amount(), None);
    let without_words = InvoiceBuilder::new(Currency::Bitcoin, NOW)
        .payment_hash(PaymentHash([1; 32]))
        .payment_secret(PaymentSecret::new([2; 32]))
        .description("");
    assert_eq!(build(&without_words).unwrap().description(), &Description::Text(String::new()));
}
