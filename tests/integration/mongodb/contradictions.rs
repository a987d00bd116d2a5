//! Replies of MongoDB that are inconsistent: no key is marked clean that is not written, and no
//! bytes that the module receives stop it.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};

use testkit::mongod::fake::{Answer, FakeMongod, Request, op_msg, op_msg_payload};
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Returns an invalid reply.
type Mangle = fn(&Request<'_>) -> Answer;

struct Stage {
    fake: FakeMongod,
    redis: Redis,
    keys: usize,
}

impl Stage {
    /// That many keys, all of which MongoDB has.
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
            stage.all_written("none", &format!("warm {round}"));
        }
        stage
    }

    fn write(&self, value: &str) {
        let pairs = (0..self.keys).flat_map(|key| [format!("k:{key}"), value.to_owned()]);
        self.redis.cmd(&[vec!["MSET".to_owned()], pairs.collect()].concat());
    }

    /// Asserts that every key is clean and that MongoDB has it.
    #[track_caller]
    fn all_written(&self, case: &str, value: &str) {
        let flushed = self.redis.flush_with(&["TIMEOUT", "20000"]);
        let status = self.redis.status();
        let error = status.text("last_error");
        assert_eq!((flushed.pending, flushed.failed), (0, 0), "{case}: {error}");
        assert_eq!(status.int("dead_letters"), 0, "{case}: {error}");
        assert!(!error.contains("failed inside"), "{case}: {error}");
        let documents = self.fake.documents();
        for key in 0..self.keys {
            let document = documents.get(&key.to_string()).map_or("", String::as_str);
            assert!(
                document.contains(value),
                "{case}: key {key} is clean but not written: {document}"
            );
        }
    }

    /// The next two replies to one of these commands are mangled, and its operations are not
    /// applied.
    #[track_caller]
    fn survives(&self, case: &str, commands: &'static [&'static str], mangle: Mangle) {
        let mut left = 2;
        self.fake.answer(move |request| {
            if left == 0 || !commands.contains(&request.name) {
                return Answer::Normal;
            }
            left -= 1;
            request.applied.fill(false);
            mangle(request)
        });
        self.write(case);
        self.all_written(case, case);
        self.fake.answer_normally();
    }
}

const WRITES: &[&str] = &["update", "insert"];

/// The regular reply with that field replaced.
fn with(request: &Request<'_>, field: &str, value: impl Into<Bson>) -> Answer {
    let mut reply = request.reply.clone();
    reply.insert(field, value);
    Answer::Document(reply)
}

fn without(request: &Request<'_>, field: &str) -> Answer {
    let mut reply = request.reply.clone();
    reply.remove(field);
    Answer::Document(reply)
}

/// A reply that reports one write error, and success for all other operations.
fn naming(request: &Request<'_>, error: Document) -> Answer {
    let n = request.ids.len() as i32 - 1;
    Answer::Document(doc! { "ok": 1, "n": n, "writeErrors": [error] })
}

fn payload(request: &Request<'_>, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    let mut bytes = op_msg_payload(request.reply);
    change(&mut bytes);
    Answer::Payload(bytes)
}

fn message(request: &Request<'_>, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    let mut bytes = op_msg(&op_msg_payload(request.reply));
    change(&mut bytes);
    Answer::Message(bytes)
}

