//! Why a value cannot become a document.

use std::fmt;

use super::bson::NulInName;
use crate::core::registration::schema::{FieldType, NameTaken};

/// The largest document that MongoDB stores, in bytes: 16 MiB, `_id` included.
pub const MAX_DOCUMENT_BYTES: usize = 16_777_216;

/// How deep documents and arrays may stand in each other, the document itself counted as 1.
/// On this level there may be fields; an empty document or array may stand one deeper.
/// Seen on MongoDB 6.0, for replacements and pipelines alike: more is error 15.
pub const MAX_LEVELS: u32 = 180;

/// A change that MongoDB cannot hold. `Display` gives one sentence for people, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingError {
    /// The key's suffix is not what `AS` asks for; holds what it should have been.
    Suffix(&'static str),
    /// A field name is not UTF-8.
    NameNotUtf8,
    /// A field name has a NUL in it.
    NulInName,
    /// JSON text that is not UTF-8.
    JsonNotUtf8,
    /// JSON text that cannot be parsed, or a number outside the range of a double; what and where.
    Json(String),
    /// More than [`MAX_LEVELS`] levels.
    TooDeep,
    /// More than [`MAX_DOCUMENT_BYTES`] bytes.
    TooLarge,
    /// The key is so long that no command holds it, or not together with the document.
    KeyTooLong,
    /// The field for the value is the key field, or that for the expiry.
    ValueFieldTaken,
    /// A value of which a part is missing: a fault of ours.
    Truncated,
    /// A field that SCHEMA wants to have another type; its name, and the type.
    Mismatch(String, &'static str),
    /// A field has the name that SCHEMA gives to another one.
    Renamed(String),
    /// What the reader said: the value could not be read.
    Unwritable(String),
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MappingError::Suffix(expected) => write!(f, "the key's suffix is not {expected}"),
            MappingError::NameNotUtf8 => f.write_str("a field name is not UTF-8"),
            MappingError::NulInName => f.write_str("a field name contains a NUL byte"),
            MappingError::JsonNotUtf8 => f.write_str("the JSON text is not UTF-8"),
            MappingError::Json(what) => write!(f, "the JSON text cannot be read: {what}"),
            MappingError::TooDeep => write!(f, "the document has more than {MAX_LEVELS} levels"),
            MappingError::TooLarge => {
                write!(f, "the document is larger than {MAX_DOCUMENT_BYTES} bytes")
            }
            MappingError::KeyTooLong => f.write_str("the key is too long to be written"),
            MappingError::ValueFieldTaken => {
                f.write_str("the value belongs into the field `value`, which KEY or TTLFIELD takes")
            }
            MappingError::Truncated => f.write_str("the value was read incompletely"),
            MappingError::Mismatch(field, to) => {
                write!(f, "the field {} is not {to}, as SCHEMA wants it", Named(field))
            }
            MappingError::Renamed(field) => {
                write!(f, "SCHEMA gives the name {} to another field", Named(field))
            }
            MappingError::Unwritable(reason) => f.write_str(reason),
        }
    }
}

/// A field's name in a sentence: its beginning, if it is long.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(80) {
            Some((end, _)) => write!(f, "{:?}…", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl MappingError {
    /// The reason why `field` cannot have this type.
    #[cold]
    pub fn mismatch(to: FieldType, field: &[u8]) -> Self {
        MappingError::Mismatch(String::from_utf8_lossy(field).into_owned(), to.name())
    }
}

impl From<NameTaken> for MappingError {
    fn from(NameTaken(field): NameTaken) -> Self {
        MappingError::Renamed(field)
    }
}

impl From<NulInName> for MappingError {
    fn from(_: NulInName) -> Self {
        MappingError::NulInName
    }
}
