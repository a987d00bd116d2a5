//! Invariant 5, told independently of the module: after WB.FLUSH, MongoDB's document is
//! document(Redis's value), for every key under a prefix, and there is no other document.

use std::collections::HashMap;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use redis::Connection;

use super::collection::Collection;
use super::redis_server::Redis;

/// A key's suffix as the document's key.
pub type KeyValue = fn(&[u8]) -> Bson;

/// How the keys under a prefix map to the documents of a collection.
pub struct Mapping<'a> {
    pub prefix: &'a str,
    pub key_field: &'a str,
    pub key_value: KeyValue,
}

impl<'a> Mapping<'a> {
    /// The suffix as a string in `_id`: what a registration does by default.
    pub fn by_id(prefix: &'a str) -> Self {
        Self::by_field(prefix, "_id")
    }

    /// The suffix as a string in a field.
    pub fn by_field(prefix: &'a str, key_field: &'a str) -> Self {
        Self { prefix, key_field, key_value: text }
    }

    /// WB.FLUSH, then the comparison.
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

    /// What differs now, in words, one line a document.
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

    /// The document that the key's value makes; nothing when there is no value.
    pub fn document(&self, connection: &mut Connection, key: &[u8]) -> Option<Document> {
        let mut document = fields(connection, key)?;
        // Both are the key's and MongoDB's, whatever the value calls so.
        document.remove("_id");
        document.remove(self.key_field);
        document.insert(self.key_field, (self.key_value)(&key[self.prefix.len()..]));
        Some(document)
    }
}

fn fields(connection: &mut Connection, key: &[u8]) -> Option<Document> {
    let query = "the value of a key";
    let kind: String = redis::cmd("TYPE").arg(key).query(connection).expect(query);
    match kind.as_str() {
        "none" => None,
        "string" => {
            // It may have expired since.
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query(connection).expect(query);
            Some(Document::from_iter([("value".to_owned(), text(&value?))]))
        }
        "hash" => {
            let fields: Vec<(String, Vec<u8>)> =
                redis::cmd("HGETALL").arg(key).query(connection).expect(query);
            let document = fields.into_iter().map(|(name, value)| (name, text(&value))).collect();
            Some(document).filter(|document: &Document| !document.is_empty())
        }
        "ReJSON-RL" => {
            let json: Option<String> =
                redis::cmd("JSON.GET").arg(key).query(connection).expect(query);
            Some(match bson(serde_json::from_str(&json?).expect("JSON")) {
                Bson::Document(root) => root,
                other => Document::from_iter([("value".to_owned(), other)]),
            })
        }
        "list" => {
            let items = items(redis::cmd("LRANGE").arg(key).arg(0).arg(-1), connection);
            Some(items).filter(|items| !items.is_empty()).map(texts).map(of_value)
        }
        "set" => {
            let mut members = items(redis::cmd("SMEMBERS").arg(key), connection);
            members.sort();
            Some(members).filter(|members| !members.is_empty()).map(texts).map(of_value)
        }
        "zset" => {
            let pairs =
                items(redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES"), connection);
            let members = pairs.chunks(2).map(|pair| {
                let score = String::from_utf8_lossy(&pair[1]).parse::<f64>().expect("a score");
                doc! { "member": text(&pair[0]), "score": score }
            });
            Some(members.collect::<Vec<_>>()).filter(|all| !all.is_empty()).map(of_value)
        }
        "stream" => {
            let entries: Vec<(String, Vec<Vec<u8>>)> =
                redis::cmd("XRANGE").arg(key).arg("-").arg("+").query(connection).expect(query);
            let entries = entries.into_iter().map(|(id, pairs)| {
                // Of fields with one name the last counts.
                let fields = pairs.chunks(2).map(|pair| {
                    (String::from_utf8(pair[0].clone()).expect("a name"), text(&pair[1]))
                });
                doc! { "id": id, "fields": fields.collect::<Document>() }
            });
            // A stream may be empty and there.
            Some(of_value(entries.collect::<Vec<_>>()))
        }
        other => panic!("the oracle knows no {other}"),
    }
}

fn items(command: &redis::Cmd, connection: &mut Connection) -> Vec<Vec<u8>> {
    command.query(connection).expect("the value of a key")
}

fn texts(items: Vec<Vec<u8>>) -> Vec<Bson> {
    items.iter().map(|item| text(item)).collect()
}

/// The document of a value that has no fields of its own.
fn of_value(value: Vec<impl Into<Bson>>) -> Document {
    let items = value.into_iter().map(Into::into).collect();
    Document::from_iter([("value".to_owned(), Bson::Array(items))])
}

fn keys(connection: &mut Connection, prefix: &str) -> Vec<Vec<u8>> {
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

/// A string, or Binary when it is not UTF-8.
pub fn text(bytes: &[u8]) -> Bson {
    match std::str::from_utf8(bytes) {
        Ok(text) => Bson::String(text.to_owned()),
        Err(_) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }),
    }
}

/// JSON as BSON: whole numbers are Int64, all others Double.
fn bson(json: serde_json::Value) -> Bson {
    match json {
        serde_json::Value::Null => Bson::Null,
        serde_json::Value::Bool(value) => Bson::Boolean(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            None => Bson::Double(number.as_f64().expect("a number")),
        },
        serde_json::Value::String(text) => Bson::String(text),
        serde_json::Value::Array(items) => Bson::Array(items.into_iter().map(bson).collect()),
        serde_json::Value::Object(fields) => {
            Bson::Document(fields.into_iter().map(|(name, value)| (name, bson(value))).collect())
        }
    }
}

fn sortable(key: &Bson) -> Vec<u8> {
    format!("{key:?}").into_bytes()
}
