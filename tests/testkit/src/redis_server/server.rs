//! redis-server with the module, with its own port and folder.

use std::cell::{RefCell, RefMut};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use redis::{Connection, FromRedisValue, RedisResult, ToRedisArgs, Value};
use tempfile::TempDir;

use crate::process::{Process, Signal, free_port};
use crate::redis_server::reply::{Fields, Flushed};
use crate::redis_server::setup::Setup;
use crate::wait::{SOON, became, wait_until};

/// A reply that takes longer is a failure, not merely slow.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

impl Setup {
    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn start(&self) -> Redis {
        self.try_start().unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// The server, or the log if it ended during startup.
    pub fn try_start(&self) -> Result<Redis, String> {
        loop {
            let (dir, port) = (tempfile::tempdir().expect("folder"), free_port());
            std::fs::write(dir.path().join("redis.conf"), self.config_file(port)).expect("config");
            match Redis::launch(self.clone(), dir, port) {
                Err(log) if log.contains("Address already in use") => {}
                result => return result,
            }
        }
    }
}

/// A running server. Dropping it kills it.
pub struct Redis {
    // Declared before the folder: the process ends before the folder is removed.
    process: Process,
    setup: Setup,
    dir: TempDir,
    port: u16,
    connection: RefCell<Option<Connection>>,
}

impl Redis {
    /// A server with the module in its default settings and that `mongodb-uri`.
    #[track_caller]
    pub fn start(mongodb_uri: &str) -> Self {
        Setup::new(mongodb_uri).start()
    }

    fn launch(setup: Setup, dir: TempDir, port: u16) -> Result<Self, String> {
        let process = setup.process(dir.path(), &[]);
        let mut redis = Self { process, setup, dir, port, connection: RefCell::default() };
        redis.wait_until_it_answers()?;
        Ok(redis)
    }

    /// Waits until the server has loaded its data and replies; returns its log if it ended.
    pub fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let answers = became(SOON, || {
            self.process.ended().is_some()
                || self.try_connect("").is_ok_and(|mut connection| {
                    redis::cmd("PING").query::<String>(&mut connection).is_ok()
                })
        });
        match self.process.ended() {
            None if answers => Ok(()),
            _ => Err(self.log()),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A RESP2 connection.
    pub fn connect(&self) -> Connection {
        self.try_connect("").expect("connection")
    }

    /// A RESP3 connection.
    pub fn connect_resp3(&self) -> Connection {
        self.try_connect("?protocol=resp3").expect("connection")
    }

    /// The methods below use a new connection from now on: the server has closed theirs.
    pub fn reconnect(&self) {
        self.connection.take();
    }

    /// A connection to one of the logical databases.
    pub fn connect_db(&self, db: i64) -> Connection {
        self.try_connect(&db.to_string()).expect("connection")
    }

    /// A connection, if the server is running and replies; `path` is that of a Redis URL.
    pub fn try_connect(&self, path: &str) -> RedisResult<Connection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/{path}", self.port))?;
        let connection = client.get_connection_with_timeout(REPLY_LIMIT)?;
        connection.set_read_timeout(Some(REPLY_LIMIT))?;
        Ok(connection)
    }

    /// The connection that the methods below share.
    pub fn connection(&self) -> RefMut<'_, Connection> {
        RefMut::map(self.connection.borrow_mut(), |connection| {
            connection.get_or_insert_with(|| self.connect())
        })
    }

