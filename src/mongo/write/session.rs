//! Sessions: sessions of the server in which batches are sent, so that what was given up on can never
//! be applied after newer writes.
//!
//! A server that was frozen, or a network that lost its way, may deliver a command long after we
//! gave it up. But a server refuses a command whose number is below the last one that it saw in
//! the same session. So a session whose command was never answered is fenced off before anything else
//! is written: a command with a higher number, which changes nothing, must be answered in it. The
//! number travels with replication once something was written under it, so such a session is the
//! first to be used again.
//!
//! Servers that are not members of a replica set number nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, Uuid, doc, oid::ObjectId};
use mongodb::error::ErrorKind;
use mongodb::{Client, ClientSession};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::command::{CommandOptions, TxnPosition, nothing};
use super::reply::Expected;
use crate::core::delivery::batch::SessionId;
use crate::core::registration::{Namespace, Registration};
use crate::mongo::error;
use crate::mongo::write::outcome::{self, Outcome};
use crate::sink::{Failure, LinkError};

/// What the network may take on top of the server's own limit for a command.
const SLACK: Duration = Duration::from_secs(2);

/// What a server can do against commands that come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nothing.
    None,
    /// Commands are numbered one by one. A router passes the numbers on and does not keep them, so
    /// what one shard has seen says nothing of another: this is no fence to rely on.
    RetryableWrites,
    /// Several commands can share a number, as a transaction; cheaper for a large batch.
    Transactions,
}

impl Fence {
    /// What the server offers that answered `hello` like this. A router takes transactions too,
    /// but one across shards costs more than it saves.
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

/// The next number, of all sessions of this process: what was sent earlier has a lower one.
pub fn next_number() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

#[derive(Debug)]
struct Session {
    driver: ClientSession,
    /// Its last command, to this namespace, was not answered and may come late.
    unanswered: Option<Namespace>,
    /// It was fenced off, and nothing was written in it since.
    unpersisted: bool,
}

/// The sessions of one client: as many as there are batches on the wire at a time.
#[derive(Debug)]
pub struct Sessions {
    client: Client,
    fence: Cell<Fence>,
    free: RefCell<Vec<Session>>,
    /// For each namespace in which sessions were fenced off, so that they are one after the other.
    fencing: RefCell<HashMap<Namespace, Rc<Mutex<()>>>>,
    ending: Mutex<()>,
    /// Sessions of an earlier life that may hold something still.
    former: RefCell<Vec<SessionId>>,
    ids: RefCell<Vec<SessionId>>,
}

impl Sessions {
    /// No sessions yet, and no fence until a server has said what it can do.
    pub fn new(client: Client, former: Vec<SessionId>) -> Self {
        Sessions {
            client,
            fence: Cell::new(Fence::None),
            free: RefCell::default(),
            fencing: RefCell::default(),
            ending: Mutex::default(),
            former: RefCell::new(former),
            ids: RefCell::default(),
        }
    }

    /// The sessions of all sessions so far.
    pub fn ids(&self) -> Vec<SessionId> {
        self.ids.borrow().clone()
    }

    /// A server said what it can do.
    pub fn set_fence(&self, fence: Fence) {
        self.fence.set(fence);
    }

    /// What the server can do.
    pub fn fence(&self) -> Fence {
        self.fence.get()
    }

    /// A session for one batch. It comes back when it is dropped, whatever has become of the batch.
    ///
    /// # Errors
    /// When the driver gives no session.
    pub async fn take(&self) -> Result<SessionGuard<'_>, Failure> {
        let mut held = SessionGuard { sessions: self, session: None, created: 0 };
        if self.fence.get() == Fence::None {
            return Ok(held);
        }
        held.session = self
            .pick(|session| session.unpersisted)
            .or_else(|| self.pick(|session| session.unanswered.is_none()));
        if held.session.is_none() {
            let driver = self.client.start_session().await;
            let driver = driver.map_err(|error| Failure::Link(error::broken(&error)))?;
            self.ids.borrow_mut().extend(id(&driver));
            held.session = Some(Session { driver, unanswered: None, unpersisted: false });
        }
        Ok(held)
    }

