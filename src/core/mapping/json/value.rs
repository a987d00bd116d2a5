//! JSON values of any kind, as elements of BSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::check::is_writable;
use super::key::Key;
use super::run::Run;
use super::text;
use crate::core::mapping::bson::{Array, Element};
use crate::core::mapping::convert::{Scalar, convert};
use crate::core::mapping::duplicate_names::Kept;
use crate::core::mapping::error::MappingError;
use crate::core::registration::OnError;
use crate::core::registration::schema::{FieldType, SchemaPlace};

/// A JSON value of any type, written as the value of `element`, which is in a document at `level`.
pub(super) struct Value<'e, 'a, 'r, 's> {
    pub(super) element: Element<'e>,
    pub(super) level: u32,
    pub(super) place: SchemaPlace<'s>,
    pub(super) run: &'a mut Run<'r>,
}

impl Value<'_, '_, '_, '_> {
    /// The error of a value that cannot be converted to the type required here.
    #[cold]
    fn mismatch(&self, to: FieldType) -> MappingError {
        let own = self.element.name_at(self.element.name_position());
        MappingError::mismatch(to, self.place.label().map_or(own, str::as_bytes))
    }

    /// Writes a scalar converted to the type required here.
    fn convert<E: Error>(self, value: Scalar<'_>, to: FieldType) -> Result<(), E> {
        match convert(value, to) {
            Some(converted) => {
                converted.write(self.element);
                Ok(())
            }
            None => self.unconverted(value, to),
        }
    }

    /// Applies ONERROR to a scalar that cannot be converted to the type required here.
    #[cold]
    fn unconverted<E: Error>(self, value: Scalar<'_>, to: FieldType) -> Result<(), E> {
        match self.run.on_error {
            OnError::DeadLetter => {
                let why = self.mismatch(to);
                Err(self.run.stop(why))
            }
            OnError::String => self.convert(value, FieldType::String),
            OnError::Skip => {
                self.leave_out();
                Ok(())
            }
        }
    }

    /// Marks the field as omitted. It is removed when its document ends, and is null until then.
    fn leave_out(self) {
        self.run.kept = Kept::LeftOut;
        self.element.null();
    }

    /// Applies ONERROR to an object that cannot be converted to the type required here.
    #[cold]
    fn object<'de, A: MapAccess<'de>>(self, mut map: A, to: FieldType) -> Result<(), A::Error> {
        match self.run.on_error {
            OnError::DeadLetter => {
                let why = self.mismatch(to);
                return Err(self.run.stop(why));
            }
            OnError::String => {
                let (mut json, mut too_deep) = (String::new(), false);
                text::object(map, &mut json, &mut too_deep).map_err(|error| {
                    if too_deep { self.run.stop(MappingError::TooDeep) } else { error }
                })?;
                self.run.check(self.element.position() + json.len(), self.level)?;
                self.element.string(&json);
            }
            OnError::Skip => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.leave_out();
            }
        }
        Ok(())
    }

    /// Writes the value of JSON text that is embedded in a string.
    fn embed<E: Error>(self, text: &str) -> Result<(), E> {
        if self.run.on_error != OnError::DeadLetter && !is_writable(text.as_bytes(), self.level) {
            return self.unconverted(Scalar::Bytes(text.as_bytes()), FieldType::Json);
        }
        let why = self.mismatch(FieldType::Json);
        let Value { element, level, run, .. } = self;
        let mut parser = serde_json::Deserializer::from_str(text);
        parser.disable_recursion_limit();
        let value = Value { element, level, place: SchemaPlace::default(), run };
        let result = value.deserialize(&mut parser).and_then(|()| parser.end());
        result.map_err(|_| match run.mapping_error.take() {
            Some(error) => run.stop(error),
            None => run.stop(why),
        })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.element.null();
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.place.to() {
            None => self.element.bool(value),
            Some(to) => return self.convert(Scalar::Bool(value), to),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.place.to() {
            None => self.element.int64(value),
            Some(to) => return self.convert(Scalar::Int(value), to),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => match self.place.to() {
                None => self.visit_f64(value as f64),
                Some(to) => self.convert(Scalar::Unsigned(value), to),
            },
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.place.to() {
            None => self.element.double(value),
            Some(to) => return self.convert(Scalar::Double(value), to),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.run.check(self.element.position() + text.len(), self.level)?;
        match self.place.to() {
            // JSON is typed: a JSON string stays a string.
            None | Some(FieldType::Auto) => self.element.string(text),
            Some(FieldType::Json) => return self.embed(text),
            Some(to) => return self.convert(Scalar::Bytes(text.as_bytes()), to),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Value { element, level, place, run } = self;
        let mut array = element.array();
        let level = level + 1;
        while seq.next_element_seed(Pushed { array: &mut array, level, place, run })?.is_some() {}
        array.end();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some(to) = self.place.refuses_objects() {
            return self.object(map, to);
        }
        let Value { element, level, place, run } = self;
        let mut document = element.document();
        let level = level + 1;
        let opened = run.names.open();
        loop {
            let key = Key { document: &mut document, level, reserved: None, place, run };
            match map.next_key_seed(key)? {
                Some(Some((element, place))) => {
                    let start = element.start();
                    map.next_value_seed(Value { element, level, place, run })?;
                    run.keep(start);
                }
                Some(None) => drop(map.next_value::<IgnoredAny>()?),
                None => break,
            }
        }
        run.names.close(opened, &mut document);
        document.end();
        Ok(())
    }
}

/// A value in an array: its element is begun only when the parser has found the value.
struct Pushed<'a, 'w, 'r, 's> {
    array: &'a mut Array<'w>,
    level: u32,
    place: SchemaPlace<'s>,
    run: &'a mut Run<'r>,
}

impl<'de> DeserializeSeed<'de> for Pushed<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let Pushed { array, level, place, run } = self;
        run.check(array.position(), level)?;
        Value { element: array.push(), level, place, run }.deserialize(value)
    }
}
