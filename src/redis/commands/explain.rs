//! WB.EXPLAIN: the state of one key, and the operation that would write it now.

use crate::core::backlog::Explained;
use crate::core::mapping::value::Content;
use crate::mongo::explain::{Operation, explain};
use crate::redis::api::clock;
use crate::redis::api::context::Text;
use crate::redis::call::Call;
use crate::redis::command_spec::{ArgKind, KeySpec, Spec, arg};
use crate::redis::read::request::ReadRequest;
use crate::redis::read::value;
use crate::redis::read::value::ReadOutcome;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.EXPLAIN",
    run: Some(command),
    flags: c"readonly",
    acl: c"read",
    arity: 2,
    summary: c"Reports the state of a key, and the document that would be written for it now.",
    complexity: c"O(N) where N is the size of the value",
    since: c"0.1.0",
    args: &[arg(c"key", ArgKind::Key)],
    keys: Some(KeySpec::First),
    syntax: &["EXPLAIN <key>"],
    help: &["The state of the key, and what would be written for it now."],
};

/// Runs the command. It reads the value without a time budget, like a command that returns the
/// whole value.
fn command(call: &Call<'_>) {
    let key = call.first_argument();
    let db = call.db;
    let mut bytes = key.to_vec();
    let mut explained = key_state(call, key);
    let mut read = read(call, key, &explained, &mut bytes);
    if matches!(read, Some((ReadOutcome::Missing, _))) {
        // The read itself may have expired the key.
        explained = key_state(call, key);
        read = retained(&explained, &mut bytes).or(read);
    }
    let (operation, document, reason) = match would(call, &explained, read, bytes, key.len()) {
        Would::Write(json) => ("write", json, String::new()),
        Would::Delete => ("delete", String::new(), String::new()),
        Would::Nothing(why) => ("none", String::new(), why.to_owned()),
        Would::Refuse(why) => ("refused", String::new(), why),
    };
    let registration = explained.registered.as_ref().map(|(_, registration)| registration);
    let namespace = registration.map(|of| of.namespace.to_string()).unwrap_or_default();
    let reply = call.reply;
    reply.map(12);
    reply.text_field("key", key);
    reply.number_field(c"db", u64::from(db.0));
    reply.text_field("prefix", registration.map_or(b"", |of| &of.prefix));
    reply.text_field("namespace", namespace.as_bytes());
    reply.text_field("state", explained.state.name().as_bytes());
    reply.text_field("waits_for", explained.state.waits_for().as_bytes());
    reply.number_field(c"since_unix_ms", explained.since_unix_ms);
    reply.number_field(c"attempts", u64::from(explained.attempts));
    reply.text_field("last_error", explained.last_error.as_bytes());
    reply.text_field("operation", operation.as_bytes());
    reply.text_field("document", document.as_bytes());
    reply.text_field("reason", reason.as_bytes());
}

/// The operation if the key was written now.
enum Would {
    Write(String),
    Delete,
    Nothing(&'static str),
    Refuse(String),
}

/// The state of the key.
fn key_state(call: &Call<'_>, key: &[u8]) -> Explained {
    let now_us = clock::now_us();
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    backlog.up_to_date(now_us).explain(call.db, key, now_us)
}

/// The key's value and expiry, appended to `bytes`; nothing for a key without a registration.
fn read(
    call: &Call<'_>,
    key: &[u8],
    explained: &Explained,
    bytes: &mut Vec<u8>,
) -> Option<(ReadOutcome, i64)> {
    let (_, registration) = explained.registered.as_ref()?;
    retained(explained, bytes).or_else(|| {
        let request = ReadRequest::of(registration);
        let read =
            value::value(&call.module.pipeline.opener, call.ctx, &Text::new(key), request, bytes);
        Some((read.outcome, read.expire_ms))
    })
}

fn retained(explained: &Explained, bytes: &mut Vec<u8>) -> Option<(ReadOutcome, i64)> {
    let retained = explained.retained.as_ref()?;
    bytes.extend_from_slice(&retained.bytes);
    Some((ReadOutcome::Value(retained.content), retained.expire_ms))
}

/// The operation that would write the key now. `bytes` holds the key, which is `key_len` bytes
/// long, and the value read.
fn would(
    call: &Call<'_>,
    explained: &Explained,
    read: Option<(ReadOutcome, i64)>,
    mut bytes: Vec<u8>,
    key_len: usize,
) -> Would {
    let (Some((id, registration)), Some((outcome, expire_ms))) = (&explained.registered, read)
    else {
        let key = bytes.get(..key_len).unwrap_or_default();
        return Would::Nothing(
            match call.module.pipeline.backlog.borrow().registry.is_excluded(call.db, key) {
                true => "EXCLUDE of the prefix leaves out the key: it belongs to no registration",
                false => "no registered prefix matches the key in this database",
            },
        );
    };
    let content = match outcome {
        ReadOutcome::Value(content) => content,
        ReadOutcome::TooLarge => value::too_large(&mut bytes),
        ReadOutcome::Unwritable(reason) => return Would::Refuse(reason.to_owned()),
        ReadOutcome::Missing | ReadOutcome::WrongType => {
            if !explained.deletes(matches!(outcome, ReadOutcome::WrongType)) {
                return Would::Nothing(match outcome {
                    ReadOutcome::Missing => "there is no such key, and its document stays as it is",
                    _ => {
                        "the registration does not take this type, and ONDEL KEEP leaves documents"
                    }
                });
            }
            Content::Tombstone
        }
        ReadOutcome::Unreadable
        | ReadOutcome::Deferred
        | ReadOutcome::Short(_)
        | ReadOutcome::Unfinished(_) => {
            return Would::Nothing("the server does not let the key be read now");
        }
    };
    let registered = (*id, registration.clone());
    let batch = {
        let backlog = call.module.pipeline.backlog.borrow();
        backlog.explained_batch(registered, bytes, key_len, (content, expire_ms))
    };
    match explain(&batch) {
        Operation::Write(json) => Would::Write(json),
        Operation::Delete => Would::Delete,
        Operation::Refused(why) => Would::Refuse(why),
    }
}
