//! Turns JSON text straight into BSON: no value tree, and types and order are kept.
//!
//! Integers in the range of int64 become int64, all other numbers doubles (`-0` too); a number
//! outside the range of a double is an error. Of fields with the same name the last wins, where
//! the last stands. Objects that look like extended JSON (`{"$oid": …}`) are plain documents.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::bson::{Document, Element, FieldName};
use super::names::Names;
use super::unfit::{MAX_DOCUMENT_BYTES, MAX_LEVELS, Unfit};

mod value;

use value::Value;

/// Appends the root object's fields to `document`, all but those that `reserved` picks; another
/// root becomes the field `value`. Returns whether a field's name begins with `$`.
///
/// After an error `document` holds a torn element and must be thrown away.
pub fn append(
    text: &[u8],
    document: &mut Document<'_>,
    reserved: &dyn Fn(&str) -> bool,
    names: &mut Names,
) -> Result<bool, Unfit> {
    let text = std::str::from_utf8(text).map_err(|_| Unfit::JsonNotUtf8)?;
    let end_limit = (document.position() + MAX_DOCUMENT_BYTES).saturating_sub(document.bytes());
    let mut run = Run { names, end_limit, dollar: false, unfit: None };
    let mut parser = serde_json::Deserializer::from_str(text);
    // We count the levels ourselves; serde_json would stop at 127.
    parser.disable_recursion_limit();
    let is_object = text.trim_ascii_start().starts_with('{');
    let result = if is_object {
        (&mut parser).deserialize_map(Root { document, reserved, run: &mut run })
    } else if reserved("value") {
        return Err(Unfit::NoPlaceForValue);
    } else {
        let value = Value { element: document.element(c"value"), level: 1, run: &mut run };
        value.deserialize(&mut parser)
    };
    match result.and_then(|()| parser.end()) {
        Ok(()) => Ok(run.dollar),
        // The parser's own messages say what and where, and never quote the text.
        Err(error) => Err(run.unfit.unwrap_or_else(|| Unfit::Json(error.to_string()))),
    }
}

/// What all values of one text share.
struct Run<'r> {
    names: &'r mut Names,
    /// Position that the document's last element must not pass.
    end_limit: usize,
    dollar: bool,
    /// Why we, and not the parser, stopped.
    unfit: Option<Unfit>,
}

impl Run<'_> {
    #[cold]
    fn stop<E: Error>(&mut self, why: Unfit) -> E {
        self.unfit = Some(why);
        E::custom("cannot be held")
    }

    /// Checks that an element may be written at `position`, in a document of that level.
    #[inline]
    fn check<E: Error>(&mut self, position: usize, level: u32) -> Result<(), E> {
        if level > MAX_LEVELS {
            return Err(self.stop(Unfit::TooDeep));
        }
        if position > self.end_limit {
            return Err(self.stop(Unfit::TooLarge));
        }
        Ok(())
    }
}

/// The root object: its fields become fields of a document that has begun already.
struct Root<'a, 'w, 'r> {
    document: &'a mut Document<'w>,
    reserved: &'a dyn Fn(&str) -> bool,
    run: &'a mut Run<'r>,
}

impl<'de> Visitor<'de> for Root<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Root { document, reserved, run } = self;
        let opened = run.names.open();
        loop {
            let key = Key { document, level: 1, reserved: Some(reserved), run };
            match map.next_key_seed(key)? {
                Some(Some(element)) => map.next_value_seed(Value { element, level: 1, run })?,
                Some(None) => drop(map.next_value::<IgnoredAny>()?),
                None => break,
            }
        }
        run.names.close(opened, document);
        Ok(())
    }
}

/// A name: becomes an element without a value, or nothing when the name is reserved.
struct Key<'a, 'd, 'w, 'r> {
    document: &'d mut Document<'w>,
    level: u32,
    reserved: Option<&'a dyn Fn(&str) -> bool>,
    run: &'a mut Run<'r>,
}

impl<'de, 'd> DeserializeSeed<'de> for Key<'_, 'd, '_, '_> {
    type Value = Option<Element<'d>>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de, 'd> Visitor<'de> for Key<'_, 'd, '_, '_> {
    type Value = Option<Element<'d>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let Key { document, level, reserved, run } = self;
        if let Some(reserved) = reserved {
            if reserved(name) {
                return Ok(None);
            }
            run.dollar |= name.starts_with('$');
        }
        run.check(document.position() + name.len(), level)?;
        let field = FieldName::new(name).map_err(|nul| run.stop(nul.into()))?;
        run.names.add(document, name);
        Ok(Some(document.element(field)))
    }
}

#[cfg(test)]
mod tests;
