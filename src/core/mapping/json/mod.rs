//! Converts JSON text directly to BSON, without an intermediate tree; types and order are preserved.
//!
//! Integers in the range of int64 become int64, all other numbers (also `-0`) become doubles; a
//! number outside the range of a double is an error. Of fields with the same name only the last is
//! kept, in its position. Objects that look like Extended JSON (`{"$oid": …}`) are plain documents.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::bson::{Document, Element, FieldName};
use super::duplicate_names::Names;
use super::error::{MAX_DOCUMENT_BYTES, MappingError};
use super::rules::{Rules, VALUE, value_field};
use super::shape::Shape;
use crate::core::registration::schema::{Schema, SchemaPlace};

mod check;
mod key;
mod run;
mod text;
mod value;

pub use check::{begins_object, is_valid, is_writable};
use key::Key;
use run::Run;
use value::Value;

/// Appends the root object's fields to `document`, converted by `rules`, except those for which
/// `reserved` is true; another root becomes the field `value`.
///
/// After an error `document` contains an incomplete element and must be discarded.
pub fn append(
    text: &[u8],
    document: &mut Document<'_>,
    reserved: &dyn Fn(&str) -> bool,
    rules: Rules<'_>,
    names: &mut Names,
) -> Result<Shape, MappingError> {
    let mut run = Run { on_error: rules.on_error, ..Run::new(names, end_limit(document)) };
    let place = rules.schema.map_or_else(SchemaPlace::default, Schema::root);
    if begins_object(text) {
        parse(text, &mut run, |parser, run| {
            parser.deserialize_map(Root { document, reserved, place, run })
        })?;
        return Ok(run.shape);
    }
    let name = value_field(rules.schema, reserved)?.0;
    let field = place.field(VALUE)?.zip(Some(FieldName::new(name)?));
    if let Some(((_, place), name)) = field {
        let opened = run.names.open();
        let start = run.names.add(document, name.as_str());
        let element = document.element(name);
        parse(text, &mut run, |parser, run| {
            Value { element, level: 1, place, run }.deserialize(parser)
        })?;
        run.keep(start);
        run.names.close(opened, document);
    }
    Ok(Shape::default())
}

/// Writes JSON text as the value of `element`, which is in a document at `level` and must not extend
/// beyond `end_limit`.
///
/// After an error the element is incomplete.
pub fn write(
    text: &[u8],
    element: Element<'_>,
    level: u32,
    end_limit: usize,
    names: &mut Names,
) -> Result<(), MappingError> {
    let mut run = Run::new(names, end_limit);
    parse(text, &mut run, |parser, run| {
        Value { element, level, place: SchemaPlace::default(), run }.deserialize(parser)
    })
}

/// Position in the buffer beyond which no element of `document` may extend.
pub fn end_limit(document: &Document<'_>) -> usize {
    (document.position() + MAX_DOCUMENT_BYTES).saturating_sub(document.bytes())
}

type Parser<'t> = serde_json::Deserializer<serde_json::de::StrRead<'t>>;

fn parse<'t, 'r>(
    text: &'t [u8],
    run: &mut Run<'r>,
    value: impl FnOnce(&mut Parser<'t>, &mut Run<'r>) -> serde_json::Result<()>,
) -> Result<(), MappingError> {
    let text = std::str::from_utf8(text).map_err(|_| MappingError::JsonNotUtf8)?;
    let mut parser = serde_json::Deserializer::from_str(text);
    // `Run::check` counts the levels; serde_json would stop at 127.
    parser.disable_recursion_limit();
    let result = value(&mut parser, run).and_then(|()| parser.end());
    // The parser's own messages say what and where, and never quote the text.
    result.map_err(|error| {
        run.mapping_error.take().unwrap_or_else(|| MappingError::Json(error.to_string()))
    })
}

/// The root object: its fields become fields of a document that was begun before.
struct Root<'a, 'w, 'r> {
    document: &'a mut Document<'w>,
    reserved: &'a dyn Fn(&str) -> bool,
    place: SchemaPlace<'a>,
    run: &'a mut Run<'r>,
}

impl<'de> Visitor<'de> for Root<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Root { document, reserved, place, run } = self;
        let opened = run.names.open();
        loop {
            let key = Key { document, level: 1, reserved: Some(reserved), place, run };
            match map.next_key_seed(key)? {
                Some(Some((element, place))) => {
                    let start = element.start();
                    map.next_value_seed(Value { element, level: 1, place, run })?;
                    run.keep(start);
                }
                Some(None) => drop(map.next_value::<IgnoredAny>()?),
                None => break,
            }
        }
        run.names.close(opened, document);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
