//! Sends the commands of a batch, one after the other, until each operation is applied or refused:
//! operations are retried, and rejected commands are bisected.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::command::{self, Built, Command, Kind};
use super::failure_classifier::{Applied, FailureClassifier};
use super::forms::Forms;
use super::limits::Limits;
use super::lookup::Lookup;
use super::reply::Expected;
use crate::core::delivery::batch::{Batch, Item, Refusal, Written};
use crate::core::mapping::value::Span;
use crate::mongo::codes::DUPLICATE_KEY;
use crate::mongo::write::outcome::{Action, Duplicate, Outcome, WriteError};
use crate::sink::Failure;

/// Maximum number of attempts at an operation with write conflicts, before its key or the namespace
/// waits.
pub const MAX_ATTEMPTS: u32 = 4;
/// Maximum pause before the second attempt; it grows with each.
pub const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// The result of writing a batch.
#[derive(Debug, Default)]
pub struct Finished {
    /// The results of its items.
    pub written: Written,
    /// The number of documents to insert that existed already.
    pub existing: usize,
    /// Items that a unique index refused, in ascending order.
    pub contested: Vec<ContestedWrite>,
    /// Operations that MongoDB applied, and how many of them wrote documents.
    pub applied: Applied,
    /// True if the time limit was too short for some of its operations.
    pub slow: bool,
}

/// An item that a unique index refused.
#[derive(Debug)]
pub struct ContestedWrite {
    /// Its index in the batch.
    pub index: u32,
    /// The duplicate value, which another document has.
    pub duplicate: Duplicate,
}

impl From<ContestedWrite> for Refusal {
    fn from(ContestedWrite { index, duplicate }: ContestedWrite) -> Refusal {
        Refusal { index: index as usize, code: DUPLICATE_KEY, reason: duplicate.reason }
    }
}

/// Writes `batch`, whose commands are `built`, by sending one command at a time with its time
/// limit. Operations are idempotent, so one that is sent again may be applied twice.
///
/// # Errors
/// The first failure ends it; any part may have been applied.
pub async fn execute(
    batch: &Batch,
    built: Built,
    limits: &mut Limits,
    mut send: impl AsyncFnMut((Vec<u8>, Expected), Duration) -> Outcome,
) -> Result<Finished, Failure> {
    let Built { commands, refused, lookup, .. } = built;
    let written = Written { refused, ..Written::default() };
    let classifier = FailureClassifier::new(&batch.registration, limits.is_proven());
    let (jobs, existing, contested) = (Vec::new(), 0, Vec::new());
    let mut execution = Execution { batch, lookup, jobs, written, existing, contested, classifier };
    for command in commands.into_iter().rev() {
        execution.add(command, limits.max_ops());
    }
    let began = Instant::now();
    while let Some(job) = execution.next() {
        if execution.classifier.gives_up() || began.elapsed() > limits.batch_time() {
            execution.jobs.push(job);
            break;
        }
        let expected = job.command.expected();
        let Job { command: Command { bytes, items, kind, .. }, attempt, splits, full_time } = job;
        execution.written.sent_bytes += bytes.len() as u64;
        let limit = match full_time {
            true => limits.max_time(),
            false => limits.time_of(items.len(), bytes.len(), splits),
        };
        let sent = Instant::now();
        match send((bytes, expected), limit).await {
            Outcome::Answered(mut write_errors) => {
                limits.answered(items.len(), sent.elapsed());
                let existing = match kind {
                    Kind::Insert => execution.update_existing(&items, &mut write_errors),
                    Kind::Update | Kind::Delete => 0,
                };
                let (ops, sent) = (items.len() - existing, Sent { kind, attempt });
                let failed = execution.settle(&items, sent, write_errors).await?;
                execution.classifier.add_applied(kind, ops.saturating_sub(failed));
            }
            Outcome::Rejected { code, reason } => match items.as_slice() {
                [index] => execution.refuse(*index, code, reason),
                _ => execution.bisect(&items, splits),
            },
            Outcome::TooSlow => match items.as_slice() {
                [index] => execution.classifier.add_slow(*index, limit),
                _ => execution.bisect(&items, splits + 1),
            },
            Outcome::Unconfirmed(_) if limit < limits.max_time() => {
                limits.use_full_time();
                execution.queue(&items, attempt, splits, true);
            }
            Outcome::Unconfirmed(broken) => return Err(Failure::Link(broken)),
            Outcome::Failed(failure) => return Err(failure),
        }
    }
    Ok(execution.finish())
}

