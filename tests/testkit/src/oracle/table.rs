//! docs/REDIS-COMMANDS.md: the events of each write command, and the writes to MongoDB that follow.
//!
//! Random commands are sent one by one. After each, all keyspace events that the server has
//! published are read, WB.FLUSH writes the captured changes, and the module's counters show what
//! was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use redis::{Connection, PubSub, RedisResult};

use super::chooser::Chosen;
use super::coverage::LEFT_OUT;
use super::run::Run;
use super::send::Way;
use super::templates::{self, STEPS, name};
use crate::redis_server::command;

/// The maximum number of attempts for each template.
const MAX_ATTEMPTS: usize = 800;
/// The number of attempts without a new observation after which a template is done.
const MAX_WITHOUT_CHANGE: usize = 200;
/// The prefix of the keys: any type, with the default options.
const PREFIX: &str = "a:";
/// The channel of a message that marks the end of the events so far.
const MARK: &str = "oracle-mark";

/// Values of all types, with members that random arguments often match.
const FULL: [(char, &str); 12] = [
    ('s', "SET {} 3"),
    ('p', "PFADD {} a b c"),
    ('h', "HSET {} a 1 b 2 c x d 4"),
    ('l', "RPUSH {} a b c d"),
    ('e', "SADD {} a b c d"),
    ('z', "ZADD {} 1 a 2 b 3 c 4 d"),
    ('g', "GEOADD {} 1 40 a 2 41 b -3 42 c"),
    ('q', "XADD {} 2-1 a 1"),
    ('q', "XADD {} 5-1 a 2"),
    ('q', "XGROUP CREATE {} g 0"),
    ('q', "XREADGROUP GROUP g c1 STREAMS {} >"),
    ('j', r#"JSON.SET {} $ {"a":2,"b":"s","c":[1,2,3],"o":{"a":1},"t":true}"#),
];
/// The same with one member, whose removal deletes the key.
const SMALL: [(char, &str); 5] = [
    ('h', "HSET {} a 1"),
    ('l', "RPUSH {} a"),
    ('e', "SADD {} a"),
    ('z', "ZADD {} 1 a"),
    ('g', "GEOADD {} 1 40 a"),
];

/// The observed effects of one command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Events that the server published.
    events: BTreeSet<String>,
    writes: bool,
    deletes: bool,
    /// It succeeded at least once without a write to MongoDB.
    nothing: bool,
}

/// The rows of one server, by command.
pub type Rows = BTreeMap<String, Row>;

/// Runs every template on keys without short times to live. Differences found meanwhile are an
/// error.
pub fn rows(run: &mut Run) -> Result<Rows, String> {
    run.redis.cmd(&["CONFIG", "SET", "notify-keyspace-events", "AEKtdn"]);
    let mut listener = run.redis.connect();
    let mut events = listener.as_pubsub();
    events.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    events.psubscribe("__keyevent@*").expect("PSUBSCRIBE");
    events.subscribe(MARK).expect("SUBSCRIBE");
    let mut publisher = run.redis.connect();
    run.chooser.only = Some(PREFIX);
    for _ in 0..5 {
        run.some(300)?;
    }
    drain(&mut events, &mut publisher);
    let mut rows = Rows::new();
    for template in run.templates.clone() {
        let row = rows.entry(name(template)).or_default();
        let mut last_new = 0;
        for tried in 0..MAX_ATTEMPTS {
            if tried - last_new >= MAX_WITHOUT_CHANGE
                && (row.writes || row.deletes || tried > MAX_ATTEMPTS / 2)
            {
                break;
            }
            let chosen = run.chooser.fill(template, 0, false);
            if let Some(values) = [None, Some(&FULL[..]), Some(&SMALL), Some(&[])][tried % 4] {
                prepare(run, &chosen, values);
                run.redis.flush();
                drain(&mut events, &mut publisher);
            }
            let before = counters(run);
            let done = run.send(Way::Alone, 0, &[chosen]).remove(0);
            let seen = drain(&mut events, &mut publisher);
            let flushed = run.redis.flush();
            assert_eq!(flushed.pending, 0, "{flushed:?}");
            let after = counters(run);
            if done.error.is_none() {
                let known = row.clone();
                row.events.extend(seen);
                row.writes |= after.0 > before.0;
                row.deletes |= after.1 > before.1;
                row.nothing |= after == before;
                if *row != known {
                    last_new = tried;
                }
            }
            if tried % 50 == 49 {
                run.some(60)?;
                drain(&mut events, &mut publisher);
            }
        }
    }
    run.check()?;
    Ok(rows)
}

