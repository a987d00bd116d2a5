//! What MongoDB replies is not believed where it contradicts itself: no key is taken for written
//! that is not, and nothing that comes over the wire ends the module.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};

use testkit::mongod::fake::{Answer, Asked, FakeMongod, op_msg, op_msg_payload};
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// What a reply is made into.
type Mangle = fn(&Asked<'_>) -> Answer;

struct Stage {
    fake: FakeMongod,
    redis: Redis,
    keys: usize,
}

impl Stage {
    /// So many keys, all known to MongoDB.
    fn new(keys: usize) -> Self {
        let fake = FakeMongod::start();
        let redis = Setup::new(&fake.uri())
            .setting("retry-backoff-min-ms", "5")
            .setting("retry-backoff-max-ms", "50")
            .start();
        redis.cmd(&["WB.REGISTER", "k:", "db.keys", "INTERVAL", "60000"]);
        let stage = Self { fake, redis, keys };
        for round in 0..3 {
            stage.write(&format!("warm {round}"));
            stage.arrives("nothing", &format!("warm {round}"));
        }
        stage
    }

    fn write(&self, value: &str) {
        let pairs = (0..self.keys).flat_map(|key| [format!("k:{key}"), value.to_owned()]);
        self.redis.cmd(&[vec!["MSET".to_owned()], pairs.collect()].concat());
    }

    /// Every key is written, and MongoDB really has it.
    #[track_caller]
    fn arrives(&self, case: &str, value: &str) {
        let flushed = self.redis.flush_with(&["TIMEOUT", "20000"]);
        let status = self.redis.status();
        let error = status.text("last_error");
        assert_eq!((flushed.pending, flushed.failed), (0, 0), "{case}: {error}");
        assert_eq!(status.int("dead_letters"), 0, "{case}: {error}");
        assert!(!error.contains("failed inside"), "{case}: {error}");
        let documents = self.fake.documents();
        for key in 0..self.keys {
            let document = documents.get(&key.to_string()).map_or("", String::as_str);
            assert!(document.contains(value), "{case}: key {key} is taken for written: {document}");
        }
    }

    /// The next two replies to a command of these are mangled, and nothing of it is applied.
    #[track_caller]
    fn survives(&self, case: &str, commands: &'static [&'static str], mangle: Mangle) {
        let mut left = 2;
        self.fake.answer(move |asked| {
            if left == 0 || !commands.contains(&asked.name) {
                return Answer::Honest;
            }
            left -= 1;
            asked.applied.fill(false);
            mangle(asked)
        });
        self.write(case);
        self.arrives(case, case);
        self.fake.be_honest();
    }
}

const WRITES: &[&str] = &["update", "insert"];

/// The true reply with that field changed.
fn with(asked: &Asked<'_>, field: &str, value: impl Into<Bson>) -> Answer {
    let mut reply = asked.reply.clone();
    reply.insert(field, value);
    Answer::Document(reply)
}

fn without(asked: &Asked<'_>, field: &str) -> Answer {
    let mut reply = asked.reply.clone();
    reply.remove(field);
    Answer::Document(reply)
}

/// All but one are said to be done, and that one is named so.
fn naming(asked: &Asked<'_>, error: Document) -> Answer {
    let n = asked.ids.len() as i32 - 1;
    Answer::Document(doc! { "ok": 1, "n": n, "writeErrors": [error] })
}

fn payload(asked: &Asked<'_>, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    let mut bytes = op_msg_payload(asked.reply);
    change(&mut bytes);
    Answer::Payload(bytes)
}

fn message(asked: &Asked<'_>, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    let mut bytes = op_msg(&op_msg_payload(asked.reply));
    change(&mut bytes);
    Answer::Message(bytes)
}

