//! JSON values of any kind, as elements of BSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Key, Run};
use crate::core::bson::{Array, Element};

/// A value of any kind: becomes the value of `element`, which stands in a document of `level`.
pub(super) struct Value<'e, 'a, 'r> {
    pub(super) element: Element<'e>,
    pub(super) level: u32,
    pub(super) run: &'a mut Run<'r>,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.element.null();
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.element.bool(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.element.int64(value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.element.int64(value),
            Err(_) => self.element.double(value as f64),
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.element.double(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.run.check(self.element.position() + text.len(), self.level)?;
        self.element.string(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Value { element, level, run } = self;
        let mut array = element.array();
        let level = level + 1;
        while seq.next_element_seed(Pushed { array: &mut array, level, run })?.is_some() {}
        array.end();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Value { element, level, run } = self;
        let mut document = element.document();
        let level = level + 1;
        let opened = run.names.open();
        loop {
            let key = Key { document: &mut document, level, reserved: None, run };
            match map.next_key_seed(key)?.flatten() {
                Some(element) => map.next_value_seed(Value { element, level, run })?,
                None => break,
            }
        }
        run.names.close(opened, &mut document);
        document.end();
        Ok(())
    }
}

/// A value of an array: its element begins only once the parser knows that there is one.
struct Pushed<'a, 'w, 'r> {
    array: &'a mut Array<'w>,
    level: u32,
    run: &'a mut Run<'r>,
}

impl<'de> DeserializeSeed<'de> for Pushed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let Pushed { array, level, run } = self;
        run.check(array.position(), level)?;
        Value { element: array.push(), level, run }.deserialize(value)
    }
}
