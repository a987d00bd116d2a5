//! The MongoDB sessions in which batches are sent, so that a command that timed out can never be
//! applied after newer writes.
//!
//! A frozen server or a network may deliver a command long after the module has given it up. But a
//! server refuses a command whose txnNumber is below the last one that it has seen in the same
//! session. So a session with an unanswered command is fenced off before anything else is written:
//! a no-op command with a higher txnNumber must be answered in it. The server replicates the number
//! only once something was written under it, so such a session is reused first.
//!
//! Servers that are not members of a replica set have no txnNumbers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, Uuid, doc, oid::ObjectId};
use mongodb::error::ErrorKind;
use mongodb::{Client, ClientSession};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::command::{CommandOptions, TxnPosition, no_op_update};
use super::lease::LeaseKeeper;
use super::lease_messages::not_held;
use super::numbers::next_number;
use super::reply::Expected;
use crate::core::delivery::batch::SessionId;
use crate::core::registration::{Namespace, Registration};
use crate::mongo::error;
use crate::mongo::write::outcome::{self, Outcome};
use crate::sink::{Failure, LinkError};

/// Time for the network in addition to the time limit of a command.
const SLACK: Duration = Duration::from_secs(2);

/// The means of a server against commands that arrive late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// None.
    None,
    /// Each command has a txnNumber. mongos forwards the numbers without storing them, and each
    /// shard has seen other ones, so this is no reliable fence.
    RetryableWrites,
    /// Several commands can share a txnNumber, as a transaction; cheaper for a large batch.
    Transactions,
}

impl Fence {
    /// The fence of the server with this reply to `hello`. mongos supports transactions too, but
    /// one across shards costs more than it saves.
    pub fn of(hello: &Document) -> Fence {
        if !hello.contains_key("logicalSessionTimeoutMinutes") {
            return Fence::None;
        }
        match hello.get_str("msg") {
            Ok("isdbgrid") => Fence::RetryableWrites,
            _ if hello.contains_key("setName") => Fence::Transactions,
            _ => Fence::None,
        }
    }
}

#[derive(Debug)]
struct Session {
    driver: ClientSession,
    /// The namespaces of its last command, or of its transaction, if that was not answered and may be
    /// applied late.
    unanswered: Vec<Namespace>,
    /// True if it was fenced off, and nothing was written in it since.
    unpersisted: bool,
    /// True if its id follows from the lease, so that its next holder can fence it off.
    is_lane: bool,
}

/// The sessions of one client: as many as batches were in flight at a time.
#[derive(Debug)]
pub struct Sessions {
    client: Client,
    fence: Cell<Fence>,
    free: RefCell<Vec<Session>>,
    /// A lock for each namespace in which sessions are being fenced off, so that only one batch
    /// does it at a time.
    fencing: RefCell<HashMap<Namespace, Rc<Mutex<()>>>>,
    ending: Mutex<()>,
    /// Sessions of the predecessor process that may have an open transaction.
    predecessors: RefCell<Vec<SessionId>>,
    ids: RefCell<Vec<SessionId>>,
    /// The lease, whose holder alone writes in the lanes.
    pub lease: LeaseKeeper,
    /// Number of lanes in use.
    lanes: Cell<u32>,
}

impl Sessions {
    /// No sessions yet, and no fence until a server has replied to `hello`.
    pub fn new(client: Client, predecessors: Vec<SessionId>) -> Self {
        Sessions {
            lease: LeaseKeeper::new(client.clone()),
            lanes: Cell::new(0),
            client,
            fence: Cell::new(Fence::None),
            free: RefCell::default(),
            fencing: RefCell::default(),
            ending: Mutex::default(),
            predecessors: RefCell::new(predecessors),
            ids: RefCell::default(),
        }
    }

    /// The ids of all sessions so far.
    pub fn ids(&self) -> Vec<SessionId> {
        self.ids.borrow().clone()
    }

    /// Sets the fence of the server.
    pub fn set_fence(&self, fence: Fence) {
        self.fence.set(fence);
    }

    /// The fence of the server.
    pub fn fence(&self) -> Fence {
        self.fence.get()
    }

