//! What the module is held against: a bare loop of upserts with the same driver and the same
//! documents, by the same thread model, without anything around it.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf};
use mongodb::options::ClientOptions;
use tokio::runtime::{Builder, Runtime};
use writebehind::internals::command::{self, Command, CommandOptions, Kind, Place};
use writebehind::internals::{Acknowledged, Lookup, WriteConcern};

use crate::documents;

/// A client of MongoDB with a thread of its own, as the module has.
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
            // Between two loops nobody drives the runtime, and the monitors must not give up.
            options.connect_timeout = Some(Duration::from_secs(3600));
            Client::with_options(options)
        });
        let client = client.expect("client");
        let w = Acknowledged::Majority;
        let write_concern = WriteConcern { w, journal: false, timeout_ms: None };
        let options = CommandOptions { write_concern, within: Duration::from_secs(60) };
        Bare { runtime, client, options }
    }

    /// Upserts the users of these numbers, `batch` in a command, on so many connections at a time;
    /// the time it took.
    pub fn upsert(
        &self,
        namespace: &str,
        numbers: Range<u64>,
        turn: u64,
        shape: Shape,
    ) -> Duration {
        let Shape { batch, connections } = shape;
        let each = (numbers.end - numbers.start).div_ceil(connections);
        let lanes = (0..connections).map(|lane| {
            let from = numbers.start + lane * each;
            self.lane(namespace, from..(from + each).min(numbers.end), turn, batch)
        });
        let start = Instant::now();
        self.runtime.block_on(all(lanes.map(Box::pin).collect()));
        start.elapsed()
    }

    async fn lane(&self, namespace: &str, numbers: Range<u64>, turn: u64, batch: u64) {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = (from + batch).min(numbers.end);
            let command = users(namespace, from..to, turn);
            self.send(namespace, command.bytes, to - from).await;
            from = to;
        }
    }

    /// Sends one command of so many operations, which must all be applied.
    pub async fn send(&self, namespace: &str, mut bytes: Vec<u8>, operations: u64) {
        self.options.complete(&mut bytes, Place::Alone, self.options.within);
        let database = self.client.database(namespace.split('.').next().expect("a database"));
        let command = RawDocumentBuf::from_bytes(bytes).expect("BSON");
        let reply = database.run_raw_command(command).await.expect("reply");
        applied(&reply, operations);
    }
}

/// Runs futures side by side until the last of them has ended.
pub async fn all<F: Future<Output = ()>>(mut futures: Vec<Pin<Box<F>>>) {
    poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// How a loop sends its documents.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: u64,
    pub connections: u64,
}

/// The command that upserts the users of these numbers.
pub fn users(namespace: &str, numbers: Range<u64>, turn: u64) -> Command {
    let batch = documents::batch(&documents::registration(namespace), numbers, turn);
    command::build(&batch, Kind::Update, &Lookup::default()).commands.pop().expect("a command")
}

/// Panics unless all operations were applied and confirmed.
pub fn applied(reply: &Document, operations: u64) {
    let errors = reply.contains_key("writeErrors") || reply.contains_key("writeConcernError");
    assert!(!errors, "{reply}");
    assert_eq!(reply.get_i32("n").ok(), i32::try_from(operations).ok(), "{reply}");
}
