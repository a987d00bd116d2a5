//! mongod: a replica set of one member that all tests of a process share, or a private one.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use tempfile::TempDir;

use crate::mongod::block_on::block_on;
use crate::mongod::collection::Collection;
use crate::mongod::setup::MongodSetup;
use crate::process::{Process, Signal, free_port};
use crate::wait::{SOON, became, wait_until};

impl MongodSetup {
    /// Starts the server and waits until it accepts writes.
    pub fn start(self) -> Mongod {
        let mongod = Mongod::launch(self);
        if mongod.is_replica_set() {
            mongod.initiate(mongod.port());
        }
        mongod
    }

    /// A member of a set that the caller initiates.
    pub fn start_member(self) -> Mongod {
        Mongod::launch(self)
    }
}

/// A running mongod. Dropping it kills it.
pub struct Mongod {
    // Declared before the folder: the process ends before the folder is removed.
    process: Process,
    dir: TempDir,
    port: u16,
    setup: MongodSetup,
    client: Client,
}

impl Mongod {
    /// The mongod that all tests of this process share; no test may stop it.
    pub fn shared() -> &'static Self {
        // Never dropped: its lifeline ends it with this process. Not a LazyLock: if it does not
        // start, every test must report the reason.
        static SHARED: OnceLock<Mongod> = OnceLock::new();
        SHARED.get_or_init(Self::replica_set)
    }

    /// A replica set of one member, for a test that stops it or reads its counters.
    pub fn replica_set() -> Self {
        MongodSetup::replica_set().start()
    }

    /// A server without an oplog, and so without transactions.
    pub fn standalone() -> Self {
        MongodSetup::standalone().start()
    }

    /// Starts it and waits until it answers.
    fn launch(setup: MongodSetup) -> Self {
        loop {
            let (dir, port) = (tempfile::tempdir().expect("folder"), free_port());
            let mut process = setup.process(dir.path(), port);
            let client = setup.client(port);
            if became(SOON, || process.ended().is_some() || answers(&client))
                && process.ended().is_none()
            {
                return Self { process, dir, port, setup, client };
            }
            let log = process.log();
            assert!(log.contains("Address already in use"), "mongod did not start:\n{log}");
        }
    }

    /// Initiates a replica set of one member, with that port in its configuration.
    pub(super) fn initiate(&self, port: u16) {
        let member = format!("127.0.0.1:{port}");
        let config = doc! { "_id": "rs", "members": [{ "_id": 0, "host": member }] };
        self.admin(doc! { "replSetInitiate": config });
        self.wait_until_writable();
    }

    fn wait_until_writable(&self) {
        wait_until("mongod is primary", SOON, || {
            self.try_admin(doc! { "hello": 1 })
                .is_ok_and(|reply| reply.get_bool("isWritablePrimary").unwrap_or(false))
        });
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn is_replica_set(&self) -> bool {
        self.setup.is_replica_set()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The connection string for the module.
    pub fn uri(&self) -> String {
        let set = if self.setup.is_replica_set() { "/?replicaSet=rs" } else { "" };
        format!("mongodb://127.0.0.1:{}{set}", self.port)
    }

    /// From now on the test's own connections use these credentials, `user:password@`.
    pub fn log_in(&mut self, credentials: &str) {
        self.setup = self.setup.clone().credentials(credentials);
        self.client = self.setup.client(self.port);
    }

    /// A database that no other test uses.
    pub fn database(&self) -> TestDatabase {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.named_database(&format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn named_database(&self, name: &str) -> TestDatabase {
        TestDatabase::new(self.client.database(name))
    }

    /// Drops every database but the server's own.
    pub(super) fn drop_databases(&self) {
        block_on(async {
            for name in self.client.list_database_names().await.expect("names") {
                if !["admin", "config", "local"].contains(&name.as_str()) {
                    self.client.database(&name).drop().await.expect("drop");
                }
            }
        });
    }

    #[track_caller]
    pub fn admin(&self, command: Document) -> Document {
        self.try_admin(command).expect("admin command")
    }

    pub fn try_admin(&self, command: Document) -> mongodb::error::Result<Document> {
        block_on(async { self.client.database("admin").run_command(command).await })
    }

    /// Update, insert and delete operations since mongod started (`opcounters`).
    pub fn writes(&self) -> i64 {
        let status = self.admin(doc! { "serverStatus": 1 });
        let counters = status.get_document("opcounters").expect("opcounters");
        let count =
            |name| counters.get_i64(name).or_else(|_| counters.get_i32(name).map(i64::from));
        ["update", "insert", "delete"].map(|name| count(name).expect("counter")).iter().sum()
    }

    /// Shuts mongod down cleanly (SIGTERM).
    pub fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait_for_end(SOON);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it after `stop` or `kill`, with the same data and port.
    pub fn restart(&mut self) {
        self.process = self.setup.process(self.dir.path(), self.port);
        self.client = self.setup.client(self.port);
        wait_until("mongod answers again", SOON, || answers(&self.client));
        if self.setup.is_replica_set() {
            self.wait_until_writable();
        }
    }

    /// Suspends the process (SIGSTOP).
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Resumes the process (SIGCONT).
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Leaves mongod running after this process, and its folder in place.
    pub fn release(self) -> PathBuf {
        self.process.release();
        self.dir.keep()
    }
}

/// The URI of a port without a listener.
pub fn unreachable_uri() -> String {
    format!("mongodb://127.0.0.1:{}", free_port())
}

fn answers(client: &Client) -> bool {
    block_on(async { client.database("admin").run_command(doc! { "ping": 1 }).await }).is_ok()
}

/// A database of one test.
pub struct TestDatabase {
    database: Database,
}

impl TestDatabase {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub fn name(&self) -> &str {
        self.database.name()
    }

    pub(super) fn inner(&self) -> &Database {
        &self.database
    }

    pub fn collection(&self, name: &str) -> Collection {
        Collection::new(self.database.collection(name))
    }

    /// `database.collection`, as WB.REGISTER takes it.
    pub fn namespace(&self, collection: &str) -> String {
        format!("{}.{collection}", self.database.name())
    }

    pub fn drop(&self) {
        block_on(async { self.database.drop().await }).expect("drop");
    }

    #[track_caller]
    pub fn run(&self, command: Document) -> Document {
        block_on(async { self.database.run_command(command).await }).expect("database command")
    }
}
