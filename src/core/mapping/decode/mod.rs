//! Converts documents back to values: the inverse of `document`.
//!
//! Documents come from MongoDB, where others may have written them. What Redis cannot hold is an error
//! that names the field; what Redis has no counterpart for, such as null in a hash, is left out.

use super::bson::Value;
use super::rules::value_field;
use super::value::Content;
use crate::core::registration::{KeyType, Registration};

mod collection;
mod date;
mod decimal;
mod error;
mod json;
mod key;
mod named;
mod scalar;
mod stored;
mod text;

pub use error::DecodeError;
pub use key::append as append_key;
use stored::Stored;
use text::{fields, string};

/// A value as it is to be stored in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The kind of value, which was appended to the buffer as described at [`Content`].
    pub content: Content,
    /// Its expiration time in milliseconds since 1970, or [`NO_EXPIRY`].
    pub expire_ms: i64,
}

/// Appends the value that `document` holds for a key of `registration` to `out`; `None` if it holds
/// none: Redis has no empty hashes and collections.
///
/// After an error, and after `None`, what was appended to `out` must be discarded. A registration for
/// keys of any type has no inverse: `None`.
pub fn decode(
    document: &[u8],
    registration: &Registration,
    out: &mut Vec<u8>,
) -> Result<Option<Decoded>, DecodeError> {
    let stored = Stored { document, registration };
    let content = match registration.key_type {
        KeyType::Any => None,
        KeyType::Hash => stored.hash(out)?.then_some(Content::Hash),
        KeyType::Json => stored.json(out)?.then_some(Content::Json),
        KeyType::String => stored.string(out)?.then_some(Content::String),
        KeyType::List => stored.collection(Content::List, out)?,
        KeyType::Set => stored.collection(Content::Set, out)?,
        KeyType::Zset => stored.collection(Content::Zset, out)?,
        KeyType::Stream => stored.collection(Content::Stream, out)?,
    };
    let Some(content) = content else { return Ok(None) };
    Ok(Some(Decoded { content, expire_ms: stored.expire_ms()? }))
}

impl Stored<'_> {
    fn hash(&self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let schema = self.registration.schema.as_deref();
        Ok(fields(self.fields()?, schema, "a hash", out)? > 0)
    }

    /// A string; with UNWRAP the text of a JSON object, except where the document has only the field
    /// for other strings.
    fn string(&self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let value = self.value()?;
        if self.registration.unwraps {
            let has_other_fields = self.fields()?.count() > 1;
            let is_plain = value.is_some_and(|(_, to, value)| {
                to.is_some() || matches!(value, Value::String(_) | Value::Binary(..))
            });
            if has_other_fields || !is_plain {
                return json::object(self.fields()?, self.root(), out).map(|()| true);
            }
        }
        let Some((name, to, value)) = value else { return Ok(false) };
        string(name, value, to, "a string", out)?;
        Ok(true)
    }

    /// JSON text. A document that has only the field for roots that are no objects holds such a root,
    /// unless that is an object itself.
    fn json(&self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let mut fields = self.fields()?;
        let (first, second) = (fields.next().transpose()?, fields.next().transpose()?);
        let schema = self.registration.schema.as_deref();
        let (wanted, _) = value_field(schema, &|_| false).map_err(DecodeError::NoField)?;
        let root = first.filter(|(name, value)| {
            second.is_none() && *name == wanted && !matches!(value, Value::Document(_))
        });
        match root.and_then(|(name, value)| Some((value, self.root().source(name)?.1))) {
            Some((value, place)) => json::value(wanted, value, place, out)?,
            None => json::object(self.fields()?, self.root(), out)?,
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
