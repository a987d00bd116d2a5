//! A client that sends each command to both servers, and compares the replies.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use fastrand::Rng;
use redis::{Connection, RedisResult, Value};

use super::commands::{self, KEYS, KINDS};
use super::stage::{Ports, Shared, connect};
use crate::redis_server::command;

/// Commands that are reported with a difference.
const LAST: usize = 12;

pub struct Client<'a> {
    number: u64,
    rng: Rng,
    serial: u64,
    ports: Ports,
    cached: Connection,
    plain: Connection,
    shared: &'a Shared,
    last: VecDeque<String>,
}

impl<'a> Client<'a> {
    pub fn new(number: u64, seed: u64, ports: Ports, shared: &'a Shared) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number));
        let (cached, plain) = (connect(ports.cached, number), connect(ports.plain, number));
        Self { number, rng, serial: 0, ports, cached, plain, shared, last: VecDeque::new() }
    }

    /// Random commands until the end, or until a reply is wrong.
    pub fn run(&mut self) -> Result<(), String> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.serial += 1;
            let words = commands::random(&mut self.rng, self.number, self.serial);
            self.compare(&words)?;
        }
        Ok(())
    }

    /// All keys, when nothing disturbs any more.
    pub fn compare_all(&mut self) -> Result<(), String> {
        for (prefix, _) in KINDS {
            for number in 0..KEYS {
                let key = commands::key(prefix, self.number, number);
                self.compare(&commands::whole(prefix, &key))?;
            }
        }
        Ok(())
    }

    fn compare(&mut self, words: &[String]) -> Result<(), String> {
        let Some(reply) = self.ask(words) else {
            self.begin_anew(words);
            return Ok(());
        };
        let expected = command(words).query::<Value>(&mut self.plain);
        let name = words[0].as_str();
        let (got, expected) = (commands::text(name, &reply), commands::text(name, &expected));
        self.remember(format!("{} -> {got}", words.join(" ")));
        if got != expected {
            let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
            let number = self.number;
            return Err(format!("client {number}: {expected} expected\n  {}", last.join("\n  ")));
        }
        self.shared.equal.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The reply of the server with the module; `None` if it has closed the connection.
    fn ask(&mut self, words: &[String]) -> Option<RedisResult<Value>> {
        loop {
            let reply = command(words).query::<Value>(&mut self.cached);
            match &reply {
                Err(error) if error.code() == Some("OOM") => {
                    // It has done nothing.
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.is_io_error() || error.is_connection_dropped() => {
                    return None;
                }
                _ => return Some(reply),
            }
        }
    }

    /// The connection was closed while a command was under way, which the server may have run: its keys are removed.
    fn begin_anew(&mut self, words: &[String]) {
        self.shared.killed.fetch_add(1, Ordering::Relaxed);
        let is_key = |word: &&String| KINDS.iter().any(|(prefix, _)| word.starts_with(prefix));
        let keys: Vec<String> = words.iter().filter(is_key).cloned().collect();
        let words = [vec!["DEL".to_owned()], keys].concat();
        loop {
            self.cached = connect(self.ports.cached, self.number);
            if let Some(reply) = self.ask(&words) {
                self.remember(format!("after a disconnection: {} -> {reply:?}", words.join(" ")));
                break;
            }
        }
        command(&words).exec(&mut self.plain).expect("DEL");
    }

    fn remember(&mut self, line: String) {
        self.last.push_back(line);
        if self.last.len() > LAST {
            self.last.pop_front();
        }
    }
}
