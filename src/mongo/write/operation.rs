//! Writes one operation of an `update` or `delete` command.

use super::lookup::Lookup;
use crate::core::mapping::bson::{Array, Document};
use crate::core::mapping::document;
use crate::core::mapping::document::{Identity, Read};
use crate::core::mapping::duplicate_names::Names;
use crate::core::mapping::error::MappingError;
use crate::core::mapping::shape::Shape;
use crate::core::registration::WriteMode;

/// The form of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A replacement document; no top-level name may begin with `$`.
    Replacement,
    /// A pipeline that replaces the document; any name is allowed. The server compares the document
    /// with the one before.
    Literal,
    /// A pipeline that sets the document's fields and keeps all others, except the TTL field of an
    /// expiry that no longer exists; any name is allowed, and a dot in it is no path.
    Merge,
}

/// Appends an upsert of the document; with `difference`, in the form that lets the server work out
/// what has changed. After an error `ops` must be rolled back.
pub fn append_update(
    read: &Read<'_>,
    mode: WriteMode,
    difference: bool,
    lookup: &Lookup,
    names: &mut Names,
    ops: &mut Array<'_>,
) -> Result<(), MappingError> {
    match mode {
        WriteMode::Merge => append_upsert(read, Form::Merge, lookup, names, ops)?,
        WriteMode::Replace if difference => append_upsert(read, Form::Literal, lookup, names, ops)?,
        WriteMode::Replace => {
            let mark = ops.mark();
            let shape = append_upsert(read, Form::Replacement, lookup, names, ops)?;
            if !shape.dollar {
                return Ok(());
            }
            // This is rare, so the document is simply written again.
            ops.roll_back(mark);
            append_upsert(read, Form::Literal, lookup, names, ops)?
        }
    };
    Ok(())
}

/// Appends the document itself, to be inserted. After an error `ops` must be rolled back.
pub fn append_insert(
    read: &Read<'_>,
    names: &mut Names,
    ops: &mut Array<'_>,
) -> Result<(), MappingError> {
    document::write(ops.push().document(), read, names).map(drop)
}

/// Appends the deletion of the document.
pub fn append_delete(identity: &Identity<'_>, lookup: &Lookup, ops: &mut Array<'_>) {
    let mut op = ops.push().document();
    append_query(identity, &mut op);
    op.element(c"limit").int32(1);
    lookup.append_to(&mut op);
    op.end();
}

fn append_query(identity: &Identity<'_>, op: &mut Document<'_>) {
    let mut query = op.element(c"q").document();
    identity.append_to(&mut query);
    query.end();
}

fn append_upsert(
    read: &Read<'_>,
    form: Form,
    lookup: &Lookup,
    names: &mut Names,
    ops: &mut Array<'_>,
) -> Result<Shape, MappingError> {
    let mut write = |document: Document<'_>| document::write(document, read, names);
    let mut op = ops.push().document();
    append_query(&read.identity, &mut op);
    let u = op.element(c"u");
    let shape = match form {
        Form::Replacement => write(u.document())?,
        Form::Literal | Form::Merge => {
            let mut pipeline = u.array();
            if let (Form::Merge, Some(field)) = (form, read.absent_field()) {
                // WB.REGISTER accepts no field name that would be a path or a variable.
                let mut stage = pipeline.push().document();
                stage.element(c"$unset").string(field.as_str());
                stage.end();
            }
            let mut stage = pipeline.push().document();
            let mut expression = stage.element(c"$replaceWith").document();
            // Only values under `$literal` are never evaluated as expressions.
            let shape = if form == Form::Literal {
                write(expression.element(c"$literal").document())?
            } else {
                let mut merged = expression.element(c"$mergeObjects").array();
                merged.push().string("$$ROOT");
                let mut fields = merged.push().document();
                let shape = write(fields.element(c"$literal").document())?;
                fields.end();
                merged.end();
                shape
            };
            expression.end();
            stage.end();
            pipeline.end();
            shape
        }
    };
    op.element(c"upsert").bool(true);
    lookup.append_to(&mut op);
    op.end();
    Ok(shape)
}
