//! MongoDB's replies to the commands of a batch: whatever they hold, no key is taken for written of
//! which no reply says so.
#![no_main]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use mongodb::bson::{self, Bson, Document, RawDocumentBuf, doc};
use mongodb::error::{CommandError, Error, ErrorKind};
use writebehind::internals::{Batch, Content, Db, EntryId, Item, Limits, Lookup, NO_EXPIRY, Namespace, Registration, RegistrationId, Forms, Span, Version, classify, execute};
use writebehind::internals::command::{self, Kind};

#[derive(Debug)]
struct Input {
    inserts: bool,
    deletes: u8,
    keys: u8,
    ends: Vec<End>,
}

#[derive(Debug)]
enum End {
    /// All went well.
    Done,
    /// A reply of fields and types as they come.
    Reply(Document),
    /// Bytes that may be BSON.
    Bytes(Vec<u8>),
    /// The command failed as a whole.
    Failed(i32),
}

const FIELDS: [&str; 12] = [
    "n", "ok", "writeErrors", "writeConcernError", "index", "code", "errmsg", "keyPattern",
    "errInfo", "details", "upserted", "nModified",
];
const CODES: [i32; 12] = [121, 112, 11_000, 10_334, 50, 64, 91, 13, 166, 2, 0, 99_999];

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (inserts, keys) = (u.arbitrary()?, u.int_in_range(1..=12)?);
        let deletes = u.int_in_range(0..=keys)?;
        let mut ends = Vec::new();
        while ends.len() < 32 && !u.is_empty() {
            ends.push(match u.int_in_range(0..=4)? {
                0 => End::Done,
                1 => End::Bytes(u.arbitrary::<&[u8]>()?.to_vec()),
                2 => End::Failed(code(u)?),
                3 => End::Reply(likely(u)?),
                _ => End::Reply(document(u, 4)?),
            });
        }
        Ok(Input { inserts, deletes, keys, ends })
    }
}

fn code(u: &mut Unstructured<'_>) -> arbitrary::Result<i32> {
    if u.ratio(1, 8)? { u.arbitrary() } else { Ok(*u.choose(&CODES)?) }
}

/// A reply that is nearly well-formed.
fn likely(u: &mut Unstructured<'_>) -> arbitrary::Result<Document> {
    let mut errors = Vec::new();
    for _ in 0..u.int_in_range(0..=5)? {
        errors.push(Bson::from(doc! { "index": u.int_in_range(-1..=13)?, "code": code(u)? }));
    }
    let mut reply = doc! { "ok": 1, "n": u.int_in_range(-1..=13)?, "writeErrors": errors };
    if u.ratio(1, 4)? {
        reply.insert(*u.choose(&FIELDS)?, value(u, 2)?);
    }
    Ok(reply)
}

fn document(u: &mut Unstructured<'_>, levels: u8) -> arbitrary::Result<Document> {
    let mut document = Document::new();
    for _ in 0..u.int_in_range(0..=5)? {
        document.insert(*u.choose(&FIELDS)?, value(u, levels)?);
    }
    Ok(document)
}

fn value(u: &mut Unstructured<'_>, levels: u8) -> arbitrary::Result<Bson> {
    let kinds = if levels == 0 { 5 } else { 7 };
    Ok(match u.int_in_range(0..=kinds)? {
        0 => Bson::Int32(u.int_in_range(-2..=14)?),
        1 => Bson::Int64(u.arbitrary()?),
        2 => Bson::Double(u.arbitrary()?),
        3 => Bson::String(u.arbitrary()?),
        4 => Bson::Null,
        5 => Bson::Int32(code(u)?),
        6 => Bson::Document(document(u, levels - 1)?),
        _ => {
            let mut values = Vec::new();
            for _ in 0..u.int_in_range(0..=4)? {
                values.push(value(u, levels - 1)?);
            }
            Bson::Array(values)
        }
    })
}

/// So many keys, the first of them deleted.
fn batch(keys: u8, deletes: u8) -> Batch {
    let mut bytes = Vec::new();
    let mut items = Vec::new();
    for key in 0..keys {
        let start = bytes.len();
        bytes.extend_from_slice(format!("k{key}").as_bytes());
        let span = Span { start, end: bytes.len() };
        let content = if key < deletes { Content::Tombstone } else { Content::String };
        let expire_ms = NO_EXPIRY;
        items.push(Item { entry: EntryId(0), version: Version(1), since_us: 0, key: span, content, value: span, expire_ms });
    }
    let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
    let registration = Arc::new(Registration::new(Db(0), b"k", namespace));
    Batch { registration, registration_id: RegistrationId(0), epoch: 0, slow: false, retry: 0, items, groups: Vec::new(), bytes }
}

