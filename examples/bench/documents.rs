//! The documents of the benchmarks: hashes of 8 small fields, in the form in which the module reads
//! them.

use std::sync::Arc;

use writebehind::internals::{
    Batch, Content, Db, EntryId, Item, NO_EXPIRY, Namespace, Registration, RegistrationId, Span,
    Version, push_bytes,
};

/// Names and values of the 8 fields of the user with this number; each `turn` has other values.
pub fn fields(number: u64, turn: u64) -> [(&'static str, String); 8] {
    [
        ("name", format!("user {number:09}")),
        ("email", format!("u{number}@example.org")),
        ("age", format!("{}", 18 + (number + turn) % 70)),
        ("city", ["Bern", "Lyon", "Oslo", "Turin"][(number % 4) as usize].to_owned()),
        ("visits", format!("{}", turn)),
        ("score", format!("{}.{}", number % 1000, turn % 10)),
        ("plan", ["free", "pro"][((number + turn) % 2) as usize].to_owned()),
        ("seen", format!("{}", 1_700_000_000 + number + turn)),
    ]
}

/// The key of the user with this number.
pub fn key(number: u64) -> String {
    format!("user:{number:012}")
}

/// A registration of these keys with the default options.
pub fn registration(namespace: &str) -> Arc<Registration> {
    let (database, collection) = namespace.split_once('.').expect("a namespace");
    let (database, collection) = (database.to_owned(), collection.to_owned());
    Arc::new(Registration::new(Db(0), b"user:", Namespace { database, collection }))
}

/// The users with these numbers as one batch.
pub fn batch(registration: &Arc<Registration>, numbers: std::ops::Range<u64>, turn: u64) -> Batch {
    let mut bytes = Vec::new();
    let items = numbers
        .map(|number| {
            let key = append(&mut bytes, |bytes| bytes.extend_from_slice(key(number).as_bytes()));
            let value = append(&mut bytes, |bytes| {
                for (name, value) in fields(number, turn) {
                    push_bytes(bytes, name.as_bytes());
                    push_bytes(bytes, value.as_bytes());
                }
            });
            let content = Content::Hash;
            Item {
                entry: EntryId(0),
                version: Version(0),
                since_us: 0,
                key,
                content,
                value,
                expire_ms: NO_EXPIRY,
            }
        })
        .collect();
    let registration = Arc::clone(registration);
    Batch {
        registration,
        registration_id: RegistrationId(0),
        epoch: 0,
        slow: false,
        retry: 0,
        groups: Vec::new(),
        items,
        bytes,
    }
}

fn append(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Span {
    let start = bytes.len();
    write(bytes);
    Span { start, end: bytes.len() }
}
