//! Fields with their values: of hashes and of stream entries.

use std::str;

use crate::core::mapping::bson::{Document, Element, FieldName};
use crate::core::mapping::convert::{Scalar, convert};
use crate::core::mapping::duplicate_names::{Kept, Names};
use crate::core::mapping::error::MappingError;
use crate::core::mapping::json;
use crate::core::mapping::json::end_limit;
use crate::core::mapping::rules::Rules;
use crate::core::mapping::shape::Shape;
use crate::core::mapping::value::{Content, Strings};
use crate::core::registration::OnError;
use crate::core::registration::schema::{FieldType, Schema};

/// Writes the fields of one value.
pub(super) struct Writer<'a> {
    schema: Option<&'a Schema>,
    on_error: OnError,
    names: &'a mut Names,
    /// Position in the buffer beyond which no element of the document may extend.
    end_limit: usize,
}

impl<'a> Writer<'a> {
    /// A writer of fields that are appended to `document`.
    pub fn new(document: &Document<'_>, rules: Rules<'a>, names: &'a mut Names) -> Writer<'a> {
        let Rules { schema, on_error, .. } = rules;
        Writer { schema, on_error, names, end_limit: end_limit(document) }
    }

    /// Appends the fields of a hash except those for which `reserved` is true.
    pub fn hash(
        &mut self,
        document: &mut Document<'_>,
        value: &[u8],
        reserved: &dyn Fn(&str) -> bool,
    ) -> Result<Shape, MappingError> {
        let mut shape = Shape::default();
        let opened = self.names.open();
        let mut strings = Strings::new(value);
        while let Some(name) = strings.next() {
            let value = strings.next().ok_or(MappingError::Truncated)?;
            if let Some(name) = self.field(document, 1, name, value, reserved)? {
                shape.add(name);
            }
        }
        if !strings.is_empty() {
            return Err(MappingError::Truncated);
        }
        // A scan may return a field twice if the hash grows meanwhile.
        self.names.close(opened, document);
        Ok(shape)
    }

    /// Appends the fields of one stream entry, `count` names and values, to a document at `level`.
    pub fn entry(
        &mut self,
        document: &mut Document<'_>,
        level: u32,
        count: u32,
        strings: &mut Strings<'_>,
    ) -> Result<(), MappingError> {
        let opened = self.names.open();
        for _ in 0..count {
            let name = strings.next().ok_or(MappingError::Truncated)?;
            let value = strings.next().ok_or(MappingError::Truncated)?;
            self.field(document, level, name, value, &|_| false)?;
        }
        self.names.close(opened, document);
        Ok(())
    }

    /// Appends one field; returns its name in the document, or nothing if it is omitted.
    fn field<'n>(
        &mut self,
        document: &mut Document<'_>,
        level: u32,
        name: &'n [u8],
        value: &[u8],
        reserved: &dyn Fn(&str) -> bool,
    ) -> Result<Option<&'n str>, MappingError>
    where
        'a: 'n,
    {
        let name = str::from_utf8(name).map_err(|_| MappingError::NameNotUtf8)?;
        let (name, to) = self.schema.map_or(Ok((name, None)), |schema| schema.field(name))?;
        if to == Some(FieldType::Skip) || reserved(name) {
            return Ok(None);
        }
        let field = FieldName::new(name)?;
        let start = self.names.add(document, name);
        let kept = self.string(document.element(field), level, to, value)?;
        self.names.keep(start, kept);
        Ok(Some(name))
    }

    /// Appends the field for a value that has no fields of its own.
    pub fn value(
        &mut self,
        document: &mut Document<'_>,
        name: FieldName<'_>,
        to: Option<FieldType>,
        content: Content,
        value: &[u8],
    ) -> Result<(), MappingError> {
        let opened = self.names.open();
        let start = self.names.add(document, name.as_str());
        let element = document.element(name);
        let kept = match content {
            Content::List => self.list(element.array(), to, value)?,
            Content::Set => self.set(element.array(), to, value)?,
            Content::Zset => self.zset(element.array(), value)?,
            Content::Stream => self.stream(element.array(), value)?,
            _ => self.string(element, 1, to, value)?,
        };
        self.names.keep(start, kept);
        self.names.close(opened, document);
        Ok(())
    }

    /// Writes `bytes` as the value of `element`, which is in a document at `level`.
    #[inline]
    pub fn string(
        &mut self,
        element: Element<'_>,
        level: u32,
        to: Option<FieldType>,
        bytes: &[u8],
    ) -> Result<Kept, MappingError> {
        match to {
            None => self.plain(element, bytes)?,
            Some(FieldType::Json) => {
                if self.on_error != OnError::DeadLetter && !json::is_writable(bytes, level) {
                    return self.unconverted(element, FieldType::Json, bytes);
                }
                let name = element.name_at(element.name_position()).to_vec();
                json::write(bytes, element, level, self.end_limit, self.names).map_err(|why| {
                    match why {
                        MappingError::Json(_) | MappingError::JsonNotUtf8 => {
                            MappingError::mismatch(FieldType::Json, &name)
                        }
                        why => why,
                    }
                })?;
            }
            Some(to) => {
                if matches!(to, FieldType::String | FieldType::Binary | FieldType::Auto) {
                    self.check(element.position() + bytes.len())?;
                }
                match convert(Scalar::Bytes(bytes), to) {
                    Some(converted) => converted.write(element),
                    None => return self.unconverted(element, to, bytes),
                }
            }
        }
        Ok(Kept::Whole)
    }

    /// Writes `bytes` without conversion.
    #[inline]
    pub fn plain(&self, element: Element<'_>, bytes: &[u8]) -> Result<(), MappingError> {
        self.check(element.position() + bytes.len())?;
        match str::from_utf8(bytes) {
            Ok(text) => element.string(text),
            Err(_) => element.binary(bytes),
        }
        Ok(())
    }

    /// Applies ONERROR to `bytes` that cannot be converted to the type `to`.
    #[cold]
    fn unconverted(
        &self,
        element: Element<'_>,
        to: FieldType,
        bytes: &[u8],
    ) -> Result<Kept, MappingError> {
        match self.on_error {
            OnError::DeadLetter => {
                Err(MappingError::mismatch(to, element.name_at(element.name_position())))
            }
            OnError::String => self.plain(element, bytes).map(|()| Kept::Whole),
            OnError::Skip => {
                element.null();
                Ok(Kept::LeftOut)
            }
        }
    }

    /// Checks the size before copying: a value can be thirty times as large as a document.
    #[inline]
    pub fn check(&self, position: usize) -> Result<(), MappingError> {
        if position > self.end_limit { Err(MappingError::TooLarge) } else { Ok(()) }
    }
}
