//! A client that blocks on a key until another client fills it. The blocked client's pop is
//! executed after the command, the transaction or the script that filled the key.

use redis::{Connection, Value};

use super::chooser::{Address, Chosen};
use super::run::Run;
use super::send::Way;
use super::templates::name;
use crate::redis_server::{Redis, command};
use crate::wait::{SOON, wait_until};

/// Blocking commands, with the type of the key. `{k}` is that key, `{d}` the destination.
const WAITING: [(&str, &str); 8] = [
    ("l", "BLPOP {k} 0"),
    ("l", "BRPOP {d} {k} 0"),
    ("l", "BLMPOP 0 1 {k} RIGHT COUNT 2"),
    ("l", "BLMOVE {k} {d} LEFT RIGHT 0"),
    ("l", "BRPOPLPUSH {k} {d} 0"),
    ("z", "BZPOPMIN {k} 0"),
    ("z", "BZPOPMAX {k} {d} 0"),
    ("z", "BZMPOP 0 1 {k} MIN COUNT 3"),
];
/// Commands that fill the key; `o:` is not registered.
const FILLING: [(&str, &[&str]); 6] = [
    ("l", &["RPUSH {k} one"]),
    ("l", &["LPUSH {k} one two three", "LSET {k} 0 four"]),
    ("l", &["DEL o:l9", "RPUSH o:l9 b c a", "RENAME o:l9 {k}"]),
    ("l", &["DEL o:l9", "RPUSH o:l9 b c a", "SORT o:l9 ALPHA STORE {k}"]),
    ("z", &["ZADD {k} 1 a"]),
    ("z", &["ZADD {k} 1 a 2 b 3 c 4 d", "ZINCRBY {k} 5 a"]),
];
const WAYS: [Way; 5] = [Way::Alone, Way::Pipeline, Way::Multi, Way::Script, Way::Function];

impl Run {
    /// One client blocks on a key, another fills it, in a random way.
    pub fn blocked(&mut self) {
        let db = self.chooser.rng.i64(0..2);
        let kind = self.chooser.pick(&["l", "z"]);
        let key = self.chooser.key(kind, db, false);
        let other = self.chooser.key(kind, db, false);
        if key == other {
            return;
        }
        let keys = [(db, key), (db, other)];
        let line = |lines: &[(&str, &'static str)], rng: &mut fastrand::Rng| {
            let fits: Vec<_> = lines.iter().filter(|(of, _)| *of == kind).collect();
            fits[rng.usize(..fits.len())].1
        };
        let waiting = chosen(line(&WAITING, &mut self.chooser.rng), &keys);
        // Both, because BRPOP waits for both.
        self.send(Way::Alone, db, &[chosen("DEL {k} {d}", &keys)]);
        let mut waiter = self.redis.connect_db(db);
        send(&mut waiter, &waiting);
        wait_until("the client waits", SOON, || blocked_clients(&self.redis) == "1");
        let fits: Vec<_> = FILLING.iter().filter(|(of, _)| *of == kind).collect();
        let lines = fits[self.chooser.rng.usize(..fits.len())].1;
        let filling: Vec<Chosen> = lines.iter().map(|line| chosen(line, &keys)).collect();
        let way = WAYS[self.chooser.rng.usize(..WAYS.len())];
        for done in self.send(way, db, &filling) {
            assert_eq!(done.error, None, "{filling:?}");
        }
        match waiter.recv_response() {
            Ok(Value::Nil) | Err(_) => panic!("{waiting:?} ended without an element"),
            Ok(_) => {}
        }
        let seen = self.sender.look(&keys);
        self.unblocked(way, &waiting, seen);
    }
}

fn chosen(line: &str, keys: &[Address; 2]) -> Chosen {
    let word = |word: &str| match word {
        "{k}" => keys[0].1.clone(),
        "{d}" => keys[1].1.clone(),
        other => other.into(),
    };
    let words = line.split(' ').map(word).collect();
    Chosen { name: name(line), words, keys: keys.to_vec(), short: false, past: false }
}

fn send(connection: &mut Connection, waiting: &Chosen) {
    let packed = command(&waiting.words).get_packed_command();
    connection.send_packed_command(&packed).expect("the server is running");
}

fn blocked_clients(redis: &Redis) -> String {
    redis.info("clients", "blocked_clients").unwrap_or_default()
}
