//! BSON values as the bytes of Redis strings.

use super::error::DecodeError;
use super::{json, scalar};
use crate::core::mapping::bson::Value;
use crate::core::mapping::value::push_bytes;
use crate::core::registration::schema::{FieldType, Schema, SchemaPlace};

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

/// Appends the names and values of fields of a hash or an entry of a stream, and returns their number. Null, and
/// what SCHEMA does not store, is left out.
pub fn fields<'a>(
    elements: impl Iterator<Item = Result<(&'a str, Value<'a>), DecodeError>>,
    schema: Option<&Schema>,
    holder: &'static str,
    out: &mut Vec<u8>,
) -> Result<u32, DecodeError> {
    let (mut text, mut count) = (Vec::new(), 0);
    for element in elements {
        let (name, value) = element?;
        let source = schema.map_or(Some((name, None)), |schema| schema.source(name));
        let Some((source, to)) = source.filter(|_| value != Value::Null) else { continue };
        text.clear();
        string(name, value, to, holder, &mut text)?;
        push_bytes(out, source.as_bytes());
        push_bytes(out, &text);
        count += 1;
    }
    Ok(count)
}
