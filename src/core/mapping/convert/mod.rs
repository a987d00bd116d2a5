//! Converts scalars to the types in SCHEMA.

use super::bson::Element;
use super::document_id::{canonical_int64, hex, uuid};
use crate::core::registration::schema::FieldType;

mod date;
mod decimal;

use date::Unit;

/// A value as stored in Redis: bytes, or a JSON scalar. Null needs no conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A Redis string or JSON string.
    Bytes(&'a [u8]),
    /// A JSON integer.
    Int(i64),
    /// A JSON integer beyond int64.
    Unsigned(u64),
    /// Any other JSON number.
    Double(f64),
    /// True or false.
    Bool(bool),
}

/// A BSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Converted<'a> {
    /// A string.
    Text(&'a str),
    /// A newly formatted string.
    Written(String),
    /// Binary subtype 0.
    Binary(&'a [u8]),
    /// A 64-bit integer.
    Int64(i64),
    /// A double.
    Double(f64),
    /// A Decimal128 as BSON lays it out.
    Decimal([u8; 16]),
    /// A boolean.
    Bool(bool),
    /// Milliseconds since 1970.
    Date(i64),
    /// An ObjectId.
    ObjectId([u8; 12]),
    /// Binary subtype 4.
    Uuid([u8; 16]),
}

impl Converted<'_> {
    /// Writes it as the value of `element`.
    pub fn write(self, element: Element<'_>) {
        match self {
            Converted::Text(text) => element.string(text),
            Converted::Written(text) => element.string(&text),
            Converted::Binary(bytes) => element.binary(bytes),
            Converted::Int64(value) => element.int64(value),
            Converted::Double(value) => element.double(value),
            Converted::Decimal(bytes) => element.decimal128(bytes),
            Converted::Bool(value) => element.bool(value),
            Converted::Date(unix_ms) => element.date_ms(unix_ms),
            Converted::ObjectId(bytes) => element.object_id(bytes),
            Converted::Uuid(bytes) => element.uuid(bytes),
        }
    }
}

/// Converts `value`; `None` if it cannot be converted to the type. [`FieldType::Json`] returns other
/// values than strings unchanged, and `None` for strings, which the caller must parse.
pub fn convert<'a>(value: Scalar<'a>, to: FieldType) -> Option<Converted<'a>> {
    match to {
        FieldType::String => Some(string(value)),
        FieldType::Int64 => int64(value).map(Converted::Int64),
        FieldType::Double => double(value).map(Converted::Double),
        FieldType::Decimal => decimal(value).map(Converted::Decimal),
        FieldType::Bool => bool(value).map(Converted::Bool),
        FieldType::Date => date(value, Unit::Guessed).map(Converted::Date),
        FieldType::DateS => date(value, Unit::Seconds).map(Converted::Date),
        FieldType::DateMs => date(value, Unit::Milliseconds).map(Converted::Date),
        FieldType::ObjectId => bytes(value).and_then(hex).map(Converted::ObjectId),
        FieldType::Uuid => bytes(value).and_then(uuid).map(Converted::Uuid),
        FieldType::Binary => bytes(value).map(Converted::Binary),
        FieldType::Auto => Some(auto(value)),
        FieldType::Json => match value {
            Scalar::Bytes(_) => None,
            other => Some(as_it_is(other)),
        },
        FieldType::Skip => None,
    }
}

fn bytes(value: Scalar<'_>) -> Option<&[u8]> {
    if let Scalar::Bytes(bytes) = value { Some(bytes) } else { None }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn as_it_is(value: Scalar<'_>) -> Converted<'_> {
    match value {
        Scalar::Bytes(bytes) => text(bytes).map_or(Converted::Binary(bytes), Converted::Text),
        Scalar::Int(value) => Converted::Int64(value),
        Scalar::Unsigned(value) => Converted::Double(value as f64),
        Scalar::Double(value) => Converted::Double(value),
        Scalar::Bool(value) => Converted::Bool(value),
    }
}

fn string(value: Scalar<'_>) -> Converted<'_> {
    written(value).map_or_else(|| as_it_is(value), Converted::Written)
}

/// Formats a value other than a string as JSON does.
fn written(value: Scalar<'_>) -> Option<String> {
    match value {
        Scalar::Bytes(_) => None,
        Scalar::Int(value) => Some(value.to_string()),
        Scalar::Unsigned(value) => Some(value.to_string()),
        Scalar::Double(value) => serde_json::to_string(&value).ok(),
        Scalar::Bool(value) => Some(value.to_string()),
    }
}

fn int64(value: Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Bytes(bytes) => text(bytes)?.parse().ok(),
        Scalar::Int(value) => Some(value),
        Scalar::Double(value) => whole(value),
        Scalar::Unsigned(_) | Scalar::Bool(_) => None,
    }
}

/// A double that is an int64.
fn whole(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value)).then_some(value as i64)
}

fn double(value: Scalar<'_>) -> Option<f64> {
    match value {
        Scalar::Bytes(bytes) => {
            let text = text(bytes)?;
            let value: f64 = text.parse().ok()?;
            let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
            // A number outside of the range, in either direction, is not what was written.
            let overflows = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
            let underflows = value == 0.0 && mantissa.contains(|c| matches!(c, '1'..='9'));
            (!overflows && !underflows).then_some(value)
        }
        Scalar::Int(value) => Some(value as f64),
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Double(value) => Some(value),
        Scalar::Bool(_) => None,
    }
}

fn decimal(value: Scalar<'_>) -> Option<[u8; 16]> {
    match value {
        Scalar::Bytes(bytes) => decimal::parse(bytes),
        Scalar::Bool(_) => None,
        number => decimal::parse(written(number)?.as_bytes()),
    }
}

fn bool(value: Scalar<'_>) -> Option<bool> {
    match value {
        Scalar::Bool(value) => Some(value),
        Scalar::Int(0) | Scalar::Bytes(b"0") => Some(false),
        Scalar::Int(1) | Scalar::Bytes(b"1") => Some(true),
        Scalar::Bytes(word) if word.eq_ignore_ascii_case(b"true") => Some(true),
        Scalar::Bytes(word) if word.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

fn date(value: Scalar<'_>, unit: Unit) -> Option<i64> {
    match value {
        Scalar::Bytes(bytes) => date::parse(bytes, unit),
        Scalar::Bool(_) => None,
        // Uses the decimal digits: the double 0.123 is slightly less than 123 ms.
        number => date::parse(written(number)?.as_bytes(), unit),
    }
}

/// Converts a string to a number only if the number formats to the same text: `07`, `1.50`, `1e3` and
/// integers beyond int64 stay strings.
fn auto(value: Scalar<'_>) -> Converted<'_> {
    let Scalar::Bytes(bytes) = value else { return as_it_is(value) };
    if let Some(number) = canonical_int64(bytes) {
        return Converted::Int64(number);
    }
    // The longest such text has 17 digits, plus leading or trailing zeros.
    let decimal = text(bytes).filter(|text| text.len() <= 32 && text.contains('.'));
    let number = decimal.and_then(|text| Some((text, text.parse::<f64>().ok()?)));
    match number.filter(|(text, number)| format!("{number:?}") == *text) {
        Some((_, number)) => Converted::Double(number),
        None => as_it_is(value),
    }
}

#[cfg(test)]
mod tests;
