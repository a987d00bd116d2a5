//! Resolves the operations of a batch that a unique index refused: another document has the value,
//! and that document may be in the same batch.
//!
//! Each round sends the contested items again, ordered after those whose values they need.
//! Documents that need each other's values form a cycle: it is broken inside a transaction by
//! removing the index's fields from one of them, which no other reader sees. The rounds end when
//! one wrote nothing.

mod graph;
mod values;

use std::collections::HashMap;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocument};
use tokio::time::sleep;

use super::command::{self, Command, CycleStep, Kind};
use super::executor::{ContestedWrite, Finished, execute, rebuild, subset};
use super::forms::Forms;
use super::limits::Limits;
use super::lookup::Lookup;
use super::reply::Expected;
use crate::core::delivery::batch::Batch;
use crate::core::registration::WriteMode;
use crate::mongo::write::outcome::Outcome;
use crate::sink::Failure;
use graph::{Graph, graph};

/// Maximum number of rounds. One is enough for any chain of values; more are needed where a
/// document conflicts with others in several indexes.
const MAX_ROUNDS: u32 = 16;
/// Maximum number of write conflicts of a transaction, after which the namespace backs off.
const MAX_CONFLICTS: u32 = 5;
/// Maximum pause after the first write conflict; it grows with each.
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// The result of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It was applied.
    Yes,
    /// An operation of it is refused, and nothing was applied.
    No,
    /// It had a write conflict with another operation, and nothing was applied.
    Conflicted,
}

/// Sends commands to the server.
pub trait CommandSender {
    /// Sends a command outside of a transaction, with the time limit `limit`.
    async fn send(&mut self, command: (Vec<u8>, Expected), limit: Duration) -> Outcome;

    /// True if the server supports [`commit`](Self::commit).
    fn has_transactions(&self) -> bool;

    /// Sends a command as a transaction.
    async fn commit(&mut self, command: Command) -> Result<Committed, Failure>;

    /// The documents that a `find` command returns, from the primary; nothing when it fails.
    async fn find(&mut self, command: Vec<u8>) -> Option<Vec<Document>>;
}

/// Sends the contested items of `finished` again as long as some are written. Those that stay
/// contested remain in the result.
///
/// # Errors
/// The first failure; any part of the batch may have been applied.
pub async fn resolve(
    batch: &Batch,
    mut finished: Finished,
    lookup: &Lookup,
    limits: &mut Limits,
    sender: &mut impl CommandSender,
) -> Result<Finished, Failure> {
    let left = finished.contested.len() + finished.written.unwritten();
    let mut progress = batch.items.len() > left;
    for round in 0..MAX_ROUNDS {
        let contested = &finished.contested;
        if contested.is_empty() || (!progress && contested.len() < 2) {
            break;
        }
        let Graph { cycles, mut order } = relations(batch, contested, sender).await;
        let opened = resolve_cycles((batch, lookup), contested, &cycles, sender).await?;
        if !progress && opened.is_empty() {
            break;
        }
        let closed = cycles.iter().flatten().filter(|at| !opened.contains(at));
        order.extend(closed);
        if round % 2 == 0 && contested.iter().all(|one| one.duplicate.values.is_empty()) {
            // The reply contained no values, so the order is unknown; the first order failed.
            order.reverse();
        }
        let order: Vec<u32> =
            order.iter().filter_map(|at| Some(contested.get(*at)?.index)).collect();
        let send = async |command, limit| sender.send(command, limit).await;
        let again = execute(batch, rebuild(batch, &order, lookup), limits, send).await?;
        let left = again.contested.len() + again.written.unwritten();
        progress = left < order.len() || !opened.is_empty();
        finished.written.add(again.written);
        finished.applied = finished.applied.and(again.applied);
        finished.contested = again.contested;
    }
    Ok(finished)
}