    /// A session for one batch. Dropping the guard returns it, whatever the result of the batch.
    ///
    /// # Errors
    /// When the driver cannot start a session.
    pub async fn take(&self) -> Result<SessionGuard<'_>, Failure> {
        let mut guard =
            SessionGuard { sessions: self, session: None, created: 0, covers: Vec::new() };
        if self.fence.get() == Fence::None {
            return Ok(guard);
        }
        if !self.lease.permits_writes() {
            return Err(Failure::Link(not_held()));
        }
        let is_lane = self.lease.is_held();
        guard.session =
            self.pick(|session| session.is_lane == is_lane && session.unpersisted).or_else(|| {
                self.pick(|session| session.is_lane == is_lane && session.unanswered.is_empty())
            });
        if guard.session.is_none() {
            let driver = match is_lane {
                true => self.next_lane().await?,
                false => {
                    let driver = self.client.start_session().await;
                    driver.map_err(|error| Failure::Link(error::broken(&error)))?
                }
            };
            self.ids.borrow_mut().extend(id(&driver));
            let (unanswered, unpersisted) = (Vec::new(), false);
            guard.session = Some(Session { driver, unanswered, unpersisted, is_lane });
        }
        Ok(guard)
    }

    async fn next_lane(&self) -> Result<ClientSession, Failure> {
        let lane = self.lanes.get();
        self.lanes.set(lane + 1);
        self.lease.lane(lane).await
    }

    /// Ensures that no unanswered command to the namespace is applied from now on. To be called
    /// before each batch: one of its keys may be in such a command. Commands to other namespaces
    /// are fenced off before their batches.
    ///
    /// # Errors
    /// When the server does not reply, or refuses writes to the namespace.
    pub async fn fence_off(
        &self,
        registration: &Registration,
        options: &CommandOptions,
    ) -> Result<(), Failure> {
        let namespace = &registration.namespace;
        let late = |session: &Session| session.unanswered.contains(namespace);
        self.end_predecessors(options).await?;
        // A session that is being fenced off is not in `free`.
        let fencing = self.fencing.borrow().get(namespace).cloned();
        if fencing.is_none() && !self.free.borrow().iter().any(late) {
            return Ok(());
        }
        let fencing = fencing.unwrap_or_else(|| {
            let mut fencing = self.fencing.borrow_mut();
            Rc::clone(fencing.entry(namespace.clone()).or_default())
        });
        let lock = fencing.lock().await;
        while let Some(session) = self.pick(late) {
            // A command of another namespace in the same transaction is fenced off as well.
            let covers = session.unanswered.clone();
            let session = Some(session);
            let mut guard = SessionGuard { sessions: self, session, created: 0, covers };
            let bytes = no_op_update(&namespace.collection, ObjectId::new().bytes(), false);
            let position = TxnPosition::RetryableWrite(next_number());
            let expected = Expected { ops: 1, written: 0, in_order: false };
            let (command, limit) = ((bytes, expected), options.within);
            let outcome = guard.send(registration, options, command, position, limit).await;
            let fenced =
                matches!(&outcome, Outcome::Answered(write_errors) if write_errors.is_empty());
            if let Some(session) = &mut guard.session {
                session.unanswered =
                    if fenced { Vec::new() } else { std::mem::take(&mut guard.covers) };
                session.unpersisted = fenced;
            }
            if !fenced {
                return Err(match outcome {
                    Outcome::Failed(failure) => failure,
                    Outcome::Unconfirmed(broken) => Failure::Link(broken),
                    _ => Failure::Part(LinkError::transient(
                        "MongoDB is still busy with what it was sent before",
                    )),
                });
            }
        }
        drop(lock);
        // The other reference is the map's: no other batch waits for the lock, so it is removed.
        if Rc::strong_count(&fencing) == 2 {
            self.fencing.borrow_mut().remove(namespace);
        }
        Ok(())
    }

    /// Aborts the transactions of the predecessor process: they would keep their documents locked
    /// until the server's own limit (`transactionLifetimeLimitSeconds`, 60 s by default). If the
    /// server refuses, that limit applies.
    async fn end_predecessors(&self, options: &CommandOptions) -> Result<(), Failure> {
        if self.predecessors.borrow().is_empty() {
            return Ok(());
        }
        let _lock = self.ending.lock().await;
        let predecessors = self.predecessors.borrow().clone();
        if predecessors.is_empty() {
            return Ok(());
        }
        if self.fence.get() != Fence::None {
            let uuid = |id: &SessionId| doc! { "id": Uuid::from_bytes(*id) };
            let ids: Vec<_> = predecessors.iter().map(uuid).collect();
            let admin = self.client.database("admin");
            let end =
                timeout(options.within, admin.run_command(doc! { "killSessions": ids })).await;
            let error = match end {
                Ok(Err(error)) if !matches!(&*error.kind, ErrorKind::Command(_)) => {
                    Some(error::broken(&error))
                }
                Ok(_) => None,
                Err(_) => Some(LinkError::transient("MongoDB does not end the sessions of before")),
            };
            if let Some(error) = error {
                return Err(Failure::Link(error));
            }
        }
        self.predecessors.borrow_mut().clear();
        Ok(())
    }

    /// True if the server replies to `hello`.
    async fn is_responding(&self) -> bool {
        let admin = self.client.database("admin");
        timeout(SLACK, admin.run_command(doc! { "hello": 1 })).await.is_ok_and(|end| end.is_ok())
    }

    fn pick(&self, matches: impl Fn(&Session) -> bool) -> Option<Session> {
        let mut free = self.free.borrow_mut();
        let at = free.iter().position(matches)?;
        Some(free.swap_remove(at))
    }
}

