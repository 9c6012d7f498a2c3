//! Appendix D: per-commitment secrets, made and stored; and the store's own rules.
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::CommitmentNumber;
use lightning_traits::tx::{CommitmentSecret, CommitmentSeed, SecretError, SecretStore};

use super::vectors::{array, list, load, number};

fn from_index(index: u64) -> CommitmentNumber {
    CommitmentNumber(CommitmentNumber::LAST.0 - index)
}

#[test]
fn generation() {
    let Some(vectors) = load("bolt03/appendix-d-per-commitment-secrets.json") else { return };
    let cases = list(&vectors["generation"]);
    for case in cases {
        let seed = CommitmentSeed::new(array(&case["seed"]));
        let made = seed.secret(from_index(number(&case["I"]))).unwrap();
        assert_eq!(made, CommitmentSecret::new(array(&case["output"])), "{}", case["name"]);
    }
    assert_eq!(cases.len(), 5);
}

#[test]
fn storage() {
    let Some(vectors) = load("bolt03/appendix-d-per-commitment-secrets.json") else { return };
    let cases = list(&vectors["storage"]);
    for case in cases {
        let mut store = SecretStore::new();
        for insert in list(&case["inserts"]) {
            let before = store.clone();
            let secret = CommitmentSecret::new(array(&insert["secret"]));
            let result = store.insert(from_index(number(&insert["I"])), secret);
            if insert["output"] == "OK" {
                assert_eq!(result, Ok(()), "{}", case["name"]);
            } else {
                assert_eq!(result, Err(SecretError::ForeignSeed), "{}", case["name"]);
                assert_eq!(store, before, "a refused secret changes nothing");
            }
        }
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn thousand_secrets_come_back_from_few_entries_across_restarts() {
    let seed = CommitmentSeed::new([0xa5; 32]);
    let mut store = SecretStore::new();
    for number in 0..1_000 {
        let number = CommitmentNumber(number);
        assert_eq!(store.get(number), None);
        store.insert(number, seed.secret(number).unwrap()).unwrap();
        assert_eq!(store.next_number(), number.next());
        store = SecretStore::from_bytes(&store.to_bytes()).unwrap();
    }
    for number in (0..1_000).map(CommitmentNumber) {
        assert_eq!(store.get(number), seed.secret(number));
    }
    // Ten entries of 32 bytes, their count and the number.
    assert_eq!(store.to_bytes().len(), 8 + 1 + 10 * 32);
}

#[test]
fn only_the_next_secret_is_taken_and_a_repeated_one_changes_nothing() {
    let (seed, foreign) = (CommitmentSeed::new([1; 32]), CommitmentSeed::new([2; 32]));
    let secret = |number| seed.secret(CommitmentNumber(number)).unwrap();
    let mut store = SecretStore::new();
    let gap = SecretError::OutOfOrder { number: CommitmentNumber(1), expected: CommitmentNumber(0) };
    assert_eq!(store.insert(CommitmentNumber(1), secret(1)), Err(gap));
    for number in 0..4 {
        store.insert(CommitmentNumber(number), secret(number)).unwrap();
    }
    let before = store.clone();
    assert_eq!(store.insert(CommitmentNumber(2), secret(2)), Ok(()));
    assert_eq!(store.insert(CommitmentNumber(2), secret(3)), Err(SecretError::ForeignSeed));
    let other = foreign.secret(CommitmentNumber(5)).unwrap();
    store.insert(CommitmentNumber(4), secret(4)).unwrap();
    // Number 5 has an index with one zero bit at its end, so it vouches for number 4.
    assert_eq!(store.insert(CommitmentNumber(5), other), Err(SecretError::ForeignSeed));
    assert_eq!(store.next_number(), CommitmentNumber(5));
    assert_ne!(store, before);
}

#[test]
fn no_secret_beyond_the_last_number() {
    let seed = CommitmentSeed::new([3; 32]);
    // The last secret is the seed itself: BOLT 3's index zero.
    assert_eq!(seed.secret(CommitmentNumber::LAST), Some(CommitmentSecret::new([3; 32])));
    for number in [CommitmentNumber::LAST.next(), CommitmentNumber(u64::MAX)] {
        assert_eq!(seed.secret(number), None);
        assert_eq!(SecretStore::new().get(number), None);
        assert!(SecretStore::new().insert(number, CommitmentSecret::new([3; 32])).is_err());
    }
}

#[test]
fn broken_store_bytes_do_not_decode() {
    let mut bytes = SecretStore::new().to_bytes();
    assert!(SecretStore::from_bytes(&bytes).is_ok());
    bytes[7] = 1; // one secret received, none held
    assert!(SecretStore::from_bytes(&bytes).is_err());
    bytes[0] = 0xff; // more than there are
    assert!(SecretStore::from_bytes(&bytes).is_err());
}

#[test]
fn secrets_are_not_printed() {
    let secret = CommitmentSecret::new([0x42; 32]);
    assert_eq!(format!("{secret:?}"), "CommitmentSecret(..)");
    assert_eq!(format!("{:?}", CommitmentSeed::new([0x42; 32])), "CommitmentSeed(..)");
    let mut store = SecretStore::new();
    store.insert(CommitmentNumber(0), secret).unwrap();
    assert!(!format!("{store:?}").contains("42") && !format!("{store:?}").contains("66"));
}
