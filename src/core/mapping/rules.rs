//! How a registration maps the fields of a value.

use super::error::MappingError;
use crate::core::registration::schema::{FieldType, Schema};
use crate::core::registration::{OnError, Registration};

/// The field that holds a value that has no fields of its own.
pub const VALUE: &str = "value";

/// How a registration maps the fields of a value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// Types and names of the fields, if SCHEMA is given.
    pub schema: Option<&'a Schema>,
    /// What happens to a field that cannot be converted to its type.
    pub on_error: OnError,
    /// True if a string that holds a JSON object is stored as the object's fields.
    pub unwraps: bool,
}

impl<'a> Rules<'a> {
    /// The rules of `registration`.
    pub fn of(registration: &'a Registration) -> Self {
        let Registration { on_error, unwraps, .. } = *registration;
        Rules { schema: registration.schema.as_deref(), on_error, unwraps }
    }
}

/// The field for a value that has no fields of its own, with the type that SCHEMA gives it.
///
/// [`MappingError::ValueFieldTaken`] if the field is the key field or the TTL field.
pub fn value_field<'s>(
    schema: Option<&'s Schema>,
    reserved: &dyn Fn(&str) -> bool,
) -> Result<(&'s str, Option<FieldType>), MappingError> {
    let (name, to) = schema.map_or(Ok((VALUE, None)), |schema| schema.field(VALUE))?;
    if reserved(name) {
        return Err(MappingError::ValueFieldTaken);
    }
    Ok((name, to))
}