    /// Runs a command; panics on an error reply.
    #[track_caller]
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        match command(words).query(&mut self.connection()) {
            Ok(reply) => reply,
            Err(error) => panic!("{}: {error}", words.join(" ")),
        }
    }

    /// Runs a command and returns its reply unconverted; panics on an error reply.
    #[track_caller]
    pub fn cmd<A: ToRedisArgs>(&self, words: &[A]) -> Value {
        let reply = command(words).query(&mut self.connection());
        reply.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a command that must fail, and returns its error message.
    #[track_caller]
    pub fn error(&self, words: &[&str]) -> String {
        match command(words).query::<Value>(&mut self.connection()) {
            Err(error) => error.to_string(),
            Ok(reply) => panic!("{}: no error but {reply:?}", words.join(" ")),
        }
    }

    /// `WB.STATUS`.
    #[track_caller]
    pub fn status(&self) -> Fields {
        self.run(&["WB.STATUS"])
    }

    /// `WB.STATUS <prefix>`.
    #[track_caller]
    pub fn status_of(&self, prefix: &str) -> Fields {
        self.run(&["WB.STATUS", prefix])
    }

    /// `WB.FLUSH` of everything, which must not end while keys are pending.
    #[track_caller]
    pub fn flush(&self) -> Flushed {
        let flushed = self.flush_with(&[]);
        assert_eq!(flushed.pending, 0, "{flushed:?}; {}", self.waiting());
        flushed
    }

    /// `WB.FLUSH` with arguments.
    #[track_caller]
    pub fn flush_with(&self, arguments: &[&str]) -> Flushed {
        let words = [&["WB.FLUSH"], arguments].concat();
        let reply = command(&words).query(&mut self.connection());
        reply.unwrap_or_else(|error| panic!("{}: {error}; {}", words.join(" "), self.waiting()))
    }

    /// `WB.FLUSH` with arguments, which may be refused.
    pub fn flush_with_error(&self, arguments: &[&str]) -> Option<Flushed> {
        command(&[&["WB.FLUSH"], arguments].concat()).query(&mut self.connection()).ok()
    }

    /// `WB.VERIFY prefix options`, until it has ended; returns `WB.STATUS prefix`.
    #[track_caller]
    pub fn verify(&self, prefix: &str, options: &[&str]) -> Fields {
        assert_eq!(self.run::<String>(&[&["WB.VERIFY", prefix], options].concat()), "OK");
        wait_until("the verification has ended", 3 * SOON, || {
            self.status_of(prefix).int("verify_pending") == 0
        });
        self.status_of(prefix)
    }

    /// What `WB.VERIFY` of a prefix finds wrong. Keys that are still to be written are left out, as are documents
    /// without a key.
    #[track_caller]
    pub fn verify_faults(&self, prefix: &str, options: &[&str]) -> Option<String> {
        let status = self.verify(prefix, options);
        let wrong = ["verify_missing", "verify_different"].map(|name| status.int(name));
        let found = wrong != [0; 2] || !status.text("verify_error").is_empty();
        found.then(|| format!("WB.VERIFY {prefix}: {status:?}"))
    }

    /// What the module and its keys wait for, for the message of a failed test.
    fn waiting(&self) -> String {
        let mut connection = self.connect();
        let mut ask = |words: &[&str]| command(words).query::<Value>(&mut connection);
        let mut text = format!("{:?}", ask(&["WB.STATUS"]));
        let keys = command(&["KEYS", "*"]).query::<Vec<String>>(&mut self.connect());
        for key in keys.unwrap_or_default().iter().take(100) {
            text += &format!("\n{:?}", ask(&["WB.EXPLAIN", key]));
        }
        text
    }

    /// `SHUTDOWN` with arguments; waits for the process to end.
    #[track_caller]
    pub fn shutdown(&mut self, arguments: &[&str]) -> ExitStatus {
        // There is no reply: the connection closes.
        command(&[&["SHUTDOWN"], arguments].concat()).query::<Value>(&mut self.connection()).ok();
        self.wait_for_end()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
        self.connection.take();
    }

    /// Kills the server if it runs, and starts it in the same folder, on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        if let Err(log) = self.try_restart(&[]) {
            panic!("the server did not start again:\n{log}");
        }
    }

    /// The same with more arguments; returns the log if it ended during startup.
    pub fn try_restart(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.begin_restart(arguments);
        self.wait_until_it_answers()
    }

    /// The same without waiting until it replies: it may be loading for a while.
    pub fn begin_restart(&mut self, arguments: &[&str]) {
        self.kill();
        self.process = self.setup.process(self.dir.path(), arguments);
    }

    /// Waits for the process to end after the caller has stopped it in another way.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let status = self.process.wait_for_end(SOON);
        self.connection.take();
        status
    }

    /// The exit status, if the process has ended, for example by a failed assertion.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Tells the process to shut down (SIGTERM).
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Suspends the process (SIGSTOP).
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Resumes the process (SIGCONT).
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// `kill -9`; leaves its folder in place for inspection.
    pub fn keep(mut self) -> PathBuf {
        self.kill();
        self.dir.keep()
    }

    /// Leaves the server running after this process, and its folder in place.
    pub fn release(self) -> PathBuf {
        self.process.release();
        self.dir.keep()
    }
}

/// A command from its words, which may be binary.
pub fn command<A: ToRedisArgs>(words: &[A]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}
