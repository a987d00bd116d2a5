//! Sends the commands of a batch, one after the other, and sees each operation to its end: applied,
//! refused, sent again, or found by halving.

use std::time::Duration;

use tokio::time::sleep;

use super::codes::DUPLICATE_KEY;
use super::command::{self, Built, Command, Kind};
use super::lookup::Lookup;
use super::outcome::{Duplicate, Hitch, Outcome, Remedy};
use crate::core::batch::{Batch, Item, Refusal, Written};
use crate::core::value::Span;
use crate::sink::{Broken, Failure};

/// Attempts at an operation that clashes with others before more than it must wait.
const ATTEMPTS: u32 = 4;
/// Longest pause before the second attempt; it grows with each.
const CLASH_PAUSE: Duration = Duration::from_millis(20);
/// How often a command that is too slow is halved.
const HALVINGS: u32 = 3;

/// A batch that is seen to its end.
#[derive(Debug, Default)]
pub struct Finished {
    /// What became of its items.
    pub written: Written,
    /// Documents that were to be inserted and existed already.
    pub existing: usize,
    /// Items that a unique index refused, in ascending order.
    pub contested: Vec<Contested>,
}

/// An item that a unique index refused.
#[derive(Debug)]
pub struct Contested {
    /// Its index in the batch.
    pub index: u32,
    /// The value that another document has.
    pub duplicate: Duplicate,
}

impl From<Contested> for Refusal {
    fn from(Contested { index, duplicate }: Contested) -> Refusal {
        Refusal { index: index as usize, code: DUPLICATE_KEY, reason: duplicate.reason }
    }
}

/// Writes `batch`, which was built into `built`, by sending one command at a time.
/// An operation that is sent again is the same statement of state, so it may be applied twice.
///
/// # Errors
/// The first failure ends it; any part may have been applied.
pub async fn write_out(
    batch: &Batch,
    built: Built,
    mut send: impl AsyncFnMut(Vec<u8>) -> Outcome,
) -> Result<Finished, Failure> {
    let Built { commands, refused, lookup } = built;
    let jobs = commands.into_iter().rev().map(Job::new).collect();
    let written = Written { refused, ..Written::default() };
    let (existing, contested) = (0, Vec::new());
    let mut writing = Writing { batch, lookup, jobs, written, existing, contested };
    while let Some(job) = writing.jobs.pop() {
        let Job { command: Command { bytes, items, kind }, attempt, halvings } = job;
        writing.written.sent_bytes += bytes.len() as u64;
        match send(bytes).await {
            Outcome::Answered(mut hitches) => {
                if kind == Kind::Insert {
                    writing.update_existing(&items, &mut hitches);
                }
                writing.settle(&items, hitches, attempt).await?;
            }
            Outcome::Unreadable { code, reason } => match items.as_slice() {
                [index] => writing.refuse(*index, code, reason),
                _ => writing.halve(&items, halvings),
            },
            Outcome::TooSlow if halvings < HALVINGS && items.len() > 1 => {
                writing.halve(&items, halvings + 1);
            }
            Outcome::TooSlow => {
                return Err(Failure::Link(Broken::passing(
                    "MongoDB is too slow: it does not finish even a small batch in time",
                )));
            }
            Outcome::Failed(failure) => return Err(failure),
        }
    }
    let mut written = writing.written;
    written.refused.sort_by_key(|refusal| refusal.index);
    let mut contested = writing.contested;
    contested.sort_by_key(|contested| contested.index);
    Ok(Finished { written, existing: writing.existing, contested })
}

/// A command that is to be sent.
struct Job {
    command: Command,
    attempt: u32,
    halvings: u32,
}

impl Job {
    fn new(command: Command) -> Self {
        Job { command, attempt: 1, halvings: 0 }
    }
}

/// A batch on its way.
struct Writing<'b> {
    batch: &'b Batch,
    lookup: Lookup,
    /// What is left to send, the next one last.
    jobs: Vec<Job>,
    written: Written,
    existing: usize,
    contested: Vec<Contested>,
}

