//! Turns a key and its value, as read from Redis, into the document that MongoDB shall hold.

use std::str;

use super::bson::{Document, FieldName};
use super::id::Id;
use super::json;
use super::names::Names;
use super::registration::Registration;
use super::unfit::{MAX_DOCUMENT_BYTES, Unfit};
use super::value::{Content, NO_EXPIRY, Strings};

/// The field that holds a value that has no fields of its own.
const VALUE: &str = "value";

/// The key field and what it holds: by this a document is found, and with this it begins.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    field: FieldName<'a>,
    id: Id<'a>,
}

impl<'a> Identity<'a> {
    /// The identity of `key`, the whole key, under `registration`.
    ///
    /// [`Unfit::Suffix`] when the suffix cannot be converted.
    pub fn of(registration: &'a Registration, key: &'a [u8]) -> Result<Self, Unfit> {
        let field = FieldName::new(&registration.key_field)?;
        let id = Id::convert(registration.suffix(key), registration.key_as)?;
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
    pub fn of(registration: &'a Registration, expire_ms: i64) -> Result<Option<Self>, Unfit> {
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
) -> Result<Shape, Unfit> {
    names.clear();
    let Read { identity, expiry, content, value } = *read;
    identity.append_to(&mut document);
    if let Some(Expiry { field, at_ms: Some(at_ms) }) = expiry {
        document.element(field).date_ms(at_ms);
    }
    let dollar = match content {
        Content::Tombstone => false,
        Content::Hash => append_hash(&mut document, read, names)?,
        Content::Json => json::append(value, &mut document, &|name| read.reserves(name), names)?,
        Content::String => {
            if read.reserves(VALUE) {
                return Err(Unfit::NoPlaceForValue);
            }
            append_bytes(&mut document, FieldName::new(VALUE)?, value)?;
            false
        }
        Content::Unwritable => {
            return Err(Unfit::Unwritable(String::from_utf8_lossy(value).into_owned()));
        }
    };
    if document.bytes() > MAX_DOCUMENT_BYTES {
        return Err(Unfit::TooLarge);
    }
    document.end();
    Ok(Shape { dollar })
}

/// Appends one field a hash field; returns whether a name begins with `$`.
fn append_hash(
    document: &mut Document<'_>,
    read: &Read<'_>,
    names: &mut Names,
) -> Result<bool, Unfit> {
    let mut dollar = false;
    let opened = names.open();
    let mut strings = Strings::new(read.value);
    while let Some(name) = strings.next() {
        let value = strings.next().ok_or(Unfit::Torn)?;
        let name = str::from_utf8(name).map_err(|_| Unfit::NameNotUtf8)?;
        if read.reserves(name) {
            continue;
        }
        let field = FieldName::new(name)?;
        dollar |= name.starts_with('$');
        // A hash that was read in several slices, and grew meanwhile, may show a field twice.
        names.add(document, name);
        append_bytes(document, field, value)?;
    }
    names.close(opened, document);
    Ok(dollar)
}

/// Appends bytes as a string, or as binary when they are not UTF-8.
#[inline]
fn append_bytes(
    document: &mut Document<'_>,
    name: FieldName<'_>,
    bytes: &[u8],
) -> Result<(), Unfit> {
    // Asked before the copy: a value can be thirty times as large as a document.
    if document.bytes() + name.as_str().len() + bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Unfit::TooLarge);
    }
    let element = document.element(name);
    match str::from_utf8(bytes) {
        Ok(text) => element.string(text),
        Err(_) => element.binary(bytes),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
