//! Fills templates with random arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use super::place::{DATABASES, PLACES, Place};
use super::templates::name;
use crate::mongod::dollar_name;

/// A time to live longer than any run.
const LONG_MS: i64 = 100_000_000;
/// The longest of the short times to live; rarely one second.
const SHORT_MS: i64 = 25;

/// A logical database and a key.
pub type Address = (i64, Vec<u8>);

/// A command with random arguments.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The name in COMMAND's reply.
    pub name: String,
    pub words: Vec<Vec<u8>>,
    /// The keys that it may modify or read.
    pub keys: Vec<Address>,
    /// It sets a time to live that will elapse soon (`short`) or has elapsed already (`past`).
    pub short: bool,
    pub past: bool,
}

/// Chooses commands and their arguments.
pub struct Chooser {
    pub rng: Rng,
    /// Payloads of DUMP.
    pub dumps: Vec<Vec<u8>>,
    /// If set, all registered keys have this prefix, and none has a short time to live.
    pub only: Option<&'static str>,
}

impl Chooser {
    pub fn new(seed: u64) -> Self {
        Chooser { rng: Rng::with_seed(seed), dumps: Vec::new(), only: None }
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.rng.usize(..from.len())]
    }

    /// The template's command for a client in `db`, with keys of places that are `timed` or not.
    pub fn fill(&mut self, template: &str, db: i64, timed: bool) -> Chosen {
        let mut chosen = Chosen {
            name: name(template),
            words: Vec::new(),
            keys: Vec::new(),
            short: false,
            past: false,
        };
        let other = (db + self.rng.i64(1..DATABASES)) % DATABASES;
        for word in template.split(' ') {
            let Some((before, rest)) = word.split_once('{') else {
                chosen.words.push(word.into());
                continue;
            };
            let (slot, after) = rest.split_once('}').expect("a template");
            let mut bytes = before.as_bytes().to_vec();
            if slot.len() == 1 && "sphlezgqjvk".contains(slot) {
                let key = self.key(slot, db, timed);
                chosen.keys.push((db, key.clone()));
                bytes.extend(key);
            } else if slot == "db" {
                bytes.extend(other.to_string().into_bytes());
                let there: Vec<Address> =
                    chosen.keys.iter().map(|(_, key)| (other, key.clone())).collect();
                chosen.keys.extend(there);
            } else if ["sec", "ms", "at", "atms"].contains(&slot) {
                bytes.extend(self.time(slot, timed, &mut chosen).into_bytes());
            } else {
                bytes.extend(self.value(slot));
            }
            bytes.extend(after.as_bytes());
            chosen.words.push(bytes);
        }
        chosen.keys.sort();
        chosen.keys.dedup();
        chosen
    }

    /// A key, mostly of the slot's type: a letter in its suffix names the type.
    pub fn key(&mut self, slot: &str, db: i64, timed: bool) -> Vec<u8> {
        let letter = match slot {
            "k" => self.pick(&["s", "p", "h", "l", "e", "z", "g", "q", "j"]),
            // So that commands of other types meet vector sets, if the server has them.
            _ if self.rng.u8(..100) < 4 => self.pick(&["s", "h", "l", "e", "z", "q", "j", "v"]),
            _ => slot,
        };
        let kind = match letter {
            "s" | "p" => "string",
            "h" => "hash",
            "l" => "list",
            "e" => "set",
            "z" | "g" => "zset",
            "q" => "stream",
            "j" => "ReJSON-RL",
            _ => "vectorset",
        };
        let is_here = |place: &&Place| {
            let wanted = self.only.is_none_or(|only| place.prefix == only);
            wanted && place.timed == timed && place.db == db
        };
        let here: Vec<&Place> = PLACES.iter().filter(is_here).collect();
        let own: Vec<&Place> = here.iter().copied().filter(|place| place.kind == kind).collect();
        let place = match (own.is_empty(), here.is_empty()) {
            (false, _) if self.rng.u8(..100) < 25 => self.pick(&own),
            // No place is timed in this database.
            (_, true) => return format!("o:{letter}{}", self.rng.u8(1..4)).into_bytes(),
            _ => self.pick(&here),
        };
        format!("{}{letter}{}", place.prefix, self.rng.u8(1..4)).into_bytes()
    }

    fn time(&mut self, slot: &str, timed: bool, chosen: &mut Chosen) -> String {
        let mut from_now_ms = LONG_MS + self.rng.i64(0..1_000_000);
        if timed {
            match self.rng.u8(..100) {
                0..70 => from_now_ms = self.rng.i64(1..SHORT_MS),
                70..72 => from_now_ms = 1000,
                72..84 => from_now_ms = -self.rng.i64(1..2_000),
                _ => {}
            }
        }
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_millis() as i64;
        let value = match slot {
            "sec" => from_now_ms / 1000,
            "ms" => from_now_ms,
            "at" => (now_ms + from_now_ms) / 1000,
            _ => now_ms + from_now_ms,
        };
        chosen.short |= from_now_ms < LONG_MS;
        // A timestamp in seconds, or 0 seconds, has elapsed already; one in milliseconds may have.
        chosen.past |= from_now_ms <= 0 || (from_now_ms < LONG_MS && slot != "ms");
        value.to_string()
    }

    fn value(&mut self, slot: &str) -> Vec<u8> {
        let text = match slot {
            "val" => return self.text(),
            "int" => self.rng.i32(-50..50).to_string(),
            "flt" => format!("{}", f64::from(self.rng.i32(-40..40)) / 8.0),
            "bit" => self.rng.u8(..2).to_string(),
            "off" => self.rng.u8(..60).to_string(),
            "f" => self
                .pick(&["a", "b", "c", "value", "_id", "kid", "exp", "x.y", "$z", "", "é", "d"])
                .replace('$', &dollar_name("")),
            "f2" => self.pick(&["g", "i"]).to_owned(),
            "m" => return self.member(),
            "n" => self.rng.u8(1..5).to_string(),
            "idx" => self.rng.i8(-3..5).to_string(),
            "side" => self.pick(&["LEFT", "RIGHT"]).to_owned(),
            "score" => match self.rng.u8(..12) {
                0 => "+inf".to_owned(),
                1 => "-inf".to_owned(),
                2 => "-0.0".to_owned(),
                3 => "1e300".to_owned(),
                _ => (f64::from(self.rng.i32(-80..80)) / 10.0).to_string(),
            },
            "score2" => self.rng.u8(1..9).to_string(),
            "lon" => (f64::from(self.rng.i32(-1000..1000)) / 100.0).to_string(),
            "lat" => (f64::from(self.rng.i32(3000..5000)) / 100.0).to_string(),
            "id" => format!("{}-{}", self.rng.u8(1..30), self.rng.u8(1..3)),
            "cond" => self.pick(&["NX", "XX", "GT", "LT"]).to_owned(),
            // No `$..a`: RedisJSON 2.8 crashes when it sets both a value and one nested in it.
            "path" => self
                .pick(&["$.a", "$.b", "$.c", "$.o", "$.o.a", "$.t", "$.c[0]", "$.new"])
                .to_owned(),
            "json" => self.json(0),
            "dump" => {
                let at = self.rng.usize(..self.dumps.len().max(1));
                return self.dumps.get(at).cloned().unwrap_or_default();
            }
            _ => panic!("no slot {slot}"),
        };
        text.into_bytes()
    }

    fn text(&mut self) -> Vec<u8> {
        match self.rng.u8(..10) {
            0 => vec![0xff, 0, self.rng.u8(..)],
            1 => Vec::new(),
            2 => "naïve \u{1f600}".into(),
            // Long enough for another encoding in the server, and another read path in the module.
            3 => vec![b'x'; self.rng.usize(30..400)],
            4 => self.rng.i64(..).to_string().into_bytes(),
            5 => self.json(0).into_bytes(),
            _ => format!("v{}", self.rng.u16(..)).into_bytes(),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        match self.rng.u8(..20) {
            0 => vec![0xfe, self.rng.u8(..3)],
            1 => Vec::new(),
            2..6 => self.rng.u8(..12).to_string().into_bytes(),
            _ => vec![b'a' + self.rng.u8(..8)],
        }
    }

    fn json(&mut self, level: u8) -> String {
        match self.rng.u8(..if level == 0 { 16 } else { 9 }) {
            0 => "null".to_owned(),
            1 => self.pick(&["true", "false"]).to_owned(),
            2 => self.rng.i32(-99..99).to_string(),
            3 => self.pick(&["1.5", "3.0", "-0.1", "1e20", "9007199254740993"]).to_owned(),
            4 => self.pick(&["\"\"", "\"text\"", "\"\\u00e9\\n\\u0000\""]).to_owned(),
            5 if level > 2 => "[]".to_owned(),
            5 => format!("[{},{}]", self.json(level + 1), self.json(level + 1)),
            6 | 7 if level > 2 => "{}".to_owned(),
            6 | 7 => format!("{{\"a\":{},\"{}\":1}}", self.json(level + 1), dollar_name("d")),
            8 => "{}".to_owned(),
            _ => format!(
                "{{\"a\":{},\"b\":\"s\",\"c\":[1,{}],\"o\":{},\"t\":true,\"_id\":1,\"x.y\":2}}",
                self.json(level + 1),
                self.json(level + 1),
                self.json(level + 1)
            ),
        }
    }
}
