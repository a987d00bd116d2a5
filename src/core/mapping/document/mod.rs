//! Turns a key and its value, as read from Redis, into the document that MongoDB shall hold.

use super::bson::{Document, FieldName};
use super::document_id::DocumentId;
use super::duplicate_names::Names;
use super::error::{MAX_DOCUMENT_BYTES, MappingError};
use super::json;
use super::rules::{Rules, value_field};
use super::value::{Content, NO_EXPIRY};
use crate::core::registration::Registration;
use crate::core::registration::schema::FieldType;

mod collection;
mod fields;

use fields::Writer;

/// The key field and what it holds: by this a document is found, and with this it begins.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    field: FieldName<'a>,
    id: DocumentId<'a>,
}

impl<'a> Identity<'a> {
    /// The identity of `key`, the whole key, under `registration`.
    ///
    /// [`MappingError::Suffix`] when the suffix cannot be converted.
    pub fn of(registration: &'a Registration, key: &'a [u8]) -> Result<Self, MappingError> {
        let field = FieldName::new(&registration.key_field)?;
        let id = DocumentId::convert(registration.id_of(key), registration.key_as)?;
        Ok(Identity { field, id })
    }

    /// Appends it to `document`.
    #[inline]
    pub fn append_to(&self, document: &mut Document<'_>) {
        self.id.write(document.element(self.field));
    }
}

/// The field for the key's expiry, and when that is.
#[derive(Clone, Copy, Debug)]
pub struct Expiry<'a> {
    field: FieldName<'a>,
    at_ms: Option<i64>,
}

impl<'a> Expiry<'a> {
    /// What `expire_ms` of a key, [`NO_EXPIRY`] for never, becomes under `registration`: nothing
    /// where there is no field for it.
    pub fn of(
        registration: &'a Registration,
        expire_ms: i64,
    ) -> Result<Option<Self>, MappingError> {
        let Some(field) = &registration.ttl_field else { return Ok(None) };
        let at_ms = (expire_ms != NO_EXPIRY).then_some(expire_ms);
        Ok(Some(Expiry { field: FieldName::new(field)?, at_ms }))
    }
}

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The document's identity.
    pub identity: Identity<'a>,
    /// The key's expiry, if the document has a field for it.
    pub expiry: Option<Expiry<'a>>,
    /// What was found.
    pub content: Content,
    /// The value, laid out as the content says.
    pub value: &'a [u8],
    /// What becomes of its fields.
    pub rules: Rules<'a>,
}

impl<'a> Read<'a> {
    /// The field for the expiry when the key has none: the document must not have it.
    pub fn absent_field(&self) -> Option<&'a str> {
        let expiry = self.expiry.filter(|expiry| expiry.at_ms.is_none())?;
        Some(expiry.field.as_str())
    }

    /// Whether a field of the value must not have this name: the key field is the key's, the
    /// field for the expiry too, and `_id` is MongoDB's where it is not the key field.
    #[inline]
    fn reserves(&self, name: &str) -> bool {
        name == self.identity.field.as_str()
            || name == "_id"
            || self.expiry.is_some_and(|expiry| name == expiry.field.as_str())
    }
}

/// What a finished document asks of the command that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// A field of the document itself has a name that begins with `$`: MongoDB takes it only as a
    /// literal in a pipeline, not as a replacement.
    pub dollar: bool,
}

/// Writes the whole document and ends it: the key field first, then the expiry, then the value.
/// A [`Content::Tombstone`] has no value, and gives the key field alone.
///
/// After an error the bytes that `document` has begun must be thrown away.
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
    let reserved = |name: &str| read.reserves(name);
    let dollar = match content {
        Content::Tombstone => false,
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
            object.unwrap_or(false)
        }
    };
    if document.bytes() > MAX_DOCUMENT_BYTES {
        return Err(MappingError::TooLarge);
    }
    document.end();
    Ok(Shape { dollar })
}

/// Appends the fields of a JSON object that a string holds, and returns whether a name begins with
/// `$`; nothing when it holds none. An object that MongoDB cannot hold is an error, as it is of a JSON
/// key.
fn unwrap(
    read: &Read<'_>,
    document: &mut Document<'_>,
    names: &mut Names,
) -> Result<Option<bool>, MappingError> {
    if !json::begins_object(read.value) {
        return Ok(None);
    }
    let start = document.position();
    let reserved = |name: &str| read.reserves(name);
    match json::append(read.value, document, &reserved, read.rules, names) {
        Ok(dollar) => Ok(Some(dollar)),
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
