//! WB.FLUSH, then the comparison of MongoDB with the model.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use mongodb::bson::{Bson, Document};

use super::chooser::Address;
use super::model::Key;
use super::place::{self, PLACES};
use super::send::Sender;
use crate::mongod::TestDatabase;
use crate::redis_server::Redis;
use crate::wait::{SOON, became};

/// The keys of all registered places.
pub type Keys = HashMap<Address, Key>;

/// Waits until no key or hash field will expire any more, and updates the model.
pub fn wait_until_stable(sender: &mut Sender, keys: &mut Keys) -> Result<(), String> {
    let timed: Vec<Address> = keys
        .keys()
        .filter(|(db, key)| place::of(*db, key).is_some_and(|place| place.timed))
        .cloned()
        .collect();
    let mut seen = Vec::new();
    let is_stable = became(SOON, || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_millis() as i64;
        seen = sender.look(&timed);
        !seen.iter().any(|seen| seen.is_unstable(now))
    });
    for (address, seen) in timed.iter().zip(seen) {
        let key = keys.get_mut(address).expect("a key");
        if !is_stable && seen.is_unstable(i64::MAX - 100_000) {
            key.note(&format!("still has a time to live: {seen:?}"));
        }
        key.before(place::of(address.0, &address.1).expect("a place"), seen);
    }
    if is_stable {
        Ok(())
    } else {
        Err("a time to live has elapsed and the key still exists".to_owned())
    }
}

/// The differences, a few lines for each key. `lost` is the server's `lost_total` at the last
/// check.
pub fn check(
    redis: &Redis,
    database: &TestDatabase,
    keys: &mut Keys,
    lost: &mut i64,
) -> Vec<String> {
    let mut differences = Vec::new();
    let flushed = redis.flush_with(&["TIMEOUT", "20000"]);
    let refused = keys.values().filter(|key| key.refused).count() as i64;
    if flushed.pending > 0 || flushed.failed > refused {
        let status = redis.status();
        differences.push(format!("{flushed:?}, {refused} may fail: {status:?}"));
    }
    let lost_total = redis.status().int("lost_total");
    let lossy = lost_total > *lost;
    *lost = lost_total;
    let mut documents = documents(database, &mut differences);
    let mut sorted: Vec<(&Address, &mut Key)> = keys.iter_mut().collect();
    sorted.sort_by(|a, b| a.0.cmp(b.0));
    for (address, key) in sorted {
        let place = place::of(address.0, &address.1).expect("a place");
        let found = documents.remove(address);
        if !key.allows(place, found.as_ref(), lossy) {
            let name = String::from_utf8_lossy(&address.1);
            let log: Vec<&str> = key.log().map(String::as_str).collect();
            differences.push(format!(
                "{name} in database {} ({}):\n  MongoDB has {found:?}\n  expected {}\n  {}",
                address.0,
                place.options,
                key.expected(),
                log.join("\n  ")
            ));
        }
        key.settle(found);
    }
    differences
        .extend(documents.iter().map(|(key, document)| format!("stray {key:?}: {document}")));
    differences
}

/// All documents by their keys, without the key field.
fn documents(database: &TestDatabase, differences: &mut Vec<String>) -> HashMap<Address, Document> {
    let mut all = HashMap::new();
    for place in &PLACES {
        let Some(collection) = place.collection else { continue };
        let is_own = |document: &Document| {
            let key = document.get_str(place.key_field);
            !place.whole || key.is_ok_and(|key| key.starts_with(place.prefix))
        };
        for mut document in database.collection(collection).all().into_iter().filter(is_own) {
            let key = document.remove(place.key_field);
            document.remove("_id");
            let Some(Bson::String(suffix)) = key else {
                differences.push(format!("without a key in {collection}: {key:?} {document}"));
                continue;
            };
            let prefix = if place.whole { "" } else { place.prefix };
            let key = format!("{prefix}{suffix}").into_bytes();
            if let Some(first) = all.insert((place.db, key), document) {
                differences.push(format!("two documents of one key in {collection}: {first}"));
            }
        }
    }
    all
}
