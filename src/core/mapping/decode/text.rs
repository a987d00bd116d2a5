//! BSON values as the bytes of a Redis string.

use super::error::DecodeError;
use super::{json, scalar};
use crate::core::mapping::bson::Value;
use crate::core::registration::schema::{FieldType, SchemaPlace};

/// Appends a value as the bytes of a Redis string, which is in `holder`.
pub fn string(
    field: &str,
    value: Value<'_>,
    to: Option<FieldType>,
    holder: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    if to == Some(FieldType::Json) {
        return json::value(field, value, SchemaPlace::default(), out);
    }
    if scalar::append(value, to, out) {
        return Ok(());
    }
    Err(DecodeError::Unholdable(field.to_owned(), value.kind(), holder))
}
