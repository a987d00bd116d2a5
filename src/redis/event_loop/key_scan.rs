//! Scans the keyspace, a slice at a time, and marks the existing keys of registrations for which
//! WB.SYNC was called or changes were missed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::{Backlog, Scanned};
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;
use crate::core::registration::printable::printable;
use crate::redis::api::context::{Ctx, NOT_NOW, Text, must_not_replicate};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan::{self, Cursor};
use crate::redis::api::{clock, log};
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;

/// Buckets of the keyspace visited between two readings of the clock.
const CLOCK_BUCKETS: usize = 16;

/// One scan of a logical database for the keys of one registration.
#[derive(Debug)]
struct KeyScan {
    registration: Arc<Registration>,
    /// The backlog's epoch when the scan began.
    epoch: u32,
    cursor: Cursor,
    marked: u64,
}

impl KeyScan {
    /// False when the registration id belongs to another registration by now, or the epoch has
    /// changed, so that another server may have scanned meanwhile.
    fn is_of(&self, registration: &Registration, epoch: u32) -> bool {
        let own = &self.registration;
        self.epoch == epoch && own.db == registration.db && own.prefix == registration.prefix
    }
}

/// The scans in progress.
#[derive(Debug, Default)]
pub struct KeyScans(RefCell<Scans>);

#[derive(Debug, Default)]
struct Scans {
    by_registration: HashMap<RegistrationId, KeyScan>,
    /// The registration that was scanned last.
    last: RegistrationId,
}

impl KeyScans {
    /// Restarts the scan for the keys of `id` from the beginning.
    pub fn restart(&self, id: RegistrationId) {
        self.0.borrow_mut().by_registration.remove(&id);
    }

    /// The next registration to scan; nothing when no scan is requested or this server may not
    /// replicate marks now.
    fn next(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> Option<RegistrationId> {
        let id = pipeline.backlog.borrow().next_scan(self.0.borrow().last)?;
        (ctx.flags() & NOT_NOW == 0 && !must_not_replicate()).then_some(id)
    }

    /// True when a scan can continue at once.
    pub fn is_pending(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
        self.next(pipeline, ctx).is_some()
    }

    /// Scans for one slice. True when a scan has ended.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
        let Some(id) = self.next(pipeline, ctx) else { return false };
        let (registration, epoch) = {
            let backlog = pipeline.backlog.borrow();
            let Some(active) = backlog.registry.at(id) else { return false };
            (Arc::clone(&active.registration), backlog.in_flight.epoch)
        };
        ctx.select(registration.db);
        let mut scans = self.0.borrow_mut();
        scans.last = id;
        let under_way = scans
            .by_registration
            .remove(&id)
            .filter(|scan_state| scan_state.is_of(&registration, epoch));
        drop(scans);
        let mut scan_state = under_way.unwrap_or_else(|| {
            pipeline.backlog.borrow_mut().begin_scan(id);
            propagate::scan_begins(ctx, &registration.prefix);
            KeyScan {
                registration: Arc::clone(&registration),
                epoch,
                cursor: Cursor::new(),
                marked: 0,
            }
        });
        let now_us = clock::now_us();
        let end_us = now_us + pipeline.slice_us(now_us);
        if scan(pipeline, ctx, id, &mut scan_state, end_us) {
            self.0.borrow_mut().by_registration.insert(id, scan_state);
            return false;
        }
        propagate::scan_ends(ctx, &registration.prefix);
        end(pipeline, id, &scan_state);
        true
    }
}

/// The share of the selected database's keys that a scan has visited, 0 to 99 percent. Never 100:
/// the number of keys changes during a scan, and its end is reported separately.
pub fn percent(ctx: Ctx<'_>, scanned: Scanned) -> u64 {
    // SAFETY: the context is that of a running callback.
    let keys = unsafe { api!(RedisModule_DbSize)(ctx.raw()) };
    (scanned.visited * 100 / keys.max(1)).min(99)
}

/// Ends a scan that has visited every key.
fn end(pipeline: &Pipeline, id: RegistrationId, scan_state: &KeyScan) {
    let mut backlog = pipeline.backlog.borrow_mut();
    let requested = backlog.registry.at(id).is_some_and(|active| active.sync_pending);
    backlog.end_scan(id, clock::now_us());
    // While MongoDB is slower than the writers, one rescan may follow the other; only the last is
    // logged.
    let complete = !backlog.rescans().any(|rescan| rescan == id);
    if requested || complete {
        let prefix = printable(&scan_state.registration.prefix);
        log::notice(&format!("sync of prefix '{prefix}' has marked {} keys", scan_state.marked));
    }
}

/// Visits keys until `end_us`, or until `dirty-max-bytes` allows no more; false when all were
/// visited.
fn scan(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    id: RegistrationId,
    scan_state: &mut KeyScan,
    end_us: u64,
) -> bool {
    let mut visited = 0;
    let mut marked = Vec::new();
    let mut visit = |key: &[u8], _: *mut raw::RedisModuleKey| {
        visited += 1;
        let backlog: &mut Backlog = &mut pipeline.backlog.borrow_mut();
        if backlog.is_scanned(id, key) {
            marked.push(Text::new(key));
            backlog.found(id, key, ChangeKind::Found, clock::now_us());
        }
    };
    let mut more = true;
    for buckets in 1usize.. {
        more = scan::bucket(ctx, &scan_state.cursor, &mut visit);
        let checks_clock = buckets.is_multiple_of(CLOCK_BUCKETS);
        let must_stop =
            || clock::now_us() >= end_us || !pipeline.backlog.borrow().has_room_to_scan(id);
        if !more || checks_clock && must_stop() {
            break;
        }
    }
    let count = marked.len() as u64;
    scan_state.marked += count;
    pipeline.backlog.borrow_mut().scanned(id, Scanned { visited, marked: count });
    propagate::marked(ctx, &scan_state.registration.prefix, &marked);
    more
}
