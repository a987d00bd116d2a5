use super::*;
use crate::core::ids::{Db, GroupId, RegistrationId};
use crate::core::registration::{Namespace, WriteMode};
use proptest::prelude::*;

fn shard() -> Shard {
    let (database, collection) = ("shop".to_owned(), "leases".to_owned());
    Shard { id: [7; 16], epoch: 9, holder: [6; 16], namespace: Namespace { database, collection } }
}

fn round_trip(records: &[Record<'_>]) -> Vec<String> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut packer = Packer::new(|block: &[u8]| blocks.push(block.to_vec()));
    records.iter().for_each(|record| packer.push(record));
    packer.end();
    drop(packer);
    let mut loaded = Vec::new();
    for block in &blocks {
        unpack(block, |record| loaded.push(format!("{record:?}"))).unwrap();
    }
    loaded
}

#[test]
fn all_kinds_of_records_are_saved_and_loaded() {
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    let mut registration = Registration::new(Db(3), b"p\0:", namespace);
    registration.write = WriteMode::Merge;
    let letter = DeadLetter {
        registration_id: RegistrationId(2),
        code: 121,
        reason: "schema".to_owned(),
        attempts: 3,
        unix_ms: 99,
        kind: ChangeKind::Deleted,
        retained: None,
    };
    let bytes = b"last".as_slice().into();
    let value = RetainedValue { content: Content::String, expire_ms: 7, bytes };
    let retained =
        DeadLetter { kind: ChangeKind::Retained, retained: Some(value), ..letter.clone() };
    let records = [
        Record::Paused,
        Record::Sessions(vec![[1; 16], [2; 16]]),
        Record::Lease(shard()),
        Record::Revision(None, Stamp { revision: Revision::default(), mark: Mark::Registered }),
        Record::Revision(
            Some((Db(3), b"p\0:".to_vec())),
            Stamp { revision: Revision { number: 7, node: [b'a'; 40] }, mark: Mark::Discarded },
        ),
        Record::Registration {
            registration_id: RegistrationId(2),
            live: false,
            discards: true,
            sync_pending: true,
            paused: true,
            missed: Missed { since_us: Some(7), scanned_us: None },
            registration,
        },
        Record::Sharing {
            registration_id: RegistrationId(2),
            stamps: Stamps { joined: 3, shared: u64::MAX },
        },
        Record::Load {
            registration_id: RegistrationId(2),
            documents: 7,
            after: b"\x05\0\0\0\0".to_vec(),
            options: LoadOptions { filter: b"{}".to_vec(), limit: 9, ..LoadOptions::default() },
        },
        Record::Verify { registration_id: RegistrationId(2), every_s: 86_400 },
        Record::Dead { db: Db(3), key: b"p\0:1", letter },
        Record::Dead { db: Db(3), key: b"p\0:2", letter: retained },
    ];
    let expected: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    assert_eq!(round_trip(&records), expected);
}

#[test]
fn corrupt_records_are_refused() {
    let mut block = Vec::new();
    for damaged in [&[][..], &[9, 1, 2], &[KEY, 0, 0], &[DEAD], &[REGISTRATION, 0, 0, 1, 0, 0]] {
        block.clear();
        push_bytes(&mut block, damaged);
        assert!(unpack(&block, |_| ()).is_err(), "{damaged:?}");
    }
}

proptest! {
    #[test]
    fn dirty_keys_are_loaded_in_order(
        keys in prop::collection::vec(
            (any::<u16>(), prop::collection::vec(any::<u8>(), 0..300), any::<u64>(), prop::sample::select(&[0u8, 1, 2, 3, 4, 8][..])),
            0..400,
        ),
    ) {
        let records: Vec<Record<'_>> = keys
            .iter()
            .map(|(number, key, since_us, kind)| {
                let kind = ChangeKind::from_u8(*kind).unwrap();
                let retained = (kind == ChangeKind::Retained).then(|| RetainedValue {
                    content: Content::Hash,
                    expire_ms: -1,
                    bytes: key.clone().into(),
                });
                Record::Key(SavedKey {
                    registration_id: RegistrationId(*number), db: Db(number / 2), kind, since_us: *since_us, key, retained,
                }, None)
            })
            .collect();
        let expected: Vec<String> = records.iter().map(|r| format!("{r:?}")).collect();
        prop_assert_eq!(round_trip(&records), expected);
    }
}

/// A string in a record: its length in four bytes, little-endian, and its bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

/// Version 1 of the encoding, byte by byte. Existing RDB files contain it, so it may be extended but
/// never changed. A record of each kind, with its encoding.
fn version_1() -> Vec<(Record<'static>, Vec<u8>)> {
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    let mut registration = Registration::new(Db(3), b"p\0:", namespace);
    registration.write = WriteMode::Merge;
    let words = [
        "p\0:", "d.c", "TYPE", "ANY", "KEY", "_id", "AS", "STRING", "WRITE", "MERGE", "ONDEL",
        "DELETE", "ONEXPIRE", "KEEP", "ONEVICT", "KEEP",
    ];
    let words: Vec<u8> = words.iter().flat_map(|word| counted(word.as_bytes())).collect();
    let value = |content| RetainedValue { content, expire_ms: -1, bytes: b"v".as_slice().into() };
    let key = |kind, retained| {
        let (id, db, since_us) = (0x0102, 3, 0x0102_0304_0506_0708);
        Record::Key(
            SavedKey {
                registration_id: RegistrationId(id),
                db: Db(db),
                kind,
                since_us,
                key: b"p\0:1",
                retained,
            },
            None,
        )
    };
    let letter = DeadLetter {
        registration_id: RegistrationId(0x0102),
        code: 121,
        reason: "why".to_owned(),
        attempts: 3,
        unix_ms: 99,
        kind: ChangeKind::Retained,
        retained: Some(value(Content::Hash)),
    };
    let no_expiry = [0xff; 8];
    vec![
        (Record::Paused, vec![4]),
        (Record::Sessions(vec![[7; 16], [8; 16]]), [&[5][..], &[7; 16], &[8; 16]].concat()),
        (
            Record::Lease(shard()),
            [&[8][..], &[7; 16], &[9, 0, 0, 0, 0, 0, 0, 0], &[6; 16], b"shop.leases"].concat(),
        ),
        (
            Record::Registration {
                registration_id: RegistrationId(0x0102),
                live: true,
                discards: false,
                sync_pending: true,
                paused: false,
                missed: Missed { since_us: Some(7), scanned_us: None },
                registration,
            },
            [
                &[1, 0x02, 0x01][..],
                &[1, 0, 1, 0],
                &[7, 0, 0, 0, 0, 0, 0, 0],
                &[0; 8],
                &[3, 0],
                &words,
            ]
            .concat(),
        ),
        (
            Record::Sharing {
                registration_id: RegistrationId(0x0102),
                stamps: Stamps { joined: 3, shared: u64::MAX },
            },
            [&[6, 0x02, 0x01][..], &[3, 0, 0, 0, 0, 0, 0, 0], &[0xff; 8]].concat(),
        ),
        (
            key(ChangeKind::Deleted, None),
            [&[2, 0x02, 0x01, 3, 0, 1][..], &[8, 7, 6, 5, 4, 3, 2, 1], &counted(b"p\0:1")].concat(),
        ),
        (
            key(ChangeKind::Retained, Some(value(Content::String))),
            [
                &[2, 0x02, 0x01, 3, 0, 4][..],
                &[8, 7, 6, 5, 4, 3, 2, 1],
                &counted(b"p\0:1"),
                &[2],
                &no_expiry,
                b"v",
            ]
            .concat(),
        ),
        (
            Record::Dead { db: Db(3), key: b"p\0:1", letter },
            [
                &[3, 0x02, 0x01, 3, 0][..],
                &[121, 0, 0, 0],
                &[3, 0, 0, 0],
                &[99, 0, 0, 0, 0, 0, 0, 0],
                &counted(b"p\0:1"),
                &counted(b"why"),
                &[4, 1],
                &no_expiry,
                b"v",
            ]
            .concat(),
        ),
    ]
}

/// What version 2 adds.
fn version_2() -> Vec<(Record<'static>, Vec<u8>)> {
    let saved = SavedKey {
        registration_id: RegistrationId(0x0102),
        db: Db(3),
        kind: ChangeKind::Deleted,
        since_us: 0x0102_0304_0506_0708,
        key: b"p\0:1",
        retained: None,
    };
    let bytes = [
        &[7, 4, 3, 2, 1][..],
        &[0x02, 0x01, 3, 0, 1],
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &counted(b"p\0:1"),
    ];
    vec![(Record::Key(saved, Some(GroupId(0x0102_0304))), bytes.concat())]
}

#[test]
fn the_encoding_of_versions_1_and_2_is_unchanged() {
    assert_eq!(VERSION, 2, "a newer version needs a list of its own; the others must still load");
    for (record, expected) in version_2() {
        let mut written = Vec::new();
        encode(&record, &mut written);
        assert_eq!(written, expected, "{record:?}");
        assert_eq!(decode(&expected), Some(record));
    }
    for (record, expected) in version_1() {
        let mut written = Vec::new();
        encode(&record, &mut written);
        assert_eq!(written, expected, "{record:?}");
    }
}

#[test]
fn a_file_of_version_1_loads() {
    let block: Vec<u8> = version_1().iter().flat_map(|(_, bytes)| counted(bytes)).collect();
    let mut loaded = Vec::new();
    unpack(&block, |record| loaded.push(format!("{record:?}"))).unwrap();
    let expected: Vec<String> =
        version_1().iter().map(|(record, _)| format!("{record:?}")).collect();
    assert_eq!(loaded, expected);
}
