//! Compares MongoDB with Redis, and both with the acknowledged writes.

use std::collections::HashMap;

use mongodb::bson::Document;

use super::model::{Key, PREFIXES};
use crate::comparison::Mapping;
use crate::mongod::TestDatabase;
use crate::redis_server::Redis;
use crate::wait::{SOON, wait_until};

/// The errors found, one line per key.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledged writes that Redis no longer has.
    pub lost: Vec<String>,
    /// Documents that differ from the value in Redis.
    pub different: Vec<String>,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.different.is_empty()
    }
}

/// Removes from each key the states that Redis's value rules out after a crash.
pub fn settle(redis: &Redis, keys: &mut [Vec<Key>], findings: &mut Findings) {
    for key in keys.iter_mut().flatten() {
        let found = value(redis, key);
        if !key.settle(found.as_ref()) {
            findings.lost.push(format!(
                "{}: {found:?}, not one of {:?}",
                key.name,
                key.candidates()
            ));
        }
    }
}

/// Compares all keys, after every time to live has elapsed and WB.FLUSH has replied.
pub fn check(
    redis: &Redis,
    database: &TestDatabase,
    keys: &mut [Vec<Key>],
    findings: &mut Findings,
) {
    wait_until_expired(redis, keys);
    let flushed = redis.flush_with(&["TIMEOUT", "15000"]);
    if (flushed.failed, flushed.pending) != (0, 0) {
        findings.different.push(format!("{flushed:?} {:?}", redis.status()));
    }
    settle(redis, keys, findings);
    let mut documents: Vec<HashMap<String, Document>> =
        PREFIXES.iter().map(|prefix| documents(database, prefix.collection)).collect();
    for key in keys.iter().flatten() {
        let found = value(redis, key);
        let stored = documents[key.prefix].remove(key.suffix());
        if !key.allows(found.as_ref(), stored.as_ref()) {
            findings.different.push(format!(
                "{}: MongoDB has {stored:?}, Redis {found:?}, last {:?}",
                key.name,
                key.candidates()
            ));
        }
    }
    let strays = documents.into_iter().flatten();
    findings.different.extend(strays.map(|(id, document)| format!("stray {id}: {document}")));
    for prefix in &PREFIXES {
        // Keys that are to be written once more after the crash are left out.
        findings.different.extend(redis.verify_faults(prefix.prefix, &[]));
    }
}

/// True if MongoDB has the document of every key in Redis.
pub fn is_written(redis: &Redis, database: &TestDatabase, keys: &[Vec<Key>]) -> bool {
    let mut documents: Vec<HashMap<String, Document>> =
        PREFIXES.iter().map(|prefix| documents(database, prefix.collection)).collect();
    keys.iter().flatten().all(|key| {
        let found = value(redis, key);
        found.is_none() || documents[key.prefix].remove(key.suffix()) == found
    })
}

/// Waits until no key has a time to live any more: each has expired or never had one.
fn wait_until_expired(redis: &Redis, keys: &[Vec<Key>]) {
    let expiring = |key: &&Key| key.candidates().iter().any(|state| state.expires);
    for key in keys.iter().flatten().filter(expiring) {
        wait_until("every time to live has elapsed", SOON, || {
            redis.run::<i64>(&["PTTL", &key.name]) < 0
        });
    }
}

/// The expected document of the key, without its `_id`.
fn value(redis: &Redis, key: &Key) -> Option<Document> {
    let mapping = Mapping::by_id(key.rules().prefix);
    let mut document = mapping.document(&mut redis.connection(), key.name.as_bytes())?;
    document.remove("_id");
    Some(document)
}

fn documents(database: &TestDatabase, collection: &str) -> HashMap<String, Document> {
    let split = |mut document: Document| {
        let id = document.remove("_id").expect("_id");
        (id.as_str().map_or_else(|| id.to_string(), str::to_owned), document)
    };
    database.collection(collection).all().into_iter().map(split).collect()
}
