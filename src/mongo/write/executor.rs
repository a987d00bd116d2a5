//! Sends the commands of a batch, one after the other, and sees each operation to its end: applied,
//! refused, sent again, or found by halving.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::command::{self, Built, Command, Kind};
use super::judge::{Applied, Judge};
use super::limits::Limits;
use super::lookup::Lookup;
use super::reply::Expected;
use crate::core::delivery::batch::{Batch, Item, Refusal, Written};
use crate::core::mapping::value::Span;
use crate::mongo::codes::DUPLICATE_KEY;
use crate::mongo::write::outcome::{Action, Duplicate, Outcome, WriteError};
use crate::sink::Failure;

/// Attempts at an operation that clashes with others before more than it must wait.
const ATTEMPTS: u32 = 4;
/// Longest pause before the second attempt; it grows with each.
const CLASH_PAUSE: Duration = Duration::from_millis(20);

/// A batch that is seen to its end.
#[derive(Debug, Default)]
pub struct Finished {
    /// What became of its items.
    pub written: Written,
    /// Documents that were to be inserted and existed already.
    pub existing: usize,
    /// Items that a unique index refused, in ascending order.
    pub contested: Vec<ContestedWrites>,
    /// Operations that MongoDB applied, and how many of them wrote documents.
    pub applied: Applied,
    /// True if time was too short for some of it.
    pub slow: bool,
}

/// An item that a unique index refused.
#[derive(Debug)]
pub struct ContestedWrites {
    /// Its index in the batch.
    pub index: u32,
    /// The value that another document has.
    pub duplicate: Duplicate,
}

impl From<ContestedWrites> for Refusal {
    fn from(ContestedWrites { index, duplicate }: ContestedWrites) -> Refusal {
        Refusal { index: index as usize, code: DUPLICATE_KEY, reason: duplicate.reason }
    }
}

/// Writes `batch`, which was built into `built`, by sending one command at a time, each with the
/// time that it may take. An operation that is sent again is the same statement of state, so it may
/// be applied twice.
///
/// # Errors
/// The first failure ends it; any part may have been applied.
pub async fn write_out(
    batch: &Batch,
    built: Built,
    limits: &mut Limits,
    mut send: impl AsyncFnMut((Vec<u8>, Expected), Duration) -> Outcome,
) -> Result<Finished, Failure> {
    let Built { commands, refused, lookup } = built;
    let written = Written { refused, ..Written::default() };
    let judge = Judge::new(&batch.registration, limits.is_proven());
    let (jobs, existing, contested) = (Vec::new(), 0, Vec::new());
    let mut writing = Writing { batch, lookup, jobs, written, existing, contested, judge };
    for command in commands.into_iter().rev() {
        writing.add(command, limits.most_ops());
    }
    let began = Instant::now();
    while let Some(job) = writing.next() {
        if writing.judge.gives_up() || began.elapsed() > limits.batch() {
            writing.jobs.push(job);
            break;
        }
        let expected = job.command.expected();
        let Job { command: Command { bytes, items, kind, .. }, attempt, halvings, patient } = job;
        writing.written.sent_bytes += bytes.len() as u64;
        let limit = match patient {
            true => limits.longest(),
            false => limits.of(items.len(), bytes.len(), halvings),
        };
        let sent = Instant::now();
        match send((bytes, expected), limit).await {
            Outcome::Answered(mut write_errors) => {
                limits.answered(items.len(), sent.elapsed());
                let existing = match kind {
                    Kind::Insert => writing.update_existing(&items, &mut write_errors),
                    Kind::Update | Kind::Delete => 0,
                };
                let (ops, sent) = (items.len() - existing, Sent { kind, attempt });
                let failed = writing.settle(&items, sent, write_errors).await?;
                writing.judge.applies(kind, ops.saturating_sub(failed));
            }
            Outcome::Rejected { code, reason } => match items.as_slice() {
                [index] => writing.refuse(*index, code, reason),
                _ => writing.halve(&items, halvings),
            },
            Outcome::TooSlow => match items.as_slice() {
                [index] => writing.judge.too_slow(*index, limit),
                _ => writing.halve(&items, halvings + 1),
            },
            Outcome::Unconfirmed(_) if limit < limits.longest() => {
                limits.be_patient();
                writing.build_again(&items, attempt, halvings, true);
            }
            Outcome::Unconfirmed(broken) => return Err(Failure::Link(broken)),
            Outcome::Failed(failure) => return Err(failure),
        }
    }
    Ok(writing.finish())
}

/// A command that is to be sent.
struct Job {
    command: Command,
    attempt: u32,
    halvings: u32,
    /// It gets all of the time.
    patient: bool,
}

/// What is known of a command that was answered.
#[derive(Clone, Copy)]
struct Sent {
    kind: Kind,
    attempt: u32,
}

/// A batch on its way.
struct Writing<'b> {
    batch: &'b Batch,
    lookup: Lookup,
    /// What is left to send, the next one last.
    jobs: Vec<Job>,
    written: Written,
    existing: usize,
    contested: Vec<ContestedWrites>,
    judge: Judge<'b>,
}

