//! Why a value cannot become a document.

use std::fmt;

use super::bson::NulInName;
use crate::core::registration::schema::{FieldType, NameTaken};

/// The largest document that MongoDB stores, in bytes: 16 MiB, `_id` included.
pub const MAX_DOCUMENT_BYTES: usize = 16_777_216;

/// Maximum nesting depth of documents and arrays; the document itself is level 1. This level may
/// contain scalars, and empty documents and arrays. Measured with MongoDB 6.0, for replacements and
/// pipelines: a deeper document is refused with error 15.
pub const MAX_LEVELS: u32 = 180;

/// A change that cannot be stored in MongoDB. `Display` formats one sentence without any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingError {
    /// The key's suffix does not have the form that `AS` requires, which is contained here.
    Suffix(&'static str),
    /// A field name is not UTF-8.
    NameNotUtf8,
    /// A field name contains a NUL.
    NulInName,
    /// JSON text that is not UTF-8.
    JsonNotUtf8,
    /// JSON text that cannot be parsed, or a number outside the range of a double; with the reason
    /// and its position.
    Json(String),
    /// More than [`MAX_LEVELS`] levels.
    TooDeep,
    /// More than [`MAX_DOCUMENT_BYTES`] bytes.
    TooLarge,
    /// The key is too long to fit into a command, alone or together with the document.
    KeyTooLong,
    /// The field for the value is the key field or the TTL field.
    ValueFieldTaken,
    /// The value is incomplete: a bug in the module.
    Truncated,
    /// A field cannot be converted to its type in SCHEMA; with its name and the type.
    Mismatch(String, &'static str),
    /// A field has the name that SCHEMA gives to another field.
    Renamed(String),
    /// The value could not be read; with the reader's reason.
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
                write!(f, "the field {} is not {to}, as SCHEMA requires", Named(field))
            }
            MappingError::Renamed(field) => {
                write!(f, "SCHEMA gives the name {} to another field", Named(field))
            }
            MappingError::Unwritable(reason) => f.write_str(reason),
        }
    }
}

/// Formats a field name for a message; a long name is truncated.
pub(super) struct Named<'a>(pub(super) &'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(80) {
            Some((end, _)) => write!(f, "{:?}…", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl MappingError {
    /// The error of a `field` that cannot be converted to the type `to`.
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