/// Finds for each contested item the one whose value it needs.
async fn relations(
    batch: &Batch,
    contested: &[ContestedWrite],
    sender: &mut impl CommandSender,
) -> Graph {
    if contested.len() < 2 {
        return graph(&vec![None; contested.len()]);
    }
    let needs = contested.iter().flat_map(|one| &one.duplicate.values);
    let mut fields: Vec<&str> = needs.map(|(field, _)| field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    let indexes: Vec<u32> = contested.iter().map(|one| one.index).collect();
    let find = command::current(batch, &indexes, &fields).filter(|_| !fields.is_empty());
    let documents = match find {
        Some(find) => sender.find(find).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let key_field = &batch.registration.key_field;
    let by_id: HashMap<Vec<u8>, usize> = indexes
        .iter()
        .enumerate()
        .filter_map(|(at, index)| Some((values::canonical(&key_of(batch, *index)?), at)))
        .collect();
    let documents: Vec<(usize, &Document)> = documents
        .iter()
        .filter_map(|document| {
            let id = values::canonical(document.get(key_field)?);
            Some((*by_id.get(&id)?, document))
        })
        .collect();
    let needs_values: Vec<&[(String, Bson)]> =
        contested.iter().map(|one| one.duplicate.values.as_slice()).collect();
    graph(&values::holders(&needs_values, &documents))
}

/// The value of the key field in an item's document.
fn key_of(batch: &Batch, index: u32) -> Option<Bson> {
    let bytes = command::filter(batch, index)?;
    let mut document = Document::try_from(RawDocument::from_bytes(&bytes).ok()?).ok()?;
    document.remove(&batch.registration.key_field)
}

/// The document of an item.
fn document(batch: &Batch, index: u32) -> Option<Document> {
    let built = command::build(
        &subset(batch, &[index]),
        Kind::Insert,
        &Lookup::default(),
        Forms::default(),
    );
    let command = RawDocument::from_bytes(&built.commands.first()?.bytes).ok()?;
    let documents = command.get_array("documents").ok()?;
    Document::try_from(documents.get_document(0).ok()?).ok()
}

/// Resolves cycles, all in one transaction or one by one. Returns the positions of the items
/// written by that.
async fn resolve_cycles(
    (batch, lookup): (&Batch, &Lookup),
    contested: &[ContestedWrite],
    cycles: &[Vec<usize>],
    sender: &mut impl CommandSender,
) -> Result<Vec<usize>, Failure> {
    let mut opened = Vec::new();
    if cycles.is_empty() || !sender.has_transactions() {
        return Ok(opened);
    }
    if cycles.len() > 1 && resolve_cycle((batch, lookup), contested, cycles, sender).await? {
        opened.extend(cycles.iter().flatten());
        return Ok(opened);
    }
    for cycle in cycles {
        if resolve_cycle((batch, lookup), contested, std::slice::from_ref(cycle), sender).await? {
            opened.extend(cycle);
        }
    }
    Ok(opened)
}

/// Writes these cycles in one transaction. If a document without the fields is refused, by a
/// validator or because another one lacks them as well, the fields get a temporary value instead.
async fn resolve_cycle(
    (batch, lookup): (&Batch, &Lookup),
    contested: &[ContestedWrite],
    cycles: &[Vec<usize>],
    sender: &mut impl CommandSender,
) -> Result<bool, Failure> {
    let (mut unset, mut conflicts) = (true, 0);
    loop {
        let steps: Option<Vec<_>> =
            cycles.iter().map(|cycle| steps(batch, contested, cycle, unset)).collect();
        let command = steps.and_then(|steps| command::in_order(batch, &steps.concat(), lookup));
        let Some(command) = command else { return Ok(false) };
        match sender.commit(command).await? {
            Committed::Yes => return Ok(true),
            Committed::No if !unset => return Ok(false),
            Committed::No => unset = false,
            Committed::Conflicted if conflicts == MAX_CONFLICTS => {
                let namespace = &batch.registration.namespace;
                return Err(Failure::Namespace(format!(
                    "writes to {namespace} keep clashing with other operations"
                )));
            }
            Committed::Conflicted => {
                conflicts += 1;
                sleep(CONFLICT_PAUSE.mul_f64(f64::from(conflicts) * fastrand::f64())).await;
            }
        }
    }
}

/// The steps that write one cycle: each document needs the value of the one written before it, and
/// the first needs that of the last, whose fields are removed beforehand.
fn steps(
    batch: &Batch,
    contested: &[ContestedWrite],
    cycle: &[usize],
    unset: bool,
) -> Option<Vec<CycleStep>> {
    let (first, last) = (contested.get(*cycle.first()?)?, contested.get(*cycle.last()?)?);
    let key_field = &batch.registration.key_field;
    let fields = first.duplicate.values.iter().map(|(field, _)| field.clone());
    let mut fields: Vec<String> =
        fields.filter(|field| field != key_field && field != "_id").collect();
    if batch.registration.write == WriteMode::Merge {
        // Fields that the write does not set again must not be removed.
        let document = document(batch, last.index)?;
        fields.retain(|field| document.contains_key(field.split('.').next().unwrap_or_default()));
    }
    if fields.is_empty() {
        return None;
    }
    let break_cycle = match unset {
        true => CycleStep::Unset(last.index, fields),
        false => CycleStep::Set(last.index, fields, ObjectId::new().to_hex()),
    };
    let writes = cycle.iter().filter_map(|at| Some(CycleStep::Write(contested.get(*at)?.index)));
    Some([break_cycle].into_iter().chain(writes).collect())
}

#[cfg(test)]
mod tests;