impl Writing<'_> {
    /// Adds a command, in parts if it has more operations than that.
    fn add(&mut self, command: Command, most_ops: usize) {
        if command.items.len() <= most_ops {
            self.jobs.push(Job { command, attempt: 1, halvings: 0, patient: false });
            return;
        }
        for items in command.items.rchunks(most_ops) {
            self.build_again(items, 1, 0, false);
        }
    }

    /// The next command. The last ones are those that were refused before others were applied: now
    /// it is certain that the collection takes others.
    fn next(&mut self) -> Option<Job> {
        if self.jobs.is_empty() && !self.judge.gives_up() {
            let refused = self.judge.hear_again();
            if !refused.is_empty() {
                self.build_again(&refused, ATTEMPTS, 0, false);
            }
        }
        self.jobs.pop()
    }

    /// What became of the batch. What was not sent any more comes back.
    fn finish(mut self) -> Finished {
        let unsent = self.jobs.iter().flat_map(|job| &job.command.items).copied();
        let unsent: Vec<u32> = unsent.collect();
        let applied = self.judge.applied();
        let slow = !unsent.is_empty() || self.judge.waits_for_any();
        self.judge.conclude(&unsent, &mut self.written);
        self.written.refused.sort_by_key(|refusal| refusal.index);
        self.written.refused.dedup_by_key(|refusal| refusal.index);
        self.contested.sort_by_key(|contested| contested.index);
        self.contested.dedup_by_key(|contested| contested.index);
        let (existing, contested) = (self.existing, self.contested);
        Finished { written: self.written, existing, contested, applied, slow }
    }

    /// Sees to the operations of an answered command that were not applied; their number.
    async fn settle(
        &mut self,
        items: &[u32],
        Sent { kind, attempt }: Sent,
        write_errors: Vec<WriteError>,
    ) -> Result<usize, Failure> {
        let mut again = Vec::new();
        let affected_by = |op: Option<usize>| match op {
            Some(op) => items.get(op..=op).unwrap_or_default(),
            None => items,
        };
        let failed = write_errors.iter().map(|write_error| affected_by(write_error.op).len()).sum();
        // What all operations are refused for will not be otherwise in a moment.
        let all = failed == items.len() && failed > 1 && self.judge.applied().of(kind) == 0;
        for WriteError { op, code, action } in write_errors {
            let affected = affected_by(op);
            match action {
                Action::RetryThenRefuse(_) | Action::RetryThenWait(_) if attempt < ATTEMPTS => {
                    again.extend_from_slice(affected);
                }
                Action::Judge(_) if attempt < ATTEMPTS && !all => {
                    again.extend_from_slice(affected);
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
                        contested.map(|(index, duplicate)| ContestedWrites { index, duplicate });
                    self.contested.extend(contested);
                }
                Action::Judge(reason) => self.judge.judges(affected, kind, code, &reason),
                Action::RetryThenWait(reason) if op.is_some() => {
                    affected.iter().for_each(|index| self.judge.waits(*index, &reason));
                }
                Action::RetryThenWait(reason) => return Err(Failure::Namespace(reason)),
            }
        }
        if !again.is_empty() {
            sleep(CLASH_PAUSE.mul_f64(f64::from(attempt) * fastrand::f64())).await;
            self.build_again(&again, attempt + 1, 0, false);
        }
        Ok(failed)
    }

    /// Takes the documents out of `write_errors` that exist already, and has them updated instead; their
    /// number.
    ///
    /// A duplicate in another index counts as well: the document may be its own duplicate there.
    fn update_existing(&mut self, items: &[u32], write_errors: &mut Vec<WriteError>) -> usize {
        let mut existing = Vec::new();
        write_errors.retain(|write_error| {
            let duplicate = write_error.op.filter(|_| write_error.code == DUPLICATE_KEY);
            existing.extend(duplicate.and_then(|op| items.get(op)));
            duplicate.is_none()
        });
        self.existing += existing.len();
        if !existing.is_empty() {
            self.build_again(&existing, 1, 0, false);
        }
        existing.len()
    }

    fn halve(&mut self, items: &[u32], halvings: u32) {
        let (first, second) = items.split_at(items.len() / 2);
        self.build_again(second, 1, halvings, false);
        self.build_again(first, 1, halvings, false);
    }

    fn build_again(&mut self, indexes: &[u32], attempt: u32, halvings: u32, patient: bool) {
        let Built { commands, refused, .. } = rebuild(self.batch, indexes, &self.lookup);
        for Refusal { index, code, reason } in refused {
            self.refuse(index as u32, code, reason);
        }
        let jobs = commands.into_iter().rev();
        self.jobs.extend(jobs.map(|command| Job { command, attempt, halvings, patient }));
    }

    fn refuse(&mut self, index: u32, code: i32, reason: String) {
        if code == DUPLICATE_KEY {
            let duplicate = Duplicate { reason, values: Vec::new() };
            return self.contested.push(ContestedWrites { index, duplicate });
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
    let Batch { registration_id: id, epoch, slow, retry, .. } = *batch;
    Batch { registration, registration_id: id, epoch, slow, retry, items, bytes }
}

fn copy(buffer: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    Span { start, end: buffer.len() }
}

#[cfg(test)]
mod tests;
