//! The store as a node uses it: queue, commit, crash, load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "spoils files on purpose")]

use std::path::Path;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, SecretKey};
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId, UpdateId};
use lightning_traits::interface::MonitorStore as _;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorInit, MonitorSnapshot, MonitorStep, NewMonitor, PartyTerms, PastPart,
    Persist, RecordChange,
};
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentSpec, FundingOutput, ObscureFactor,
};
use lightning_traits::units::{BlockHeight, CsvDelay, FeeratePerKw, Msat};

fn point(byte: u8) -> PublicKey {
    SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&Secp256k1::new())
}

fn new_channel(byte: u8) -> NewMonitor {
    let keys = |base: u8| ChannelPublicKeys {
        funding: point(base),
        revocation_basepoint: point(base + 1),
        payment_basepoint: point(base + 2),
        delayed_payment_basepoint: point(base + 3),
        htlc_basepoint: point(base + 4),
    };
    let terms = |base| PartyTerms {
        keys: keys(base),
        dust_limit: Amount::from_sat(354),
        to_self_delay: CsvDelay::new(144),
    };
    let (ours, theirs) = (terms(10), terms(20));
    let spec = CommitmentSpec {
        feerate: FeeratePerKw::FLOOR,
        to_broadcaster: Msat::from_sat(1_000),
        to_countersigner: Msat::ZERO,
        htlcs: vec![],
    };
    let outpoint = OutPoint { txid: Txid::from_byte_array([byte; 32]), vout: 0 };
    let init = MonitorInit {
        channel: ChannelId([byte; 32]),
        peer: NodeId::from(point(30)),
        keys: ChannelKeysId([byte; 32]),
        funding: FundingOutput::new(
            outpoint,
            Amount::from_sat(1_000),
            ours.keys.funding,
            theirs.keys.funding,
        ),
        format: CommitmentFormat::AnchorsZeroFeeHtlc,
        obscure: ObscureFactor::new(&ours.keys.payment_basepoint, &theirs.keys.payment_basepoint),
        we_opened: true,
        their_signature: Secp256k1::new()
            .sign_ecdsa(&Message::from_digest([1; 32]), &SecretKey::from_slice(&[1; 32]).unwrap()),
        our_spec: spec.clone(),
        their_spec: spec.mirror(),
        their_point: point(31),
        destination: ScriptBuf::new(),
        birth: BlockHeight::new(7),
        ours,
        theirs,
    };
    NewMonitor { init, record: RecordChange::Snapshot { bytes: vec![byte, 0] }, extra: TlvRecords::new() }
}

/// With parts of the past by their numbers.
fn snapshot(state: u8, past: &[(u32, u8)]) -> MonitorSnapshot {
    let part = |(number, byte): &(u32, u8)| PastPart { number: *number, bytes: vec![*byte; 4] };
    MonitorSnapshot { state: vec![state], past: past.iter().map(part).collect() }
}

fn update(channel: u8, id: u64, record: RecordChange) -> ChannelMonitorUpdate {
    let steps = vec![MonitorStep::ShutdownStarted {}];
    ChannelMonitorUpdate {
        channel: ChannelId([channel; 32]),
        id: UpdateId(id),
        steps,
        record,
        extra: TlvRecords::new(),
    }
}

fn append(byte: u8) -> RecordChange {
    RecordChange::Append { bytes: vec![byte] }
}

fn receipts(store: &RedbStore) -> Vec<(ChannelId, UpdateId)> {
    core::iter::from_fn(|| store.next_receipt()).map(|receipt| (receipt.channel(), receipt.id())).collect()
}

fn reopen(store: RedbStore, path: &Path) -> RedbStore {
    drop(store);
    RedbStore::open(path).unwrap()
}

#[test]
fn no_receipt_before_the_commit_and_one_for_each_update_after() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&directory.path().join("store.redb")).unwrap();
    assert_eq!(store.write_new(&new_channel(1)), Persist::InProgress);
    assert_eq!(store.write_update(&update(1, 1, append(1)), None), Persist::InProgress);
    assert!(receipts(&store).is_empty());
    assert!(store.has_queued());
    assert_eq!(store.commit().unwrap(), 2);
    let channel = ChannelId([1; 32]);
    assert_eq!(receipts(&store), [(channel, UpdateId(0)), (channel, UpdateId(1))]);
    assert!(receipts(&store).is_empty(), "a receipt is given once");
    assert_eq!(store.commit().unwrap(), 0);
}

