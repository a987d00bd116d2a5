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
use super::write::contested::{CommandSender, Committed};
use super::write::executor::{Finished, execute};
use super::write::failure_classifier::Applied;
use super::write::forms::Forms;
use super::write::groups::MAX_OPS;
use super::write::index::Indexes;
use super::write::insert_ratio::InsertRatio;
use super::write::limits::Speeds;
use super::write::lookup::Lookup;
use super::write::numbers::next_number;
use super::write::outcome::Outcome;
use super::write::pipeline_probe;
use super::write::pipeline_probe::Pipelines;
use super::write::reply::Expected;
use super::write::session::{Fence, SessionGuard, Sessions};
use super::write::transaction::{TransactionBackoff, send_transaction};
use crate::core::delivery::batch::{Batch, Refusal, SessionId, Written};
use crate::core::delivery::deployment::{Checkup, Need};
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::lease::{Claim, LeaseState};
use crate::core::registration::{Registration, WriteMode};
use crate::core::settings::WriteForm;
use crate::sink::{Connector, Failure, GroupResults, LinkError, Sink};

/// Time limit for `hello`; server selection takes up to 3 s by default.
const PING_WITHIN: Duration = Duration::from_secs(8);
/// Batches with fewer operations are not worth the second round trip of a transaction.
const TRANSACTION_OPS: usize = 30;

/// `maxWireVersion` of MongoDB 5.0.
const WIRE_5_0: i32 = 13;

/// Connects to MongoDB.
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
            transaction_backoff: RefCell::default(),
            insert_ratio: RefCell::default(),
            speeds: RefCell::default(),
            is_old: Cell::new(false),
            group_ops: Cell::new(MAX_OPS),
            pipelines: Cell::new(None),
        })
    }

    async fn check(&self, uri: &str, needs: &[Need]) -> Checkup {
        check(uri, needs).await
    }
}

/// One MongoDB deployment.
#[derive(Debug)]
pub struct MongoSink {
    pub(super) connected: Connected,
    pub(super) sessions: Sessions,
    pub(super) indexes: Indexes,
    transaction_backoff: RefCell<TransactionBackoff>,
    insert_ratio: RefCell<InsertRatio>,
    /// True for MongoDB before 5.0: it refuses updates with field names that begin with `$`, but
    /// inserts some of them.
    is_old: Cell<bool>,
    /// The maximum number of operations in a transaction of groups.
    pub(super) group_ops: Cell<usize>,
    speeds: RefCell<Speeds>,
    /// Whether the server takes updates in the form of a pipeline; nothing before it was asked.
    pub(super) pipelines: Cell<Option<Pipelines>>,
}

impl Sink for MongoSink {
    type Commands = Built;

    fn build(&self, batch: &Batch, form: WriteForm) -> Built {
        let lookup = self.indexes.known(&batch.registration).unwrap_or_default();
        command::build(batch, self.documents(batch, &lookup), &lookup, self.forms(batch, form))
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
        let asks = built.differences > 0;
        let end = self.write_built(batch, built, within).await;
        if asks && end.is_ok() && self.pipelines.get() == Some(Pipelines::Unclear) {
            self.pipelines.set(Some(Pipelines::Refused));
        }
        if matches!(end, Err(Failure::Namespace(_))) {
            self.indexes.forget(&batch.registration.namespace);
        }
        end
    }

    async fn write_groups(
        &self,
        batch: &GroupBatch,
        form: WriteForm,
        within: Duration,
    ) -> GroupResults {
        self.write_group_batch(batch, form, within).await
    }

    fn max_in_flight(&self) -> usize {
        // One connection is left for `hello`, which checks the link.
        (self.connected.connections as usize).saturating_sub(1).max(1)
    }

    async fn ping(&self, claim: Option<&Claim>) -> Result<(), LinkError> {
        let admin = self.connected.client.database("admin");
        // Without a read preference the driver selects a server that accepts writes for a raw
        // command.
        match timeout(PING_WITHIN, admin.run_command(doc! { "hello": 1 })).await {
            Ok(Ok(hello)) => {
                self.sessions.set_fence(Fence::of(&hello));
                self.is_old.set(hello.get_i32("maxWireVersion").is_ok_and(|v| v < WIRE_5_0));
                match claim {
                    Some(claim) if self.sessions.fence() != Fence::None => {
                        self.sessions.lease.keep(claim).await
                    }
                    _ => Ok(()),
                }
            }
            Ok(Err(error)) => Err(self.connected.watch.broken(&error)),
            Err(_) => {
                let seconds = PING_WITHIN.as_secs();
                Err(LinkError::transient(format!("MongoDB does not answer within {seconds} s")))
            }
        }
    }

