//! Retains the last value of keys that are removed or moved before MongoDB has it: expiry,
//! eviction, FLUSHALL, SWAPDB.

use std::ffi::c_int;

use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::table::RetainedValue;
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::Content;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::api::scan;
use crate::redis::pipeline::Pipeline;
use crate::redis::read::request::ReadRequest;
use crate::redis::read::value;
use crate::redis::read::value::{ReadOutcome, ReadResult};

/// Applies the master's `WB._GONE`: a key is about to expire or be evicted, and still exists here.
pub fn apply_removal_marker(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    (db, key): (Db, &[u8]),
    kind: ChangeKind,
    joins: impl FnOnce() -> bool,
) {
    before_removal(pipeline, ctx, (db, key), kind);
    let mut backlog = pipeline.backlog.borrow_mut();
    backlog.removed((db, key), kind, joins, clock::now_us());
    backlog.announce(db, key);
}

/// Retains the current value of a key of `db` that is dirty, or may be; it is read in the selected
/// database.
pub fn retain_value(pipeline: &Pipeline, ctx: Ctx<'_>, db: Db, key: &[u8]) {
    let request = {
        let mut backlog = pipeline.backlog.borrow_mut();
        let active = backlog.active_of_key(db, key, clock::now_us);
        active.map(|active| ReadRequest::of(&active.registration))
    };
    let Some(request) = request else { return };
    let value = read_value(pipeline, ctx, key, request);
    let mut backlog = pipeline.backlog.borrow_mut();
    match value {
        Ok(value) => {
            backlog.retain_value(db, key, value, clock::now_us);
        }
        // It counts as deleted. Once the key is removed, its type cannot be read any more.
        Err(ReadOutcome::WrongType) => {
            backlog.record((db, key), ChangeKind::Deleted, || false, clock::now_us);
            backlog.retain_missing(db, key, clock::now_us());
        }
        Err(ReadOutcome::Missing) => backlog.retain_missing(db, key, clock::now_us()),
        Err(_) => {}
    }
}

/// The value to retain, or why there is none.
fn read_value(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    key: &[u8],
    request: ReadRequest,
) -> Result<RetainedValue, ReadOutcome> {
    let mut bytes = Vec::new();
    // The expiry is always read: the registration's options may change before the value is written.
    let request = ReadRequest { expiry: true, ..request };
    let ReadResult { outcome, expire_ms, .. } =
        value::value(&pipeline.opener, ctx, &Text::new(key), request, &mut bytes);
    let content = match outcome {
        ReadOutcome::Value(content) => content,
        ReadOutcome::TooLarge => value::too_large(&mut bytes),
        ReadOutcome::Unwritable(reason) => {
            bytes.extend_from_slice(reason.as_bytes());
            Content::Unwritable
        }
        // The value is read without a time budget, so the read is neither deferred nor unfinished.
        outcome => return Err(outcome),
    };
    Ok(RetainedValue { content, expire_ms, bytes: bytes.into() })
}

/// Retains the value of a key that the server is about to remove, if the key is dirty; the value
/// can still be read.
pub fn before_removal(pipeline: &Pipeline, ctx: Ctx<'_>, (db, key): (Db, &[u8]), kind: ChangeKind) {
    let now_us = clock::now_us();
    let must_retain = pipeline.backlog.borrow_mut().must_retain(db, key, kind, now_us);
    if must_retain {
        retain_value(pipeline, ctx, db, key);
    }
}

/// Retains the value of every key of `db`, or of all databases, whose change a registration may
/// have missed; `source_of(db)` is the database to read the keys of `db` in. Returns these
/// registrations, which need no scan any more.
pub fn retain_missed(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    db: Option<Db>,
    source_of: impl Fn(Db) -> c_int,
) -> Vec<RegistrationId> {
    let rescans = pipeline.backlog.borrow().rescans_of(db);
    let mut ids = Vec::with_capacity(rescans.len());
    for (id, registration) in rescans {
        let db = registration.db;
        ctx.select_raw(source_of(db));
        let keys = scan::names(ctx, |key| {
            let backlog = pipeline.backlog.borrow();
            backlog.is_scanned(id, key) && backlog.maybe_missed(db, key).is_some()
        });
        for key in keys {
            retain_value(pipeline, ctx, db, &key);
        }
        pipeline.backlog.borrow_mut().clear_missed(id);
        ids.push(id);
    }
    ids
}

/// Retains the value of every dirty key of `db`, or of all databases; `source_of(db)` is the
/// database to read the keys of `db` in.
pub fn retain_all(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    db: Option<Db>,
    source_of: impl Fn(Db) -> c_int,
) {
    let keys = pipeline.backlog.borrow_mut().unretained(db, clock::now_us());
    for (db, key) in keys {
        ctx.select_raw(source_of(db));
        retain_value(pipeline, ctx, db, &key);
    }
}