#[test]
fn what_was_committed_comes_back_in_order_and_what_was_not_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let _ = store.write_new(&new_channel(1));
    let _ = store.write_new(&new_channel(2));
    for id in 1..=300 {
        let _ = store.write_update(&update(1, id, append((id % 251) as u8)), None);
    }
    store.put("payments/1", vec![1]);
    store.commit().unwrap();
    let _ = store.write_update(&update(1, 301, append(9)), None);
    store.put("payments/2", vec![2]);
    let store = reopen(store, &path);

    let channels = store.load_channels().unwrap();
    assert_eq!(channels.len(), 2);
    let (id, stored) = &channels[0];
    assert_eq!(*id, ChannelId([1; 32]));
    assert_eq!(NewMonitor::from_versioned(&stored.new).unwrap().init, new_channel(1).init);
    assert_eq!(stored.record, [1, 0]);
    assert_eq!(stored.last_update, UpdateId(300));
    assert_eq!(stored.updates.len(), 300);
    assert_eq!(stored.record_changes.len(), 300);
    for (at, (bytes, change)) in stored.updates.iter().zip(&stored.record_changes).enumerate() {
        let update = ChannelMonitorUpdate::from_versioned(bytes).unwrap();
        assert_eq!(update.id, UpdateId(at as u64 + 1));
        assert_eq!(update.record, RecordChange::Same {}, "the record is not stored twice");
        assert_eq!(change, &[((at + 1) % 251) as u8]);
    }
    assert_eq!(store.list("payments/").unwrap(), [("payments/1".to_owned(), vec![1])]);
    assert_eq!(store.get("payments/2").unwrap(), None);
}

#[test]
fn snapshots_replace_what_they_include() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let _ = store.write_new(&new_channel(1));
    let _ = store.write_update(&update(1, 1, append(1)), None);
    let _ =
        store.write_update(&update(1, 2, RecordChange::Snapshot { bytes: vec![8] }), Some(snapshot(77, &[])));
    let _ = store.write_update(&update(1, 3, append(3)), None);
    store.commit().unwrap();
    let stored = store.load_channels().unwrap().remove(0).1;
    assert_eq!(stored.monitor, Some(vec![77]));
    assert_eq!(stored.updates.len(), 1);
    assert_eq!(stored.record, [8]);
    assert_eq!(stored.record_changes, [vec![3]]);
    assert_eq!(stored.last_update, UpdateId(3));

    store.write_chain_state(ChannelId([1; 32]), snapshot(78, &[]));
    let tip = (BlockHash::from_byte_array([5; 32]), BlockHeight::new(12));
    store.write_tip(tip.0, tip.1);
    assert_eq!(store.load_tip().unwrap(), None);
    store.commit().unwrap();
    assert_eq!(store.load_tip().unwrap(), Some(tip));
    let stored = store.load_channels().unwrap().remove(0).1;
    assert_eq!((stored.monitor, stored.updates.len()), (Some(vec![78]), 0));

    store.archive(ChannelId([1; 32]));
    store.commit().unwrap();
    assert!(store.load_channels().unwrap().is_empty());
}

/// What a monitor was is written part by part, and each part once; a snapshot replaces the rest.
#[test]
fn parts_of_the_past_stay_beside_whatever_snapshot_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (one, two) = (ChannelId([1; 32]), ChannelId([2; 32]));
    let parts =
        |channel| RedbStore::load_channel(&RedbStore::open(&path).unwrap(), channel).unwrap().unwrap().past;
    {
        let store = RedbStore::open(&path).unwrap();
        let _ = (store.write_new(&new_channel(1)), store.write_new(&new_channel(2)));
        let _ = store.write_update(&update(1, 1, append(1)), Some(snapshot(70, &[(0, 10), (1, 11)])));
        let _ = store.write_update(&update(2, 1, append(1)), Some(snapshot(71, &[(0, 20)])));
        assert_eq!(store.read(one), None, "nothing is durable yet");
        store.commit().unwrap();
        let read = store.read(one).unwrap();
        assert_eq!(store.load_channels().unwrap()[0], (one, read));
        store.write_chain_state(one, snapshot(72, &[]));
        let _ = store.write_update(&update(1, 2, append(1)), Some(snapshot(73, &[(2, 12)])));
        assert_eq!(store.read(one).unwrap().past.len(), 2);
        store.commit().unwrap();
        assert_eq!(store.read(one).unwrap().monitor, Some(vec![73]));
    }
    assert_eq!(parts(one), [vec![10; 4], vec![11; 4], vec![12; 4]]);
    assert_eq!(parts(two), [vec![20; 4]]);
    {
        // What may not have been taken is written again, and is the same.
        let store = RedbStore::open(&path).unwrap();
        store.write_chain_state(one, snapshot(74, &[(0, 10), (1, 11), (2, 12), (3, 13)]));
        store.archive(two);
        store.commit().unwrap();
        assert_eq!(store.read(two), None);
    }
    assert_eq!(parts(one), [vec![10; 4], vec![11; 4], vec![12; 4], vec![13; 4]]);
}

#[test]
fn a_value_is_replaced_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&directory.path().join("store.redb")).unwrap();
    store.put("a", vec![1]);
    store.put("a", vec![2]);
    store.commit().unwrap();
    assert_eq!(store.get("a").unwrap(), Some(vec![2]));
    store.remove("a");
    store.commit().unwrap();
    assert_eq!(store.get("a").unwrap(), None);
}

#[test]
fn a_second_process_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let _first = RedbStore::open(&path).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::InUse(_))));
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let rubbish = vec![0x5a; 70_000];
    std::fs::write(&path, &rubbish).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Corrupt(..))));
    assert_eq!(std::fs::read(&path).unwrap(), rubbish);
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Corrupt(..))));
    assert_eq!(std::fs::read(&path).unwrap(), b"short");
}

