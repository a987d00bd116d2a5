//! The baseline for the module: a bare loop of upserts of the same documents, with the same driver
//! and the same thread model.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf};
use mongodb::options::ClientOptions;
use tokio::runtime::{Builder, Runtime};
use writebehind::internals::command::{self, Command, CommandOptions, Kind, TxnPosition};
use writebehind::internals::{AcknowledgedBy, Forms, Lookup, WriteConcern};

use crate::documents;

/// A MongoDB client with its own single-threaded runtime, like the module's.
pub struct Bare {
    pub runtime: Runtime,
    pub client: Client,
    pub options: CommandOptions,
}

impl Bare {
    pub fn new(uri: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        let client = runtime.block_on(async {
            let mut options = ClientOptions::parse(uri).await?;
            // Between two loops the runtime is not driven, and the monitors must not time out.
            options.connect_timeout = Some(Duration::from_secs(3600));
            Client::with_options(options)
        });
        let client = client.expect("client");
        let w = AcknowledgedBy::Majority;
        let write_concern = WriteConcern { w, journal: false, timeout_ms: None };
        let options = CommandOptions { write_concern, within: Duration::from_secs(60) };
        Bare { runtime, client, options }
    }

    /// Upserts the users with these numbers, `batch` per command, on `connections` connections.
    /// Returns the time that it took.
    pub fn upsert(
        &self,
        namespace: &str,
        numbers: Range<u64>,
        turn: u64,
        shape: Shape,
    ) -> Duration {
        let Shape { batch, connections } = shape;
        let each = (numbers.end - numbers.start).div_ceil(connections);
        let loops = (0..connections).map(|connection| {
            let from = numbers.start + connection * each;
            self.upsert_in_turn(namespace, from..(from + each).min(numbers.end), turn, batch)
        });
        let start = Instant::now();
        self.runtime.block_on(all(loops.map(Box::pin).collect()));
        start.elapsed()
    }

    async fn upsert_in_turn(&self, namespace: &str, numbers: Range<u64>, turn: u64, batch: u64) {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = (from + batch).min(numbers.end);
            let command = users(namespace, from..to, turn);
            self.send(namespace, command.bytes, to - from).await;
            from = to;
        }
    }

    /// Sends one command of `operations` operations, which must all be applied.
    pub async fn send(&self, namespace: &str, mut bytes: Vec<u8>, operations: u64) {
        self.options.complete(&mut bytes, TxnPosition::NoSession, self.options.within);
        let database = self.client.database(namespace.split('.').next().expect("a database"));
        let command = RawDocumentBuf::from_bytes(bytes).expect("BSON");
        let reply = database.run_raw_command(command).await.expect("reply");
        applied(&reply, operations);
    }
}

/// Runs futures concurrently until all have ended.
pub async fn all<F: Future<Output = ()>>(mut futures: Vec<Pin<Box<F>>>) {
    poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The batch size and the number of connections of a loop.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: u64,
    pub connections: u64,
}

/// The command that upserts the users with these numbers.
pub fn users(namespace: &str, numbers: Range<u64>, turn: u64) -> Command {
    let batch = documents::batch(&documents::registration(namespace), numbers, turn);
    command::build(&batch, Kind::Update, &Lookup::default(), Forms::Plain)
        .commands
        .pop()
        .expect("a command")
}

/// Panics unless all operations were applied and acknowledged.
pub fn applied(reply: &Document, operations: u64) {
    let errors = reply.contains_key("writeErrors") || reply.contains_key("writeConcernError");
    assert!(!errors, "{reply}");
    assert_eq!(reply.get_i32("n").ok(), i32::try_from(operations).ok(), "{reply}");
}
