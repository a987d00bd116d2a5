//! Stores the documents of keys that clients wait for, a slice at a time, and asks for the next ones.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::core::backlog::reads::{Fate, LoadEnd};
use crate::core::backlog::stream_words::LoadedValue;
use crate::core::delivery::page::{Found, PageItem, ReadFailure};
use crate::core::ids::{FindId, RegistrationId};
use crate::core::mapping::value::NO_EXPIRY;
use crate::core::registration::ReadThrough;
use crate::redis::api::context::{Ctx, NOT_NOW, PAUSED_US, Text, must_not_replicate};
use crate::redis::api::key::signal_change;
use crate::redis::api::{clock, memory, raw};
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;
use crate::redis::store::{NotStored, store};

/// Nothing is loaded when so much of `maxmemory` is in use although the server evicts, in thousandths.
const MEMORY: u32 = 1_020;
const NO_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory': a key that Redis does not have \
                         cannot be loaded from MongoDB.";
const MOVING: &str =
    "TRYAGAIN the hash slot of the key is moving to another node: send the command again";
/// Values of so many bytes are replicated in one command.
const REPLICATED_BYTES: usize = 64 << 10;

/// What MongoDB has returned, and is not stored.
#[derive(Debug, Default)]
pub struct Finds(RefCell<VecDeque<Pending>>);

#[derive(Debug)]
struct Pending {
    find: FindId,
    found: Found,
    /// The next item.
    next: usize,
}

impl Finds {
    /// Takes what the worker has read.
    pub fn received(&self, pipeline: &Pipeline, find: FindId, result: Result<Found, ReadFailure>) {
        let mut backlog = pipeline.backlog.borrow_mut();
        match result {
            Ok(found) => {
                backlog.find_received(find);
                self.0.borrow_mut().push_back(Pending { find, found, next: 0 });
            }
            Err(failure) => backlog.find_failed(find, &failure, clock::now_us()),
        }
    }

    /// When [`step`](Self::step) has something to do, microseconds; `u64::MAX` for never.
    pub fn due_us(&self, pipeline: &Pipeline) -> u64 {
        let held_us = pipeline.backlog.borrow().reads_due_us();
        let has_stored_all = self.0.borrow().is_empty();
        match must_not_replicate() {
            true if has_stored_all && !pipeline.backlog.borrow().has_reads() => held_us,
            true => held_us.min(clock::now_us() + PAUSED_US),
            false if has_stored_all => held_us,
            false => 0,
        }
    }

    /// Stores for one slice, and asks for what is wanted. True if anything was stored.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, now_us: u64) -> bool {
        if ctx.flags() & NOT_NOW != 0 {
            if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0 {
                self.0.borrow_mut().clear();
            }
            return false;
        }
        pipeline.backlog.borrow_mut().release_reads(now_us);
        if must_not_replicate() {
            // Nothing is asked for that could not be stored.
            return false;
        }
        let has_stored = self.store(pipeline, ctx, now_us);
        while let Some((db, key)) = { pipeline.backlog.borrow_mut().take_unloaded() } {
            ctx.select(db);
            signal_change(ctx, &Text::new(&key));
        }
        let worker = pipeline.worker.borrow();
        let Some(worker) = &*worker else { return has_stored };
        while let Some(request) = { pipeline.backlog.borrow_mut().next_find() } {
            worker.find(request);
        }
        has_stored
    }

    fn store(&self, pipeline: &Pipeline, ctx: Ctx<'_>, now_us: u64) -> bool {
        let Some(mut pending) = self.0.borrow_mut().pop_front() else { return false };
        let end_us = now_us + pipeline.longest_slice_us();
        loop {
            let find = pending.find;
            let of = pipeline.backlog.borrow().find_registration(find);
            if let Some((id, db, options)) = of {
                ctx.select(db);
                let mut store =
                    FindStore { pipeline, ctx, id, options, find, stored: Vec::new(), bytes: 0 };
                let is_done = store.run(&mut pending, end_us);
                store.replicate();
                if !is_done {
                    self.0.borrow_mut().push_front(pending);
                    return true;
                }
                store.end(&pending.found);
            }
            match self.0.borrow_mut().pop_front() {
                Some(next) => pending = next,
                None => return true,
            }
        }
    }
}

/// Stores the documents of one find.
struct FindStore<'a> {
    pipeline: &'a Pipeline,
    ctx: Ctx<'a>,
    id: RegistrationId,
    options: ReadThrough,
    find: FindId,
    stored: Vec<Text>,
    bytes: usize,
}

