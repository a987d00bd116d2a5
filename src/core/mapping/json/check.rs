//! Checks, before anything is written, if text is JSON and if a document can contain it.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::core::mapping::error::MAX_LEVELS;

/// True for text that may hold a JSON object.
#[inline]
pub fn begins_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// True for text that is syntactically valid JSON; a document may be unable to contain it.
pub fn is_valid(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut parser = serde_json::Deserializer::from_str(text);
    // Skipping a value does not recurse.
    parser.disable_recursion_limit();
    IgnoredAny::deserialize(&mut parser).and_then(|_| parser.end()).is_ok()
}

/// True for JSON text that can be written as a value in a document at `level`. Its size is not
/// checked.
pub fn is_writable(text: &[u8], level: u32) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    Value { level }.deserialize(&mut parser).and_then(|()| parser.end()).is_ok()
}

/// A value in a document or an array at `level`.
struct Value {
    level: u32,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        if self.level > MAX_LEVELS {
            return Err(D::Error::custom("too many levels"));
        }
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let level = self.level + 1;
        while seq.next_element_seed(Value { level })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let level = self.level + 1;
        while map.next_key_seed(NameSeed)?.is_some() {
            map.next_value_seed(Value { level })?;
        }
        Ok(())
    }
}

/// A field name that is valid in BSON.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<(), D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        if name.contains('\0') { Err(E::custom("NUL in a name")) } else { Ok(()) }
    }
}
