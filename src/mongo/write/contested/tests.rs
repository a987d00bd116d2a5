//! Writes batches to a simulated server with a unique index on `value`.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::core::delivery::batch::Item;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::registration::{Namespace, Registration};
use crate::mongo::write::forms::Forms;
use crate::mongo::write::outcome::{Action, Duplicate, WriteError};

type Documents = BTreeMap<String, Option<String>>;

/// Documents by `_id`, each with its `value`.
struct Server {
    documents: Documents,
    transactions: bool,
    /// True if the index is not sparse: a second document without the value is refused.
    dense: bool,
    sent: usize,
    committed: usize,
    /// The number of transactions that get a write conflict.
    conflicts: u32,
    /// The number of `$unset` and `$set` operations outside of a transaction.
    seen: usize,
}

impl Server {
    fn new(documents: &[(&str, &str)]) -> Self {
        let documents =
            documents.iter().map(|(id, value)| (id.to_string(), Some(value.to_string())));
        let documents = documents.collect();
        Server {
            documents,
            transactions: true,
            dense: true,
            sent: 0,
            committed: 0,
            conflicts: 0,
            seen: 0,
        }
    }

    /// Applies the operations of a command. Returns the ones that the index refused.
    fn apply(&mut self, command: &[u8], commits: bool) -> Vec<WriteError> {
        let command = Document::try_from(RawDocument::from_bytes(command).unwrap()).unwrap();
        assert!(!command.contains_key("deletes"), "nothing is deleted here");
        let mut write_errors = Vec::new();
        for (op, update) in command.get_array("updates").unwrap().iter().enumerate() {
            let update = update.as_document().unwrap();
            let id = update.get_document("q").unwrap().get_str("_id").unwrap().to_owned();
            let change = update.get_document("u").unwrap();
            let partial = change.get_document("$set").ok().or(change.get_document("$unset").ok());
            let value = match (partial, change.contains_key("$unset")) {
                (Some(_), true) => None,
                (set, _) => Some(set.unwrap_or(change).get_str("value").unwrap().to_owned()),
            };
            self.seen += usize::from(partial.is_some() && !commits);
            let is_held = self.documents.iter().any(|(other, has)| *other != id && *has == value);
            if is_held && (value.is_some() || self.dense) {
                let value = value.map_or(Bson::Null, Bson::String);
                let values = vec![("value".to_owned(), value)];
                let action =
                    Action::Contested(Box::new(Duplicate { reason: "taken".to_owned(), values }));
                write_errors.push(WriteError { op: Some(op), code: 11_000, action });
                continue;
            }
            self.documents.insert(id, value);
        }
        write_errors
    }
}

fn limits() -> Limits {
    Limits::new(Duration::from_secs(10))
}

impl CommandSender for Server {
    async fn send(&mut self, (command, _): (Vec<u8>, Expected), _: Duration) -> Outcome {
        self.sent += 1;
        Outcome::Answered(self.apply(&command, false))
    }

    fn has_transactions(&self) -> bool {
        self.transactions
    }

    async fn commit(&mut self, command: Command) -> Result<Committed, Failure> {
        if self.conflicts > 0 {
            self.conflicts -= 1;
            return Ok(Committed::Conflicted);
        }
        let before = self.documents.clone();
        self.committed += 1;
        let done = self.apply(&command.bytes, true).is_empty();
        if !done {
            self.documents = before;
        }
        Ok(if done { Committed::Yes } else { Committed::No })
    }

    async fn find(&mut self, command: Vec<u8>) -> Option<Vec<Document>> {
        let command = Document::try_from(RawDocument::from_bytes(&command).unwrap()).unwrap();
        let any = command.get_document("filter").unwrap().get_array("$or").unwrap();
        let ids = any.iter().map(|one| one.as_document().unwrap().get_str("_id").unwrap());
        let found = ids.filter_map(|id| Some((id, self.documents.get(id)?)));
        let document = |(id, value): (&str, &Option<String>)| {
            let mut document = Document::from_iter([("_id".to_owned(), Bson::from(id))]);
            document.extend(value.as_ref().map(|value| ("value".to_owned(), Bson::from(value))));
            document
        };
        Some(found.map(document).collect())
    }
}

fn batch(writes: &[(&str, &str)]) -> Batch {
    let mut bytes = Vec::new();
    let mut span = |text: &str| {
        let start = bytes.len();
        bytes.extend_from_slice(text.as_bytes());
        Span { start, end: bytes.len() }
    };
    let items = writes.iter().map(|(id, value)| {
        let (key, value) = (span(id), span(value));
        let content = Content::String;
        Item {
            entry: EntryId(0),
            version: Version(1),
            since_us: 0,
            key,
            content,
            value,
            expire_ms: NO_EXPIRY,
        }
    });
    let items = items.collect();
    let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
    let registration = Arc::new(Registration::new(Db(0), b"", namespace));
    Batch {
        registration,
        registration_id: RegistrationId(0),
        epoch: 0,
        slow: false,
        retry: 0,
        groups: Vec::new(),
        items,
        bytes,
    }
}

/// Writes a batch as the sink does. Returns the items that stay contested.
async fn write(server: &mut Server, writes: &[(&str, &str)]) -> Vec<u32> {
    let batch = batch(writes);
    let built = command::build(&batch, Kind::Update, &Lookup::default(), Forms::default());
    let finished =
        execute(&batch, built, &mut limits(), async |bytes, limit| server.send(bytes, limit).await)
            .await
            .unwrap();
    let finished =
        resolve(&batch, finished, &Lookup::default(), &mut limits(), server).await.unwrap();
    assert!(finished.written.refused.is_empty());
    assert_eq!(server.seen, 0, "no other reader sees a broken cycle");
    finished.contested.iter().map(|contested| contested.index).collect()
}

