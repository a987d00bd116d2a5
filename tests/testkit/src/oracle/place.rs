//! The prefixes that a run writes to, and how they are registered.

use mongodb::bson::Document;

use super::typed;

/// What a registration does with the document when its key is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRemoval {
    Delete,
    Keep,
}

/// A prefix in one logical database, registered or not.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub db: i64,
    pub prefix: &'static str,
    /// The collection of its registration; `None` for a prefix that is not registered.
    pub collection: Option<&'static str>,
    pub options: &'static str,
    /// The type that it accepts, as in TYPE's reply; empty for all.
    pub kind: &'static str,
    pub key_field: &'static str,
    /// True if the documents hold whole keys (KEY ... WHOLE).
    pub whole: bool,
    pub ttl_field: Option<&'static str>,
    pub merge: bool,
    pub on_delete: OnRemoval,
    pub on_expire: OnRemoval,
    /// True if its keys have short times to live. Keys of other places never do.
    pub timed: bool,
    /// The conversion of its SCHEMA; `None` for a document that it rejects.
    pub schema: Option<fn(Document) -> Option<Document>>,
    /// UNWRAP: a string that holds a JSON object is the document.
    pub unwraps: bool,
    /// True for the suffixes that EXCLUDE matches.
    pub excludes: Option<fn(&[u8]) -> bool>,
}

const fn place(
    prefix: &'static str,
    collection: &'static str,
    kind: &'static str,
    options: &'static str,
) -> Place {
    Place {
        db: 0,
        prefix,
        collection: Some(collection),
        options,
        kind,
        key_field: "_id",
        whole: false,
        ttl_field: None,
        merge: false,
        on_delete: OnRemoval::Delete,
        on_expire: OnRemoval::Keep,
        timed: false,
        schema: None,
        unwraps: false,
        excludes: None,
    }
}

const fn unregistered(prefix: &'static str, db: i64) -> Place {
    Place { db, collection: None, ..place(prefix, "", "", "") }
}

/// The places of a run. No command has keys of both `timed` and other places, because RENAME and
/// COPY keep the time to live.
pub const PLACES: [Place; 30] = [
    place("a:", "any", "", "INTERVAL 0"),
    // Longer than the prefix above, so it takes precedence.
    place("a:longer:", "longer", "", "TYPE ANY INTERVAL 5"),
    place("h:", "hashes", "hash", "TYPE HASH INTERVAL 0"),
    place("j:", "json", "ReJSON-RL", "TYPE JSON"),
    place("s:", "strings", "string", "TYPE STRING INTERVAL 10"),
    place("l:", "lists", "list", "TYPE LIST INTERVAL 0"),
    place("e:", "sets", "set", "TYPE SET INTERVAL 0"),
    place("z:", "zsets", "zset", "TYPE ZSET INTERVAL 10 BATCH 3"),
    place("q:", "streams", "stream", "TYPE STREAM INTERVAL 0"),
    Place { key_field: "kid", ..place("f:", "fields", "", "KEY kid INTERVAL 0") },
    // Two prefixes in one collection.
    Place { whole: true, ..place("g:", "whole", "", "KEY _id WHOLE INTERVAL 0") },
    Place { whole: true, ..place("i:", "whole", "hash", "KEY _id WHOLE TYPE HASH INTERVAL 0") },
    Place { merge: true, ..place("m:", "merged", "", "WRITE MERGE INTERVAL 0") },
    Place { merge: true, ..place("n:", "merged_hashes", "hash", "TYPE HASH WRITE MERGE") },
    Place { on_delete: OnRemoval::Keep, ..place("k:", "kept", "", "ONDEL KEEP INTERVAL 0") },
    Place { ttl_field: Some("exp"), ..place("d:", "dated", "", "TTLFIELD exp INTERVAL 0") },
    Place { schema: Some(typed::hash), ..place("c:", "typed", "hash", typed::HASH) },
    Place { schema: Some(typed::json), ..place("y:", "typed_json", "ReJSON-RL", typed::JSON) },
    Place { schema: Some(typed::lenient), ..place("p:", "lenient", "hash", typed::LENIENT) },
    Place {
        schema: Some(typed::skipping),
        ..place("r:", "skipping", "ReJSON-RL", typed::SKIPPING)
    },
    Place { unwraps: true, ..place("v:", "unwrapped", "", "UNWRAP INTERVAL 0 ATOMIC NONE") },
    Place {
        excludes: Some(|suffix| matches!(suffix, [b's', ..] | [_, b'2'])),
        ..place("b:", "picked", "", "EXCLUDE 2 s* [^s]2 INTERVAL 0")
    },
    unregistered("o:", 0),
    Place { db: 1, ..place("a:", "other_any", "", "INTERVAL 0") },
    Place { db: 1, ..place("h:", "other_hashes", "hash", "TYPE HASH") },
    unregistered("a:", 2),
    Place { timed: true, ..place("t:", "timed", "", "INTERVAL 20") },
    Place {
        timed: true,
        on_expire: OnRemoval::Delete,
        on_delete: OnRemoval::Keep,
        ..place("x:", "expiring", "", "ONEXPIRE DELETE ONDEL KEEP INTERVAL 0")
    },
    Place {
        timed: true,
        on_expire: OnRemoval::Delete,
        ttl_field: Some("exp"),
        ..place("w:", "watched", "string", "TYPE STRING ONEXPIRE DELETE TTLFIELD exp")
    },
    Place { timed: true, ..unregistered("u:", 0) },
];

/// The number of logical databases in use.
pub const DATABASES: i64 = 3;

/// The place of excluded keys.
const EXCLUDED: &Place = &unregistered("", 0);

/// The place of a key: the longest matching prefix of its database.
pub fn of(db: i64, key: &[u8]) -> Option<&'static Place> {
    let fits = |place: &&Place| place.db == db && key.starts_with(place.prefix.as_bytes());
    let place = PLACES.iter().filter(fits).max_by_key(|place| place.prefix.len())?;
    let excluded = place.excludes.is_some_and(|excludes| excludes(&key[place.prefix.len()..]));
    Some(if excluded { EXCLUDED } else { place })
}
