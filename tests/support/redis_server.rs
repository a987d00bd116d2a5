//! redis-server with the module, on a port and in a folder of its own.

use std::cell::{RefCell, RefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use redis::{Connection, FromRedisValue, RedisResult, ToRedisArgs, Value};
use tempfile::TempDir;

use super::process::{Process, Signal, free_port};
use super::reply::{Fields, Flushed};
use super::wait::{SOON, became};
use super::{fetched, module_path};

/// A reply that takes longer is a failure of the server, not a slow one.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// `WB_REDIS_SERVER`, the `redis-server` on the PATH, or the one that setup linked.
fn server_program() -> PathBuf {
    if let Some(program) = std::env::var_os("WB_REDIS_SERVER") {
        // Servers run in folders of their own.
        return std::path::absolute(program).expect("WB_REDIS_SERVER");
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("redis-server"))
        .find(|program| program.exists())
        .unwrap_or_else(|| fetched("redis-server"))
}

/// What a server is started with; `start` starts it.
#[derive(Clone, Default)]
pub struct Setup {
    config: Vec<String>,
    modules: Vec<String>,
    settings: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// The module, pointed at the MongoDB of that URI.
    pub fn new(mongodb_uri: &str) -> Self {
        Self::default().setting("mongodb-uri", mongodb_uri)
    }

    /// The server without our module.
    pub fn without_module() -> Self {
        Self { modules: vec![String::new()], ..Self::default() }
    }

    /// One of the module's settings, as a `loadmodule` argument.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings += &format!(" {name} {value}");
        self
    }

    /// A line of the server's configuration; a later one of the same name wins.
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// A variable of the server's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The JSON module, loaded before ours.
    pub fn json(self) -> Self {
        let line = format!("loadmodule {}", fetched("rejson.so").display());
        Self { modules: vec![line], ..self }
    }

    /// The JSON module, loaded after ours.
    pub fn json_after(self) -> Self {
        let ours = self.our_module();
        let line = format!("loadmodule {}", fetched("rejson.so").display());
        Self { modules: vec![ours, line], settings: String::new(), ..self }
    }

    fn our_module(&self) -> String {
        format!("loadmodule {}{}", module_path().display(), self.settings)
    }

    fn config_file(&self, port: u16) -> String {
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            "save \"\"".to_owned(),
            "appendonly no".to_owned(),
            "enable-debug-command local".to_owned(),
            "enable-module-command local".to_owned(),
        ];
        lines.extend(self.modules.iter().cloned());
        if !self.modules.iter().any(|line| line.is_empty() || line.contains("libwritebehind")) {
            lines.push(self.our_module());
        }
        lines.extend(self.config.iter().cloned());
        lines.join("\n") + "\n"
    }

    fn process(&self, dir: &Path) -> Process {
        let mut command = Command::new(server_program());
        command.arg("redis.conf").envs(self.environment.iter().cloned());
        Process::start(&mut command, dir)
    }

    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn start(&self) -> Redis {
        self.try_start().unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// The server, or the log of one that ended instead of answering.
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
    // Before the folder, so that it has ended when the folder goes.
    process: Process,
    setup: Setup,
    dir: TempDir,
    port: u16,
    connection: RefCell<Option<Connection>>,
}

impl Redis {
    /// The module with its own defaults, pointed at the MongoDB of that URI.
    #[track_caller]
    pub fn start(mongodb_uri: &str) -> Self {
        Setup::new(mongodb_uri).start()
    }

    fn launch(setup: Setup, dir: TempDir, port: u16) -> Result<Self, String> {
        let process = setup.process(dir.path());
        let mut redis = Self { process, setup, dir, port, connection: RefCell::default() };
        redis.wait_until_it_answers()?;
        Ok(redis)
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
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

    /// A connection that speaks RESP2.
    pub fn connect(&self) -> Connection {
        self.try_connect("").expect("connection")
    }

    /// A connection that speaks RESP3.
    pub fn connect_resp3(&self) -> Connection {
        self.try_connect("?protocol=resp3").expect("connection")
    }

    /// A connection to one of the logical databases.
    pub fn connect_db(&self, db: i64) -> Connection {
        self.try_connect(&db.to_string()).expect("connection")
    }

    fn try_connect(&self, path: &str) -> RedisResult<Connection> {
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

    /// Runs a command given as its words; an error reply is a failure.
    #[track_caller]
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        match command(words).query(&mut self.connection()) {
            Ok(reply) => reply,
            Err(error) => panic!("{}: {error}", words.join(" ")),
        }
    }

    /// Runs a command whose reply does not matter.
    #[track_caller]
    pub fn cmd<A: ToRedisArgs>(&self, words: &[A]) -> Value {
        let reply = command(words).query(&mut self.connection());
        reply.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The text of the error that the command must answer with.
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

    /// `WB.FLUSH` of everything.
    #[track_caller]
    pub fn flush(&self) -> Flushed {
        self.flush_with(&[])
    }

    /// `WB.FLUSH` with arguments.
    #[track_caller]
    pub fn flush_with(&self, arguments: &[&str]) -> Flushed {
        self.run(&[&["WB.FLUSH"], arguments].concat())
    }

    /// `SHUTDOWN` with its arguments, and the end of the process.
    #[track_caller]
    pub fn shutdown(&mut self, arguments: &[&str]) -> ExitStatus {
        // There is no reply: the connection breaks.
        command(&[&["SHUTDOWN"], arguments].concat()).query::<Value>(&mut self.connection()).ok();
        let status = self.process.wait_for_end(SOON);
        self.connection.take();
        status
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
        self.connection.take();
    }

    /// Starts the server again in the same folder, on the same port.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.kill();
        self.process = self.setup.process(self.dir.path());
        if let Err(log) = self.wait_until_it_answers() {
            panic!("the server did not start again:\n{log}");
        }
    }

    /// Stops the process in its tracks (SIGSTOP).
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Leaves the server running after this process; its folder stays too.
    pub fn release(self) -> PathBuf {
        self.process.release();
        self.dir.keep()
    }
}

/// A command from its words, binary ones too.
pub fn command<A: ToRedisArgs>(words: &[A]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}
