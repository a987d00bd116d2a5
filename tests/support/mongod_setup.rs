//! What a mongod is started with.

use std::path::Path;
use std::process::Command;

use mongodb::Client;
use mongodb::options::ClientOptions;

use super::certificates::Certificates;
use super::fetched;
use super::mongod::{Mongod, block_on};
use super::process::Process;

/// What a mongod is started with; `start` starts it.
#[derive(Clone, Default)]
pub struct MongodSetup {
    replica_set: bool,
    arguments: Vec<String>,
    credentials: String,
    options: String,
}

impl MongodSetup {
    /// A replica set of one node.
    pub fn replica_set() -> Self {
        Self { replica_set: true, ..Self::default() }.arguments(&[
            "--replSet",
            "rs",
            "--oplogSize",
            "64",
        ])
    }

    /// A server without an oplog.
    pub fn standalone() -> Self {
        Self::default()
    }

    /// More words of its command line.
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// It takes `configureFailPoint`.
    pub fn failpoints(self) -> Self {
        self.arguments(&["--setParameter", "enableTestCommands=1"])
    }

    /// It speaks TLS only, and takes clients with and without a certificate.
    pub fn tls(self, certificates: &Certificates) -> Self {
        let (server, ca) = (certificates.server(), certificates.ca());
        let mut setup = self.arguments(&[
            "--tlsMode",
            "requireTLS",
            "--tlsAllowConnectionsWithoutCertificates",
            "--tlsCertificateKeyFile",
            &server,
            "--tlsCAFile",
            &ca,
        ]);
        setup.options += &format!("&tls=true&tlsCAFile={ca}");
        setup
    }

    pub(super) fn credentials(self, credentials: &str) -> Self {
        Self { credentials: credentials.to_owned(), ..self }
    }

    pub(super) fn is_replica_set(&self) -> bool {
        self.replica_set
    }

    /// Starts the server and waits until it takes writes.
    pub fn start(self) -> Mongod {
        let mongod = Mongod::launch(self);
        if mongod.is_replica_set() {
            mongod.initiate(mongod.port());
        }
        mongod
    }

    /// A member of a set that somebody else initiates.
    pub fn start_member(self) -> Mongod {
        Mongod::launch(self)
    }

    pub(super) fn process(&self, dir: &Path, port: u16) -> Process {
        let mut command = Command::new(fetched("mongod"));
        command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--dbpath", "."]);
        command.args(["--wiredTigerCacheSizeGB", "0.25"]).args(&self.arguments);
        Process::start(&mut command, dir)
    }

    /// The test's own connection.
    pub(super) fn client(&self, port: u16) -> Client {
        let Self { credentials, options, .. } = self;
        block_on(async {
            let uri = format!(
                "mongodb://{credentials}127.0.0.1:{port}/?directConnection=true\
                 &serverSelectionTimeoutMS=1000&heartbeatFrequencyMS=500{options}"
            );
            let options = ClientOptions::parse(uri).await.expect("options");
            Client::with_options(options).expect("client")
        })
    }
}
