//! MongoDB as a [`Sink`].

use std::cell::{Cell, RefCell};
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use tokio::time::timeout;

use super::check::check;
use super::client::{Connected, connect};
use super::write::command;
use super::write::command::{Built, Command, CommandOptions, Kind, TxnPosition};
use super::write::contested;
use super::write::contested::{Committed, Wire};
use super::write::executor::{Finished, write_out};
use super::write::index::Indexes;
use super::write::insert_ratio::Newness;
use super::write::judge::Applied;
use super::write::limits::Speeds;
use super::write::lookup::Lookup;
use super::write::outcome::Outcome;
use super::write::reply::Expected;
use super::write::session::{Fence, SessionGuard, Sessions, next_number};
use super::write::transaction::{Useless, send_at_once};
use crate::core::delivery::batch::{Batch, Refusal, SessionId, Written};
use crate::core::delivery::deployment::{Checkup, Need};
use crate::core::registration::Registration;
use crate::sink::{Connector, Failure, LinkError, Sink};

/// Longest wait for a greeting; finding a server takes 3 s by default.
const PING_WITHIN: Duration = Duration::from_secs(8);
/// Batches with fewer operations are not worth the second round trip of a transaction.
const TRANSACTION_OPS: usize = 30;

/// `maxWireVersion` of MongoDB 5.0.
const WIRE_5_0: i32 = 13;

/// Makes MongoDB sinks.
#[derive(Clone, Copy, Debug, Default)]
pub struct MongoConnector;

impl Connector for MongoConnector {
    type Sink = MongoSink;

    async fn connect(&self, uri: &str, former: Vec<SessionId>) -> Result<MongoSink, LinkError> {
        let connected = connect(uri).await?;
        let sessions = Sessions::new(connected.client.clone(), former);
        Ok(MongoSink {
            connected,
            sessions,
            indexes: Indexes::default(),
            useless: RefCell::default(),
            newness: RefCell::default(),
            speeds: RefCell::default(),
            is_old: Cell::new(false),
        })
    }

    async fn check(&self, uri: &str, needs: &[Need]) -> Checkup {
        check(uri, needs).await
    }
}

/// One MongoDB deployment.
#[derive(Debug)]
pub struct MongoSink {
    connected: Connected,
    sessions: Sessions,
    indexes: Indexes,
    useless: RefCell<Useless>,
    newness: RefCell<Newness>,
    /// MongoDB before 5.0: it refuses to update to names that begin with `$`, and inserts some.
    is_old: Cell<bool>,
    speeds: RefCell<Speeds>,
}

impl Sink for MongoSink {
    type Commands = Built;

    fn build(&self, batch: &Batch) -> Built {
        let lookup = self.indexes.known(&batch.registration).unwrap_or_default();
        command::build(batch, self.documents(batch, &lookup), &lookup)
    }

    async fn write(
        &self,
        batch: &Batch,
        built: Built,
        within: Duration,
    ) -> Result<Written, Failure> {
        if built.commands.is_empty() {
            return Ok(Written { refused: built.refused, ..Written::default() });
        }
        let end = self.write_built(batch, built, within).await;
        if matches!(end, Err(Failure::Namespace(_))) {
            self.indexes.forget(&batch.registration.namespace);
        }
        end
    }

    fn places(&self) -> usize {
        // One is left to ask whether the link works.
        (self.connected.connections as usize).saturating_sub(1).max(1)
    }

    async fn ping(&self) -> Result<(), LinkError> {
        let admin = self.connected.client.database("admin");
        // Without a read preference a raw command looks for a server that takes writes.
        match timeout(PING_WITHIN, admin.run_command(doc! { "hello": 1 })).await {
            Ok(Ok(hello)) => {
                self.sessions.set_fence(Fence::of(&hello));
                self.is_old.set(hello.get_i32("maxWireVersion").is_ok_and(|v| v < WIRE_5_0));
                Ok(())
            }
            Ok(Err(error)) => Err(self.connected.watch.broken(&error)),
            Err(_) => {
                let seconds = PING_WITHIN.as_secs();
                Err(LinkError::transient(format!("MongoDB does not answer within {seconds} s")))
            }
        }
    }

    async fn has_news(&self) {
        self.connected.watch.has_news().await;
    }

    fn news(&self) -> Option<Result<(), LinkError>> {
        self.connected.watch.news()
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.sessions.ids()
    }

    fn is_fenced(&self) -> bool {
        self.sessions.fence() == Fence::Transactions
    }

    async fn close(&self) {
        self.connected.client.clone().shutdown().immediate(true).await;
    }
}

impl MongoSink {
    /// How the documents of `batch` are written: inserted where most are new.
    fn documents(&self, batch: &Batch, lookup: &Lookup) -> Kind {
        let (namespace, ops) = (&batch.registration.namespace, batch.items.len());
        let newness = self.newness.borrow();
        // An insert is certain to make no second document of its key where the key is `_id`, or in
        // a transaction that has found the unique index.
        let certain = || match &lookup.index {
            None => batch.registration.key_field == "_id",
            Some(_) => {
                ops >= TRANSACTION_OPS
                    && newness.creates_all(namespace)
                    && self.sessions.fence() == Fence::Transactions
                    && !self.useless.borrow().backs_off(namespace)
            }
        };
        let takes = || !self.is_old.get() || !batch.bytes.contains(&b'$');
        if newness.inserts(namespace, ops) && certain() && takes() {
            Kind::Insert
        } else {
            Kind::Update
        }
    }

