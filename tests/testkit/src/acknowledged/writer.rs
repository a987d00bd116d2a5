//! One client, which writes its own keys and records every reply.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::model::{History, State};
use crate::redis_server::raw::RawClient;

/// Keys of each kind that a client has.
const KEYS: usize = 6;

/// How long a client waits before it connects again.
const PAUSE: Duration = Duration::from_millis(5);

const SCRIPT: &str =
    "redis.call('set', KEYS[1], ARGV[1]) return redis.call('set', KEYS[2], ARGV[2])";

/// What the clients share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The clients end.
    pub stop: AtomicBool,
    /// Where the server is.
    pub port: AtomicU16,
    /// Writes that were answered with OK.
    pub acknowledged: AtomicU64,
    /// Writes that were answered with an error, or not at all.
    pub unanswered: AtomicU64,
}

/// A client and its keys: strings, `s:<number>:<n>`, and hashes, `h:<number>:<n>`.
pub struct Writer {
    number: usize,
    rng: Rng,
    last: u64,
    strings: Vec<History>,
    hashes: Vec<History>,
    /// Replies that no server may give.
    pub faults: Vec<String>,
}

impl Writer {
    /// A client that has written nothing.
    pub fn new(number: usize, seed: u64) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(number as u64));
        let (strings, hashes) = (vec![History::default(); KEYS], vec![History::default(); KEYS]);
        Writer { number, rng, last: 0, strings, hashes, faults: Vec::new() }
    }

    /// Writes until it is to stop; connects again when the connection is lost, if it `returns`.
    pub fn run(&mut self, shared: &Shared, returns: bool) {
        let is_over = || shared.stop.load(Ordering::Relaxed);
        while !is_over() {
            let port = shared.port.load(Ordering::Relaxed);
            if let Ok(mut client) = RawClient::connect(port) {
                while !is_over() && self.write(&mut client, shared).is_ok() {}
            }
            if !returns {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The next command. An error if the connection is lost.
    fn write(&mut self, client: &mut RawClient, shared: &Shared) -> std::io::Result<()> {
        let at = self.rng.usize(..KEYS);
        let other = (at + 1 + self.rng.usize(..KEYS - 1)) % KEYS;
        let key = |kind: char, at: usize| format!("{kind}:{}:{at}", self.number);
        let (string, second, hash) = (key('s', at), key('s', other), key('h', at));
        let (one, two) = (self.last + 1, self.last + 2);
        self.last += 2;
        let (text, other_text) = (one.to_string(), two.to_string());
        let (words, kind, writes): (Vec<&str>, char, Vec<(usize, State)>) = match self.rng.u8(..10)
        {
            0 => (vec!["DEL", &string], 's', vec![(at, None)]),
            1 => (vec!["DEL", &hash], 'h', vec![(at, None)]),
            2 | 3 => (
                vec!["MSET", &string, &text, &second, &other_text],
                's',
                vec![(at, Some(one)), (other, Some(two))],
            ),
            4 => (
                vec!["EVAL", SCRIPT, "2", &string, &second, &text, &other_text],
                's',
                vec![(at, Some(one)), (other, Some(two))],
            ),
            5..8 => (vec!["HSET", &hash, "n", &text], 'h', vec![(at, Some(one))]),
            _ => (vec!["SET", &string, &text], 's', vec![(at, Some(one))]),
        };
        let histories = if kind == 's' { &mut self.strings } else { &mut self.hashes };
        writes.iter().for_each(|(at, state)| histories[*at].sent(*state));
        client.send(&words)?;
        let reply = client.read().inspect_err(|_| {
            shared.unanswered.fetch_add(1, Ordering::Relaxed);
        })?;
        match (words[0], reply.as_slice()) {
            ("DEL", b":0\r\n") => histories[at].unchanged(),
            ("DEL", b":1\r\n") | ("HSET", b":0\r\n" | b":1\r\n") | (_, b"+OK\r\n") => {
                writes.iter().for_each(|(at, _)| histories[*at].acknowledged());
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            (_, reply) => {
                let reply = String::from_utf8_lossy(reply);
                let is_known = ["-WB", "-UNBLOCKED ", "-READONLY ", "-LOADING ", "-MASTERDOWN "]
                    .iter()
                    .any(|code| reply.starts_with(code));
                if !is_known {
                    self.faults.push(format!("{words:?}: {reply}"));
                }
                shared.unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// What is wrong with the states that MongoDB has: `state` returns that of a key.
    pub fn check(&self, state: impl Fn(&str) -> State) -> Vec<String> {
        let kinds = [('s', &self.strings), ('h', &self.hashes)];
        let of = |(kind, histories): (char, &Vec<History>)| -> Vec<String> {
            let faults = histories.iter().enumerate().filter_map(|(at, history)| {
                let key = format!("{kind}:{}:{at}", self.number);
                history.fault(state(&key)).map(|fault| format!("{key}: {fault}"))
            });
            faults.collect()
        };
        kinds.into_iter().flat_map(of).collect()
    }
}
