//! Turns a batch into the raw `update` and `delete` commands that write it.

use std::ffi::CStr;
use std::iter::Peekable;

mod cycle;
mod options;

pub use cycle::{CycleStep, current, filter, in_order};
pub use options::{CommandOptions, TxnPosition};

use super::forms::{Form, Forms};
use super::lookup::Lookup;
use super::operation;
use super::reply::Expected;
use crate::core::delivery::batch::{Batch, Item, Refusal};
use crate::core::mapping::bson::{Array, Document};
use crate::core::mapping::document::{Expiry, Identity, Read};
use crate::core::mapping::duplicate_names::Names;
use crate::core::mapping::error::MappingError;
use crate::core::mapping::rules::Rules;
use crate::core::mapping::value::Content;

/// Maximum size of a command with several operations, bytes. A larger operation gets a command of
/// its own.
pub const MAX_COMMAND_BYTES: usize = 16_000_000;

/// Maximum number of operations in a command (`maxWriteBatchSize` of MongoDB).
pub const MAX_COMMAND_OPS: usize = 100_000;

/// Maximum size of a command with one operation, bytes: MongoDB accepts 16 MiB + 16 KiB, less what
/// is appended later ([`CommandOptions::complete`]) and what the driver adds (`$db`, `lsid`,
/// `$clusterTime`, about 200 bytes).
const MAX_SINGLE_BYTES: usize = 16_793_600 - TAIL_BYTES - 512;

/// Maximum that [`CommandOptions::complete`] appends, bytes; more than 200 of them are for the tag
/// of a write concern.
const TAIL_BYTES: usize = 512;

/// Approximate size of an operation without key and value, bytes, to reserve memory.
const OP_BYTES: usize = 96;

/// The kind of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `insert`, for documents that are probably new.
    Insert,
    /// `update`, each operation with `upsert`.
    Update,
    /// `delete`.
    Delete,
}

impl Kind {
    fn command(self) -> &'static CStr {
        match self {
            Kind::Insert => c"insert",
            Kind::Update => c"update",
            Kind::Delete => c"delete",
        }
    }

    fn operations(self) -> &'static CStr {
        match self {
            Kind::Insert => c"documents",
            Kind::Update => c"updates",
            Kind::Delete => c"deletes",
        }
    }
}

/// One command, to be [completed](CommandOptions::complete) and sent; the driver adds `$db`.
#[derive(Debug)]
pub struct Command {
    /// The command as BSON.
    pub bytes: Vec<u8>,
    /// For each operation, in the order of the command, its index into [`Batch::items`]: MongoDB
    /// identifies an operation that it refuses by its index in the command.
    pub items: Vec<u32>,
    /// The number of further operations, in an ordered command that resolves cycles.
    pub other_ops: usize,
    /// The kind of command.
    pub kind: Kind,
}

impl Command {
    /// The operations that its reply must account for.
    pub fn expected(&self) -> Expected {
        let written = if self.kind == Kind::Delete { 0 } else { self.items.len() };
        let (ops, in_order) = (self.items.len() + self.other_ops, self.other_ops > 0);
        Expected { ops, written, in_order }
    }
}

/// The commands of a batch.
#[derive(Debug, Default)]
pub struct Built {
    /// Deletes first; each key of the batch is in exactly one command, or refused.
    pub commands: Vec<Command>,
    /// Items that cannot be written, in ascending order of index; with code 0.
    pub refused: Vec<Refusal>,
    /// How the operations find their documents.
    pub lookup: Lookup,
    /// The forms of the updates.
    pub forms: Forms,
    /// The number of operations that the server must work out a difference for.
    pub differences: usize,
}

impl Built {
    /// The number of documents to insert.
    pub fn inserts(&self) -> usize {
        let inserts = self.commands.iter().filter(|command| command.kind == Kind::Insert);
        inserts.map(|command| command.items.len()).sum()
    }
}

/// Builds the commands that write `batch`: documents with [`Kind::Update`], or with
/// [`Kind::Insert`] where they are probably new. Never fails: items that cannot be written are
/// refused.
///
/// Where `lookup` names an index, inserts follow an update of one document, because an insert
/// cannot name an index: in a transaction the update proves that the index exists for the inserts,
/// too.
pub fn build(batch: &Batch, documents: Kind, lookup: &Lookup, forms: Forms) -> Built {
    let built = Built { lookup: lookup.clone(), forms, ..Built::default() };
    let mut builder = Builder { batch, names: Names::default(), built };
    let items = || batch.items.iter().enumerate();
    // A deleted document may have a unique value that another one of the batch gets.
    let mut deleted = items().filter(|(_, item)| item.content == Content::Tombstone).peekable();
    builder.add_all(Kind::Delete, &mut deleted);
    let mut live = items().filter(|(_, item)| item.content != Content::Tombstone).peekable();
    if documents == Kind::Insert && lookup.index.is_some() {
        builder.add(Kind::Update, &mut live, 1);
    }
    builder.add_all(documents, &mut live);
    let mut built = builder.built;
    built.refused.sort_by_key(|refusal| refusal.index);
    built
}