impl Writing<'_> {
    /// Sees to the operations of an answered command that were not applied.
    async fn settle(
        &mut self,
        items: &[u32],
        hitches: Vec<Hitch>,
        attempt: u32,
    ) -> Result<(), Failure> {
        let mut again = Vec::new();
        for Hitch { op, code, remedy } in hitches {
            let affected = match op {
                Some(op) => items.get(op..=op).unwrap_or_default(),
                None => items,
            };
            match remedy {
                Remedy::AgainOrRefuse(_) | Remedy::AgainOrRest if attempt < ATTEMPTS => {
                    again.extend_from_slice(affected);
                }
                Remedy::Refuse(reason) | Remedy::AgainOrRefuse(reason) => {
                    for index in affected {
                        self.refuse(*index, code, reason.clone());
                    }
                }
                Remedy::Contested(duplicate) => {
                    let duplicate = |index: &u32| (*index, (*duplicate).clone());
                    let contested = affected.iter().map(duplicate);
                    let contested =
                        contested.map(|(index, duplicate)| Contested { index, duplicate });
                    self.contested.extend(contested);
                }
                Remedy::AgainOrRest => {
                    let namespace = &self.batch.registration.namespace;
                    return Err(Failure::Namespace(format!(
                        "writes to {namespace} keep clashing with other operations (code {code})"
                    )));
                }
            }
        }
        if !again.is_empty() {
            sleep(CLASH_PAUSE.mul_f64(f64::from(attempt) * fastrand::f64())).await;
            self.build_again(&again, attempt + 1, 0);
        }
        Ok(())
    }

    /// Takes the documents out of `hitches` that exist already, and has them updated instead.
    ///
    /// A duplicate in another index counts as well: the document may be its own duplicate there.
    fn update_existing(&mut self, items: &[u32], hitches: &mut Vec<Hitch>) {
        let mut existing = Vec::new();
        hitches.retain(|hitch| {
            let duplicate = hitch.op.filter(|_| hitch.code == DUPLICATE_KEY);
            existing.extend(duplicate.and_then(|op| items.get(op)));
            duplicate.is_none()
        });
        self.existing += existing.len();
        if !existing.is_empty() {
            self.build_again(&existing, 1, 0);
        }
    }

    fn halve(&mut self, items: &[u32], halvings: u32) {
        let (first, second) = items.split_at(items.len() / 2);
        self.build_again(second, 1, halvings);
        self.build_again(first, 1, halvings);
    }

    fn build_again(&mut self, indexes: &[u32], attempt: u32, halvings: u32) {
        let Built { commands, refused, .. } = rebuild(self.batch, indexes, &self.lookup);
        for Refusal { index, code, reason } in refused {
            self.refuse(index as u32, code, reason);
        }
        let jobs = commands.into_iter().rev();
        self.jobs.extend(jobs.map(|command| Job { command, attempt, halvings }));
    }

    fn refuse(&mut self, index: u32, code: i32, reason: String) {
        if code == DUPLICATE_KEY {
            let duplicate = Duplicate { reason, values: Vec::new() };
            return self.contested.push(Contested { index, duplicate });
        }
        self.written.refused.push(Refusal { index: index as usize, code, reason });
    }
}

/// Builds commands for some items of a batch, in this order. Their bytes are copied: it is rare.
pub fn rebuild(batch: &Batch, indexes: &[u32], lookup: &Lookup) -> Built {
    let mut built = command::build(&some(batch, indexes), Kind::Update, lookup);
    let index_of = |item: usize| indexes.get(item).copied().unwrap_or_default();
    for refusal in &mut built.refused {
        refusal.index = index_of(refusal.index) as usize;
    }
    for item in built.commands.iter_mut().flat_map(|command| &mut command.items) {
        *item = index_of(*item as usize);
    }
    built
}

/// A batch of some items of another one.
pub fn some(batch: &Batch, indexes: &[u32]) -> Batch {
    let mut bytes = Vec::new();
    let mut items = Vec::with_capacity(indexes.len());
    for item in indexes.iter().filter_map(|index| batch.items.get(*index as usize)) {
        let key = copy(&mut bytes, batch.key(item));
        let value = copy(&mut bytes, batch.value(item));
        items.push(Item { key, value, ..*item });
    }
    let registration = batch.registration.clone();
    Batch { registration, slot: batch.slot, epoch: batch.epoch, items, bytes }
}

fn copy(buffer: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    Span { start, end: buffer.len() }
}

#[cfg(test)]
mod tests;
