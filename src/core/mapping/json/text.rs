//! Formats JSON values as compact text: for an object that cannot be converted to its type in SCHEMA,
//! with ONERROR STRING.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::core::mapping::error::MAX_LEVELS;

/// Appends the object that the parser has begun to `out`, braces included. After an error `too_deep`
/// is true if the object has too many levels.
pub(super) fn object<'de, A: MapAccess<'de>>(
    map: A,
    out: &mut String,
    too_deep: &mut bool,
) -> Result<(), A::Error> {
    TextScanner { out, level: 1, too_deep }.visit_map(map)
}

/// Appends one value to `out`.
struct TextScanner<'o> {
    out: &'o mut String,
    /// Nesting depth, which is limited because the parser is recursive.
    level: u32,
    too_deep: &'o mut bool,
}

impl TextScanner<'_> {
    fn scalar<E: Error>(self, value: impl serde::Serialize) -> Result<(), E> {
        *self.out += &serde_json::to_string(&value).map_err(E::custom)?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for TextScanner<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        if self.level > MAX_LEVELS {
            *self.too_deep = true;
            return Err(D::Error::custom("too many levels"));
        }
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextScanner<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.scalar(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let TextScanner { out, level, too_deep } = self;
        let level = level + 1;
        out.push('[');
        let first = out.len();
        loop {
            let end = out.len();
            if end > first {
                out.push(',');
            }
            if seq
                .next_element_seed(TextScanner { out: &mut *out, level, too_deep: &mut *too_deep })?
                .is_none()
            {
                out.truncate(end);
                break;
            }
        }
        out.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let TextScanner { out, level, too_deep } = self;
        let level = level + 1;
        out.push('{');
        let first = out.len();
        loop {
            let end = out.len();
            if end > first {
                out.push(',');
            }
            // A name is formatted like a string.
            let name = TextScanner { out: &mut *out, level: 1, too_deep: &mut *too_deep };
            if map.next_key_seed(name)?.is_none() {
                out.truncate(end);
                break;
            }
            out.push(':');
            map.next_value_seed(TextScanner { out: &mut *out, level, too_deep: &mut *too_deep })?;
        }
        out.push('}');
        Ok(())
    }
}