fn put(bytes: &mut [u8], at: usize, number: i32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Replies in which fields are missing, contradict each other or have other types.
const FIELDS: [(&str, Mangle); 24] = [
    ("no fields", |_| Answer::Document(doc! {})),
    ("no ok", |asked| without(asked, "ok")),
    ("ok of text", |asked| with(asked, "ok", "1")),
    ("ok of 0 alone", |_| Answer::Document(doc! { "ok": 0 })),
    ("a code of text", |_| Answer::Document(doc! { "ok": 0, "code": "11600", "errmsg": 1 })),
    ("no n", |asked| without(asked, "n")),
    ("n of text", |asked| with(asked, "n", "10")),
    ("n below 0", |asked| with(asked, "n", -1)),
    ("n that is no number", |asked| with(asked, "n", f64::NAN)),
    ("n too small", |asked| with(asked, "n", asked.ids.len() as i32 - 1)),
    ("n of 0", |asked| with(asked, "n", 0_i64)),
    ("an index too high", |asked| {
        naming(asked, doc! { "index": asked.ids.len() as i32, "code": 121 })
    }),
    ("an index below 0", |asked| naming(asked, doc! { "index": -1, "code": 121 })),
    ("the highest index", |asked| naming(asked, doc! { "index": i64::MAX, "code": 121 })),
    ("no index", |asked| naming(asked, doc! { "code": 121 })),
    ("an index of text", |asked| naming(asked, doc! { "index": "0", "code": 121 })),
    ("half an index", |asked| naming(asked, doc! { "index": 0.5, "code": 121 })),
    ("no code", |asked| naming(asked, doc! { "index": 0 })),
    ("a code too high", |asked| naming(asked, doc! { "index": 0, "code": i64::MAX })),
    ("an error of text", |asked| with(asked, "writeErrors", vec!["refused"])),
    ("errors in a document", |asked| {
        with(asked, "writeErrors", doc! { "0": { "index": 0, "code": 121 } })
    }),
    ("errors of null", |asked| with(asked, "writeErrors", Bson::Null)),
    ("a write concern of text", |asked| with(asked, "writeConcernError", "late")),
    ("an empty write concern", |asked| with(asked, "writeConcernError", doc! {})),
];

/// Bytes that are no reply.
const BYTES: [(&str, Mangle); 16] = [
    ("closed", |_| Answer::Close),
    ("nothing", |_| Answer::Payload(Vec::new())),
    ("flags only", |_| Answer::Payload(vec![0; 4])),
    ("half a document", |asked| payload(asked, |bytes| bytes.truncate(bytes.len() / 2))),
    ("a byte less", |asked| payload(asked, |bytes| bytes.truncate(bytes.len() - 1))),
    ("a document that is too long", |asked| payload(asked, |bytes| put(bytes, 5, i32::MAX))),
    ("a document below 0", |asked| payload(asked, |bytes| put(bytes, 5, -1))),
    ("an unknown section", |asked| payload(asked, |bytes| bytes[4] = 7)),
    ("two documents", |asked| payload(asked, |bytes| bytes.extend_from_within(4..))),
    ("an unknown element", |asked| payload(asked, |bytes| bytes[9] = 0x42)),
    ("bytes behind it", |asked| payload(asked, |bytes| bytes.extend([1, 2, 3]))),
    ("a message below 0", |asked| message(asked, |bytes| put(bytes, 0, -1))),
    ("a message of nothing", |asked| message(asked, |bytes| put(bytes, 0, 0))),
    ("a huge message", |asked| message(asked, |bytes| put(bytes, 0, i32::MAX))),
    ("another kind of message", |asked| message(asked, |bytes| put(bytes, 12, 2004))),
    ("a compressed message", |asked| message(asked, |bytes| put(bytes, 12, 2012))),
];

#[test]
fn a_reply_that_contradicts_itself_acknowledges_nothing() {
    let stage = Stage::new(10);
    for (case, mangle) in FIELDS {
        stage.survives(case, WRITES, mangle);
    }
}

#[test]
fn bytes_that_are_no_reply_acknowledge_nothing() {
    let stage = Stage::new(10);
    for (case, mangle) in BYTES {
        stage.survives(case, WRITES, mangle);
    }
}

#[test]
fn a_transaction_is_no_more_credulous() {
    let stage = Stage::new(40);
    for (case, mangle) in FIELDS.into_iter().chain(BYTES) {
        stage.survives(case, WRITES, mangle);
    }
    for (case, mangle) in BYTES {
        stage.survives(&format!("commit: {case}"), &["commitTransaction"], mangle);
    }
}

#[test]
fn a_deletion_without_a_count_is_not_believed() {
    let stage = Stage::new(10);
    let mut left = 2;
    stage.fake.answer(move |asked| {
        if asked.name != "delete" || left == 0 {
            return Answer::Honest;
        }
        left -= 1;
        asked.applied.fill(false);
        without(asked, "n")
    });
    stage.redis.cmd(&["DEL", "k:0", "k:7"]);
    let flushed = stage.redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!(flushed, Flushed { persisted: 2, failed: 0, pending: 0 });
    let documents = stage.fake.documents();
    assert!(!documents.contains_key("0") && !documents.contains_key("7"), "{documents:?}");
}

#[test]
fn an_operation_that_is_named_twice_hides_no_other_refusal() {
    let stage = Stage::new(10);
    let refused = ["3", "7"];
    stage.fake.answer(move |asked| {
        if !WRITES.contains(&asked.name) {
            return Answer::Honest;
        }
        let at = |id: &str| asked.ids.iter().position(|other| other == id);
        let ops: Vec<usize> = refused.into_iter().filter_map(at).collect();
        ops.iter().for_each(|op| asked.applied[*op] = false);
        let error = |op: &usize| doc! { "index": *op as i32, "code": 121, "errmsg": "no" };
        let errors = ops.iter().take(1).chain(&ops).map(error).collect::<Vec<_>>();
        let n = (asked.ids.len() - ops.len()) as i32;
        Answer::Document(doc! { "ok": 1, "n": n, "writeErrors": errors })
    });
    stage.write("twice");
    let flushed = stage.redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!(flushed, Flushed { persisted: 8, failed: 2, pending: 0 });
    let listed = format!("{:?}", stage.redis.cmd(&["WB.DEADLETTER", "LIST"]));
    for id in refused {
        assert!(listed.contains(&format!("k:{id}")), "{listed}");
    }
    let documents = stage.fake.documents();
    let has = |id: &&usize| documents[&id.to_string()].contains("twice");
    let written: BTreeSet<usize> =
        (0..10).collect::<Vec<_>>().iter().filter(has).copied().collect();
    assert_eq!(written, BTreeSet::from([0, 1, 2, 4, 5, 6, 8, 9]));
}

#[test]
fn a_greeting_that_makes_no_sense_is_told_and_outlived() {
    let greetings: [(&str, Mangle); 8] = [
        ("no fields", |_| Answer::Document(doc! {})),
        ("ok alone", |_| Answer::Document(doc! { "ok": 1 })),
        ("a set of numbers", |asked| with(asked, "setName", 5)),
        ("hosts of text", |asked| with(asked, "hosts", "a")),
        ("an unknown version", |asked| with(asked, "maxWireVersion", i32::MIN)),
        ("no limits", |asked| with(asked, "maxBsonObjectSize", -1)),
        ("a session of text", |asked| with(asked, "logicalSessionTimeoutMinutes", "x")),
        ("half a document", |asked| payload(asked, |bytes| bytes.truncate(20))),
    ];
    let stage = Stage::new(3);
    for (case, mangle) in greetings {
        stage.fake.answer(move |asked| match asked.name {
            "hello" | "isMaster" | "ismaster" => mangle(asked),
            _ => Answer::Close,
        });
        stage.write(case);
        let flushed = stage.redis.flush_with(&["TIMEOUT", "1"]);
        assert_eq!(flushed.pending, 3, "{case}");
        wait_until("the link is down", SOON, || stage.redis.status().text("link") == "down");
        let status = stage.redis.status();
        assert!(!status.text("link_error").is_empty(), "{case}");
        stage.fake.be_honest();
        stage.arrives(case, case);
    }
}
