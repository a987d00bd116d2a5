//! Sees to the operations of a batch that a unique index refused: another document has the value,
//! and perhaps that document is in the same batch.
//!
//! Each round sends them again behind those whose values they want. Documents that want each
//! other's values form a circle: it is opened inside of a transaction by taking the index's fields
//! from one of them, which no other reader sees. The rounds end when one of them wrote nothing.

mod graph;
mod values;

use std::collections::HashMap;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocument};
use tokio::time::sleep;

use super::command::{self, CircleStep, Command, Kind};
use super::executor::{ContestedWrites, Finished, rebuild, some, write_out};
use super::limits::Limits;
use super::lookup::Lookup;
use super::reply::Expected;
use crate::core::delivery::batch::Batch;
use crate::core::registration::WriteMode;
use crate::mongo::write::outcome::Outcome;
use crate::sink::Failure;
use graph::{Graph, graph};

/// Rounds at most. One is enough for any chain of values; more are needed where a document is in
/// the way of others in several indexes.
const ROUNDS: u32 = 16;
/// Clashes of a transaction with others before the whole batch must wait.
const CLASHES: u32 = 5;
/// Longest pause after the first clash; it grows with each.
const CLASH_PAUSE: Duration = Duration::from_millis(20);

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It was applied.
    Yes,
    /// Something in it is refused, and nothing was applied.
    No,
    /// It clashed with another operation, and nothing was applied.
    Clashed,
}

/// The server, as far as it is needed here.
pub trait Wire {
    /// Sends a command that stands for itself and may take `limit`.
    async fn send(&mut self, command: (Vec<u8>, Expected), limit: Duration) -> Outcome;

    /// Whether [`commit`](Self::commit) can do anything.
    fn has_transactions(&self) -> bool;

    /// Sends a command as a transaction.
    async fn commit(&mut self, command: Command) -> Result<Committed, Failure>;

    /// Documents that a find command finds, on the server that takes writes; nothing when it fails.
    async fn find(&mut self, command: Vec<u8>) -> Option<Vec<Document>>;
}

/// Sends again what was contested in `finished` while that is of use. What stays contested is left
/// there.
///
/// # Errors
/// The first failure ends it; any part may have been applied.
pub async fn resolve(
    batch: &Batch,
    mut finished: Finished,
    lookup: &Lookup,
    limits: &mut Limits,
    wire: &mut impl Wire,
) -> Result<Finished, Failure> {
    let left = finished.contested.len() + finished.written.unwritten();
    let mut progress = batch.items.len() > left;
    for round in 0..ROUNDS {
        let contested = &finished.contested;
        if contested.is_empty() || (!progress && contested.len() < 2) {
            break;
        }
        let Graph { circles, mut order } = relations(batch, contested, wire).await;
        let opened = open_all((batch, lookup), contested, &circles, wire).await?;
        if !progress && opened.is_empty() {
            break;
        }
        let closed = circles.iter().flatten().filter(|at| !opened.contains(at));
        order.extend(closed);
        if round % 2 == 0 && contested.iter().all(|one| one.duplicate.values.is_empty()) {
            // Nothing is known of the values: the first order was not right.
            order.reverse();
        }
        let order: Vec<u32> =
            order.iter().filter_map(|at| Some(contested.get(*at)?.index)).collect();
        let send = async |command, limit| wire.send(command, limit).await;
        let again = write_out(batch, rebuild(batch, &order, lookup), limits, send).await?;
        let left = again.contested.len() + again.written.unwritten();
        progress = left < order.len() || !opened.is_empty();
        finished.written.add(again.written);
        finished.applied = finished.applied.and(again.applied);
        finished.contested = again.contested;
    }
    Ok(finished)
}