/// An update that changes nothing, because no document has this `_id`: sent for its txnNumber, or,
/// as a pipeline, to learn whether the server takes pipelines.
pub fn no_op_update(collection: &str, id: [u8; 12], as_pipeline: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut command = Document::begin(&mut bytes);
    command.element(c"update").string(collection);
    let mut ops = command.element(c"updates").array();
    let mut op = ops.push().document();
    let mut query = op.element(c"q").document();
    query.element(c"_id").object_id(id);
    query.end();
    let update = op.element(c"u");
    if as_pipeline {
        let mut pipeline = update.array();
        let mut stage = pipeline.push().document();
        stage.element(c"$unset").string("_");
        stage.end();
        pipeline.end();
    } else {
        let mut update = update.document();
        let mut fields = update.element(c"$unset").document();
        fields.element(c"_").int32(1);
        fields.end();
        update.end();
    }
    op.end();
    ops.end();
    command.end();
    bytes
}

/// The command that ends a transaction.
pub fn commit() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut command = Document::begin(&mut bytes);
    command.element(c"commitTransaction").int32(1);
    command.end();
    bytes
}

/// Items of a batch with their indexes.
trait Items<'b>: Iterator<Item = (usize, &'b Item)> {}

impl<'b, I: Iterator<Item = (usize, &'b Item)>> Items<'b> for I {}

struct Builder<'b> {
    batch: &'b Batch,
    names: Names,
    built: Built,
}

impl Builder<'_> {
    /// Adds the commands for all `items`.
    fn add_all<'b>(&mut self, kind: Kind, items: &mut Peekable<impl Items<'b>>) {
        while items.peek().is_some() {
            self.add(kind, items, MAX_COMMAND_OPS);
        }
    }

    /// Adds one command for the next `items`, of at most `max_ops` operations; none if all are
    /// refused.
    fn add<'b>(&mut self, kind: Kind, items: &mut Peekable<impl Items<'b>>, max_ops: usize) {
        let mut bytes = Vec::with_capacity(self.estimate(kind));
        let mut written = Vec::new();
        let mut command = Document::begin(&mut bytes);
        self.begin(kind, &mut command);
        let mut ops = command.element(kind.operations()).array();
        while written.len() < max_ops {
            let Some((index, item)) = items.peek().copied() else { break };
            let mark = ops.mark();
            match self.append_op(kind, item, &mut ops, written.is_empty()) {
                Ok(true) => written.push(index as u32),
                Ok(false) => {
                    ops.roll_back(mark);
                    break;
                }
                Err(why) => {
                    ops.roll_back(mark);
                    let reason = why.to_string();
                    self.built.refused.push(Refusal { index, code: 0, reason });
                }
            }
            items.next();
        }
        ops.end();
        command.end();
        if !written.is_empty() {
            self.built.commands.push(Command { bytes, items: written, other_ops: 0, kind });
        }
    }

    /// Bytes to reserve for a command, so that the buffer is rarely reallocated.
    fn estimate(&self, kind: Kind) -> usize {
        let values = match kind {
            Kind::Insert | Kind::Update => self.batch.bytes.len(),
            Kind::Delete => 0,
        };
        let ops = self.batch.items.len() * OP_BYTES;
        (values + ops + 512).min(MAX_SINGLE_BYTES) + TAIL_BYTES
    }

    /// Writes the fields before the operations.
    fn begin(&self, kind: Kind, command: &mut Document<'_>) {
        command.element(kind.command()).string(&self.batch.registration.namespace.collection);
        command.element(c"ordered").bool(false);
    }

    /// Appends the operation for `item`. `Ok(false)` when it does not fit into the command and
    /// belongs into the next one; the appended bytes must then be rolled back, as after an error.
    fn append_op(
        &mut self,
        kind: Kind,
        item: &Item,
        ops: &mut Array<'_>,
        first: bool,
    ) -> Result<bool, MappingError> {
        // Checked first, so that a key of hundreds of megabytes is not copied.
        if item.key.range().len() > MAX_SINGLE_BYTES {
            return Err(MappingError::KeyTooLong);
        }
        let registration = &self.batch.registration;
        let identity = Identity::of(registration, self.batch.key(item))?;
        match kind {
            Kind::Delete => operation::append_delete(&identity, &self.built.lookup, ops),
            Kind::Insert | Kind::Update => {
                let expiry = Expiry::of(registration, item.expire_ms)?;
                let value = self.batch.value(item);
                let rules = Rules::of(registration);
                let read = Read { identity, expiry, content: item.content, value, rules };
                if kind == Kind::Insert {
                    operation::append_insert(&read, &mut self.names, ops)?;
                } else {
                    let form = self.built.forms.of(self.batch, item);
                    let (lookup, names) = (&self.built.lookup, &mut self.names);
                    operation::append_update(&read, form, lookup, names, ops)?;
                    self.built.differences += usize::from(form == Form::Literal);
                }
            }
        }
        // The array and the command still need a terminating NUL each.
        let bytes = ops.position() + 2;
        if first && bytes > MAX_SINGLE_BYTES {
            return Err(MappingError::KeyTooLong);
        }
        Ok(first || bytes <= MAX_COMMAND_BYTES)
    }
}

#[cfg(test)]
pub(super) mod tests;