fn has(server: &Server, expected: &[(&str, &str)]) {
    assert_eq!(server.documents, Server::new(expected).documents);
}

#[tokio::test]
async fn a_value_that_moves_between_documents_is_written_in_any_order() {
    let mut server = Server::new(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]);
    let writes = [("2", "c"), ("1", "b"), ("4", "a"), ("3", "x")];
    assert!(write(&mut server, &writes).await.is_empty());
    has(&server, &[("1", "b"), ("2", "c"), ("3", "x"), ("4", "a")]);
    assert_eq!((server.sent, server.committed), (2, 0), "one round is enough");
}

#[tokio::test]
async fn cycles_are_resolved_in_one_transaction() {
    let start = [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("5", "e")];
    let mut server = Server::new(&start);
    let writes = [("1", "b"), ("2", "a"), ("3", "d"), ("4", "e"), ("5", "c")];
    assert!(write(&mut server, &writes).await.is_empty());
    has(&server, &[("1", "b"), ("2", "a"), ("3", "d"), ("4", "e"), ("5", "c")]);
    assert_eq!(server.committed, 1);
}

#[tokio::test]
async fn a_cycle_is_resolved_where_another_document_has_no_value() {
    let mut server = Server::new(&[("1", "a"), ("2", "b")]);
    server.documents.insert("none".to_owned(), None);
    assert!(write(&mut server, &[("1", "b"), ("2", "a")]).await.is_empty());
    assert_eq!(server.committed, 2, "first without the field, then with a passing value");
    server.documents.remove("none");
    has(&server, &[("1", "b"), ("2", "a")]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_with_a_write_conflict_is_retried_and_then_the_whole_batch() {
    let mut server = Server::new(&[("1", "a"), ("2", "b")]);
    server.conflicts = MAX_CONFLICTS;
    assert!(write(&mut server, &[("1", "b"), ("2", "a")]).await.is_empty());
    has(&server, &[("1", "b"), ("2", "a")]);
    server.conflicts = MAX_CONFLICTS + 1;
    let batch = batch(&[("1", "a"), ("2", "b")]);
    let built = command::build(&batch, Kind::Update, &Lookup::default(), Forms::default());
    let finished =
        execute(&batch, built, &mut limits(), async |bytes, limit| server.send(bytes, limit).await)
            .await
            .unwrap();
    let end = resolve(&batch, finished, &Lookup::default(), &mut limits(), &mut server).await;
    assert!(matches!(end, Err(Failure::Namespace(error)) if error.contains("shop.films")));
}

#[tokio::test]
async fn a_cycle_stays_contested_without_transactions() {
    let mut server = Server::new(&[("1", "a"), ("2", "b")]);
    server.transactions = false;
    assert_eq!(write(&mut server, &[("1", "b"), ("2", "a")]).await, [0, 1]);
    has(&server, &[("1", "a"), ("2", "b")]);
}

#[tokio::test]
async fn a_persistent_duplicate_costs_at_most_one_more_attempt() {
    let mut server = Server::new(&[("other", "a")]);
    assert_eq!(write(&mut server, &[("1", "a")]).await, [0]);
    assert_eq!(server.sent, 1, "nothing else was written");
    assert_eq!(write(&mut server, &[("1", "a"), ("2", "b")]).await, [0]);
    assert_eq!(server.sent, 3);
}

#[tokio::test]
async fn one_cycle_that_cannot_be_resolved_does_not_prevent_the_others() {
    let mut server = Server::new(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("x", "y")]);
    // The cycle of 3 and 4 can be resolved; 5 cannot be written.
    let writes = [("1", "b"), ("2", "a"), ("5", "y"), ("3", "d"), ("4", "c")];
    assert_eq!(write(&mut server, &writes).await, [2]);
    has(&server, &[("1", "b"), ("2", "a"), ("3", "d"), ("4", "c"), ("x", "y")]);
}

proptest! {
    #[test]
    fn every_item_is_written_unless_a_document_outside_of_the_batch_holds_its_value(
        values in Just((0..24).collect::<Vec<u32>>()).prop_shuffle(),
        count in 1usize..20,
        dense in any::<bool>(),
    ) {
        // Document n has the value n; the first `count` get other values, also those of the
        // remaining documents.
        let names: Vec<String> = (0..24).map(|n| format!("v{n:02}")).collect();
        let start: Vec<(&str, &str)> =
            names[..20].iter().map(|name| (&name[1..], name.as_str())).collect();
        let writes: Vec<(&str, &str)> = (0..count)
            .map(|n| (&names[n][1..], names[values[n] as usize].as_str()))
            .collect();
        let mut server = Server::new(&start);
        server.dense = dense;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let contested = runtime.block_on(write(&mut server, &writes));
        let blocked = |n: usize| {
            let mut at = values[n] as usize;
            // Follows the holder of the value, until the value is free, held outside of the batch,
            // or a cycle is found.
            while at != n && at < count {
                at = values[at] as usize;
            }
            at != n && at < 20
        };
        let expected: Vec<u32> =
            (0..count).filter(|n| blocked(*n)).map(|n| n as u32).collect();
        prop_assert_eq!(contested, expected);
        for (n, (id, value)) in writes.iter().enumerate() {
            let wanted = if blocked(n) { names[n].as_str() } else { value };
            prop_assert_eq!(server.documents[*id].as_deref(), Some(wanted));
        }
    }
}
