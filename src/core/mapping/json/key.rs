//! Names of JSON values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use super::run::Run;
use crate::core::mapping::bson::{Document, Element, FieldName};
use crate::core::registration::schema::SchemaPlace;

/// A field name: creates an element without a value and returns it with its schema position; `None`
/// if the field is omitted.
pub struct Key<'a, 'd, 'w, 'r, 's> {
    pub document: &'d mut Document<'w>,
    pub level: u32,
    pub reserved: Option<&'a dyn Fn(&str) -> bool>,
    /// Schema position of the object.
    pub place: SchemaPlace<'s>,
    pub run: &'a mut Run<'r>,
}

impl<'de, 'd, 's> DeserializeSeed<'de> for Key<'_, 'd, '_, '_, 's> {
    type Value = Option<(Element<'d>, SchemaPlace<'s>)>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de, 'd, 's> Visitor<'de> for Key<'_, 'd, '_, '_, 's> {
    type Value = Option<(Element<'d>, SchemaPlace<'s>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let Key { document, level, reserved, place, run } = self;
        let Some((given, place)) = place.field(name).map_err(|why| run.stop(why.into()))? else {
            return Ok(None);
        };
        let name = given.unwrap_or(name);
        if let Some(reserved) = reserved {
            if reserved(name) {
                return Ok(None);
            }
            run.shape.add(name);
        }
        run.check(document.position() + name.len(), level)?;
        let field = FieldName::new(name).map_err(|nul| run.stop(nul.into()))?;
        run.names.add(document, name);
        Ok(Some((document.element(field), place)))
    }
}
