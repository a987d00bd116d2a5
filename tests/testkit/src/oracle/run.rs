//! The servers and the steps of a run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::check::{self, Keys};
use super::chooser::{Chooser, Chosen};
use super::coverage;
use super::model::Key;
use super::observe::Seen;
use super::place::{self, DATABASES, PLACES};
use super::send::{Done, Sender, Way};
use super::templates::{TEMPLATES, name};
use crate::mongod::{Mongod, TestDatabase};
use crate::redis_server::{Redis, Setup, command};

/// The maximum number of commands between two comparisons.
const UNCHECKED: u64 = 400;

/// How many times a command succeeded, and failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub done: u64,
    pub refused: u64,
}

/// A server whose keys are changed by random commands.
pub struct Run {
    pub seed: u64,
    pub redis: Redis,
    pub database: TestDatabase,
    pub sender: Sender,
    pub chooser: Chooser,
    /// The templates of the commands that the server has.
    pub templates: Vec<&'static str>,
    pub counts: BTreeMap<String, Count>,
    pub commands: u64,
    pub checks: u64,
    keys: Keys,
    lost: i64,
    /// Valkey 8.1 leaves a client in the database that MOVE and COPY wrote to.
    misplaces_clients: bool,
    /// Valkey 9.1 reports COPY … DB inside MULTI in the wrong database.
    misreports: bool,
}

impl Run {
    /// Starts the server (`program`, or the default one) and registers all places.
    pub fn new(mongod: &Mongod, seed: u64, program: Option<&Path>) -> Self {
        // How many times per second the server expires hash fields in the background.
        let setup = Setup::new(&mongod.uri()).json().config("hz 100");
        let setup = program.iter().fold(setup, |setup, program| setup.program(program));
        let redis = setup.start();
        let database = mongod.database();
        for place in PLACES {
            let Some(collection) = place.collection else { continue };
            let namespace = database.namespace(collection);
            let mut words = vec!["WB.REGISTER", place.prefix, &namespace];
            words.extend(place.options.split(' '));
            let mut connection = redis.connect_db(place.db);
            command(&words).exec(&mut connection).expect("WB.REGISTER");
        }
        let mut sender = Sender::new(redis.connect());
        let existing = coverage::write_commands(&mut sender.connection);
        let templates = TEMPLATES.iter().copied().filter(|line| existing.contains(&name(line)));
        let templates: Vec<&str> = templates.collect();
        let info: String = redis.run(&["INFO", "server"]);
        Run {
            seed,
            redis,
            database,
            sender,
            chooser: Chooser::new(seed),
            templates,
            counts: BTreeMap::new(),
            commands: 0,
            checks: 0,
            keys: Keys::new(),
            lost: 0,
            misplaces_clients: info.contains("valkey_version:8.1"),
            misreports: info.contains("valkey_version:9.1"),
        }
    }

    /// Runs about that many commands and compares. The error describes the differences.
    pub fn some(&mut self, commands: u64) -> Result<(), String> {
        let end = self.commands + commands.min(self.chooser.rng.u64(1..=UNCHECKED));
        while self.commands < end {
            match self.chooser.rng.u32(..1_000) {
                0 | 1 => self.flush(),
                2 => self.swap()?,
                3..20 => self.dump(),
                20..40 => self.blocked(),
                _ => self.step(),
            }
        }
        self.check()
    }

    /// Sends random commands, in a random way.
    fn step(&mut self) {
        let timed = self.chooser.only.is_none() && self.chooser.rng.u8(..100) < 30;
        let db = match self.chooser.rng.u8(..100) {
            _ if timed => 0,
            0..10 => 1,
            10..14 => 2,
            _ => 0,
        };
        let way = match self.chooser.rng.u8(..100) {
            0..15 => Way::Pipeline,
            15..30 => Way::Multi,
            30..40 => Way::Script,
            40..50 => Way::Function,
            _ => Way::Alone,
        };
        let most = if way == Way::Alone { 1 } else { self.chooser.rng.usize(1..6) };
        let mut commands = Vec::new();
        while commands.len() < most {
            let template = self.chooser.pick(&self.templates);
            let hits_server_bug = match template.contains("{db}") {
                true if self.misplaces_clients => way != Way::Alone,
                true if self.misreports => way == Way::Multi && template.starts_with("COPY"),
                _ => false,
            };
            if !hits_server_bug {
                commands.push(self.chooser.fill(template, db, timed));
            }
        }
        self.send(way, db, &commands);
    }

    /// Sends the commands and applies the observations to the model.
    pub fn send(&mut self, way: Way, db: i64, commands: &[Chosen]) -> Vec<Done> {
        let all = self.sender.send(way, db, commands);
        assert_eq!(all.len(), commands.len());
        for (chosen, done) in commands.iter().zip(&all) {
            self.apply(way, chosen, done);
        }
        all
    }

