//! Invariant 5, computed independently of the module: after WB.FLUSH, MongoDB's document is
//! document(Redis's value) for every key under a prefix, and there is no other document.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document};
use redis::Connection;

use crate::mongod::collection::Collection;
use crate::redis_server::Redis;

pub mod value;

pub use value::text;

/// Converts a key's suffix to the value of the document's key field.
pub type KeyValue = fn(&[u8]) -> Bson;

/// How the keys under a prefix map to the documents of a collection.
pub struct Mapping<'a> {
    pub prefix: &'a str,
    pub key_field: &'a str,
    pub key_value: KeyValue,
}

impl<'a> Mapping<'a> {
    /// The suffix as a string in `_id`: the default of a registration.
    pub fn by_id(prefix: &'a str) -> Self {
        Self::by_field(prefix, "_id")
    }

    /// The suffix as a string in `key_field`.
    pub fn by_field(prefix: &'a str, key_field: &'a str) -> Self {
        Self { prefix, key_field, key_value: text }
    }

    /// WB.FLUSH, then the comparison; panics if anything differs.
    #[track_caller]
    pub fn holds(&self, redis: &Redis, collection: &Collection) {
        let flushed = redis.flush();
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
        let differences = self.differences(&mut redis.connection(), collection);
        assert!(
            differences.is_empty(),
            "{} differences, the first: {:#?}",
            differences.len(),
            &differences[..differences.len().min(5)]
        );
    }

    /// The current differences, one line per document.
    pub fn differences(&self, connection: &mut Connection, collection: &Collection) -> Vec<String> {
        let mut documents: HashMap<Vec<u8>, Document> = HashMap::new();
        let mut differences = Vec::new();
        for document in collection.all() {
            let Some(key) = document.get(self.key_field) else {
                differences.push(format!("document without {}: {document}", self.key_field));
                continue;
            };
            let key = sortable(key);
            if let Some(first) = documents.insert(key, document) {
                differences.push(format!("two documents of one key: {first}"));
            }
        }
        for key in keys(connection, self.prefix) {
            let Some(expected) = self.document(connection, &key) else {
                continue;
            };
            let name = String::from_utf8_lossy(&key).into_owned();
            match documents.remove(&sortable(&expected[self.key_field])) {
                None => differences.push(format!("{name}: missing, expected {expected}")),
                Some(mut found) => {
                    if self.key_field != "_id" {
                        found.remove("_id");
                    }
                    if found != expected {
                        differences.push(format!("{name}: {found}, expected {expected}"));
                    }
                }
            }
        }
        differences.extend(documents.values().map(|document| format!("left over: {document}")));
        differences
    }

    /// The expected document of the key; `None` if the key does not exist.
    pub fn document(&self, connection: &mut Connection, key: &[u8]) -> Option<Document> {
        let mut document = fields(connection, key)?;
        // Fields of these names in the value are ignored.
        document.remove("_id");
        document.remove(self.key_field);
        document.insert(self.key_field, (self.key_value)(&key[self.prefix.len()..]));
        Some(document)
    }
}

fn fields(connection: &mut Connection, key: &[u8]) -> Option<Document> {
    let query = "the value of a key";
    let kind: String = redis::cmd("TYPE").arg(key).query(connection).expect(query);
    let mut read = match kind.as_str() {
        "none" => return None,
        "string" => redis::cmd("GET"),
        "hash" => redis::cmd("HGETALL"),
        "ReJSON-RL" => redis::cmd("JSON.GET"),
        "list" => redis::cmd("LRANGE"),
        "set" => redis::cmd("SMEMBERS"),
        "zset" => redis::cmd("ZRANGE"),
        "stream" => redis::cmd("XRANGE"),
        other => panic!("the comparison does not support type {other}"),
    };
    read.arg(key);
    match kind.as_str() {
        "list" => read.arg(0).arg(-1),
        "zset" => read.arg(0).arg(-1).arg("WITHSCORES"),
        "stream" => read.arg("-").arg("+"),
        _ => &mut read,
    };
    // The key may have expired since TYPE.
    value::fields(&kind, read.query(connection).expect(query))
}

/// The keys under a prefix, sorted.
pub fn keys(connection: &mut Connection, prefix: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut cursor = 0;
    loop {
        // Not MATCH: a prefix may hold glob characters.
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("COUNT").arg(1000);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query(connection).expect("SCAN");
        found.extend(keys.into_iter().filter(|key| key.starts_with(prefix.as_bytes())));
        if next == 0 {
            break;
        }
        cursor = next;
    }
    found.sort();
    found.dedup();
    found
}

fn sortable(key: &Bson) -> Vec<u8> {
    format!("{key:?}").into_bytes()
}