fn put(bytes: &mut [u8], at: usize, number: i32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Replies in which fields are missing, contradict each other or have other types.
const FIELDS: [(&str, Mangle); 24] = [
    ("no fields", |_| Answer::Document(doc! {})),
    ("no ok", |request| without(request, "ok")),
    ("ok of text", |request| with(request, "ok", "1")),
    ("ok of 0 alone", |_| Answer::Document(doc! { "ok": 0 })),
    ("a code of text", |_| Answer::Document(doc! { "ok": 0, "code": "11600", "errmsg": 1 })),
    ("no n", |request| without(request, "n")),
    ("n of text", |request| with(request, "n", "10")),
    ("n below 0", |request| with(request, "n", -1)),
    ("n that is no number", |request| with(request, "n", f64::NAN)),
    ("n too small", |request| with(request, "n", request.ids.len() as i32 - 1)),
    ("n of 0", |request| with(request, "n", 0_i64)),
    ("an index too high", |request| {
        naming(request, doc! { "index": request.ids.len() as i32, "code": 121 })
    }),
    ("an index below 0", |request| naming(request, doc! { "index": -1, "code": 121 })),
    ("the highest index", |request| naming(request, doc! { "index": i64::MAX, "code": 121 })),
    ("no index", |request| naming(request, doc! { "code": 121 })),
    ("an index of text", |request| naming(request, doc! { "index": "0", "code": 121 })),
    ("half an index", |request| naming(request, doc! { "index": 0.5, "code": 121 })),
    ("no code", |request| naming(request, doc! { "index": 0 })),
    ("a code too high", |request| naming(request, doc! { "index": 0, "code": i64::MAX })),
    ("an error of text", |request| with(request, "writeErrors", vec!["refused"])),
    ("errors in a document", |request| {
        with(request, "writeErrors", doc! { "0": { "index": 0, "code": 121 } })
    }),
    ("errors of null", |request| with(request, "writeErrors", Bson::Null)),
    ("a write concern of text", |request| with(request, "writeConcernError", "late")),
    ("an empty write concern", |request| with(request, "writeConcernError", doc! {})),
];

/// Bytes that are no reply.
const BYTES: [(&str, Mangle); 16] = [
    ("closed", |_| Answer::Close),
    ("nothing", |_| Answer::Payload(Vec::new())),
    ("flags only", |_| Answer::Payload(vec![0; 4])),
    ("half a document", |request| payload(request, |bytes| bytes.truncate(bytes.len() / 2))),
    ("a byte less", |request| payload(request, |bytes| bytes.truncate(bytes.len() - 1))),
    ("a document that is too long", |request| payload(request, |bytes| put(bytes, 5, i32::MAX))),
    ("a document below 0", |request| payload(request, |bytes| put(bytes, 5, -1))),
    ("an unknown section", |request| payload(request, |bytes| bytes[4] = 7)),
    ("two documents", |request| payload(request, |bytes| bytes.extend_from_within(4..))),
    ("an unknown element", |request| payload(request, |bytes| bytes[9] = 0x42)),
    ("bytes behind it", |request| payload(request, |bytes| bytes.extend([1, 2, 3]))),
    ("a message below 0", |request| message(request, |bytes| put(bytes, 0, -1))),
    ("a message of nothing", |request| message(request, |bytes| put(bytes, 0, 0))),
    ("a huge message", |request| message(request, |bytes| put(bytes, 0, i32::MAX))),
    ("another kind of message", |request| message(request, |bytes| put(bytes, 12, 2004))),
    ("a compressed message", |request| message(request, |bytes| put(bytes, 12, 2012))),
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
fn an_invalid_reply_in_a_transaction_acknowledges_nothing() {
    let stage = Stage::new(40);
    for (case, mangle) in FIELDS.into_iter().chain(BYTES) {
        stage.survives(case, WRITES, mangle);
    }
    for (case, mangle) in BYTES {
        stage.survives(&format!("commit: {case}"), &["commitTransaction"], mangle);
    }
}

#[test]
fn a_reply_to_a_deletion_without_a_count_acknowledges_nothing() {
    let stage = Stage::new(10);
    let mut left = 2;
    stage.fake.answer(move |request| {
        if request.name != "delete" || left == 0 {
            return Answer::Normal;
        }
        left -= 1;
        request.applied.fill(false);
        without(request, "n")
    });
    stage.redis.cmd(&["DEL", "k:0", "k:7"]);
    let flushed = stage.redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!(flushed, Flushed { persisted: 2, failed: 0, pending: 0 });
    let documents = stage.fake.documents();
    assert!(!documents.contains_key("0") && !documents.contains_key("7"), "{documents:?}");
}

#[test]
fn a_write_error_that_is_listed_twice_hides_no_other() {
    let stage = Stage::new(10);
    let refused = ["3", "7"];
    stage.fake.answer(move |request| {
        if !WRITES.contains(&request.name) {
            return Answer::Normal;
        }
        let at = |id: &str| request.ids.iter().position(|other| other == id);
        let ops: Vec<usize> = refused.into_iter().filter_map(at).collect();
        ops.iter().for_each(|op| request.applied[*op] = false);
        let error = |op: &usize| doc! { "index": *op as i32, "code": 121, "errmsg": "no" };
        let errors = ops.iter().take(1).chain(&ops).map(error).collect::<Vec<_>>();
        let n = (request.ids.len() - ops.len()) as i32;
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
fn an_invalid_reply_to_hello_is_reported_and_the_link_recovers() {
    let greetings: [(&str, Mangle); 8] = [
        ("no fields", |_| Answer::Document(doc! {})),
        ("ok alone", |_| Answer::Document(doc! { "ok": 1 })),
        ("a set of numbers", |request| with(request, "setName", 5)),
        ("hosts of text", |request| with(request, "hosts", "a")),
        ("an unknown version", |request| with(request, "maxWireVersion", i32::MIN)),
        ("no limits", |request| with(request, "maxBsonObjectSize", -1)),
        ("a session of text", |request| with(request, "logicalSessionTimeoutMinutes", "x")),
        ("half a document", |request| payload(request, |bytes| bytes.truncate(20))),
    ];
    let stage = Stage::new(3);
    for (case, mangle) in greetings {
        stage.fake.answer(move |request| match request.name {
            "hello" | "isMaster" | "ismaster" => mangle(request),
            _ => Answer::Close,
        });
        stage.write(case);
        let flushed = stage.redis.flush_with(&["TIMEOUT", "1"]);
        assert_eq!(flushed.pending, 3, "{case}");
        wait_until("the link is down", SOON, || stage.redis.status().text("link") == "down");
        let status = stage.redis.status();
        assert!(!status.text("link_error").is_empty(), "{case}");
        stage.fake.answer_normally();
        stage.all_written(case, case);
    }
}