/// The keys of a command, in its order.
fn keys(command: &[u8]) -> Vec<String> {
    let command = RawDocumentBuf::from_bytes(command.to_vec()).expect("a command of BSON");
    let command = Document::try_from(command.as_ref()).expect("a command of BSON");
    let names = ["documents", "updates", "deletes"];
    let ops = names.iter().find_map(|name| command.get_array(name).ok()).expect("operations");
    let key = |op: &Bson| {
        let op = op.as_document().expect("an operation");
        op.get_document("q").unwrap_or(op).get_str("_id").expect("_id").to_owned()
    };
    ops.iter().map(key).collect()
}

fn number(value: Option<&Bson>) -> Option<i64> {
    match value? {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        Bson::Double(n) if n.fract() == 0.0 => Some(*n as i64),
        _ => None,
    }
}

/// The keys that this reply acknowledges, if it is read as strictly as can be.
fn acknowledged(reply: &Document, keys: &[String], is_delete: bool) -> Vec<String> {
    let errors = match reply.get("writeErrors") {
        None => Vec::new(),
        Some(Bson::Array(errors)) => errors.clone(),
        Some(_) => return Vec::new(),
    };
    let mut named = HashSet::new();
    for error in &errors {
        let index = error.as_document().and_then(|error| number(error.get("index")));
        match index.and_then(|index| usize::try_from(index).ok()).filter(|at| *at < keys.len()) {
            Some(index) => named.insert(index),
            None => return Vec::new(),
        };
    }
    let Some(done) = number(reply.get("n")).and_then(|n| usize::try_from(n).ok()) else {
        return Vec::new();
    };
    let enough = is_delete || done.saturating_add(named.len()) >= keys.len();
    if reply.contains_key("writeConcernError") || !enough {
        return Vec::new();
    }
    let rest = keys.iter().enumerate().filter(|(at, _)| !named.contains(at));
    rest.map(|(_, key)| key.clone()).collect()
}

fn command_error(code: i32) -> Error {
    let reply = doc! { "code": code, "codeName": "Name", "errmsg": "text" };
    let error: CommandError = bson::deserialize_from_document(reply).expect("an error");
    ErrorKind::Command(error).into()
}

fuzz_target!(|input: Input| {
    let batch = batch(input.keys, input.deletes);
    let documents = if input.inserts { Kind::Insert } else { Kind::Update };
    let built = command::build(&batch, documents, &Lookup::default(), Forms::default());
    let ends = RefCell::new(input.ends.into_iter());
    let written = RefCell::new(HashSet::new());
    let sent = Cell::new(0);
    // Paused: what waits for the time does not wait.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("runtime");
    let end = runtime.block_on(execute(
        &batch,
        built,
        &mut Limits::new(Duration::from_secs(10)),
        async |(bytes, expected), _| {
            sent.set(sent.get() + 1);
            assert!(sent.get() < 10_000, "a batch comes to an end");
            let keys = keys(&bytes);
            assert_eq!(keys.len(), expected.ops);
            let end = match ends.borrow_mut().next() {
                Some(End::Reply(reply)) => Ok(reply),
                Some(End::Bytes(bytes)) => Document::from_reader(bytes.as_slice())
                    .map_err(|_| command_error(0)),
                Some(End::Failed(code)) => Err(command_error(code)),
                Some(End::Done) | None => Ok(doc! { "ok": 1, "n": keys.len() as i32 }),
            };
            if let Ok(reply) = &end {
                written.borrow_mut().extend(acknowledged(reply, &keys, expected.written == 0));
            }
            classify(end.as_ref(), &batch.registration, expected)
        },
    ));
    let Ok(finished) = end else { return };
    let written_of = &finished.written;
    let refused: Vec<usize> = written_of.refused.iter().map(|refusal| refusal.index).collect();
    assert!(refused.is_sorted_by(|a, b| a < b), "{refused:?}");
    let contested = finished.contested.iter().map(|contested| contested.index as usize);
    let blocked = written_of.blocked.iter().map(|blocked| blocked.index);
    let unwritten: HashSet<usize> =
        refused.into_iter().chain(contested).chain(blocked).chain(written_of.returned.clone()).collect();
    for (index, item) in batch.items.iter().enumerate() {
        if !unwritten.contains(&index) {
            // The prefix is not part of the document's _id.
            let id = String::from_utf8_lossy(&batch.key(item)[1..]).into_owned();
            assert!(written.borrow().contains(&id), "{id} is taken for written");
        }
    }
});
