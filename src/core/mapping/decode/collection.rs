//! Arrays as lists, sets, sorted sets and streams.

use super::error::DecodeError;
use super::named::named;
use super::scalar;
use super::stored::Stored;
use super::text;
use super::text::string;
use crate::core::mapping::bson::{Elements, Value};
use crate::core::mapping::value::{Content, push_bytes};
use crate::core::registration::schema::FieldType;

impl Stored<'_> {
    /// Appends the items of the array in the field for the value; `None` if there are none.
    pub fn collection(
        &self,
        content: Content,
        out: &mut Vec<u8>,
    ) -> Result<Option<Content>, DecodeError> {
        let Some((field, to, value)) = self.value()? else { return Ok(None) };
        let Value::Array(array) = value else {
            return Err(DecodeError::Unexpected(field.to_owned(), value.kind(), "an array"));
        };
        let mut items = Elements::of(array)?.peekable();
        if items.peek().is_none() {
            return Ok(None);
        }
        let (mut text, mut last) = (Vec::new(), (0, 0));
        for item in items {
            let (_, item) = item?;
            match content {
                Content::Zset => member(field, item, out)?,
                Content::Stream => self.entry(field, item, &mut last, out)?,
                _ => {
                    text.clear();
                    let holder = if content == Content::Set { "a set" } else { "a list" };
                    string(field, item, to, holder, &mut text)?;
                    push_bytes(out, &text);
                }
            }
        }
        Ok(Some(content))
    }

    /// Appends an entry of a stream, `{id, fields}`, whose id is larger than `last`.
    fn entry(
        &self,
        field: &str,
        item: Value<'_>,
        last: &mut (u64, u64),
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let wrong =
            |what| DecodeError::Unexpected(field.to_owned(), what, "the entries of a stream");
        let (mut id, mut fields) = (None, None);
        for element in pairs(item).ok_or_else(|| wrong("an array of other values"))?? {
            match element? {
                ("id", Value::String(text)) => id = entry_id(text),
                ("fields", Value::Document(document)) => fields = Some(document),
                _ => {}
            }
        }
        let (Some(id), Some(fields)) = (id, fields) else {
            return Err(wrong("an array with an entry without `id` and `fields`"));
        };
        if id <= *last {
            return Err(wrong("an array whose ids do not increase"));
        }
        *last = id;
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&id.1.to_le_bytes());
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let schema = self.registration.schema.as_deref();
        let count = text::fields(named(fields)?, schema, "a stream", out)?;
        if count == 0 {
            return Err(wrong("an array with an entry without fields"));
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
        Ok(())
    }
}

type Pairs<'a> =
    Result<Box<dyn Iterator<Item = Result<(&'a str, Value<'a>), DecodeError>> + 'a>, DecodeError>;

/// The fields of an item that is a document; `None` if it is none.
fn pairs(item: Value<'_>) -> Option<Pairs<'_>> {
    let Value::Document(document) = item else { return None };
    Some(named(document).map(|fields| Box::new(fields) as Box<_>))
}

/// Appends a member of a sorted set, `{member, score}`.
fn member(field: &str, item: Value<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let wrong =
        |what| DecodeError::Unexpected(field.to_owned(), what, "the members of a sorted set");
    let (mut text, mut score) = (None, None);
    for element in pairs(item).ok_or_else(|| wrong("an array of other values"))?? {
        match element? {
            ("member", value) => {
                let mut bytes = Vec::new();
                text = scalar::append(value, None::<FieldType>, &mut bytes).then_some(bytes);
            }
            ("score", Value::Double(number)) => score = Some(number),
            ("score", Value::Int32(number)) => score = Some(f64::from(number)),
            ("score", Value::Int64(number)) => score = Some(number as f64),
            _ => {}
        }
    }
    match (text, score.filter(|score| !score.is_nan())) {
        (Some(text), Some(score)) => {
            push_bytes(out, &text);
            out.extend_from_slice(&score.to_le_bytes());
            Ok(())
        }
        _ => Err(wrong("an array with an item without `member` and `score`")),
    }
}

/// Parses `milliseconds-sequence`; `None` for another form.
fn entry_id(text: &[u8]) -> Option<(u64, u64)> {
    let (ms, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
    let number = |text: &str| {
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        is_digits.then(|| text.parse().ok()).flatten()
    };
    Some((number(ms)?, number(sequence)?))
}
