//! The parts of a document.

use super::error::DecodeError;
use super::named::named;
use crate::core::mapping::bson::{Elements, Value};
use crate::core::mapping::rules::value_field;
use crate::core::mapping::value::NO_EXPIRY;
use crate::core::registration::Registration;
use crate::core::registration::schema::{FieldType, SchemaPlace};

/// The name of a field, the type that SCHEMA gives it, and its value.
pub type TypedField<'a> = (&'a str, Option<FieldType>, Value<'a>);

/// A document and the registration that says how values are stored in it.
pub struct Stored<'a> {
    /// The document.
    pub document: &'a [u8],
    /// The registration.
    pub registration: &'a Registration,
}

impl<'a> Stored<'a> {
    /// The elements that are not the key's, with their names.
    pub fn fields(
        &self,
    ) -> Result<impl Iterator<Item = Result<(&'a str, Value<'a>), DecodeError>>, DecodeError> {
        let Registration { key_field, ttl_field, .. } = self.registration;
        let is_reserved = move |name: &str| {
            name == key_field || name == "_id" || ttl_field.as_deref() == Some(name)
        };
        let named = named(self.document)?;
        Ok(named.filter(move |element| !matches!(element, Ok((name, _)) if is_reserved(name))))
    }

    /// The expiration time. As in MongoDB's TTL indexes, only a date is one.
    pub fn expire_ms(&self) -> Result<i64, DecodeError> {
        let Some(field) = &self.registration.ttl_field else { return Ok(NO_EXPIRY) };
        for element in Elements::of(self.document)? {
            match element? {
                // A date before 1970 has passed, and is not taken for no expiration.
                (name, Value::Date(unix_ms)) if name == field.as_bytes() => {
                    return Ok(unix_ms.max(0));
                }
                _ => {}
            }
        }
        Ok(NO_EXPIRY)
    }

    /// The element for a value that has no fields of its own, with its name and type.
    pub fn value(&self) -> Result<Option<TypedField<'a>>, DecodeError> {
        let schema = self.registration.schema.as_deref();
        let (wanted, to) = value_field(schema, &|_| false).map_err(DecodeError::NoField)?;
        for element in self.fields()? {
            let (name, value) = element?;
            if name == wanted && to != Some(FieldType::Skip) && value != Value::Null {
                return Ok(Some((name, to, value)));
            }
        }
        Ok(None)
    }

    /// The position of the document itself in SCHEMA.
    pub fn root(&self) -> SchemaPlace<'a> {
        self.registration
            .schema
            .as_deref()
            .map_or_else(SchemaPlace::default, |schema| schema.root())
    }
}
