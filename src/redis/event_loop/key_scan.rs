//! Sync: marks the keys that exist already, a slice at a time, for registrations that asked for
//! it or missed changes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::{Backlog, Scanned};
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;
use crate::redis::api::context::{Ctx, NOT_NOW, Text, must_not_replicate};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan::{self, Cursor};
use crate::redis::api::{clock, log};
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;

/// Buckets of the keyspace visited between two looks at the clock.
const CLOCK_BUCKETS: usize = 16;

/// One scan of a logical database for the keys of one registration.
#[derive(Debug)]
struct Sync {
    registration: Arc<Registration>,
    /// The backlog's epoch at its beginning.
    epoch: u32,
    cursor: Cursor,
    marked: u64,
}

impl Sync {
    /// False when its registration is another registration's by now, or another server has scanned meanwhile.
    fn is_of(&self, registration: &Registration, epoch: u32) -> bool {
        let own = &self.registration;
        self.epoch == epoch && own.db == registration.db && own.prefix == registration.prefix
    }
}

/// The scans that are under way.
#[derive(Debug, Default)]
pub struct KeyScans(RefCell<Syncs>);

#[derive(Debug, Default)]
struct Syncs {
    by_registration: HashMap<RegistrationId, Sync>,
    /// The registration whose turn was the last.
    last: RegistrationId,
}

impl KeyScans {
    /// Lets the keys of `id` be marked from the beginning.
    pub fn restart(&self, id: RegistrationId) {
        self.0.borrow_mut().by_registration.remove(&id);
    }

    /// The registration to scan now, if there are keys to mark and this server may do it.
    fn next(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> Option<RegistrationId> {
        let id = pipeline.backlog.borrow().next_scan(self.0.borrow().last)?;
        (ctx.flags() & NOT_NOW == 0 && !must_not_replicate()).then_some(id)
    }

    /// True when marking goes on at once.
    pub fn is_pending(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
        self.next(pipeline, ctx).is_some()
    }

    /// Goes on marking for one slice. True when a scan has ended.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
        let Some(id) = self.next(pipeline, ctx) else { return false };
        let (registration, epoch) = {
            let backlog = pipeline.backlog.borrow();
            let Some(active) = backlog.registry.at(id) else { return false };
            (Arc::clone(&active.registration), backlog.in_flight.epoch)
        };
        ctx.select(registration.db);
        let mut syncs = self.0.borrow_mut();
        syncs.last = id;
        let under_way =
            syncs.by_registration.remove(&id).filter(|sync| sync.is_of(&registration, epoch));
        drop(syncs);
        let mut sync = under_way.unwrap_or_else(|| {
            pipeline.backlog.borrow_mut().begin_scan(id);
            propagate::scan_begins(ctx, &registration.prefix);
            Sync {
                registration: Arc::clone(&registration),
                epoch,
                cursor: Cursor::new(),
                marked: 0,
            }
        });
        let now_us = clock::now_us();
        let end_us = now_us + pipeline.slice_us(now_us);
        if scan(pipeline, ctx, id, &mut sync, end_us) {
            self.0.borrow_mut().by_registration.insert(id, sync);
            return false;
        }
        propagate::scan_ends(ctx, &registration.prefix);
        end(pipeline, id, &sync);
        true
    }
}

/// The share of the selected database's keys that a scan has looked at, in percent. Below 100: it
/// says itself when it is done, and keys may come and go meanwhile.
pub fn percent(ctx: Ctx<'_>, scanned: Scanned) -> u64 {
    // SAFETY: the context is that of a running callback.
    let keys = unsafe { api!(RedisModule_DbSize)(ctx.raw()) };
    (scanned.visited * 100 / keys.max(1)).min(99)
}

/// Every key was visited.
fn end(pipeline: &Pipeline, id: RegistrationId, sync: &Sync) {
    let mut backlog = pipeline.backlog.borrow_mut();
    let asked = backlog.registry.at(id).is_some_and(|active| active.sync_pending);
    backlog.end_scan(id, clock::now_us());
    // One scan may follow the other while MongoDB is slower than the writers.
    let complete = !backlog.rescans().any(|rescan| rescan == id);
    if asked || complete {
        let prefix = String::from_utf8_lossy(&sync.registration.prefix).into_owned();
        log::notice(&format!("sync of prefix '{prefix}' has marked {} keys", sync.marked));
    }
}

/// Visits keys until `end_us`, or until there is no room for more; false when all were visited.
fn scan(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    id: RegistrationId,
    sync: &mut Sync,
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
        more = scan::bucket(ctx, &sync.cursor, &mut visit);
        let looks = buckets.is_multiple_of(CLOCK_BUCKETS);
        let ends = || clock::now_us() >= end_us || !pipeline.backlog.borrow().has_room_to_scan(id);
        if !more || looks && ends() {
            break;
        }
    }
    let count = marked.len() as u64;
    sync.marked += count;
    pipeline.backlog.borrow_mut().scanned(id, Scanned { visited, marked: count });
    propagate::marked(ctx, &sync.registration.prefix, &marked);
    more
}
