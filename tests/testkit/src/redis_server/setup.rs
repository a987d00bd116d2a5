//! The options that a redis-server is started with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::redis_server::other_module::caller;
use crate::redis_server::seccomp::confine;
use crate::{fetched, module_path};

/// `WB_REDIS_SERVER`, the `redis-server` on the PATH, or the one in `.servers/`.
pub(super) fn server_program() -> PathBuf {
    if let Some(program) = std::env::var_os("WB_REDIS_SERVER") {
        // The server runs in another working directory.
        return std::path::absolute(program).expect("WB_REDIS_SERVER");
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("redis-server"))
        .find(|program| program.exists())
        .unwrap_or_else(|| fetched("redis-server"))
}

/// The options that a server is started with.
#[derive(Clone, Default)]
pub struct Setup {
    config: Vec<String>,
    modules: Vec<String>,
    settings: String,
    environment: Vec<(String, OsString)>,
    program: Option<PathBuf>,
    hardened: bool,
}

impl Setup {
    /// A server with the module and that `mongodb-uri`.
    pub fn new(mongodb_uri: &str) -> Self {
        Self::default().setting("mongodb-uri", mongodb_uri)
    }

    /// A server without the module.
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
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Uses this server program instead of the default.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(std::path::absolute(program).expect("path of the server"));
        self
    }

    /// Runs under the system call filter of Debian's service.
    pub fn hardened(mut self) -> Self {
        self.hardened = true;
        // So that the server need not raise its limit of open files; the unit does that.
        self.config("maxclients 100")
    }

    /// An AOF with `appendfsync always`: each write is on disk before its reply is sent.
    pub fn durable(self) -> Self {
        self.config("appendonly yes").config("appendfsync always")
    }

    /// Loads the JSON module, before the module under test.
    pub fn json(self) -> Self {
        let line = format!("loadmodule {}", fetched("rejson.so").display());
        Self { modules: vec![line], ..self }
    }

    /// Loads the JSON module, after the module under test.
    pub fn json_after(self) -> Self {
        let ours = self.our_module();
        let line = format!("loadmodule {}", fetched("rejson.so").display());
        Self { modules: vec![ours, line], settings: String::new(), ..self }
    }

    /// Loads a module that runs commands for others, after the module under test.
    pub fn caller(self) -> Self {
        let line = format!("loadmodule {}", caller().display());
        self.config(&line)
    }

    fn our_module(&self) -> String {
        format!("loadmodule {}{}", module_path().display(), self.settings)
    }

    pub(super) fn config_file(&self, port: u16) -> String {
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            "save \"\"".to_owned(),
            "appendonly no".to_owned(),
            "enable-debug-command local".to_owned(),
            "enable-module-command local".to_owned(),
        ];
        lines.extend(self.modules.iter().cloned());
        let is_ours = |line: &str| line.contains(&module_path().display().to_string());
        if !self.modules.iter().any(|line| line.is_empty() || is_ours(line)) {
            lines.push(self.our_module());
        }
        lines.extend(self.config.iter().cloned());
        lines.join("\n") + "\n"
    }

    pub(super) fn process(&self, dir: &Path, arguments: &[&str]) -> Process {
        let mut command = Command::new(self.program.clone().unwrap_or_else(server_program));
        command.arg("redis.conf").args(arguments).envs(self.environment.iter().cloned());
        if self.hardened {
            confine(&mut command);
        }
        Process::start(&mut command, dir)
    }
}
