//! MongoDB against Redis, and both against what was acknowledged.

use std::collections::HashMap;

use mongodb::bson::Document;

use super::model::{Key, PREFIXES};
use crate::comparison::Mapping;
use crate::mongod::TestDatabase;
use crate::redis_server::Redis;
use crate::wait::{SOON, wait_until};

/// What is wrong, one line a key.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledged, and in Redis no more.
    pub lost: Vec<String>,
    /// MongoDB's document is not what Redis's value makes.
    pub different: Vec<String>,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.different.is_empty()
    }
}

/// Leaves each key the states that it can have after a crash, by what Redis holds.
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

/// Compares all of them, when every time to live is over and WB.FLUSH has answered.
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
}

/// Whether MongoDB holds the document of every key that Redis holds.
pub fn has_arrived(redis: &Redis, database: &TestDatabase, keys: &[Vec<Key>]) -> bool {
    let mut documents: Vec<HashMap<String, Document>> =
        PREFIXES.iter().map(|prefix| documents(database, prefix.collection)).collect();
    keys.iter().flatten().all(|key| {
        let found = value(redis, key);
        found.is_none() || documents[key.prefix].remove(key.suffix()) == found
    })
}

/// Keys that may have a time to live are gone, or prove to have none.
fn wait_until_expired(redis: &Redis, keys: &[Vec<Key>]) {
    let expiring = |key: &&Key| key.candidates().iter().any(|state| state.expires);
    for key in keys.iter().flatten().filter(expiring) {
        wait_until("times to live are over", SOON, || redis.run::<i64>(&["PTTL", &key.name]) < 0);
    }
}

/// The document that Redis's value makes, without its key.
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