    async fn link_changed(&self) {
        self.connected.watch.link_changed().await;
    }

    fn link_state(&self) -> Option<Result<(), LinkError>> {
        self.connected.watch.link_state()
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.sessions.ids()
    }

    fn lease(&self) -> LeaseState {
        self.sessions.lease.state()
    }

    fn is_fenced(&self) -> bool {
        self.sessions.fence() == Fence::Transactions
    }

    async fn close(&self) {
        self.sessions.lease.release().await;
        self.connected.client.clone().shutdown().immediate(true).await;
    }
}

impl MongoSink {
    /// The kind of operation for the documents of `batch`: inserts where most documents are new.
    fn documents(&self, batch: &Batch, lookup: &Lookup) -> Kind {
        let (namespace, ops) = (&batch.registration.namespace, batch.items.len());
        let insert_ratio = self.insert_ratio.borrow();
        // An insert certainly creates no second document for its key if the key is `_id`, or in a
        // transaction that uses the unique index.
        let certain = || match &lookup.index {
            None => batch.registration.key_field == "_id",
            Some(_) => {
                ops >= TRANSACTION_OPS
                    && insert_ratio.creates_all(namespace)
                    && self.sessions.fence() == Fence::Transactions
                    && !self.transaction_backoff.borrow().backs_off(namespace)
            }
        };
        let accepts_names = || !self.is_old.get() || !batch.bytes.contains(&b'$');
        if insert_ratio.inserts(namespace, ops) && certain() && accepts_names() {
            Kind::Insert
        } else {
            Kind::Update
        }
    }

    /// The forms of the updates of `batch`. Where many documents are new, `$set` would create them
    /// with another order of fields. MongoDB before 5.0 gains nothing from a difference, and an upsert
    /// that creates the document costs more.
    pub(super) fn forms(&self, batch: &Batch, form: WriteForm) -> Forms {
        let namespace = &batch.registration.namespace;
        let insert_ratio = self.insert_ratio.borrow();
        if batch.registration.write == WriteMode::Merge {
            let creates_many = insert_ratio.creates_many(namespace);
            return if creates_many { Forms::Plain } else { Forms::merging(&batch.registration) };
        }
        let is_useless = self.is_old.get()
            || self.pipelines.get() == Some(Pipelines::Refused)
            || insert_ratio.creates_most(namespace);
        if is_useless {
            return Forms::Plain;
        }
        let in_transaction = !batch.groups.is_empty()
            || batch.items.len() >= TRANSACTION_OPS
                && !insert_ratio.creates_many(namespace)
                && self.sessions.fence() == Fence::Transactions
                && !self.transaction_backoff.borrow().backs_off(namespace);
        Forms::replacing(form, in_transaction)
    }

    pub(super) async fn write_built(
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
            let (kind, forms) = (self.documents(batch, lookup), built.forms);
            built = command::build(batch, kind, lookup, forms);
        }
        self.sessions.fence_off(registration, options).await?;
        let mut session = self.sessions.take().await?;
        if built.differences > 0 {
            if !matches!(self.pipelines.get(), Some(Pipelines::Taken | Pipelines::Refused)) {
                let pipelines = pipeline_probe::ask(&mut session, registration, options).await?;
                self.pipelines.set(Some(pipelines));
            }
            if self.pipelines.get() != Some(Pipelines::Taken) {
                let kind = self.documents(batch, lookup);
                built = command::build(batch, kind, lookup, Forms::Plain);
            }
        }

