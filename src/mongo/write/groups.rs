//! Writes groups: keys, also of several collections, that become visible in one transaction.
//!
//! All groups of a group batch are sent in one transaction. If that fails, the group that is to blame
//! is found, and is handled by itself; the others are sent again. What must be written apart from its
//! group is left to the caller.

mod fate;
mod resolve;

use std::time::Duration;

use tokio::time::sleep;

use super::command::{self, Command, Kind, TxnPosition};
use super::executor::{CONFLICT_PAUSE, MAX_ATTEMPTS, subset};
use super::forms::Forms;
use super::lookup::Lookup;
use super::numbers::next_number;
use super::reply::Expected;
use crate::core::delivery::batch::{Batch, Refusal};
use crate::core::delivery::group_batch::{GroupBatch, SentGroup};
use crate::core::delivery::group_counts::GroupCounts;
use crate::mongo::write::outcome::{Action, Outcome};
use crate::sink::Failure;
pub use fate::Fate;

/// Maximum number of operations in a transaction, until one proves too large for MongoDB's cache.
pub const MAX_OPS: usize = 1_000;

/// After so many times the group to blame is no longer sent alone at once: the groups are halved.
const ISOLATED: usize = 3;

/// One batch of a group batch.
#[derive(Debug)]
pub struct Part<'b> {
    /// The batch.
    pub batch: &'b Batch,
    /// How its operations find their documents.
    pub lookup: Lookup,
    /// How its documents are updated.
    pub forms: Forms,
    /// What became of each item.
    pub fates: Vec<Fate>,
    /// Why its namespace refuses writes; empty if it does not.
    pub refused_because: String,
    /// Bytes of the commands that were sent.
    pub sent_bytes: u64,
}

/// Sends the commands of transactions.
pub trait TransactionSender {
    /// Sends one command for the part of this number.
    async fn send(
        &mut self,
        part: usize,
        command: (Vec<u8>, Expected),
        position: TxnPosition,
    ) -> Outcome;

    /// The transaction was begun, and not ended.
    fn abandon(&mut self);
}

/// Why a transaction was not committed.
#[derive(Debug)]
enum Trouble {
    /// These items of a part cannot be converted to documents.
    Unwritable(usize, Vec<Refusal>),
    /// The result of a command of a part, which wrote these items.
    Command(usize, Vec<usize>, Outcome),
}

/// The groups of a group batch while they are written.
pub struct Groups<'b> {
    /// Its batches.
    pub parts: Vec<Part<'b>>,
    groups: Vec<GroupState>,
    /// How many groups were written as a whole, or split.
    pub counts: GroupCounts,
    /// Why groups are held.
    pub held_because: String,
    /// The maximum number of operations in a transaction, which is lowered when one was too large.
    pub max_ops: usize,
    /// For how long a group may fail before it is split or refused.
    patience: Duration,
}

/// A group while it is written.
#[derive(Clone, Copy, Debug, Default)]
struct GroupState {
    sent: SentGroup,
    /// Number of failed attempts.
    failed: u32,
    /// True once it was counted as split.
    is_split: bool,
}

impl<'b> Groups<'b> {
    /// The groups of `batch`; `parts` are its batches.
    pub fn new(
        batch: &GroupBatch,
        parts: Vec<Part<'b>>,
        max_ops: usize,
        patience: Duration,
    ) -> Self {
        let groups = batch.groups.iter().map(|sent| GroupState {
            sent: *sent,
            is_split: sent.is_split,
            failed: 0,
        });
        Groups {
            parts,
            groups: groups.collect(),
            counts: GroupCounts::default(),
            held_because: String::new(),
            max_ops,
            patience,
        }
    }

