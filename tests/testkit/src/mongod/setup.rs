//! The options that a mongod is started with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use mongodb::Client;
use mongodb::options::{ClientOptions, WriteConcern};

use crate::fetched;
use crate::mongod::block_on::block_on;
use crate::mongod::certificates::Certificates;
use crate::process::Process;

/// `WB_MONGOD`, or the mongod of `scripts/fetch-servers`.
fn program() -> PathBuf {
    match std::env::var_os("WB_MONGOD") {
        // The server runs in another working directory.
        Some(program) => std::path::absolute(program).expect("WB_MONGOD"),
        None => fetched("mongod"),
    }
}

/// The `4` of MongoDB 4.4.2.
pub fn major_version() -> u32 {
    static MAJOR: LazyLock<u32> = LazyLock::new(|| {
        let output = Command::new(program()).arg("--version").output().expect("mongod --version");
        let text = String::from_utf8(output.stdout).expect("its version");
        let version = text.strip_prefix("db version v").and_then(|rest| rest.split('.').next());
        version.and_then(|major| major.parse().ok()).expect("a version")
    });
    *MAJOR
}

/// A field name that begins with `$`, which MongoDB stores since 5.0; with `%` for older versions.
pub fn dollar_name(rest: &str) -> String {
    format!("{}{rest}", if major_version() < 5 { '%' } else { '$' })
}

/// The options that a mongod is started with.
#[derive(Clone, Default)]
pub struct MongodSetup {
    replica_set: bool,
    arguments: Vec<String>,
    credentials: String,
    options: String,
}

impl MongodSetup {
    /// A replica set of one member.
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

    /// Adds command-line arguments.
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Enables `configureFailPoint`.
    pub fn failpoints(self) -> Self {
        self.arguments(&["--setParameter", "enableTestCommands=1"])
    }

    /// Requires TLS, and accepts clients with and without a certificate.
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

    pub(super) fn process(&self, dir: &Path, port: u16) -> Process {
        let mut command = Command::new(program());
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
            let mut options = ClientOptions::parse(uri).await.expect("options");
            // The module reads what a majority has; before MongoDB 5.0 that is not the default of writes.
            options.write_concern.get_or_insert_with(WriteConcern::majority);
            Client::with_options(options).expect("client")
        })
    }
}