/// Sets each of the command's keys to one of the values, or deletes it.
fn prepare(run: &mut Run, chosen: &Chosen, values: &[(char, &str)]) {
    let mut commands = Vec::new();
    for address in &chosen.keys {
        let name = String::from_utf8_lossy(&address.1).into_owned();
        let Some(letter) = name.strip_prefix(PREFIX).and_then(|rest| rest.chars().next()) else {
            continue;
        };
        let kind = values.iter().filter(|(of, _)| *of == letter).map(|(_, line)| *line);
        for line in std::iter::once("DEL {}").chain(kind) {
            let words = line.split(' ').map(|word| word.replace("{}", &name).into_bytes());
            let (words, keys) = (words.collect(), vec![address.clone()]);
            commands.push(Chosen { name: templates::name(line), words, keys, ..chosen.clone() });
        }
    }
    run.send(Way::Pipeline, 0, &commands);
}

fn counters(run: &Run) -> (i64, i64) {
    let status = run.redis.status();
    (status.int("written_total"), status.int("deleted_total"))
}

/// The names of all events so far, without those that are no change of a key.
fn drain(events: &mut PubSub<'_>, publisher: &mut Connection) -> BTreeSet<String> {
    let published: RedisResult<i64> = command(&["PUBLISH", MARK, ""]).query(publisher);
    assert_eq!(published, Ok(1));
    let mut names = BTreeSet::new();
    loop {
        let message = events.get_message().expect("an event");
        let channel = message.get_channel_name();
        match channel.split_once("__:") {
            Some((_, "new" | "keymiss" | "expired")) => {}
            Some((_, name)) => {
                names.insert(name.to_owned());
            }
            None => return names,
        }
    }
}

/// The document, from the rows of Redis and of Valkey.
pub fn document(servers: &[(String, Rows)]) -> String {
    let mut out = String::from(
        "# Write commands\n\nWhat each write command reports, and what is written to MongoDB \
         then. Made by `make commands` from\nrandom commands on ",
    );
    let names: Vec<&str> = servers.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(
        out,
        "{} with RedisJSON, one by one, under one registration with the default options.",
        names.join(" and ")
    );
    out.push_str(
        "\nAn event is taken for \"this key was touched\" and no more: what is written follows from what \
         the key is\nwhen it is read. *upsert*: the key is there. *delete*: it is not. *nothing*: \
         no write followed. Events\nof keys under no prefix are in the list too.\n\nExpiry (`expired`, and `hexpired` of fields) and eviction (`evicted`) are no commands: \
         see `ONEXPIRE` and\n`ONEVICT`. `FLUSHALL`, `FLUSHDB` and `SWAPDB` report no keys: documents stay, and what was \
         dirty is still\nwritten.\n\n| command | events | written | |\n| --- | --- | --- | --- |\n",
    );
    let commands: BTreeSet<&String> = servers.iter().flat_map(|(_, rows)| rows.keys()).collect();
    for command in commands {
        let mut listed_rows: Vec<(&str, Row)> = Vec::new();
        for (server, rows) in servers {
            let Some(row) = rows.get(command) else { continue };
            match listed_rows.iter_mut().find(|(_, other)| other.is_like(row)) {
                Some((_, other)) => other.join(row),
                None => listed_rows.push((server, row.clone())),
            }
        }
        let everywhere = servers.iter().all(|(_, rows)| rows.contains_key(command));
        for (server, row) in &listed_rows {
            let only = if everywhere && listed_rows.len() == 1 { "" } else { server };
            let line = format!(
                "| `{}` | {} | {} | {only}",
                command.to_uppercase().replace('|', " "),
                listed(&row.events),
                row.written()
            );
            let _ = writeln!(out, "{} |", line.trim_end());
        }
    }
    out.push_str("\nCommands that write and are not in the table:\n\n");
    for step in STEPS {
        let _ = writeln!(out, "- `{}`: see above", step.to_uppercase());
    }
    for (command, why) in LEFT_OUT {
        let shown = command.to_uppercase().replace('|', " ");
        let shown = shown.strip_suffix('.').map_or(shown.clone(), |start| format!("{start}.*"));
        let _ = writeln!(out, "- `{shown}`: {why}");
    }
    out
}

fn listed(events: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = events.iter().map(|event| format!("`{event}`")).collect();
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(" ") }
}

impl Row {
    /// True if the two differ only in what was observed by chance.
    fn is_like(&self, other: &Row) -> bool {
        let touches = |row: &Row| row.writes || row.deletes;
        self.events == other.events || !(touches(self) || touches(other))
    }

    fn join(&mut self, other: &Row) {
        self.events.extend(other.events.iter().cloned());
        self.writes |= other.writes;
        self.deletes |= other.deletes;
        self.nothing |= other.nothing;
    }

    fn written(&self) -> String {
        let all = [(self.writes, "upsert"), (self.deletes, "delete"), (self.nothing, "nothing")];
        let words: Vec<&str> =
            all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        words.join(", ")
    }
}