    async fn write_built(
        &self,
        batch: &Batch,
        mut built: Built,
        within: Duration,
    ) -> Result<Written, Failure> {
        let registration = &*batch.registration;
        let write_concern = self.connected.write_concern.clone();
        let options = &CommandOptions { write_concern, within };
        let lookup = &self.indexes.ensure(&self.connected, registration).await?;
        if built.lookup != *lookup {
            built = command::build(batch, self.documents(batch, lookup), lookup);
        }
        self.sessions.fence_off(registration, options).await?;
        let mut session = self.sessions.take().await?;

        let inserts = built.inserts();
        let Built { commands, refused, .. } = built;
        let ops: usize = commands.iter().map(|command| command.items.len()).sum();
        let documents = commands.iter().filter(|command| command.kind != Kind::Delete);
        let documents: usize = documents.map(|command| command.items.len()).sum();
        let namespace = &registration.namespace;
        let mut limits = self.speeds.borrow_mut().limits(namespace, within, batch.retry);
        let only_at_once = inserts > 0 && lookup.index.is_some();
        // One document that exists would undo a transaction of inserts.
        let worth = only_at_once
            || documents == 0
            || (inserts == 0 && !self.newness.borrow().creates_many(namespace));
        let at_once = ops >= TRANSACTION_OPS
            && worth
            && session.has_transactions()
            && self.useless.borrow_mut().allows(namespace);
        let built = if at_once {
            let limit = limits.of(ops, batch.bytes.len(), 0);
            let send = async |command, place| {
                let limit = if let TxnPosition::Commit(_) = place { within } else { limit };
                session.send(registration, options, command, place, limit).await
            };
            let end = send_at_once(commands, next_number(), send).await;
            if end.is_err() {
                session.leave_open(namespace);
            }
            if let Some(sent_bytes) = end? {
                let applied = Applied { written: documents, deleted: ops - documents };
                self.speeds.borrow_mut().learn(namespace, &limits, applied, false);
                self.useless.borrow_mut().remove(namespace);
                let created = session.created() + inserts;
                self.newness.borrow_mut().learn(namespace, documents, created);
                return Ok(Written { refused, sent_bytes, ..Written::default() });
            }
            self.useless.borrow_mut().add(namespace);
            // The first ones went with the transaction.
            command::build(batch, Kind::Update, lookup)
        } else if only_at_once {
            command::build(batch, Kind::Update, lookup)
        } else {
            Built { commands, refused, lookup: lookup.clone() }
        };
        let inserting = built.inserts() > 0;
        let mut wire = SessionWire { session: &mut session, registration, options, sink: self };
        let send = async |command, limit| wire.send(command, limit).await;
        let finished = write_out(batch, built, &mut limits, send).await?;
        let finished = contested::resolve(batch, finished, lookup, &mut limits, &mut wire).await?;
        let Finished { mut written, existing, contested, applied, slow } = finished;
        written.contested = contested.into_iter().map(Refusal::from).collect();
        let returned = slow && !written.returned.is_empty();
        self.speeds.borrow_mut().learn(namespace, &limits, applied, returned);
        let created =
            if inserting { documents.saturating_sub(existing) } else { session.created() };
        self.newness.borrow_mut().learn(namespace, documents, created);
        Ok(written)
    }
}

/// A session with all that is needed to send a command in it.
struct SessionWire<'l, 's> {
    session: &'l mut SessionGuard<'s>,
    registration: &'l Registration,
    options: &'l CommandOptions,
    sink: &'l MongoSink,
}

impl Wire for SessionWire<'_, '_> {
    async fn send(&mut self, command: (Vec<u8>, Expected), limit: Duration) -> Outcome {
        let place = self.session.place();
        self.session.send(self.registration, self.options, command, place, limit).await
    }

    fn has_transactions(&self) -> bool {
        self.session.has_transactions()
    }

    async fn commit(&mut self, command: Command) -> Result<Committed, Failure> {
        let SessionWire { session, registration, options, .. } = self;
        let mut clashed = false;
        let send = async |command, place| {
            let outcome = session.send(registration, options, command, place, options.within).await;
            clashed |= outcome.is_clash();
            outcome
        };
        let end = send_at_once(vec![command], next_number(), send).await;
        if end.is_err() {
            session.leave_open(&registration.namespace);
        }
        Ok(match end? {
            Some(_) => Committed::Yes,
            None if clashed => Committed::Clashed,
            None => Committed::No,
        })
    }

    async fn find(&mut self, command: Vec<u8>) -> Option<Vec<Document>> {
        let command = RawDocumentBuf::from_bytes(command).ok()?;
        let client = &self.sink.connected.client;
        let database = client.database(&self.registration.namespace.database);
        let found = timeout(self.options.within, database.run_raw_command(command)).await;
        let mut found = found.ok()?.ok()?;
        let Some(Bson::Document(mut cursor)) = found.remove("cursor") else { return None };
        let Some(Bson::Array(batch)) = cursor.remove("firstBatch") else { return None };
        let documents = batch.into_iter().filter_map(|found| match found {
            Bson::Document(document) => Some(document),
            _ => None,
        });
        Some(documents.collect())
    }
}
