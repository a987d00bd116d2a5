//! BSON scalars as the bytes of a Redis string: the inverse of `convert`.
//!
//! A type that SCHEMA gives chooses among the texts that it would convert to the same value.

use std::io::Write;

use super::{date, decimal};
use crate::core::mapping::bson::Value;
use crate::core::registration::schema::FieldType;

/// Integers up to this absolute value are exact as doubles: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Appends the text of `value` to `out`; false, with nothing appended, if it is no scalar that a string
/// can hold. Null is none.
///
/// Writing into a vector does not fail, so its results are ignored.
pub fn append(value: Value<'_>, to: Option<FieldType>, out: &mut Vec<u8>) -> bool {
    match value {
        Value::String(bytes) | Value::Binary(0, bytes) => out.extend_from_slice(bytes),
        Value::Binary(4, bytes) => return uuid(bytes, out),
        Value::Int32(number) => drop(write!(out, "{number}")),
        Value::Int64(number) => drop(write!(out, "{number}")),
        Value::Double(number) => double(number, to, out),
        Value::Bool(value) => out.push(if value { b'1' } else { b'0' }),
        Value::Date(unix_ms) => date::append(unix_ms, to, out),
        Value::ObjectId(bytes) => hex(&bytes, out),
        Value::Decimal(bytes) => decimal::append(bytes, out),
        Value::Document(_)
        | Value::Array(_)
        | Value::Binary(..)
        | Value::Null
        | Value::Other(_) => return false,
    }
    true
}

/// A number as Redis writes it: integers without a fraction, except that AUTO recognizes a double by
/// its fraction.
fn double(number: f64, to: Option<FieldType>, out: &mut Vec<u8>) {
    let is_whole = number.fract() == 0.0 && number.abs() <= EXACT;
    let _ = if number.is_nan() {
        out.write_all(b"nan")
    } else if is_whole && to != Some(FieldType::Auto) {
        write!(out, "{number:.0}")
    } else {
        write!(out, "{number:?}")
    };
}

pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.iter().for_each(|byte| drop(write!(out, "{byte:02x}")));
}

/// The hyphenated form; false if there are not 16 bytes.
pub(super) fn uuid(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(bytes) = <&[u8; 16]>::try_from(bytes) else { return false };
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    true
}
