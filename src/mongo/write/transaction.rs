//! Sends a batch as one transaction: a large batch then costs the server about as much as without a
//! fence, while retryable writes, with a number for each operation, cost half as much again.

use std::collections::HashMap;

use super::command::{Command, TxnPosition};
use super::reply::Expected;
use crate::core::registration::Namespace;
use crate::mongo::write::outcome::Outcome;
use crate::sink::Failure;

/// Number of batches of a namespace without transactions after the first one that failed.
const MIN_BATCHES: u32 = 16;
/// Maximum number of batches without transactions, after several failed ones.
const MAX_BATCHES: u32 = 1024;

/// Sends `commands` as the transaction with this txnNumber. Returns the bytes sent, or nothing when
/// the transaction failed: one refused operation aborts all others. The server aborts an open
/// transaction at the next txnNumber of the session.
///
/// # Errors
/// When the link fails; the batch may have been applied.
pub async fn send_transaction(
    commands: Vec<Command>,
    number: i64,
    mut send: impl AsyncFnMut((Vec<u8>, Expected), TxnPosition) -> Outcome,
) -> Result<Option<u64>, Failure> {
    let mut position = TxnPosition::Start(number);
    let mut sent_bytes = 0;
    for command in commands.into_iter().map(Some).chain([None]) {
        let (bytes, expected) = match command {
            Some(command) => {
                // In a transaction the first error ends the command, whatever its `ordered` is.
                let expected = Expected { in_order: true, ..command.expected() };
                (command.bytes, expected)
            }
            None => {
                position = TxnPosition::Commit(number);
                (super::command::commit(), Expected::NO_OPS)
            }
        };
        sent_bytes += bytes.len() as u64;
        match send((bytes, expected), position).await {
            Outcome::Answered(write_errors) if write_errors.is_empty() => {}
            Outcome::Failed(failure @ (Failure::Link(_) | Failure::Part(_))) => {
                return Err(failure);
            }
            _ => return Ok(None),
        }
        position = TxnPosition::InProgress(number);
    }
    Ok(Some(sent_bytes))
}

/// Namespaces that back off from transactions, because those fail: documents are refused, or the
/// namespace does not support transactions at all.
#[derive(Debug, Default)]
pub struct TransactionBackoff(HashMap<Namespace, Pause>);

#[derive(Debug)]
struct Pause {
    batches_left: u32,
    length: u32,
}

impl TransactionBackoff {
    /// True if the next batch to `namespace` should be a transaction. Counts that batch.
    pub fn allows(&mut self, namespace: &Namespace) -> bool {
        let Some(backoff) = self.0.get_mut(namespace) else { return true };
        let allowed = backoff.batches_left == 0;
        backoff.batches_left = backoff.batches_left.saturating_sub(1);
        allowed
    }

    /// True if the next batch to `namespace` will not be a transaction.
    pub fn backs_off(&self, namespace: &Namespace) -> bool {
        self.0.get(namespace).is_some_and(|backoff| backoff.batches_left > 0)
    }

    /// Records a failed transaction: the next batches are sent without one, more batches each time.
    pub fn add(&mut self, namespace: &Namespace) {
        let backoff =
            self.0.entry(namespace.clone()).or_insert(Pause { batches_left: 0, length: 0 });
        backoff.length = (backoff.length * 2).clamp(MIN_BATCHES, MAX_BATCHES);
        backoff.batches_left = backoff.length;
    }

    /// Records a committed transaction.
    pub fn remove(&mut self, namespace: &Namespace) {
        self.0.remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mongo::write::command::Kind;
    use crate::mongo::write::outcome::{Action, WriteError};
    use crate::sink::LinkError;

    fn commands() -> Vec<Command> {
        let command =
            |kind| Command { bytes: vec![5, 0, 0, 0, 0], items: vec![0], other_ops: 0, kind };
        vec![command(Kind::Update), command(Kind::Delete)]
    }

    /// Sends two commands to a server that returns `answer` for the one at this position.
    async fn send(
        at: TxnPosition,
        mut answer: Option<Outcome>,
    ) -> (Result<Option<u64>, Failure>, usize) {
        let mut positions = Vec::new();
        let end = send_transaction(commands(), 7, async |_, position| {
            positions.push(position);
            let other = answer.take_if(|_| position == at);
            other.unwrap_or_else(|| Outcome::Answered(vec![]))
        })
        .await;
        (end, positions.len())
    }

    #[tokio::test]
    async fn a_transaction_starts_continues_and_commits() {
        let mut positions = Vec::new();
        let end = send_transaction(commands(), 7, async |(_, expected), position| {
            assert!(expected == Expected::NO_OPS || expected.in_order, "the first error ends it");
            positions.push(position);
            Outcome::Answered(vec![])
        })
        .await;
        assert!(end.unwrap().is_some_and(|bytes| bytes > 10));
        assert_eq!(
            positions,
            [TxnPosition::Start(7), TxnPosition::InProgress(7), TxnPosition::Commit(7)]
        );
    }

    #[tokio::test]
    async fn one_refused_operation_fails_the_transaction_and_nothing_is_committed() {
        let refused = Action::Refuse("no".to_owned());
        let write_error = WriteError { op: Some(0), code: 121, action: refused };
        let (end, sent) =
            send(TxnPosition::Start(7), Some(Outcome::Answered(vec![write_error]))).await;
        assert_eq!((end.unwrap(), sent), (None, 1));
        let namespace = Outcome::Failed(Failure::Namespace("no".to_owned()));
        let (end, sent) = send(TxnPosition::InProgress(7), Some(namespace)).await;
        assert_eq!((end.unwrap(), sent), (None, 2));
    }

    #[tokio::test]
    async fn a_transaction_fails_with_the_link() {
        let broken = Failure::Link(LinkError::unanswered("cut"));
        let (end, _) = send(TxnPosition::Commit(7), Some(Outcome::Failed(broken.clone()))).await;
        assert_eq!(end.unwrap_err(), broken);
    }

    #[test]
    fn transactions_of_a_namespace_with_refusals_are_retried_after_longer_pauses() {
        let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
        let mut backoff = TransactionBackoff::default();
        assert!(backoff.allows(&namespace));
        for length in [16, 32, 64, 128, 256, 512, 1024, 1024] {
            backoff.add(&namespace);
            for _ in 0..length {
                assert!(backoff.backs_off(&namespace));
                assert!(!backoff.allows(&namespace));
            }
            assert!(!backoff.backs_off(&namespace));
            assert!(backoff.allows(&namespace));
        }
        backoff.remove(&namespace);
        backoff.add(&namespace);
        assert_eq!((0..100).filter(|_| !backoff.allows(&namespace)).count(), 16);
    }
}