#[test]
fn a_missing_directory_is_a_disk_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing").join("store.redb");
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Disk(_))));
}

#[test]
fn values_of_the_program_press_nobody_and_keep_their_place_in_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = RedbStore::open(&path).unwrap();
    store.put("before", vec![1]);
    assert!(store.has_queued() && !store.is_pressing());
    assert_eq!(store.write_new(&new_channel(1)), Persist::InProgress);
    store.put("behind", vec![2]);
    assert!(store.is_pressing());
    store.commit().unwrap();
    assert!(!store.has_queued() && !store.is_pressing());
    // What was queued before and behind came with the channel.
    let store = reopen(store, &path);
    assert_eq!(store.get("before").unwrap(), Some(vec![1]));
    assert_eq!(store.get("behind").unwrap(), Some(vec![2]));
    for (what, write) in [
        (
            "tip",
            Box::new(|store: &RedbStore| store.write_tip(BlockHash::all_zeros(), BlockHeight::new(7)))
                as Box<dyn Fn(&RedbStore)>,
        ),
        ("chain", Box::new(|store| store.write_chain_state(ChannelId([1; 32]), snapshot(3, &[(0, 4)])))),
        ("archive", Box::new(|store| store.archive(ChannelId([1; 32])))),
    ] {
        write(&store);
        assert!(store.is_pressing(), "{what}");
        store.commit().unwrap();
    }
}

#[test]
fn those_who_wait_share_the_commits_of_whoever_is_notified() {
    const WAITERS: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let (wake, woken) = std::sync::mpsc::channel();
    let store = RedbStore::open(&path).unwrap().with_notify(move || wake.send(()).unwrap());
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for waiter in 0..WAITERS {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                store.put(&format!("value {waiter}"), vec![1]);
                store.wait_durable().unwrap();
                // Read from the file: it is there when the wait is over.
                assert_eq!(store.get(&format!("value {waiter}")).unwrap(), Some(vec![1]));
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        // Each is heard twice: when it queues, and when it waits.
        for _ in 0..2 * WAITERS {
            woken.recv().unwrap();
        }
        assert!(store.is_pressing());
        assert_eq!(done.load(std::sync::atomic::Ordering::SeqCst), 0, "nobody wrote for itself");
        assert_eq!(store.commit().unwrap(), WAITERS);
        assert!(!store.is_pressing());
    });
    store.wait_durable().unwrap();
}

#[test]
fn who_waits_writes_itself_when_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = RedbStore::open(&path).unwrap();
    store.put("value", vec![1]);
    store.wait_durable().unwrap();
    assert_eq!(reopen(store, &path).get("value").unwrap(), Some(vec![1]));
}

#[test]
fn whoever_commits_is_woken_by_every_write() {
    let directory = tempfile::tempdir().unwrap();
    let woken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&woken);
    let store = RedbStore::open(&directory.path().join("store.redb")).unwrap().with_notify(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let _ = store.write_new(&new_channel(1));
    let _ = store.write_update(&update(1, 1, append(1)), None);
    store.put("a", vec![1]);
    store.archive(ChannelId([1; 32]));
    assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 4);
    store.commit().unwrap();
    assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[test]
fn a_whole_channel_takes_the_place_of_what_is_stored_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let fill = |store: &RedbStore, updates: u64| {
        let _ = store.write_new(&new_channel(1));
        for id in 1..=updates {
            let _ = store.write_update(&update(1, id, RecordChange::Append { bytes: vec![id as u8] }), None);
        }
        store.commit().unwrap();
        while store.next_receipt().is_some() {}
    };
    let from = RedbStore::open(&folder.path().join("other")).unwrap();
    fill(&from, 5);
    let mut whole = from.load_channel(ChannelId([1; 32])).unwrap().unwrap();
    whole.past = vec![vec![5; 9], vec![6; 9]];
    for already in [0, 3, 9] {
        let path = path.with_extension(already.to_string());
        let store = RedbStore::open(&path).unwrap();
        if already > 0 {
            fill(&store, already);
            store.write_chain_state(ChannelId([1; 32]), snapshot(7, &[(0, 1), (1, 2), (2, 3)]));
        }
        store.put_channel(ChannelId([1; 32]), whole.clone());
        store.commit().unwrap();
        assert!(store.next_receipt().is_none(), "it carries no receipt");
        assert_eq!(store.load_channel(ChannelId([1; 32])).unwrap(), Some(whole.clone()));
        assert_eq!(store.load_channels().unwrap(), [(ChannelId([1; 32]), whole.clone())]);
        // And goes on from there.
        let _ = store.write_update(&update(1, 6, RecordChange::Append { bytes: vec![6] }), None);
        store.commit().unwrap();
        let more = store.load_channel(ChannelId([1; 32])).unwrap().unwrap();
        assert_eq!((more.updates.len(), more.record_changes.len(), more.last_update), (6, 6, UpdateId(6)));
        assert_eq!(store.load_channel(ChannelId([2; 32])).unwrap(), None);
    }
}