/// A command to be sent.
struct Job {
    command: Command,
    attempt: u32,
    splits: u32,
    /// True if it gets the full time limit of the setting.
    full_time: bool,
}

/// A command that was answered.
#[derive(Clone, Copy)]
struct Sent {
    kind: Kind,
    attempt: u32,
}

/// The state of writing a batch.
struct Execution<'b> {
    batch: &'b Batch,
    lookup: Lookup,
    /// The commands still to be sent, the next one last.
    jobs: Vec<Job>,
    written: Written,
    existing: usize,
    contested: Vec<ContestedWrite>,
    classifier: FailureClassifier<'b>,
}

impl Execution<'_> {
    /// Adds a command, split if it has more than `max_ops` operations.
    fn add(&mut self, command: Command, max_ops: usize) {
        if command.items.len() <= max_ops {
            self.jobs.push(Job { command, attempt: 1, splits: 0, full_time: false });
            return;
        }
        for items in command.items.rchunks(max_ops) {
            self.queue(items, 1, 0, false);
        }
    }

    /// The next command to send. At the end, operations that were refused before any other was
    /// applied are sent once more: by then the collection is known to accept other operations.
    fn next(&mut self) -> Option<Job> {
        if self.jobs.is_empty() && !self.classifier.gives_up() {
            let refused = self.classifier.take_early_refusals();
            if !refused.is_empty() {
                self.queue(&refused, MAX_ATTEMPTS, 0, false);
            }
        }
        self.jobs.pop()
    }

    /// The result of the batch. Items that were not sent are returned.
    fn finish(mut self) -> Finished {
        let unsent = self.jobs.iter().flat_map(|job| &job.command.items).copied();
        let unsent: Vec<u32> = unsent.collect();
        let applied = self.classifier.applied();
        let slow = !unsent.is_empty() || self.classifier.has_waiting();
        self.classifier.classify(&unsent, &mut self.written);
        self.written.refused.sort_by_key(|refusal| refusal.index);
        self.written.refused.dedup_by_key(|refusal| refusal.index);
        self.contested.sort_by_key(|contested| contested.index);
        self.contested.dedup_by_key(|contested| contested.index);
        let (existing, contested) = (self.existing, self.contested);
        Finished { written: self.written, existing, contested, applied, slow }
    }

    /// Handles the operations of an answered command that were not applied; returns their number.
    async fn settle(
        &mut self,
        items: &[u32],
        Sent { kind, attempt }: Sent,
        write_errors: Vec<WriteError>,
    ) -> Result<usize, Failure> {
        let mut retried = Vec::new();
        let affected_by = |op: Option<usize>| match op {
            Some(op) => items.get(op..=op).unwrap_or_default(),
            None => items,
        };
        let failed = write_errors.iter().map(|write_error| affected_by(write_error.op).len()).sum();
        // If all operations are refused for a reason, an immediate retry will not help.
        let all_failed =
            failed == items.len() && failed > 1 && self.classifier.applied().of(kind) == 0;
        for WriteError { op, code, action } in write_errors {
            let affected = affected_by(op);
            match action {
                Action::RetryThenRefuse(_) | Action::RetryThenWait(_) if attempt < MAX_ATTEMPTS => {
                    retried.extend_from_slice(affected);
                }
                Action::RetryThenClassify(_) if attempt < MAX_ATTEMPTS && !all_failed => {
                    retried.extend_from_slice(affected);
                }
                Action::Refuse(reason) | Action::RetryThenRefuse(reason) => {
                    for index in affected {
                        self.refuse(*index, code, reason.clone());
                    }
                }
                Action::Contested(duplicate) => {
                    let duplicate = |index: &u32| (*index, (*duplicate).clone());
                    let contested = affected.iter().map(duplicate);
                    let contested =
                        contested.map(|(index, duplicate)| ContestedWrite { index, duplicate });
                    self.contested.extend(contested);
                }
                Action::RetryThenClassify(reason) => {
                    self.classifier.add_refused(affected, kind, code, &reason)
                }
                Action::RetryThenWait(reason) if op.is_some() => {
                    affected.iter().for_each(|index| self.classifier.add_blocked(*index, &reason));
                }
                Action::RetryThenWait(reason) => return Err(Failure::Namespace(reason)),
            }
        }
        if !retried.is_empty() {
            sleep(CONFLICT_PAUSE.mul_f64(f64::from(attempt) * fastrand::f64())).await;
            self.queue(&retried, attempt + 1, 0, false);
        }
        Ok(failed)
    }

    /// Removes from `write_errors` the documents that exist already, and queues updates for them
    /// instead; returns their number.
    ///
    /// A duplicate in another index counts as well: the existing document of the same key may be
    /// the duplicate there.
    fn update_existing(&mut self, items: &[u32], write_errors: &mut Vec<WriteError>) -> usize {
        let mut existing = Vec::new();
        write_errors.retain(|write_error| {
            let duplicate = write_error.op.filter(|_| write_error.code == DUPLICATE_KEY);
            existing.extend(duplicate.and_then(|op| items.get(op)));
            duplicate.is_none()
        });
        self.existing += existing.len();
        if !existing.is_empty() {
            self.queue(&existing, 1, 0, false);
        }
        existing.len()
    }

    fn bisect(&mut self, items: &[u32], splits: u32) {
        let (first, second) = items.split_at(items.len() / 2);
        self.queue(second, 1, splits, false);
        self.queue(first, 1, splits, false);
    }

    fn queue(&mut self, indexes: &[u32], attempt: u32, splits: u32, full_time: bool) {
        let Built { commands, refused, .. } = rebuild(self.batch, indexes, &self.lookup);
        for Refusal { index, code, reason } in refused {
            self.refuse(index as u32, code, reason);
        }
        let jobs = commands.into_iter().rev();
        self.jobs.extend(jobs.map(|command| Job { command, attempt, splits, full_time }));
    }

    fn refuse(&mut self, index: u32, code: i32, reason: String) {
        if code == DUPLICATE_KEY {
            let duplicate = Duplicate { reason, values: Vec::new() };
            return self.contested.push(ContestedWrite { index, duplicate });
        }
        self.written.refused.push(Refusal { index: index as usize, code, reason });
    }
}

