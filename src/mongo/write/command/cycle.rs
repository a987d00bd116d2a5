//! The command that resolves cycles: documents that need each other's values in a unique index.

use super::{Builder, Built, Command, Kind, MAX_COMMAND_BYTES};
use crate::core::delivery::batch::Batch;
use crate::core::mapping::bson::{Array, Document, FieldName};
use crate::core::mapping::document::Identity;
use crate::core::mapping::duplicate_names::Names;
use crate::mongo::write::lookup::Lookup;

/// One operation of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CycleStep {
    /// Removes these fields from the document of an item.
    Unset(u32, Vec<String>),
    /// Sets these fields to a value that no other document has.
    Set(u32, Vec<String>, String),
    /// Writes the document of an item.
    Write(u32),
}

/// One ordered `update` command with these steps; nothing when they do not fit into one command, or
/// an item cannot be written at all.
pub fn in_order(batch: &Batch, steps: &[CycleStep], lookup: &Lookup) -> Option<Command> {
    let built = Built { lookup: lookup.clone(), ..Built::default() };
    let mut builder = Builder { batch, names: Names::default(), built };
    let mut bytes = Vec::new();
    let mut items = Vec::new();
    let mut command = Document::begin(&mut bytes);
    command.element(c"update").string(&batch.registration.namespace.collection);
    command.element(c"ordered").bool(true);
    let mut ops = command.element(c"updates").array();
    for step in steps {
        match step {
            CycleStep::Write(index) => {
                let item = batch.items.get(*index as usize)?;
                let fits = builder.append_op(Kind::Update, item, &mut ops, false).ok()?;
                items.push(*index);
                fits.then_some(())?;
            }
            CycleStep::Unset(index, fields) => {
                append_step((batch, lookup), *index, fields, None, &mut ops)?;
            }
            CycleStep::Set(index, fields, value) => {
                append_step((batch, lookup), *index, fields, Some(value), &mut ops)?;
            }
        }
    }
    let fits = ops.position() <= MAX_COMMAND_BYTES;
    ops.end();
    command.end();
    let other_ops = steps.len() - items.len();
    fits.then_some(Command { bytes, items, other_ops, kind: Kind::Update })
}

fn append_step(
    (batch, lookup): (&Batch, &Lookup),
    index: u32,
    fields: &[String],
    value: Option<&String>,
    ops: &mut Array<'_>,
) -> Option<()> {
    let item = batch.items.get(index as usize)?;
    let identity = Identity::of(&batch.registration, batch.key(item)).ok()?;
    let mut op = ops.push().document();
    let mut query = op.element(c"q").document();
    identity.append_to(&mut query);
    query.end();
    let mut update = op.element(c"u").document();
    let operator = if value.is_some() { c"$set" } else { c"$unset" };
    let mut changed = update.element(operator).document();
    for field in fields {
        let name = FieldName::new(field).ok()?;
        match value {
            Some(value) => changed.element(name).string(value),
            None => changed.element(name).string(""),
        }
    }
    changed.end();
    update.end();
    lookup.append_to(&mut op);
    op.end();
    Some(())
}

/// The filter that finds the document of an item.
pub fn filter(batch: &Batch, index: u32) -> Option<Vec<u8>> {
    let item = batch.items.get(index as usize)?;
    let identity = Identity::of(&batch.registration, batch.key(item)).ok()?;
    let mut bytes = Vec::new();
    let mut filter = Document::begin(&mut bytes);
    identity.append_to(&mut filter);
    filter.end();
    Some(bytes)
}

/// The `find` command that reads the current documents of some items: their keys and these fields.
pub fn current(batch: &Batch, indexes: &[u32], fields: &[&str]) -> Option<Vec<u8>> {
    let registration = &batch.registration;
    let mut bytes = Vec::new();
    let mut command = Document::begin(&mut bytes);
    command.element(c"find").string(&registration.namespace.collection);
    let mut filter = command.element(c"filter").document();
    let mut any = filter.element(c"$or").array();
    for index in indexes {
        let item = batch.items.get(*index as usize)?;
        let identity = Identity::of(registration, batch.key(item)).ok()?;
        let mut one = any.push().document();
        identity.append_to(&mut one);
        one.end();
    }
    any.end();
    filter.end();
    let mut projection = command.element(c"projection").document();
    let key = registration.key_field.as_str();
    for field in [key].iter().chain(fields.iter().filter(|field| **field != key)) {
        projection.element(FieldName::new(field).ok()?).int32(1);
    }
    projection.end();
    command.element(c"batchSize").int32(i32::try_from(indexes.len()).ok()?);
    command.element(c"singleBatch").bool(true);
    command.end();
    Some(bytes)
}
