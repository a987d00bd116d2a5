//! MongoDB as a [`Sink`].

use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, doc};
use tokio::time::timeout;

use super::client::{Connected, connect};
use super::command::{self, Built};
use super::index::Indexes;
use super::outcome::{self, Outcome};
use super::writing::write_out;
use crate::core::batch::{Batch, Written};
use crate::sink::{Connector, Failure, Sink};

/// Longest wait for a ping; finding a server takes 3 s by default.
const PING_WITHIN: Duration = Duration::from_secs(8);

/// Makes MongoDB sinks.
#[derive(Clone, Copy, Debug, Default)]
pub struct MongoConnector;

impl Connector for MongoConnector {
    type Sink = MongoSink;

    async fn connect(&self, uri: &str, max_in_flight: u32) -> Result<MongoSink, String> {
        let connected = connect(uri, max_in_flight).await?;
        Ok(MongoSink { connected, indexes: Indexes::default() })
    }
}

/// One MongoDB deployment.
#[derive(Debug)]
pub struct MongoSink {
    connected: Connected,
    indexes: Indexes,
}

impl Sink for MongoSink {
    type Commands = Built;

    fn build(&self, batch: &Batch) -> Built {
        command::build(batch, &self.connected.command_options)
    }

    async fn write(&self, batch: &Batch, built: Built) -> Result<Written, Failure> {
        if !built.commands.is_empty() {
            self.indexes.ensure(&self.connected, &batch.registration).await?;
        }
        let send = async |bytes| self.send(batch, bytes).await;
        write_out(batch, built, &self.connected.command_options, send).await
    }

    async fn ping(&self) -> Result<(), String> {
        let admin = self.connected.client.database("admin");
        // Without a read preference a raw command looks for a server that takes writes.
        match timeout(PING_WITHIN, admin.run_command(doc! { "ping": 1 })).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(outcome::link_sentence(&error)),
            Err(_) => Err(format!("MongoDB does not answer within {} s", PING_WITHIN.as_secs())),
        }
    }

    async fn close(&self) {
        self.connected.client.clone().shutdown().immediate(true).await;
    }
}

impl MongoSink {
    /// Sends one command for `batch` and says what its end means.
    async fn send(&self, batch: &Batch, bytes: Vec<u8>) -> Outcome {
        let Ok(command) = RawDocumentBuf::from_bytes(bytes) else {
            let reason = "the document is not valid BSON".to_owned();
            return Outcome::Unreadable { code: 0, reason };
        };
        let Connected { client, command_within, .. } = &self.connected;
        let database = client.database(&batch.registration.namespace.database);
        match timeout(*command_within, database.run_raw_command(command)).await {
            Ok(end) => outcome::classify(end.as_ref(), &batch.registration),
            Err(_) => Outcome::Failed(Failure::Link(format!(
                "MongoDB does not answer within {} s",
                command_within.as_secs()
            ))),
        }
    }
}
