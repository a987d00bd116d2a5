//! The baselines: bare loops of updates of the same documents, in transactions of the module's batch
//! size, as many at a time as the module has in flight.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocumentBuf};
use writebehind::internals::command::{self, TxnPosition};

use super::documents::{Form, State};
use crate::bare::{Bare, all, applied};

/// The module's default of `max-in-flight-batches`.
const IN_FLIGHT: usize = 2;
const DATABASE: &str = "bench";

/// A client with a session for each transaction in flight.
pub struct Loops {
    bare: Bare,
    sessions: Vec<ClientSession>,
    /// The last txnNumber.
    number: i64,
}

/// A command with its txnNumber and the number of its operations.
struct Update {
    bytes: Vec<u8>,
    number: i64,
    operations: u64,
}

type Queue = RefCell<VecDeque<Update>>;

impl Loops {
    pub fn new(uri: &str) -> Self {
        let bare = Bare::new(uri);
        let session = || bare.runtime.block_on(async { bare.client.start_session().await });
        let sessions = (0..IN_FLIGHT).map(|_| session().expect("session")).collect();
        Loops { bare, sessions, number: 0 }
    }

    /// Creates the documents. One transaction at a time: two with new neighbouring keys wait for
    /// each other.
    pub fn create(&mut self, collection: &str, state: State, documents: u64) {
        let queue = self.commands(collection, state, documents, Form::Replacement);
        let sending = send(&self.bare, &mut self.sessions[0], &queue);
        self.bare.runtime.block_on(sending);
    }

    /// The commands that update all documents.
    fn commands(&mut self, collection: &str, state: State, documents: u64, form: Form) -> Queue {
        let batch = state.size.batch;
        let mut queue = VecDeque::new();
        for from in (0..documents).step_by(batch as usize) {
            let to = (from + batch).min(documents);
            self.number += 1;
            let bytes = state.update(collection, from..to, form);
            queue.push_back(Update { bytes, number: self.number, operations: to - from });
        }
        RefCell::new(queue)
    }

    /// Prepares the updates of all documents, calls `start`, then sends them. Returns what `start`
    /// returned, and the time that the updates took.
    pub fn run<T>(
        &mut self,
        collection: &str,
        state: State,
        documents: u64,
        form: Form,
        start: impl FnOnce() -> T,
    ) -> (T, Duration) {
        let queue = self.commands(collection, state, documents, form);
        let started = start();
        let since = Instant::now();
        let sends = self.sessions.iter_mut().map(|session| send(&self.bare, session, &queue));
        self.bare.runtime.block_on(all(sends.map(Box::pin).collect()));
        (started, since.elapsed())
    }
}

/// Sends commands of the queue, each as a transaction, until it is empty.
async fn send(bare: &Bare, session: &mut ClientSession, queue: &Queue) {
    let complete = |mut bytes: Vec<u8>, position| {
        bare.options.complete(&mut bytes, position, bare.options.within);
        RawDocumentBuf::from_bytes(bytes).expect("BSON")
    };
    let next = || queue.borrow_mut().pop_front();
    while let Some(Update { bytes, number, operations }) = next() {
        let update = complete(bytes, TxnPosition::Start(number));
        applied(&run(bare, DATABASE, update, session).await, operations);
        let commit = complete(command::commit(), TxnPosition::Commit(number));
        let reply = run(bare, "admin", commit, session).await;
        assert!(!reply.contains_key("writeConcernError"), "{reply}");
    }
}

async fn run(
    bare: &Bare,
    database: &str,
    command: RawDocumentBuf,
    session: &mut ClientSession,
) -> Document {
    let database = bare.client.database(database);
    database.run_raw_command(command).session(session).await.expect("reply")
}