        let inserts = built.inserts();
        let Built { commands, refused, .. } = built;
        let ops: usize = commands.iter().map(|command| command.items.len()).sum();
        let documents = commands.iter().filter(|command| command.kind != Kind::Delete);
        let documents: usize = documents.map(|command| command.items.len()).sum();
        let namespace = &registration.namespace;
        let mut limits = self.speeds.borrow_mut().limits(namespace, within, batch.retry);
        let needs_transaction = inserts > 0 && lookup.index.is_some();
        // One existing document would abort a transaction of inserts.
        let worthwhile = needs_transaction
            || documents == 0
            || (inserts == 0 && !self.insert_ratio.borrow().creates_many(namespace));
        let in_transaction = ops >= TRANSACTION_OPS
            && worthwhile
            && session.has_transactions()
            && self.transaction_backoff.borrow_mut().allows(namespace);
        let built = if in_transaction {
            let limit = limits.time_of(ops, batch.bytes.len(), 0);
            let send = async |command, position| {
                let limit = if let TxnPosition::Commit(_) = position { within } else { limit };
                session.send(registration, options, command, position, limit).await
            };
            let end = send_transaction(commands, next_number(), send).await;
            if end.is_err() {
                session.abandon_transaction(namespace);
            }
            if let Some(sent_bytes) = end? {
                let applied = Applied { written: documents, deleted: ops - documents };
                self.speeds.borrow_mut().learn(namespace, &limits, applied, false);
                self.transaction_backoff.borrow_mut().remove(namespace);
                let created = session.created() + inserts;
                self.insert_ratio.borrow_mut().learn(namespace, documents, created);
                return Ok(Written { refused, sent_bytes, ..Written::default() });
            }
            self.transaction_backoff.borrow_mut().add(namespace);
            // The commands built first were consumed by the transaction.
            command::build(batch, Kind::Update, lookup, Forms::Plain)
        } else if needs_transaction {
            command::build(batch, Kind::Update, lookup, Forms::Plain)
        } else {
            Built { commands, refused, lookup: lookup.clone(), ..Built::default() }
        };
        let inserting = built.inserts() > 0;
        let mut sender = SessionSender { session: &mut session, registration, options, sink: self };
        let send = async |command, limit| sender.send(command, limit).await;
        let finished = execute(batch, built, &mut limits, send).await?;
        let finished =
            contested::resolve(batch, finished, lookup, &mut limits, &mut sender).await?;
        let Finished { mut written, existing, contested, applied, slow } = finished;
        written.contested = contested.into_iter().map(Refusal::from).collect();
        let returned = slow && !written.returned.is_empty();
        self.speeds.borrow_mut().learn(namespace, &limits, applied, returned);
        let created =
            if inserting { documents.saturating_sub(existing) } else { session.created() };
        self.insert_ratio.borrow_mut().learn(namespace, documents, created);
        Ok(written)
    }
}

/// A session, with everything needed to send a command in it.
struct SessionSender<'l, 's> {
    session: &'l mut SessionGuard<'s>,
    registration: &'l Registration,
    options: &'l CommandOptions,
    sink: &'l MongoSink,
}

impl CommandSender for SessionSender<'_, '_> {
    async fn send(&mut self, command: (Vec<u8>, Expected), limit: Duration) -> Outcome {
        let position = self.session.next_position();
        self.session.send(self.registration, self.options, command, position, limit).await
    }

    fn has_transactions(&self) -> bool {
        self.session.has_transactions()
    }

    async fn commit(&mut self, command: Command) -> Result<Committed, Failure> {
        let SessionSender { session, registration, options, .. } = self;
        let mut conflicted = false;
        let send = async |command, position| {
            let outcome =
                session.send(registration, options, command, position, options.within).await;
            conflicted |= outcome.is_conflict();
            outcome
        };
        let end = send_transaction(vec![command], next_number(), send).await;
        if end.is_err() {
            session.abandon_transaction(&registration.namespace);
        }
        Ok(match end? {
            Some(_) => Committed::Yes,
            None if conflicted => Committed::Conflicted,
            None => Committed::No,
        })
    }

    async fn find(&mut self, command: Vec<u8>) -> Option<Vec<Document>> {
        let command = RawDocumentBuf::from_bytes(command).ok()?;
        let client = &self.sink.connected.client;
        let database = client.database(&self.registration.namespace.database);
        let reply = timeout(self.options.within, database.run_raw_command(command)).await;
        let mut reply = reply.ok()?.ok()?;
        let Some(Bson::Document(mut cursor)) = reply.remove("cursor") else { return None };
        let Some(Bson::Array(batch)) = cursor.remove("firstBatch") else { return None };
        let documents = batch.into_iter().filter_map(|document| match document {
            Bson::Document(document) => Some(document),
            _ => None,
        });
        Some(documents.collect())
    }
}