impl FindStore<'_> {
    /// Stores until `end_us`. True if all is stored.
    fn run(&mut self, pending: &mut Pending, end_us: u64) -> bool {
        let items = pending.found.page.items.len();
        while let Some(item) = pending.found.page.items.get(pending.next) {
            let bytes = &pending.found.page.bytes;
            let key = bytes.get(item.key.range()).unwrap_or_default();
            let value = bytes.get(item.value.range()).unwrap_or_default();
            self.item(item, key, value);
            pending.next += 1;
            if pending.next < items && clock::now_us() >= end_us {
                return false;
            }
        }
        true
    }

    fn item(&mut self, item: &PageItem, key: &[u8], value: &[u8]) {
        // First: looking for the key may expire it, which may be a change that the document does not have.
        let name = Text::new(key);
        let exists = self.pipeline.opener.open(self.ctx, &name).is_some();
        let now_us = clock::now_us();
        let fate = self.pipeline.backlog.borrow_mut().read_fate(self.id, self.find, key, now_us);
        if fate == Fate::Drop {
            return;
        }
        let end = if exists { LoadEnd::Unknown } else { self.load(item, key, &name, value) };
        self.pipeline.backlog.borrow_mut().end_read(self.id, key, end, clock::now_us());
    }

    fn load(&mut self, item: &PageItem, key: &[u8], name: &Text, value: &[u8]) -> LoadEnd {
        let now_ms = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
        let expire_ms = match self.options.ttl_s {
            0 => item.expire_ms,
            ttl_s => now_ms.saturating_add(lifetime_ms(ttl_s, self.options.jitter_percent)),
        };
        if expire_ms != NO_EXPIRY && expire_ms <= now_ms {
            return LoadEnd::Absent;
        }
        if !self.has_memory() {
            return LoadEnd::Failed(NO_MEMORY.to_owned());
        }
        let content = (item.content, value);
        match store(self.pipeline, self.ctx, (name, false), content, expire_ms) {
            Ok(()) => {}
            Err(NotStored::Refused(error)) => return LoadEnd::Failed(format!("WBREFUSED {error}")),
            Err(NotStored::Elsewhere) => return LoadEnd::Failed(MOVING.to_owned()),
            Err(NotStored::NotNow) => {
                return LoadEnd::Failed("CLUSTERDOWN Hash slot not served".to_owned());
            }
        }
        self.bytes += key.len() + value.len();
        let content = item.content;
        self.stored.extend(propagate::loaded_words(&LoadedValue {
            key,
            content,
            expire_ms,
            value,
        }));
        if self.bytes >= REPLICATED_BYTES {
            self.replicate();
        }
        LoadEnd::Stored
    }

    /// True if the server has memory for one more key. One that evicts keys does so before its next command.
    fn has_memory(&self) -> bool {
        let flags = self.ctx.flags();
        flags & raw::REDISMODULE_CTX_FLAGS_OOM == 0
            || flags & raw::REDISMODULE_CTX_FLAGS_EVICT != 0 && memory::used_of_max() < MEMORY
    }

    fn replicate(&mut self) {
        if !self.stored.is_empty() {
            propagate::loaded(self.ctx, &self.stored);
            self.stored.clear();
            self.bytes = 0;
        }
    }

    /// Ends the find: with errors for documents that no value can hold.
    fn end(&self, found: &Found) {
        let now_us = clock::now_us();
        let mut backlog = self.pipeline.backlog.borrow_mut();
        for (key, why) in &found.refused {
            if backlog.read_fate(self.id, self.find, key, now_us) == Fate::Store {
                let error = format!(
                    "WBREFUSED the document of a key that Redis does not have cannot be loaded: {why}"
                );
                backlog.end_read(self.id, key, LoadEnd::Failed(error), now_us);
            }
        }
        backlog.find_ended(self.find, found.page.is_last, now_us);
    }
}

/// How long a loaded key lives, milliseconds: `ttl_s`, more or less by up to so many percent.
fn lifetime_ms(ttl_s: u64, jitter_percent: u8) -> i64 {
    let ttl_ms = ttl_s.saturating_mul(1000);
    let spread = ttl_ms / 100 * u64::from(jitter_percent);
    let lifetime_ms = ttl_ms - spread + fastrand::u64(0..=2 * spread);
    i64::try_from(lifetime_ms.max(1)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_by_the_jitter() {
        assert_eq!(lifetime_ms(60, 0), 60_000);
        let all: Vec<i64> = (0..1000).map(|_| lifetime_ms(60, 10)).collect();
        assert!(all.iter().all(|ms| (54_000..=66_000).contains(ms)));
        assert!(all.iter().min() < Some(&55_000) && all.iter().max() > Some(&65_000));
        assert!((0..1000).all(|_| lifetime_ms(1, 100) >= 1));
    }
}
