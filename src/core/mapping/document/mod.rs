//! Converts a key and its value, as read from Redis, to the document that is stored in MongoDB.

use super::bson::{Document, FieldName};
use super::document_id::DocumentId;
use super::duplicate_names::Names;
use super::error::{MAX_DOCUMENT_BYTES, MappingError};
use super::json;
use super::rules::{Rules, value_field};
use super::shape::Shape;
use super::value::{Content, NO_EXPIRY};
use crate::core::registration::Registration;
use crate::core::registration::schema::FieldType;

mod collection;
mod fields;

use fields::Writer;

/// The key field and its value: it identifies a document and is its first field.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    field: FieldName<'a>,
    id: DocumentId<'a>,
}

impl<'a> Identity<'a> {
    /// The identity of `key` (the whole key) in `registration`.
    ///
    /// [`MappingError::Suffix`] if the suffix cannot be converted.
    pub fn of(registration: &'a Registration, key: &'a [u8]) -> Result<Self, MappingError> {
        let field = FieldName::new(&registration.key_field)?;
        let id = DocumentId::convert(registration.id_of(key), registration.key_as)?;
        Ok(Identity { field, id })
    }

    /// Appends the key field to `document`.
    #[inline]
    pub fn append_to(&self, document: &mut Document<'_>) {
        self.id.write(document.element(self.field));
    }
}

/// The TTL field, and the key's expiration time.
#[derive(Clone, Copy, Debug)]
pub struct Expiry<'a> {
    field: FieldName<'a>,
    at_ms: Option<i64>,
}

impl<'a> Expiry<'a> {
    /// The TTL field of a key that expires at `expire_ms` ([`NO_EXPIRY`] for never); `None` if
    /// `registration` has no TTL field.
    pub fn of(
        registration: &'a Registration,
        expire_ms: i64,
    ) -> Result<Option<Self>, MappingError> {
        let Some(field) = &registration.ttl_field else { return Ok(None) };
        let at_ms = (expire_ms != NO_EXPIRY).then_some(expire_ms);
        Ok(Some(Expiry { field: FieldName::new(field)?, at_ms }))
    }
}

/// A key as read from Redis, and how it is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The document's identity.
    pub identity: Identity<'a>,
    /// The key's expiration time, if the registration has a TTL field.
    pub expiry: Option<Expiry<'a>>,
    /// The kind of value that was read.
    pub content: Content,
    /// The value, encoded as described at [`Content`].
    pub value: &'a [u8],
    /// How its fields are mapped.
    pub rules: Rules<'a>,
}

impl<'a> Read<'a> {
    /// The TTL field if the key never expires: then the document must not have this field.
    pub fn absent_field(&self) -> Option<FieldName<'a>> {
        let expiry = self.expiry.filter(|expiry| expiry.at_ms.is_none())?;
        Some(expiry.field)
    }

    /// True if no field of the value may have this name: the key field and the TTL field are written
    /// by the module, and `_id` by MongoDB if it is not the key field.
    #[inline]
    fn is_reserved(&self, name: &str) -> bool {
        name == self.identity.field.as_str()
            || name == "_id"
            || self.expiry.is_some_and(|expiry| name == expiry.field.as_str())
    }
}

/// Writes the whole document and ends it: the key field first, then the TTL field, then the value.
/// A [`Content::Tombstone`] has no value: its document has only the key field.
///
/// After an error the bytes written to `document` must be discarded.
pub fn write(
    mut document: Document<'_>,
    read: &Read<'_>,
    names: &mut Names,
) -> Result<Shape, MappingError> {
    names.clear();
    let Read { identity, expiry, content, value, rules } = *read;
    identity.append_to(&mut document);
    if let Some(Expiry { field, at_ms: Some(at_ms) }) = expiry {
        document.element(field).date_ms(at_ms);
    }
    let reserved = |name: &str| read.is_reserved(name);
    let shape = match content {
        Content::Tombstone => Shape::default(),
        Content::Json => json::append(value, &mut document, &reserved, rules, names)?,
        Content::Unwritable => {
            return Err(MappingError::Unwritable(String::from_utf8_lossy(value).into_owned()));
        }
        Content::Hash => {
            let mut writer = Writer::new(&document, rules, names);
            writer.hash(&mut document, value, &reserved)?
        }
        Content::String | Content::List | Content::Set | Content::Zset | Content::Stream => {
            let unwraps = rules.unwraps && content == Content::String;
            let object = if unwraps { unwrap(read, &mut document, names)? } else { None };
            if object.is_none() {
                let (name, to) = value_field(rules.schema, &reserved)?;
                let mut writer = Writer::new(&document, rules, names);
                if to != Some(FieldType::Skip) {
                    writer.value(&mut document, FieldName::new(name)?, to, content, value)?;
                }
            }
            // SCHEMA gives no name that is a path or begins with `$`.
            object.unwrap_or_default()
        }
    };
    if document.bytes() > MAX_DOCUMENT_BYTES {
        return Err(MappingError::TooLarge);
    }
    document.end();
    Ok(shape)
}

/// Appends the fields of a JSON object in a string; `None` if the string is not a JSON object. An object that cannot be stored in MongoDB is an
/// error, as for a JSON key.
fn unwrap(
    read: &Read<'_>,
    document: &mut Document<'_>,
    names: &mut Names,
) -> Result<Option<Shape>, MappingError> {
    if !json::begins_object(read.value) {
        return Ok(None);
    }
    let start = document.position();
    let reserved = |name: &str| read.is_reserved(name);
    match json::append(read.value, document, &reserved, read.rules, names) {
        Ok(shape) => Ok(Some(shape)),
        Err(why) if json::is_valid(read.value) => Err(why),
        Err(_) => {
            let end = document.position();
            document.remove(std::slice::from_ref(&(start..end)));
            names.clear();
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