    fn apply(&mut self, way: Way, chosen: &Chosen, done: &Done) {
        self.commands += 1;
        let count = self.counts.entry(chosen.name.clone()).or_default();
        match done.error {
            None => count.done += 1,
            Some(_) => count.refused += 1,
        }
        for ((address, before), after) in chosen.keys.iter().zip(&done.before).zip(&done.after) {
            let Some(place) = place::of(address.0, &address.1).filter(|it| it.collection.is_some())
            else {
                continue;
            };
            let key = self.keys.entry(address.clone()).or_insert_with(Key::new);
            key.note(&log_line(self.commands, way, chosen, done));
            // During a script the server's clock does not advance.
            let is_script = matches!(way, Way::Script | Way::Function);
            let ends = before.expire_ms >= 0 || before.kind == "hash" || chosen.short;
            key.before(place, before.clone());
            key.after(place, after.clone(), chosen.past, place.timed && ends && !is_script);
        }
    }

    /// A blocked client got an element of its first key; `seen` are its keys afterwards.
    pub fn unblocked(&mut self, way: Way, waiting: &Chosen, seen: Vec<Seen>) {
        self.count(&waiting.name);
        for (at, (address, after)) in waiting.keys.iter().zip(seen).enumerate() {
            let Some(place) = place::of(address.0, &address.1).filter(|it| it.collection.is_some())
            else {
                continue;
            };
            let key = self.keys.entry(address.clone()).or_insert_with(Key::new);
            let done = Done { error: None, before: Vec::new(), after: Vec::new() };
            key.note(&log_line(self.commands, way, waiting, &done));
            if at == 0 && !after.exists() {
                key.emptied(place);
            }
            key.after(place, after, false, false);
        }
    }

    /// FLUSHALL or FLUSHDB.
    fn flush(&mut self) {
        let db = self.chooser.rng.i64(0..DATABASES);
        let all = self.chooser.rng.u8(..3) == 0;
        let line = if all { "FLUSHALL" } else { "FLUSHDB" };
        let mode = self.chooser.pick(&["SYNC", "ASYNC"]);
        self.redis.cmd(&["SELECT", &db.to_string()]);
        self.redis.cmd(&[line, mode]);
        self.redis.cmd(&["SELECT", "0"]);
        self.count(line);
        for (address, key) in &mut self.keys {
            if all || address.0 == db {
                key.note(&format!("{}: {line} {mode}", self.commands));
                key.flushed(place::of(address.0, &address.1).expect("a place"));
            }
        }
    }

    /// SWAPDB: MongoDB keeps its documents. Then SWAPDB back, because the keys of the other
    /// database are not written until they change.
    fn swap(&mut self) -> Result<(), String> {
        check::wait_until_stable(&mut self.sender, &mut self.keys)?;
        let other = self.chooser.rng.i64(1..DATABASES).to_string();
        self.redis.cmd(&["SWAPDB", "0", &other]);
        self.count("SWAPDB");
        for (address, key) in &mut self.keys {
            key.note(&format!("{}: SWAPDB 0 {other}", self.commands));
            key.swapped(place::of(address.0, &address.1).expect("a place"), self.misreports);
        }
        let result = if self.chooser.rng.bool() { self.compare() } else { Ok(()) };
        self.redis.cmd(&["SWAPDB", "0", &other]);
        result
    }

    fn count(&mut self, line: &str) {
        self.commands += 1;
        self.counts.entry(line.to_lowercase()).or_default().done += 1;
    }

    /// Stores the DUMP payload of a key for RESTORE. Not from timed places, where hash fields may
    /// have short times to live, which are part of the payload.
    fn dump(&mut self) {
        let keys: Vec<_> = self.keys.keys().filter(|(_, key)| key[0] != b't').cloned().collect();
        if keys.is_empty() {
            return;
        }
        let (db, key) = &keys[self.chooser.rng.usize(..keys.len())];
        if *db != 0 || place::of(*db, key).is_some_and(|place| place.timed) {
            return;
        }
        let dump: Option<Vec<u8>> =
            redis::cmd("DUMP").arg(key).query(&mut self.redis.connection()).expect("DUMP");
        self.chooser.dumps.extend(dump);
        if self.chooser.dumps.len() > 40 {
            let at = self.chooser.rng.usize(..40);
            self.chooser.dumps.swap_remove(at);
        }
    }

    /// Compares MongoDB with the model.
    pub fn check(&mut self) -> Result<(), String> {
        check::wait_until_stable(&mut self.sender, &mut self.keys)?;
        self.compare()
    }

    fn compare(&mut self) -> Result<(), String> {
        self.checks += 1;
        let differences = check::check(&self.redis, &self.database, &mut self.keys, &mut self.lost);
        let Some(first) = differences.first() else { return Ok(()) };
        Err(format!(
            "seed {}: {} differences after {} commands, the first: {first}",
            self.seed,
            differences.len(),
            self.commands
        ))
    }

    /// Commands that never succeeded.
    pub fn never_done(&self) -> Vec<String> {
        let names = self.templates.iter().map(|template| name(template));
        let mut never: Vec<String> = names
            .filter(|name| self.counts.get(name).is_none_or(|count| count.done == 0))
            .collect();
        never.dedup();
        never
    }
}

/// A command as a log line.
fn log_line(number: u64, way: Way, chosen: &Chosen, done: &Done) -> String {
    let mut line = format!("{number}: {way:?}");
    for word in &chosen.words {
        let _ = write!(line, " {}", word.escape_ascii());
    }
    if let Some(error) = &done.error {
        let _ = write!(line, " -> {error}");
    }
    line.chars().take(200).collect()
}