    /// Makes sure that nothing which was sent to the namespace and not answered is applied from now
    /// on. Call it before each batch: a key of it may be in what was given up. What was sent to
    /// other namespaces concerns their batches.
    ///
    /// # Errors
    /// When the server does not answer, or does not take writes to the namespace.
    pub async fn fence_off(
        &self,
        registration: &Registration,
        options: &CommandOptions,
    ) -> Result<(), Failure> {
        let namespace = &registration.namespace;
        let late = |session: &Session| session.unanswered.as_ref() == Some(namespace);
        self.end_former(options).await?;
        // While a session is being fenced off it is not among the free ones.
        let fencing = self.fencing.borrow().get(namespace).cloned();
        if fencing.is_none() && !self.free.borrow().iter().any(late) {
            return Ok(());
        }
        let fencing = fencing.unwrap_or_else(|| {
            let mut fencing = self.fencing.borrow_mut();
            Rc::clone(fencing.entry(namespace.clone()).or_default())
        });
        let turn = fencing.lock().await;
        while let Some(session) = self.pick(late) {
            let mut held = SessionGuard { sessions: self, session: Some(session), created: 0 };
            let bytes = nothing(&namespace.collection, ObjectId::new().bytes());
            let place = TxnPosition::RetryableWrite(next_number());
            let expected = Expected { ops: 1, written: 0, in_order: false };
            let (command, limit) = ((bytes, expected), options.within);
            let outcome = held.send(registration, options, command, place, limit).await;
            let fenced =
                matches!(&outcome, Outcome::Answered(write_errors) if write_errors.is_empty());
            if let Some(session) = &mut held.session {
                session.unanswered = Some(namespace.clone()).filter(|_| !fenced);
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
        drop(turn);
        // Those who wait for their turn have it from here.
        if Rc::strong_count(&fencing) == 2 {
            self.fencing.borrow_mut().remove(namespace);
        }
        Ok(())
    }

    /// Ends the transactions that an earlier life has begun: they would keep their documents
    /// locked until the server's own limit, 60 s by default. A server that refuses does just that.
    async fn end_former(&self, options: &CommandOptions) -> Result<(), Failure> {
        if self.former.borrow().is_empty() {
            return Ok(());
        }
        let _turn = self.ending.lock().await;
        let former = self.former.borrow().clone();
        if former.is_empty() {
            return Ok(());
        }
        if self.fence.get() != Fence::None {
            let uuid = |id: &SessionId| doc! { "id": Uuid::from_bytes(*id) };
            let ids: Vec<_> = former.iter().map(uuid).collect();
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
        self.former.borrow_mut().clear();
        Ok(())
    }

    /// Whether the server answers at all.
    async fn answers(&self) -> bool {
        let admin = self.client.database("admin");
        timeout(SLACK, admin.run_command(doc! { "hello": 1 })).await.is_ok_and(|end| end.is_ok())
    }

    fn pick(&self, wanted: impl Fn(&Session) -> bool) -> Option<Session> {
        let mut free = self.free.borrow_mut();
        let at = free.iter().position(wanted)?;
        Some(free.swap_remove(at))
    }
}

fn id(driver: &ClientSession) -> Option<SessionId> {
    match driver.id().get("id") {
        Some(Bson::Binary(binary)) => binary.bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

/// A session in use; without a session where the server has no fence.
#[derive(Debug)]
pub struct SessionGuard<'l> {
    sessions: &'l Sessions,
    session: Option<Session>,
    created: usize,
}

impl SessionGuard<'_> {
    /// The place of a command that stands for itself.
    pub fn place(&self) -> TxnPosition {
        match self.session {
            Some(_) => TxnPosition::RetryableWrite(next_number()),
            None => TxnPosition::NoSession,
        }
    }

    /// A transaction in `namespace` was begun in it and not ended: it must be fenced off.
    pub fn leave_open(&mut self, namespace: &Namespace) {
        if let Some(session) = &mut self.session {
            session.unanswered = Some(namespace.clone());
        }
    }

    /// Documents that updates have created in it since it was taken.
    pub fn created(&self) -> usize {
        self.created
    }

    /// Whether batches can be sent as transactions.
    pub fn has_transactions(&self) -> bool {
        self.session.is_some() && self.sessions.fence.get() == Fence::Transactions
    }

    /// Sends one command for `registration`, with what its reply must account for, which the server
    /// may take `limit` for, and says what its end means.
    pub async fn send(
        &mut self,
        registration: &Registration,
        options: &CommandOptions,
        (mut bytes, expected): (Vec<u8>, Expected),
        place: TxnPosition,
        limit: Duration,
    ) -> Outcome {
        options.complete(&mut bytes, place, limit);
        let Ok(command) = RawDocumentBuf::from_bytes(bytes) else {
            let reason = "the document is not valid BSON".to_owned();
            return Outcome::Rejected { code: 0, reason };
        };
        let database = match place {
            TxnPosition::Commit(_) => "admin",
            _ => &registration.namespace.database,
        };
        let database = self.sessions.client.database(database);
        let run = database.run_raw_command(command);
        // Should this future be dropped, the answer is not heard.
        let run = match &mut self.session {
            Some(session) => {
                session.unanswered = Some(registration.namespace.clone());
                run.session(&mut session.driver)
            }
            None => run,
        };
        let within = options.within + SLACK;
        let Ok(end) = timeout(within, run).await else {
            let seconds = within.as_secs();
            let error = format!("MongoDB does not answer within {seconds} s");
            let broken = LinkError::unanswered(error);
            return Outcome::Failed(match self.sessions.answers().await {
                true => Failure::Part(broken),
                false => Failure::Link(broken),
            });
        };
        self.created += end.as_ref().map_or(0, outcome::created);
        let outcome = outcome::classify(end.as_ref(), registration, expected);
        if let Some(session) = self.session.as_mut().filter(|_| outcome::is_settled(&end, &outcome))
        {
            session.unanswered = None;
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
    fn only_members_of_a_replica_set_and_routers_can_fence() {
        let timeout = 30;
        let member = doc! { "setName": "rs", "logicalSessionTimeoutMinutes": timeout };
        assert_eq!(Fence::of(&member), Fence::Transactions);
        let router = doc! { "msg": "isdbgrid", "logicalSessionTimeoutMinutes": timeout };
        assert_eq!(Fence::of(&router), Fence::RetryableWrites);
        assert_eq!(Fence::of(&doc! { "logicalSessionTimeoutMinutes": timeout }), Fence::None);
        assert_eq!(Fence::of(&doc! { "setName": "rs" }), Fence::None);
    }

    #[test]
    fn each_number_is_higher_than_the_last() {
        let first = next_number();
        assert!(next_number() > first);
    }
}
