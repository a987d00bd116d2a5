//! Retains values of dirty keys that are logically expired and not deleted yet, on Redis 7.0:
//! opening such a key by its name deletes it, or on a replica finds no key, so that only a scan of
//! the database can read the value.
//!
//! There are such keys after data was loaded, and on a replica: its master's DEL may arrive late,
//! or never. A replica deletes no key by itself, so it scans in slices, and keeps the retained
//! values when it is promoted. JSON cannot be read in a scan.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::expiry::{RETAIN_AHEAD_MS, can_expire};
use crate::core::backlog::table::RetainedValue;
use crate::core::ids::Db;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan::{self, Cursor};
use crate::redis::pipeline::Pipeline;
use crate::redis::read::request::ReadRequest;
use crate::redis::read::value;

/// Buckets of the keyspace visited between two readings of the clock.
const CLOCK_BUCKETS: usize = 16;

/// The requested scans.
#[derive(Debug, Default)]
pub struct Overdue(RefCell<Scans>);

/// The databases to be scanned, and the scan in progress.
#[derive(Debug, Default)]
struct Scans {
    dbs: BTreeSet<Db>,
    scan: Option<(Db, Cursor)>,
}

impl Overdue {
    /// Requests a scan of a database; another one if a scan of it is in progress.
    pub fn request(&self, db: Db) {
        self.0.borrow_mut().dbs.insert(db);
    }

    /// True when a scan is requested or in progress.
    pub fn is_pending(&self) -> bool {
        let scans = self.0.borrow();
        scans.scan.is_some() || !scans.dbs.is_empty()
    }

    /// Called after data was loaded. A master scans everything before it serves clients: afterwards
    /// any access to such a key, and the server's own expiry cycle, could delete it.
    pub fn on_loaded(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        let dirty = pipeline.backlog.borrow_mut().unretained_dbs(clock::now_us());
        self.request_all(ctx, dirty);
        if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE == 0 {
            self.step(pipeline, ctx, u64::MAX);
        }
    }

    /// Called when this server has become a master. As a replica it has already checked dirty keys;
    /// only keys whose changes were missed past `dirty-max-bytes` are left.
    pub fn on_promoted(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        let missed = pipeline.backlog.borrow().rescans_of(None);
        self.request_all(ctx, missed.iter().map(|(_, registration)| registration.db).collect());
    }

    fn request_all(&self, ctx: Ctx<'_>, mut dbs: BTreeSet<Db>) {
        dbs.retain(|db| can_expire(ctx, *db));
        self.0.borrow_mut().dbs.append(&mut dbs);
    }

    /// Scans until `end_us`. True if there was a scan to do.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) -> bool {
        let mut worked = false;
        while let Some((db, cursor)) = self.next() {
            worked = true;
            if !scan(pipeline, ctx, db, &cursor, end_us) {
                self.0.borrow_mut().scan = Some((db, cursor));
                break;
            }
        }
        worked
    }

    fn next(&self) -> Option<(Db, Cursor)> {
        let mut scans = self.0.borrow_mut();
        scans.scan.take().or_else(|| Some((scans.dbs.pop_first()?, Cursor::new())))
    }
}

/// Visits keys until `end_us`; true when all were visited.
fn scan(pipeline: &Pipeline, ctx: Ctx<'_>, db: Db, cursor: &Cursor, end_us: u64) -> bool {
    ctx.select(db);
    let mut visit =
        |name: &[u8], key: *mut raw::RedisModuleKey| retain_expired(pipeline, db, name, key);
    for buckets in 1usize.. {
        if !scan::bucket(ctx, cursor, &mut visit) {
            break;
        }
        if buckets.is_multiple_of(CLOCK_BUCKETS) && clock::now_us() >= end_us {
            return false;
        }
    }
    true
}

/// Retains the value of a key that the server has opened for the scan, if it is logically expired
/// or about to expire.
fn retain_expired(pipeline: &Pipeline, db: Db, name: &[u8], key: *mut raw::RedisModuleKey) {
    let mut backlog = pipeline.backlog.borrow_mut();
    if key.is_null() || !backlog.is_unretained(db, name, clock::now_us) {
        return;
    }
    // SAFETY: the server opened the key for this callback.
    let expire_ms = unsafe { api!(RedisModule_GetAbsExpire)(key) };
    let is_expiring = |end_ms: u64| end_ms <= clock::unix_ms() + RETAIN_AHEAD_MS;
    // -1 means that it does not expire.
    if !u64::try_from(expire_ms).is_ok_and(is_expiring) {
        return;
    }
    let active = backlog.active_of_key(db, name, clock::now_us);
    let Some(request) = active.map(|active| ReadRequest::of(&active.registration)) else {
        return;
    };
    drop(backlog);
    let mut value = Vec::new();
    // SAFETY: as above.
    let read = unsafe { value::of_open_key(key, request, &mut value) };
    if let Some((content, expire_ms)) = read {
        let retained = RetainedValue { content, expire_ms, bytes: value.into() };
        pipeline.backlog.borrow_mut().retain_value(db, name, retained, clock::now_us);
    }
}
