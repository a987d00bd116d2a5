//! Commands and their effects on the model: single commands, pipelines and transactions.

use fastrand::Rng;
use mongodb::bson::{Bson, Document, doc};
use redis::Cmd;

use super::model::{Key, Kind, State};
use crate::redis_server::command;

/// The number of fields of a hash.
const FIELDS: u32 = 4;
/// Times to live, in milliseconds. On Redis 7.0 a value that expires in the iteration of the event loop
/// in which it was written is lost (docs/DURABILITY.md); on a busy machine one takes some milliseconds.
const SHORTEST_TTL_MS: u32 = 30;
pub const LONGEST_TTL_MS: u32 = 150;

/// One command, and the states of its keys afterwards, unless it fails or replies 0.
pub struct Part {
    pub command: Cmd,
    pub effects: Vec<(usize, State)>,
}

impl Part {
    fn new(words: &[&str], effects: Vec<(usize, State)>) -> Self {
        Part { command: command(words), effects }
    }
}

/// Commands that are sent together, in a transaction if `atomic`.
#[derive(Default)]
pub struct Operation {
    pub parts: Vec<Part>,
    pub atomic: bool,
}

/// Chooses operations. Every value contains a unique tag.
pub struct Chooser {
    pub rng: Rng,
    pub writer: usize,
    pub count: u64,
}

impl Chooser {
    /// The next operation, mostly a single command. Its keys are distinct.
    pub fn next(&mut self, keys: &[Key]) -> Operation {
        let first = self.rng.usize(..keys.len());
        if self.rng.u32(..12) == 0 {
            return self.rename(keys, first);
        }
        let (count, atomic) = match self.rng.u32(..10) {
            0 => (self.rng.usize(2..6), true),
            1 => (self.rng.usize(2..20), false),
            _ => (1, false),
        };
        let mut operation = Operation { parts: Vec::new(), atomic };
        for step in 0..count.min(keys.len()) {
            let at = (first + step * 7) % keys.len();
            if !operation.parts.iter().any(|part| part.effects.iter().any(|(key, _)| *key == at)) {
                self.write(&keys[at], at, &mut operation);
            }
        }
        operation
    }

    fn write(&mut self, key: &Key, at: usize, operation: &mut Operation) {
        self.count += 1;
        let tag = format!("{}.{}", self.writer, self.count);
        if self.rng.u32(..9) == 0 {
            let part = Part::new(&["DEL", &key.name], vec![(at, State::REMOVED)]);
            return operation.parts.push(part);
        }
        match key.rules().kind {
            Kind::String => self.string(key, at, &tag, operation),
            Kind::Hash => self.hash(key, at, &tag, operation),
            Kind::Json => self.json(key, at, &tag, operation),
        }
    }

    fn string(&mut self, key: &Key, at: usize, tag: &str, operation: &mut Operation) {
        let value = format!("{tag}{}", " padding".repeat(self.rng.usize(..8)));
        let state = State::of(doc! { "value": &value });
        let ttl = self.ttl();
        let expires = self.rng.u32(..6) < if key.rules().prefix == "s:" { 1 } else { 3 };
        let known = key.known().filter(|state| state.fields.is_some());
        operation.parts.push(match known {
            Some(known) if expires && self.rng.bool() => {
                let state = known.clone().expiring(true);
                Part::new(&["PEXPIRE", &key.name, &ttl], vec![(at, state)])
            }
            _ if expires => {
                let words = ["SET", &key.name, &value, "PX", &ttl];
                Part::new(&words, vec![(at, state.expiring(true))])
            }
            _ => Part::new(&["SET", &key.name, &value], vec![(at, state)]),
        });
    }

    fn hash(&mut self, key: &Key, at: usize, tag: &str, operation: &mut Operation) {
        let field = format!("f{}", self.rng.u32(..FIELDS));
        let known = key.known().and_then(|state| state.fields.clone());
        match (known, self.rng.u32(..8)) {
            (Some(mut fields), 0) => {
                let part = if fields.remove(&field).is_some() {
                    let left = if fields.is_empty() { State::REMOVED } else { State::of(fields) };
                    Part::new(&["HDEL", &key.name, &field], vec![(at, left)])
                } else {
                    Part::new(&["HDEL", &key.name, &field], Vec::new())
                };
                operation.parts.push(part);
            }
            (Some(fields), 1) => {
                let state = State::of(fields).expiring(true);
                let part = Part::new(&["PEXPIRE", &key.name, &self.ttl()], vec![(at, state)]);
                operation.parts.push(part);
            }
            (Some(mut fields), 2..) => {
                fields.insert(&field, tag);
                let words = ["HSET", &key.name, &field, tag];
                operation.parts.push(Part::new(&words, vec![(at, State::of(fields))]));
            }
            // Replaces the hash whatever its state. No crash may separate the two commands.
            (None, _) => {
                let fields = doc! { &field: tag, "all": tag };
                operation.atomic = true;
                operation.parts.push(Part::new(&["DEL", &key.name], Vec::new()));
                let words = ["HSET", &key.name, &field, tag, "all", tag];
                operation.parts.push(Part::new(&words, vec![(at, State::of(fields))]));
            }
        }
    }

    fn json(&mut self, key: &Key, at: usize, tag: &str, operation: &mut Operation) {
        let known = key.known().and_then(|state| state.fields.clone());
        let count = i64::try_from(self.count).expect("a count");
        let part = match (known, self.rng.u32(..8)) {
            (Some(_), 0) => Part::new(&["JSON.DEL", &key.name], vec![(at, State::REMOVED)]),
            (Some(mut fields), 1..5) => {
                fields.insert("n", count);
                let words = ["JSON.SET", &key.name, "$.n", &count.to_string()];
                Part::new(&words, vec![(at, State::of(fields))])
            }
            _ => {
                let inner = doc! { "half": 0.5, "list": [Bson::Int64(1), Bson::Null] };
                let fields: Document = doc! { "tag": tag, "n": count, "inner": inner };
                let json = format!(
                    r#"{{"tag":"{tag}","n":{count},"inner":{{"half":0.5,"list":[1,null]}}}}"#
                );
                Part::new(&["JSON.SET", &key.name, "$", &json], vec![(at, State::of(fields))])
            }
        };
        operation.parts.push(part);
    }

    /// Renames the key to another of the same prefix, which is overwritten.
    fn rename(&mut self, keys: &[Key], from: usize) -> Operation {
        let alike: Vec<usize> = (0..keys.len())
            .filter(|to| *to != from && keys[*to].prefix == keys[from].prefix)
            .collect();
        let to = alike[self.rng.usize(..alike.len())];
        let [state] = keys[from].candidates() else {
            return Operation::default();
        };
        let effects = vec![(to, state.clone()), (from, State::REMOVED)];
        let part = Part::new(&["RENAME", &keys[from].name, &keys[to].name], effects);
        Operation { parts: vec![part], atomic: false }
    }

    fn ttl(&mut self) -> String {
        self.rng.u32(SHORTEST_TTL_MS..LONGEST_TTL_MS).to_string()
    }
}
