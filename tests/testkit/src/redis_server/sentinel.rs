//! Sentinels, which watch a master and promote a replica.

use std::process::Command;

use redis::Value;
use tempfile::TempDir;

use super::server::{Redis, command};
use super::setup::server_program;
use crate::process::{Process, free_port};
use crate::wait::{SOON, became, wait_until};

/// The name of the master that is watched.
const NAME: &str = "shop";

/// Sentinels of one master. Dropping them ends them.
pub struct Sentinels(Vec<Sentinel>);

struct Sentinel {
    // Declared before the folder: the process ends before the folder is removed.
    _process: Process,
    _dir: TempDir,
    port: u16,
}

impl Sentinels {
    /// So many sentinels of this master, which promote a replica when most of them have not reached it
    /// for `down_after_ms`.
    pub fn of(master: &Redis, count: usize, down_after_ms: u64) -> Self {
        let quorum = count / 2 + 1;
        let sentinels = (0..count).map(|_| Sentinel::start(master, quorum, down_after_ms));
        let sentinels = Sentinels(sentinels.collect());
        wait_until("the sentinels know each other and the replica", SOON, || {
            sentinels
                .0
                .iter()
                .all(|one| one.lists("SENTINELS") == count - 1 && one.lists("REPLICAS") > 0)
        });
        sentinels
    }

    /// The port of the master, as most sentinels see it.
    pub fn master(&self) -> Option<u16> {
        let ports: Vec<u16> = self.0.iter().filter_map(Sentinel::master).collect();
        let most =
            |port: &&u16| ports.iter().filter(|other| other == port).count() * 2 > self.0.len();
        ports.iter().find(most).copied()
    }
}

impl Sentinel {
    fn start(master: &Redis, quorum: usize, down_after_ms: u64) -> Self {
        loop {
            let (dir, port) = (tempfile::tempdir().expect("folder"), free_port());
            let lines = [
                format!("port {port}"),
                "bind 127.0.0.1".to_owned(),
                format!("sentinel monitor {NAME} 127.0.0.1 {} {quorum}", master.port()),
                format!("sentinel down-after-milliseconds {NAME} {down_after_ms}"),
                format!("sentinel failover-timeout {NAME} 10000"),
            ];
            std::fs::write(dir.path().join("sentinel.conf"), lines.join("\n")).expect("config");
            let mut program = Command::new(server_program());
            program.args(["sentinel.conf", "--sentinel"]);
            let process = Process::start(&mut program, dir.path());
            let sentinel = Sentinel { _process: process, _dir: dir, port };
            // Another process may have taken the port.
            if became(SOON, || sentinel.ask(&["PING"]).is_some()) {
                return sentinel;
            }
        }
    }

    fn ask(&self, words: &[&str]) -> Option<Value> {
        let client = redis::Client::open(("127.0.0.1", self.port)).ok()?;
        command(words).query(&mut client.get_connection().ok()?).ok()
    }

    fn lists(&self, what: &str) -> usize {
        match self.ask(&["SENTINEL", what, NAME]) {
            Some(Value::Array(items)) => items.len(),
            _ => 0,
        }
    }

    fn master(&self) -> Option<u16> {
        let reply = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let (_, port): (String, u16) = redis::from_redis_value(reply).ok()?;
        Some(port)
    }
}