/// Which of the contested items wants the value of which.
async fn relations(batch: &Batch, contested: &[ContestedWrites], wire: &mut impl Wire) -> Graph {
    if contested.len() < 2 {
        return graph(&vec![None; contested.len()]);
    }
    let wants = contested.iter().flat_map(|one| &one.duplicate.values);
    let mut fields: Vec<&str> = wants.map(|(field, _)| field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    let indexes: Vec<u32> = contested.iter().map(|one| one.index).collect();
    let find = command::current(batch, &indexes, &fields).filter(|_| !fields.is_empty());
    let documents = match find {
        Some(find) => wire.find(find).await.unwrap_or_default(),
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
    let wanted: Vec<&[(String, Bson)]> =
        contested.iter().map(|one| one.duplicate.values.as_slice()).collect();
    graph(&values::holders(&wanted, &documents))
}

/// What the key field of an item's document holds.
fn key_of(batch: &Batch, index: u32) -> Option<Bson> {
    let bytes = command::filter(batch, index)?;
    let mut document = Document::try_from(RawDocument::from_bytes(&bytes).ok()?).ok()?;
    document.remove(&batch.registration.key_field)
}

/// The document of an item.
fn document(batch: &Batch, index: u32) -> Option<Document> {
    let built = command::build(&some(batch, &[index]), Kind::Insert, &Lookup::default());
    let command = RawDocument::from_bytes(&built.commands.first()?.bytes).ok()?;
    let documents = command.get_array("documents").ok()?;
    Document::try_from(documents.get_document(0).ok()?).ok()
}

/// Opens circles, all at once or one by one. Returns the places of what was written by that.
async fn open_all(
    (batch, lookup): (&Batch, &Lookup),
    contested: &[ContestedWrites],
    circles: &[Vec<usize>],
    wire: &mut impl Wire,
) -> Result<Vec<usize>, Failure> {
    let mut opened = Vec::new();
    if circles.is_empty() || !wire.has_transactions() {
        return Ok(opened);
    }
    if circles.len() > 1 && open((batch, lookup), contested, circles, wire).await? {
        opened.extend(circles.iter().flatten());
        return Ok(opened);
    }
    for circle in circles {
        if open((batch, lookup), contested, std::slice::from_ref(circle), wire).await? {
            opened.extend(circle);
        }
    }
    Ok(opened)
}

/// Writes these circles in one transaction. Where a document without the fields is refused, by a
/// validator or because another one has none either, they get a passing value instead.
async fn open(
    (batch, lookup): (&Batch, &Lookup),
    contested: &[ContestedWrites],
    circles: &[Vec<usize>],
    wire: &mut impl Wire,
) -> Result<bool, Failure> {
    let (mut unset, mut clashes) = (true, 0);
    loop {
        let steps: Option<Vec<_>> =
            circles.iter().map(|circle| steps(batch, contested, circle, unset)).collect();
        let command = steps.and_then(|steps| command::in_order(batch, &steps.concat(), lookup));
        let Some(command) = command else { return Ok(false) };
        match wire.commit(command).await? {
            Committed::Yes => return Ok(true),
            Committed::No if !unset => return Ok(false),
            Committed::No => unset = false,
            Committed::Clashed if clashes == CLASHES => {
                let namespace = &batch.registration.namespace;
                return Err(Failure::Namespace(format!(
                    "writes to {namespace} keep clashing with other operations"
                )));
            }
            Committed::Clashed => {
                clashes += 1;
                sleep(CLASH_PAUSE.mul_f64(f64::from(clashes) * fastrand::f64())).await;
            }
        }
    }
}

/// The steps that write one circle: each of its documents wants the value of the next one to be
/// written, and the last one that of the first.
fn steps(
    batch: &Batch,
    contested: &[ContestedWrites],
    circle: &[usize],
    unset: bool,
) -> Option<Vec<CircleStep>> {
    let (first, last) = (contested.get(*circle.first()?)?, contested.get(*circle.last()?)?);
    let key_field = &batch.registration.key_field;
    let fields = first.duplicate.values.iter().map(|(field, _)| field.clone());
    let mut fields: Vec<String> =
        fields.filter(|field| field != key_field && field != "_id").collect();
    if batch.registration.write == WriteMode::Merge {
        // What the write does not bring back must stay.
        let document = document(batch, last.index)?;
        fields.retain(|field| document.contains_key(field.split('.').next().unwrap_or_default()));
    }
    if fields.is_empty() {
        return None;
    }
    let open = match unset {
        true => CircleStep::Unset(last.index, fields),
        false => CircleStep::Set(last.index, fields, ObjectId::new().to_hex()),
    };
    let writes = circle.iter().filter_map(|at| Some(CircleStep::Write(contested.get(*at)?.index)));
    Some([open].into_iter().chain(writes).collect())
}

#[cfg(test)]
mod tests;
