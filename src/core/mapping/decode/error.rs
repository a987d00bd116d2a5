//! Why a document cannot become a value.

use std::fmt;

use crate::core::mapping::bson::Malformed;
use crate::core::mapping::error::{MappingError, Named};

/// A document that no value of the registration's type can hold. `Display` formats one sentence that
/// names the field and its type, and never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are not BSON.
    Malformed,
    /// A field name is not UTF-8.
    NameNotUtf8,
    /// The field, what it is, and the kind of value that cannot hold it.
    Unholdable(String, &'static str, &'static str),
    /// The field, what it is, and what it should be.
    Unexpected(String, &'static str, &'static str),
    /// More levels than MongoDB allows.
    TooDeep,
    /// The registration has no field for the value.
    NoField(MappingError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed => f.write_str("the document is not valid BSON"),
            DecodeError::NameNotUtf8 => f.write_str("a field name of the document is not UTF-8"),
            DecodeError::Unholdable(field, kind, holder) => {
                write!(f, "the field {} is {kind}, which {holder} cannot hold", Named(field))
            }
            DecodeError::Unexpected(field, kind, expected) => {
                write!(f, "the field {} is {kind}, and not {expected}", Named(field))
            }
            DecodeError::TooDeep => MappingError::TooDeep.fmt(f),
            DecodeError::NoField(why) => why.fmt(f),
        }
    }
}

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> Self {
        DecodeError::Malformed
    }
}
