//! Keys that go away before their last value is in MongoDB: expiry, eviction, FLUSHALL, SWAPDB.

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

/// The master announces that a key is about to expire or be evicted; it is still here.
pub fn announced(pipeline: &Pipeline, ctx: Ctx<'_>, (db, key): (Db, &[u8]), kind: ChangeKind) {
    removed(pipeline, ctx, (db, key), kind);
    let mut backlog = pipeline.backlog.borrow_mut();
    backlog.removed(db, key, kind, clock::now_us());
    backlog.announce(db, key);
}

/// Copies the value of a key of `db` that is dirty, or may be, as it is in the selected database now.
pub fn retain_value(pipeline: &Pipeline, ctx: Ctx<'_>, db: Db, key: &[u8]) {
    let wanted = {
        let backlog = pipeline.backlog.borrow();
        backlog.active_of_key(db, key).map(|active| ReadRequest::of(&active.registration))
    };
    let Some(wanted) = wanted else { return };
    let value = read_value(pipeline, ctx, key, wanted);
    let mut backlog = pipeline.backlog.borrow_mut();
    match value {
        Ok(value) => {
            backlog.retain_value(db, key, value);
        }
        // It counts as deleted. Once it is gone, its type cannot be found out any more.
        Err(ReadOutcome::WrongType) => {
            backlog.record(db, key, ChangeKind::Deleted, clock::now_us);
            backlog.retain_missing(db, key, clock::now_us());
        }
        Err(ReadOutcome::Missing) => backlog.retain_missing(db, key, clock::now_us()),
        Err(_) => {}
    }
}

/// The value as it is to be kept, or why there is none.
fn read_value(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    key: &[u8],
    wanted: ReadRequest,
) -> Result<RetainedValue, ReadOutcome> {
    let mut bytes = Vec::new();
    // The expiry always: the options may change before the value is written.
    let wanted = ReadRequest { expiry: true, ..wanted };
    let ReadResult { found, expire_ms, .. } =
        value::value(&pipeline.opener, ctx, &Text::new(key), wanted, &mut bytes);
    let content = match found {
        ReadOutcome::Value(content) => content,
        ReadOutcome::TooLarge => value::too_large(&mut bytes),
        ReadOutcome::Unwritable(reason) => {
            bytes.extend_from_slice(reason.as_bytes());
            Content::Unwritable
        }
        // It is read in one go, so it is neither put off nor left unfinished.
        found => return Err(found),
    };
    Ok(RetainedValue { content, expire_ms, bytes: bytes.into() })
}

/// What to do about a key that the server is about to remove, and whose value can still be read.
pub fn removed(pipeline: &Pipeline, ctx: Ctx<'_>, (db, key): (Db, &[u8]), kind: ChangeKind) {
    let now_us = clock::now_us();
    let must_retain = pipeline.backlog.borrow_mut().must_retain(db, key, kind, now_us);
    if must_retain {
        retain_value(pipeline, ctx, db, key);
    }
}

/// Captures every key of `db`, or of all databases, that a registration may have missed; `source_of` a
/// database is the one to read its keys in. Returns these registrations, which need no scan now.
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

/// Captures every dirty key of `db`, or of all databases; `source_of` a database is the one to read its
/// keys in.
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