fn id(driver: &ClientSession) -> Option<SessionId> {
    match driver.id().get("id") {
        Some(Bson::Binary(binary)) => binary.bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

/// A session in use; no session where the server has no fence.
#[derive(Debug)]
pub struct SessionGuard<'l> {
    sessions: &'l Sessions,
    session: Option<Session>,
    created: usize,
    /// The namespaces of the transaction; empty for commands by themselves.
    covers: Vec<Namespace>,
}

impl SessionGuard<'_> {
    /// The position of the next command outside of a transaction.
    pub fn next_position(&self) -> TxnPosition {
        match self.session {
            Some(_) => TxnPosition::RetryableWrite(next_number()),
            None => TxnPosition::NoSession,
        }
    }

    /// Marks that a transaction in `namespace` was started and not ended in this session, which
    /// must be fenced off.
    pub fn abandon_transaction(&mut self, namespace: &Namespace) {
        if let Some(session) = &mut self.session {
            session.unanswered = vec![namespace.clone()];
        }
    }

    /// From now on each command may be one of a transaction in these namespaces.
    pub fn cover(&mut self, namespaces: Vec<Namespace>) {
        self.covers = namespaces;
    }

    /// The same as [`abandon_transaction`](Self::abandon_transaction) for the covered namespaces.
    pub fn abandon_covered(&mut self) {
        if let Some(session) = &mut self.session {
            session.unanswered.clone_from(&self.covers);
        }
    }

    /// The number of documents that updates have created in it since it was taken.
    pub fn created(&self) -> usize {
        self.created
    }

    /// True if batches can be sent as transactions.
    pub fn has_transactions(&self) -> bool {
        self.session.is_some() && self.sessions.fence.get() == Fence::Transactions
    }

    /// Sends one command for `registration` with the time limit `limit` and classifies its result.
    /// `expected` are the operations that its reply must account for.
    pub async fn send(
        &mut self,
        registration: &Registration,
        options: &CommandOptions,
        (mut bytes, expected): (Vec<u8>, Expected),
        position: TxnPosition,
        limit: Duration,
    ) -> Outcome {
        options.complete(&mut bytes, position, limit);
        let Ok(command) = RawDocumentBuf::from_bytes(bytes) else {
            let reason = "the document is not valid BSON".to_owned();
            return Outcome::Rejected { code: 0, reason };
        };
        let database = match position {
            TxnPosition::Commit(_) => "admin",
            _ => &registration.namespace.database,
        };
        let database = self.sessions.client.database(database);
        let run = database.run_raw_command(command);
        // If this future is dropped, the reply is lost.
        let run = match &mut self.session {
            Some(session) => {
                session.unanswered = match self.covers.as_slice() {
                    [] => vec![registration.namespace.clone()],
                    covers => covers.to_vec(),
                };
                run.session(&mut session.driver)
            }
            None => run,
        };
        let within = options.within + SLACK;
        let Ok(end) = timeout(within, run).await else {
            let seconds = within.as_secs();
            let error = format!("MongoDB does not answer within {seconds} s");
            let broken = LinkError::unanswered(error);
            return Outcome::Failed(match self.sessions.is_responding().await {
                true => Failure::Part(broken),
                false => Failure::Link(broken),
            });
        };
        self.created += end.as_ref().map_or(0, outcome::created);
        let outcome = outcome::classify(end.as_ref(), registration, expected);
        if let Some(session) = self.session.as_mut().filter(|_| outcome::is_settled(&end, &outcome))
        {
            session.unanswered.clear();
            session.unpersisted &= matches!(outcome, Outcome::Failed(_));
        }
        outcome
    }
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.sessions.free.borrow_mut().extend(self.session.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_a_replica_set_and_mongos_have_a_fence() {
        let timeout = 30;
        let member = doc! { "setName": "rs", "logicalSessionTimeoutMinutes": timeout };
        assert_eq!(Fence::of(&member), Fence::Transactions);
        let router = doc! { "msg": "isdbgrid", "logicalSessionTimeoutMinutes": timeout };
        assert_eq!(Fence::of(&router), Fence::RetryableWrites);
        assert_eq!(Fence::of(&doc! { "logicalSessionTimeoutMinutes": timeout }), Fence::None);
        assert_eq!(Fence::of(&doc! { "setName": "rs" }), Fence::None);
    }
}