/// Builds commands for some items of a batch, in this order. It copies their bytes, which is rarely
/// needed.
pub fn rebuild(batch: &Batch, indexes: &[u32], lookup: &Lookup) -> Built {
    let mut built = command::build(&subset(batch, indexes), Kind::Update, lookup, Forms::default());
    let index_of = |item: usize| indexes.get(item).copied().unwrap_or_default();
    for refusal in &mut built.refused {
        refusal.index = index_of(refusal.index) as usize;
    }
    for item in built.commands.iter_mut().flat_map(|command| &mut command.items) {
        *item = index_of(*item as usize);
    }
    built
}

/// A batch of some items of another batch.
pub fn subset(batch: &Batch, indexes: &[u32]) -> Batch {
    let mut bytes = Vec::new();
    let mut items = Vec::with_capacity(indexes.len());
    for item in indexes.iter().filter_map(|index| batch.items.get(*index as usize)) {
        let key = copy(&mut bytes, batch.key(item));
        let value = copy(&mut bytes, batch.value(item));
        items.push(Item { key, value, ..*item });
    }
    let registration = batch.registration.clone();
    let Batch { registration_id: id, epoch, slow, retry, .. } = *batch;
    Batch {
        registration,
        registration_id: id,
        epoch,
        slow,
        retry,
        items,
        groups: Vec::new(),
        bytes,
    }
}

fn copy(buffer: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    Span { start, end: buffer.len() }
}

#[cfg(test)]
mod tests;
