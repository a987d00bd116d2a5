//! Writes one operation of an `update` or `delete` command.

use super::forms::Form;
use super::lookup::Lookup;
use crate::core::mapping::bson::{Array, Document};
use crate::core::mapping::document;
use crate::core::mapping::document::{Identity, Read};
use crate::core::mapping::duplicate_names::Names;
use crate::core::mapping::error::MappingError;
use crate::core::mapping::shape::Shape;

/// Appends an upsert of the document in this form, or in the pipeline of the same effect if the names
/// of its fields require that. After an error `ops` must be rolled back.
pub fn append_update(
    read: &Read<'_>,
    form: Form,
    lookup: &Lookup,
    names: &mut Names,
    ops: &mut Array<'_>,
) -> Result<(), MappingError> {
    let mark = ops.mark();
    let shape = append_upsert(read, form, lookup, names, ops)?;
    let pipeline = match form {
        Form::Replacement if shape.dollar => Form::Literal,
        Form::Set if shape.dollar || shape.path => Form::Merge,
        _ => return Ok(()),
    };
    // This is rare, so the document is simply written again.
    ops.roll_back(mark);
    append_upsert(read, pipeline, lookup, names, ops).map(drop)
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
    // WB.REGISTER accepts no field name that would be a path or a variable.
    let absent_field = read.absent_field();
    let shape = match form {
        Form::Replacement => write(u.document())?,
        Form::Set => {
            let mut update = u.document();
            // The key field is among them, so that `$set` is never empty, which MongoDB 4.4 refuses.
            let shape = write(update.element(c"$set").document())?;
            if let Some(field) = absent_field {
                let mut absent = update.element(c"$unset").document();
                absent.element(field).string("");
                absent.end();
            }
            update.end();
            shape
        }
        Form::Literal | Form::Merge => {
            let mut pipeline = u.array();
            if let (Form::Merge, Some(field)) = (form, absent_field) {
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
