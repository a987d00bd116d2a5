//! A registration: which keys it captures, and what their documents look like.

pub mod args;
pub mod file_lines;
pub mod glob;
pub mod printable;
pub mod router;
pub mod schema;
pub mod shared_collections;

use std::fmt;

use self::glob::Glob;
use self::schema::Schema;
use crate::core::ids::Db;

/// A MongoDB namespace, `database.collection`. The collection may contain dots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Database name, 1–63 bytes.
    pub database: String,
    /// Collection name; with the database and the dot at most 255 bytes.
    pub collection: String,
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.collection)
    }
}

/// Which type of key a registration takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Keys of every type.
    Any,
    /// Hashes only.
    Hash,
    /// JSON documents (RedisJSON) only.
    Json,
    /// Strings only.
    String,
    /// Lists only.
    List,
    /// Sets only.
    Set,
    /// Sorted sets only.
    Zset,
    /// Streams only.
    Stream,
}

/// The BSON type that the key's suffix is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdType {
    /// The suffix itself; Binary subtype 0 when it is not UTF-8.
    String,
    /// A canonical decimal integer in the range of int64.
    Int64,
    /// 24 hexadecimal digits.
    ObjectId,
    /// A UUID in its hyphenated form, stored as Binary subtype 4.
    Uuid,
}

/// How a document is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The document becomes equal to the value in Redis.
    Replace,
    /// Fields that Redis has are set; other fields of the document stay.
    Merge,
}

/// What happens to the document when its key is removed (deleted, expired or evicted).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRemoval {
    /// The document is deleted.
    Delete,
    /// The document stays.
    Keep,
}

/// MODE THROUGH: a client that has written gets its reply when MongoDB has acknowledged what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteThrough {
    /// Longest time that it waits, milliseconds; `None` uses the module's setting.
    pub timeout_ms: Option<u64>,
}

/// READTHROUGH: a missing key is loaded from MongoDB when a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadThrough {
    /// When a loaded key expires, seconds after it was loaded; 0 for what its document says.
    pub ttl_s: u64,
    /// By how much that differs from key to key, percent, 0 to 100.
    pub jitter_percent: u8,
    /// How long it is remembered that there is no document, milliseconds.
    pub absent_ms: u64,
}

/// What happens to a field that SCHEMA cannot convert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The whole change becomes a dead letter.
    #[default]
    DeadLetter,
    /// The field is stored as a string, as it would be without SCHEMA.
    String,
    /// The field is left out.
    Skip,
}

/// What happens to the keys of one transaction of Redis when one of them cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atomic {
    /// Its keys are written by themselves, whatever transaction changed them.
    None,
    /// The others are written without it.
    #[default]
    Split,
    /// All of them wait, or become dead letters, together.
    Whole,
}

/// A key prefix bound to a namespace, with all options as registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Logical Redis database the prefix is registered in.
    pub db: Db,
    /// Key prefix; empty takes every key.
    pub prefix: Vec<u8>,
    /// Where the documents go.
    pub namespace: Namespace,
    /// Type of the keys; a key of another type is treated like a missing one.
    pub key_type: KeyType,
    /// Field that holds the key's suffix, or the whole key: `_id`, or another field, for which a
    /// unique index is created.
    pub key_field: String,
    /// BSON type of that field.
    pub key_as: IdType,
    /// True if that field holds the whole key, as a string.
    pub key_whole: bool,
    /// Replace or merge.
    pub write: WriteMode,
    /// Whether keys that one MULTI or script changed are written together.
    pub atomic: Atomic,
    /// On DEL, UNLINK and every other command that removes the key.
    pub on_delete: OnRemoval,
    /// On expiry.
    pub on_expire: OnRemoval,
    /// On eviction.
    pub on_evict: OnRemoval,
    /// Field that holds the key's expiration time as a date, if one is registered; neither `_id` nor
    /// the key field.
    pub ttl_field: Option<String>,
    /// True if the operator guarantees that no key of this registration has the same document id as a
    /// key of another registration of the collection.
    pub shared: bool,
    /// Keys whose suffixes match one of these globs belong to no registration.
    pub exclude: Vec<Glob>,
    /// True if a string that holds a JSON object is stored as the object's fields.
    pub unwraps: bool,
    /// What happens to a field that the schema cannot convert.
    pub on_error: OnError,
    /// Whether clients wait until MongoDB has what they write.
    pub write_through: Option<WriteThrough>,
    /// Whether missing keys are loaded when clients read them.
    pub read_through: Option<ReadThrough>,
    /// Types and names of fields, where they differ from those of the value.
    pub schema: Option<Box<Schema>>,
    /// Longest wait for coalescing in milliseconds; `None` uses the module's setting.
    pub interval_ms: Option<u64>,
    /// Maximum number of keys in one batch; `None` uses the module's setting.
    pub batch_max_keys: Option<u32>,
}

impl Registration {
    /// True if both have the same prefix in the same database; their options may differ.
    pub fn is_same_prefix(&self, other: &Registration) -> bool {
        (self.db, &self.prefix) == (other.db, &other.prefix)
    }

    /// A registration with every option at its default.
    pub fn new(db: Db, prefix: &[u8], namespace: Namespace) -> Self {
        Registration {
            db,
            prefix: prefix.to_vec(),
            namespace,
            key_type: KeyType::Any,
            key_field: "_id".to_owned(),
            key_as: IdType::String,
            key_whole: false,
            write: WriteMode::Replace,
            atomic: Atomic::Split,
            on_delete: OnRemoval::Delete,
            on_expire: OnRemoval::Keep,
            on_evict: OnRemoval::Keep,
            ttl_field: None,
            shared: false,
            exclude: Vec::new(),
            unwraps: false,
            on_error: OnError::DeadLetter,
            write_through: None,
            read_through: None,
            schema: None,
            interval_ms: None,
            batch_max_keys: None,
        }
    }

    /// The part of `key` after the prefix, which identifies the document.
    pub fn suffix<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.get(self.prefix.len()..).unwrap_or_default()
    }

    /// The part of `key` that its document holds: the suffix, or the whole key.
    pub fn id_of<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        if self.key_whole { key } else { self.suffix(key) }
    }

    /// True if both map a key to the same document.
    pub fn has_same_key(&self, other: &Registration) -> bool {
        (&self.key_field, self.key_as, self.key_whole)
            == (&other.key_field, other.key_as, other.key_whole)
    }

    /// True if EXCLUDE removes `key`, which begins with the prefix, from the registration.
    #[inline]
    pub fn excludes(&self, key: &[u8]) -> bool {
        self.exclude.iter().any(|glob| glob.matches(self.suffix(key)))
    }
}
