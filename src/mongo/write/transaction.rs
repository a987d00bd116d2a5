//! Sends a batch as one transaction: a large batch then costs the server about as much as without
//! any fence, while numbering each of its operations would cost half as much again.

use std::collections::HashMap;

use super::command::{Command, TxnPosition};
use super::reply::Expected;
use crate::core::registration::Namespace;
use crate::mongo::write::outcome::Outcome;
use crate::sink::Failure;

/// Batches of a namespace that are sent otherwise after a transaction was of no use, at first.
const FEWEST: u32 = 16;
/// And at most, after many of them.
const MOST: u32 = 1024;

/// Sends `commands` as the transaction of this number. Returns the bytes sent, or nothing when the
/// transaction is of no use: one refused operation undoes all others. The server forgets what it
/// began at the next number of the session.
///
/// # Errors
/// When the link fails; the batch may have been applied.
pub async fn send_at_once(
    commands: Vec<Command>,
    number: i64,
    mut send: impl AsyncFnMut((Vec<u8>, Expected), TxnPosition) -> Outcome,
) -> Result<Option<u64>, Failure> {
    let mut place = TxnPosition::Start(number);
    let mut sent_bytes = 0;
    for command in commands.into_iter().map(Some).chain([None]) {
        let (bytes, expected) = match command {
            Some(command) => {
                // In a transaction the first error ends the command, whatever its `ordered` says.
                let expected = Expected { in_order: true, ..command.expected() };
                (command.bytes, expected)
            }
            None => {
                place = TxnPosition::Commit(number);
                (super::command::commit(), Expected::NO_OPS)
            }
        };
        sent_bytes += bytes.len() as u64;
        match send((bytes, expected), place).await {
            Outcome::Answered(write_errors) if write_errors.is_empty() => {}
            Outcome::Failed(failure @ (Failure::Link(_) | Failure::Part(_))) => {
                return Err(failure);
            }
            _ => return Ok(None),
        }
        place = TxnPosition::InProgress(number);
    }
    Ok(Some(sent_bytes))
}

/// Namespaces in which transactions are of no use at the moment: they hold poison, or cannot take
/// part in transactions at all.
#[derive(Debug, Default)]
pub struct Useless(HashMap<Namespace, BackOff>);

#[derive(Debug)]
struct BackOff {
    batches_left: u32,
    length: u32,
}

impl Useless {
    /// Whether the next batch to `namespace` should be a transaction. Counts that batch.
    pub fn allows(&mut self, namespace: &Namespace) -> bool {
        let Some(backoff) = self.0.get_mut(namespace) else { return true };
        let allowed = backoff.batches_left == 0;
        backoff.batches_left = backoff.batches_left.saturating_sub(1);
        allowed
    }

    /// Whether the next batch to `namespace` will be no transaction.
    pub fn backs_off(&self, namespace: &Namespace) -> bool {
        self.0.get(namespace).is_some_and(|backoff| backoff.batches_left > 0)
    }

    /// A transaction was of no use: the next ones rest, longer each time.
    pub fn add(&mut self, namespace: &Namespace) {
        let backoff =
            self.0.entry(namespace.clone()).or_insert(BackOff { batches_left: 0, length: 0 });
        backoff.length = (backoff.length * 2).clamp(FEWEST, MOST);
        backoff.batches_left = backoff.length;
    }

    /// A transaction went well.
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
            |kind| Command { bytes: vec![5, 0, 0, 0, 0], items: vec![0], others: 0, kind };
        vec![command(Kind::Update), command(Kind::Delete)]
    }

    /// Sends two commands to a server that answers the one at this place otherwise.
    async fn send(
        at: TxnPosition,
        mut answer: Option<Outcome>,
    ) -> (Result<Option<u64>, Failure>, usize) {
        let mut places = Vec::new();
        let end = send_at_once(commands(), 7, async |_, place| {
            places.push(place);
            let other = answer.take_if(|_| place == at);
            other.unwrap_or_else(|| Outcome::Answered(vec![]))
        })
        .await;
        (end, places.len())
    }

    #[tokio::test]
    async fn it_begins_goes_on_and_is_committed() {
        let mut places = Vec::new();
        let end = send_at_once(commands(), 7, async |(_, expected), place| {
            assert!(expected == Expected::NO_OPS || expected.in_order, "the first error ends it");
            places.push(place);
            Outcome::Answered(vec![])
        })
        .await;
        assert!(end.unwrap().is_some_and(|bytes| bytes > 10));
        assert_eq!(
            places,
            [TxnPosition::Start(7), TxnPosition::InProgress(7), TxnPosition::Commit(7)]
        );
    }

    #[tokio::test]
    async fn one_refused_operation_makes_it_useless_and_nothing_is_committed() {
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
    async fn it_fails_with_the_link() {
        let broken = Failure::Link(LinkError::unanswered("cut"));
        let (end, _) = send(TxnPosition::Commit(7), Some(Outcome::Failed(broken.clone()))).await;
        assert_eq!(end.unwrap_err(), broken);
    }

    #[test]
    fn a_namespace_with_poison_is_tried_again_ever_more_seldom() {
        let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
        let mut useless = Useless::default();
        assert!(useless.allows(&namespace));
        for backoff in [16, 32, 64, 128, 256, 512, 1024, 1024] {
            useless.add(&namespace);
            for _ in 0..backoff {
                assert!(useless.backs_off(&namespace));
                assert!(!useless.allows(&namespace));
            }
            assert!(!useless.backs_off(&namespace));
            assert!(useless.allows(&namespace));
        }
        useless.remove(&namespace);
        useless.add(&namespace);
        assert_eq!((0..100).filter(|_| !useless.allows(&namespace)).count(), 16);
    }
}
