//! Elements with their names as text.

use super::error::DecodeError;
use crate::core::mapping::bson::{Elements, Value};

/// The elements of a document with their names as text.
pub fn named<'a>(
    document: &'a [u8],
) -> Result<impl Iterator<Item = Result<(&'a str, Value<'a>), DecodeError>>, DecodeError> {
    Ok(Elements::of(document)?.map(|element| {
        let (name, value) = element?;
        Ok((std::str::from_utf8(name).map_err(|_| DecodeError::NameNotUtf8)?, value))
    }))
}
