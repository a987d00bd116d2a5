//! BSON as JSON text: the inverse of `mapping/json`.

use std::io::Write;

use super::error::DecodeError;
use super::named::named;
use super::{date, scalar};
use crate::core::mapping::bson::{Elements, Value};
use crate::core::mapping::error::MAX_LEVELS;
use crate::core::registration::schema::{FieldType, SchemaPlace};

const HOLDER: &str = "JSON";

/// Appends an object with these fields, of the document itself.
pub fn object<'a>(
    fields: impl Iterator<Item = Result<(&'a str, Value<'a>), DecodeError>>,
    place: SchemaPlace<'_>,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    Writer { out, level: 1 }.object(fields, place)
}

/// Appends the value of the field `name`.
pub fn value(
    name: &str,
    value: Value<'_>,
    place: SchemaPlace<'_>,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    Writer { out, level: 1 }.value(name, value, place)
}

/// Writing into a vector does not fail, so results of writes are ignored.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    level: u32,
}

impl Writer<'_> {
    fn object<'a>(
        &mut self,
        fields: impl Iterator<Item = Result<(&'a str, Value<'a>), DecodeError>>,
        place: SchemaPlace<'_>,
    ) -> Result<(), DecodeError> {
        self.out.push(b'{');
        let mut is_first = true;
        for field in fields {
            let (name, value) = field?;
            let Some((source, place)) = place.source(name) else { continue };
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.text(source);
            self.out.push(b':');
            self.value(name, value, place)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut *self.out, text);
    }

    /// Counts a level, as MongoDB does, so that a reply from outside cannot exhaust the stack.
    fn deeper(
        &mut self,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let level = self.level + 1;
        if level > MAX_LEVELS {
            return Err(DecodeError::TooDeep);
        }
        write(&mut Writer { out: self.out, level })
    }

    fn value(
        &mut self,
        name: &str,
        value: Value<'_>,
        place: SchemaPlace<'_>,
    ) -> Result<(), DecodeError> {
        let is_embedded = place.to() == Some(FieldType::Json) && matches!(value, Value::String(_));
        if is_embedded {
            return self.embedded(name, value);
        }
        match value {
            Value::Document(document) => {
                let fields = named(document)?;
                return self.deeper(|writer| writer.object(fields, place));
            }
            Value::Array(array) => return self.deeper(|writer| writer.array(name, array, place)),
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(value) => drop(write!(self.out, "{value}")),
            Value::Int32(number) => drop(write!(self.out, "{number}")),
            Value::Int64(number) => drop(write!(self.out, "{number}")),
            Value::Double(number) if number.is_finite() => {
                let _ = serde_json::to_writer(&mut *self.out, &number);
            }
            Value::Date(unix_ms) if is_number(unix_ms, place.to()) => {
                date::append(unix_ms, place.to(), self.out);
            }
            Value::String(_)
            | Value::Binary(0 | 4, _)
            | Value::ObjectId(_)
            | Value::Decimal(_)
            | Value::Date(_) => return self.quoted(name, value, place.to()),
            Value::Double(_) => return Err(unholdable(name, "not a finite number")),
            Value::Binary(..) | Value::Other(_) => return Err(unholdable(name, value.kind())),
        }
        Ok(())
    }

    fn array(
        &mut self,
        name: &str,
        array: &[u8],
        place: SchemaPlace<'_>,
    ) -> Result<(), DecodeError> {
        self.out.push(b'[');
        for (index, element) in Elements::of(array)?.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(name, element?.1, place)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// A scalar that JSON has as a string.
    fn quoted(
        &mut self,
        name: &str,
        value: Value<'_>,
        to: Option<FieldType>,
    ) -> Result<(), DecodeError> {
        let mut bytes = Vec::new();
        let is_scalar = scalar::append(value, to, &mut bytes);
        let text = std::str::from_utf8(&bytes).ok().filter(|_| is_scalar);
        let Some(text) = text else {
            let is_text = matches!(value, Value::String(_));
            let kind = if is_text { "a string that is not UTF-8" } else { value.kind() };
            return Err(unholdable(name, kind));
        };
        self.text(text);
        Ok(())
    }

    /// A value that was stored as JSON text in a JSON string.
    fn embedded(&mut self, name: &str, value: Value<'_>) -> Result<(), DecodeError> {
        let mut inner = Vec::new();
        Writer { out: &mut inner, level: self.level }.value(name, value, SchemaPlace::default())?;
        let _ =
            serde_json::to_writer(&mut *self.out, std::str::from_utf8(&inner).unwrap_or_default());
        Ok(())
    }
}

/// True if a date is a JSON number: with a type that says the unit, or if ISO 8601 cannot express it.
fn is_number(unix_ms: i64, to: Option<FieldType>) -> bool {
    matches!(to, Some(FieldType::DateS | FieldType::DateMs)) || !date::is_iso_8601(unix_ms)
}

#[cold]
fn unholdable(field: &str, kind: &'static str) -> DecodeError {
    DecodeError::Unholdable(field.to_owned(), kind, HOLDER)
}