    /// Writes all groups, until no item is [open](Fate::Open).
    ///
    /// # Errors
    /// When the link fails: any part may have been applied.
    pub async fn write(&mut self, sender: &mut impl TransactionSender) -> Result<(), Failure> {
        let mut chunks = self.chunks();
        let mut isolated = 0;
        while let Some(chunk) = chunks.pop() {
            let Some(trouble) = self.attempt(&chunk, sender).await? else {
                self.committed(&chunk);
                continue;
            };
            if let Some((part, why)) = trouble.namespace() {
                let why = why.to_owned();
                self.refuse_namespace(part, &why);
                chunks.push(chunk);
                continue;
            }
            if let [group] = chunk.as_slice() {
                if self.resolve(*group, trouble) {
                    let failed = self.groups[*group as usize].failed;
                    sleep(CONFLICT_PAUSE.mul_f64(f64::from(failed) * fastrand::f64())).await;
                    chunks.push(chunk);
                }
                continue;
            }
            if trouble.is_too_large() {
                self.max_ops = (self.ops(&chunk) / 2).max(1);
            }
            match self.blamed(&trouble).filter(|_| isolated < ISOLATED) {
                Some(blamed) => {
                    isolated += 1;
                    chunks.push(chunk.into_iter().filter(|group| *group != blamed).collect());
                    chunks.push(vec![blamed]);
                }
                None => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    chunks.extend([second.to_vec(), first.to_vec()]);
                }
            }
        }
        Ok(())
    }

    /// The groups for each transaction, the first one last.
    fn chunks(&self) -> Vec<Vec<u32>> {
        let mut ops = vec![0; self.groups.len()];
        for group in self.parts.iter().flat_map(|part| &part.batch.groups) {
            ops[*group as usize] += 1;
        }
        let (mut chunks, mut chunk, mut total) = (Vec::new(), Vec::new(), 0);
        for (group, ops) in (0..).zip(ops) {
            if total + ops > self.max_ops && !chunk.is_empty() {
                chunks.push(std::mem::take(&mut chunk));
                total = 0;
            }
            chunk.push(group);
            total += ops;
        }
        chunks.push(chunk);
        chunks.reverse();
        chunks
    }

    /// The open items of each part in these groups.
    fn open_items(&self, groups: &[u32]) -> Vec<Vec<u32>> {
        let mut wanted = vec![false; self.groups.len()];
        groups.iter().for_each(|group| wanted[*group as usize] = true);
        let open = |part: &Part<'_>| {
            let items = (0..).zip(part.fates.iter().zip(&part.batch.groups));
            let open = items.filter(|(_, (fate, group))| {
                wanted[**group as usize] && matches!(fate, Fate::Open)
            });
            open.map(|(index, _)| index).collect()
        };
        self.parts.iter().map(open).collect()
    }

    fn ops(&self, groups: &[u32]) -> usize {
        self.open_items(groups).iter().map(Vec::len).sum()
    }

    /// Sends the open items of these groups in one transaction. Nothing if it was committed.
    async fn attempt(
        &mut self,
        groups: &[u32],
        sender: &mut impl TransactionSender,
    ) -> Result<Option<Trouble>, Failure> {
        let items = self.open_items(groups);
        let mut commands = Vec::new();
        for (number, items) in items.iter().enumerate().filter(|(_, items)| !items.is_empty()) {
            let (built, refused) = self.build(number, items);
            if !refused.is_empty() {
                return Ok(Some(Trouble::Unwritable(number, refused)));
            }
            commands.extend(built.into_iter().map(|command| (number, command)));
        }
        let Some((last, _)) = commands.last() else { return Ok(None) };
        let (last, number) = (*last, next_number());
        let mut position = TxnPosition::Start(number);
        for (part, command) in commands {
            let expected = Expected { in_order: true, ..command.expected() };
            let items = command.items.iter().map(|index| *index as usize).collect();
            self.parts[part].sent_bytes += command.bytes.len() as u64;
            let outcome = sender.send(part, (command.bytes, expected), position).await;
            if let Some(outcome) = not_applied(outcome, sender)? {
                return Ok(Some(Trouble::Command(part, items, outcome)));
            }
            position = TxnPosition::InProgress(number);
        }
        let commit = (command::commit(), Expected::NO_OPS);
        let outcome = sender.send(last, commit, TxnPosition::Commit(number)).await;
        let outcome = not_applied(outcome, sender)?;
        Ok(outcome.map(|outcome| Trouble::Command(last, Vec::new(), outcome)))
    }

    /// The commands for items of a part, and those that cannot be written.
    fn build(&self, number: usize, items: &[u32]) -> (Vec<Command>, Vec<Refusal>) {
        let Part { batch, lookup, forms, .. } = &self.parts[number];
        if items.len() == batch.items.len() {
            let built = command::build(batch, Kind::Update, lookup, *forms);
            return (built.commands, built.refused);
        }
        let mut built = command::build(&subset(batch, items), Kind::Update, lookup, *forms);
        let index_of = |item: usize| items.get(item).copied().unwrap_or_default();
        for refusal in &mut built.refused {
            refusal.index = index_of(refusal.index) as usize;
        }
        for item in built.commands.iter_mut().flat_map(|command| &mut command.items) {
            *item = index_of(*item as usize);
        }
        (built.commands, built.refused)
    }

    /// The group that is to blame, if the trouble tells.
    fn blamed(&self, trouble: &Trouble) -> Option<u32> {
        let (part, item) = match trouble {
            Trouble::Unwritable(part, refused) => (*part, refused.first()?.index),
            Trouble::Command(part, items, outcome) => (*part, blamed_item(items, outcome)?),
        };
        self.parts[part].batch.groups.get(item).copied()
    }
}

impl Trouble {
    fn namespace(&self) -> Option<(usize, &str)> {
        match self {
            Trouble::Command(part, _, Outcome::Failed(Failure::Namespace(why))) => {
                Some((*part, why))
            }
            _ => None,
        }
    }

    fn is_too_large(&self) -> bool {
        let Trouble::Command(_, _, Outcome::Answered(errors)) = self else { return false };
        errors.iter().any(|error| error.code == TOO_LARGE)
    }
}

/// MongoDB's code for a transaction that its cache cannot hold.
const TOO_LARGE: i32 = 388;

/// The outcome if the command was not applied for a reason that concerns its operations.
fn not_applied(
    outcome: Outcome,
    sender: &mut impl TransactionSender,
) -> Result<Option<Outcome>, Failure> {
    match outcome {
        Outcome::Answered(errors) if errors.is_empty() => Ok(None),
        Outcome::Failed(failure @ (Failure::Link(_) | Failure::Part(_))) => {
            sender.abandon();
            Err(failure)
        }
        Outcome::Unconfirmed(broken) => {
            sender.abandon();
            Err(Failure::Link(broken))
        }
        // The server has aborted the transaction.
        other => Ok(Some(other)),
    }
}

/// The item that is to blame for the outcome of a command that wrote these items.
fn blamed_item(items: &[usize], outcome: &Outcome) -> Option<usize> {
    if let [only] = items {
        return Some(*only);
    }
    let Outcome::Answered(errors) = outcome else { return None };
    let error = errors.first()?;
    // Any of the documents may be held by another operation.
    let Action::RetryThenWait(_) = error.action else {
        return items.get(error.op?).copied();
    };
    error.op.and_then(|op| items.get(op).copied())
}

/// True while another attempt is worth it.
fn may_try_again(group: &mut GroupState) -> bool {
    group.failed += 1;
    group.failed < MAX_ATTEMPTS
}

#[cfg(test)]
mod tests;
