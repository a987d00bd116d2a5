//! The comparison of all masters with MongoDB.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document};

use super::commands::PREFIX;
use super::nodes::Cluster;
use super::plan::Verdict;
use super::slots::slot;
use crate::comparison::{Mapping, keys};
use crate::mongod::collection::Collection;
use crate::redis_server::Redis;
use crate::wait::{SOON, wait_until};

/// Below the time that the connection waits for a reply.
const FLUSH_LIMIT_MS: &str = "50000";

/// Differences of a kind that are printed.
const PRINTED: u64 = 3;

/// Returns when no key of a master has a time to live.
#[track_caller]
pub fn wait_for_expiries(cluster: &Cluster) {
    for (master, _) in cluster.masters() {
        let has_none =
            || master.info("keyspace", "db0").is_none_or(|counts| counts.contains("expires=0,"));
        wait_until("the last key has expired", SOON, has_none);
    }
}

/// WB.FLUSH on each master. Returns the number of keys that it does not write.
#[track_caller]
pub fn flush(cluster: &Cluster) -> u64 {
    let masters = cluster.masters();
    masters.iter().map(|(master, _)| flush_one(master)).sum()
}

#[track_caller]
pub fn flush_one(node: &Redis) -> u64 {
    let flushed = node.flush_with(&["TIMEOUT", FLUSH_LIMIT_MS]);
    let undone = u64::try_from(flushed.failed + flushed.pending).expect("a count");
    if undone > 0 {
        eprintln!("port {}: {flushed:?}, {:?}", node.port(), node.status());
    }
    undone
}

/// Compares the documents with the keys that each master has in its own slots.
pub fn compare(cluster: &Cluster, collection: &Collection, prints: bool) -> Verdict {
    let mut documents: HashMap<String, Document> = HashMap::new();
    for document in collection.all() {
        let id = document.get_str("_id").expect("a string in _id").to_owned();
        documents.insert(id, document);
    }
    let mapping = Mapping::by_id(PREFIX);
    let mut verdict = Verdict::default();
    let report = |count: &mut u64, text: &dyn Fn() -> String| {
        *count += 1;
        if prints && *count <= PRINTED {
            eprintln!("{}", text());
        }
    };
    for (master, member) in cluster.masters() {
        let port = master.port();
        let mut connection = master.connection();
        for key in keys(&mut connection, PREFIX) {
            if !member.has(slot(&key)) {
                continue;
            }
            let Some(expected) = mapping.document(&mut connection, &key) else { continue };
            verdict.keys += 1;
            let name = String::from_utf8_lossy(&key).into_owned();
            match expected.get("_id").and_then(Bson::as_str).and_then(|id| documents.remove(id)) {
                None => report(&mut verdict.missing, &|| format!("port {port}: {name} is missing")),
                Some(found) if found == expected => {}
                Some(found) => report(&mut verdict.stale, &|| {
                    format!("port {port}: {name} is {found}, expected {expected}")
                }),
            }
        }
    }
    for (id, document) in documents {
        let slot = slot(format!("{PREFIX}{id}").as_bytes());
        report(&mut verdict.extra, &|| format!("slot {slot}: no key of {document}"));
    }
    verdict
}
