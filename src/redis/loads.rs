//! WB.LOAD: stores the documents that the worker has read, a slice at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::api::context::{Ctx, NOT_NOW, Text, must_not_replicate};
use super::api::memory;
use super::api::{clock, log};
use super::cluster::{self, Slots};
use super::pipeline::Pipeline;
use super::read::value;
use super::replication::propagate;
use super::slice::ClientTime;
use super::store::store;
use crate::core::backlog::loads::LoadFigures;
use crate::core::backlog::stream_words::LoadedValue;
use crate::core::delivery::page::{LoadMessage, Page, PageItem, ReadFailure};
use crate::core::ids::{Db, LoadId, RegistrationId};
use crate::core::mapping::value::NO_EXPIRY;
use crate::core::registration::printable::printable;

/// Under heavy load of clients a slice takes so long, and the next one begins so much later, microseconds: the
/// server thread sleeps between them, because the processor is short.
const HEAVY_SLICE_US: u64 = 60;
const REST_US: u64 = 900;
/// Keys between two looks at the memory in use.
const CHECK_KEYS: usize = 16;
/// A load stops when so much of `maxmemory` is in use, in thousandths: what it stores is no reason to evict.
const MEMORY: u32 = 980;
/// Values of so many bytes are replicated in one command.
const REPLICATED_BYTES: usize = 64 << 10;

/// Pages that wait to be stored.
#[derive(Debug, Default)]
pub struct Loads {
    waiting: RefCell<VecDeque<Waiting>>,
    /// The time that clients shall have before the next slice, microseconds.
    owed_us: Cell<u64>,
    /// Under heavy load of clients, when the next slice begins, microseconds.
    rests_us: Cell<u64>,
}

#[derive(Debug)]
struct Waiting {
    load: LoadId,
    page: Page,
    /// The next item.
    next: usize,
    counts: LoadFigures,
    /// The slots of this node, in a cluster.
    slots: Slots,
}

impl Loads {
    /// Takes what the worker has read.
    pub fn received(&self, pipeline: &Pipeline, load: LoadId, result: Result<Page, ReadFailure>) {
        let mut backlog = pipeline.backlog.borrow_mut();
        match result {
            Ok(page) => {
                if backlog.page_received(load).is_none() {
                    return say(pipeline, LoadMessage::End(load));
                }
                let (next, counts) = (0, LoadFigures::default());
                let waiting = Waiting { load, page, next, counts, slots: Slots::default() };
                self.waiting.borrow_mut().push_back(waiting);
            }
            Err(failure) => {
                backlog.load_failed(load, failure, clock::now_us());
            }
        }
    }

    /// When [`step`](Self::step) has something to do, microseconds; `u64::MAX` for never.
    pub fn due_us(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> u64 {
        if self.waiting.borrow().is_empty() || !may_store(ctx) {
            return pipeline.backlog.borrow().loads_due_us();
        }
        if pipeline.client_time.is_heavy() { self.rests_us.get() } else { 0 }
    }

    /// Begins loads that are due, and stores for one slice. True if anything was stored.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, now_us: u64) -> bool {
        if !may_store(ctx) {
            return false;
        }
        while let Some(request) = { pipeline.backlog.borrow_mut().next_load(now_us) } {
            say(pipeline, LoadMessage::Begin(request));
        }
        let is_heavy = pipeline.client_time.is_heavy();
        let rests = if is_heavy {
            now_us < self.rests_us.get()
        } else {
            !pipeline.client_time.pays(&self.owed_us)
        };
        if rests {
            return false;
        }
        let longest_us = pipeline.longest_slice_us();
        let slice_us =
            if is_heavy { longest_us.min(HEAVY_SLICE_US) } else { pipeline.slice_us(now_us) };
        let began_us = clock::now_us();
        let has_stored = self.store(pipeline, ctx, began_us + slice_us);
        // One slice follows the other, so clients need time between them.
        let ended_us = clock::now_us();
        self.rests_us.set(ended_us + REST_US);
        if slice_us < longest_us {
            self.owed_us.set(ClientTime::owed_us(ended_us.saturating_sub(began_us)));
        }
        has_stored
    }

    /// Stores until `end_us`. False if there was nothing to store.
    fn store(&self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) -> bool {
        let mut has_stored = false;
        loop {
            let Some(mut waiting) = self.waiting.borrow_mut().pop_front() else {
                return has_stored;
            };
            let Some(id) = pipeline.backlog.borrow().load_runs(waiting.load) else {
                say(pipeline, LoadMessage::End(waiting.load));
                continue;
            };
            has_stored = true;
            let mut store = PageStore::new(pipeline, ctx, id);
            let Some(store) = &mut store else { continue };
            let is_complete = store.run(&mut waiting, end_us);
            store.replicate();
            if !is_complete {
                self.waiting.borrow_mut().push_front(waiting);
                return true;
            }
            store.end(waiting);
        }
    }
}

fn may_store(ctx: Ctx<'_>) -> bool {
    ctx.flags() & NOT_NOW == 0 && !must_not_replicate()
}

fn say(pipeline: &Pipeline, message: LoadMessage) {
    if let Some(worker) = &*pipeline.worker.borrow() {
        worker.load(message);
    }
}

/// Stores items of one page.
struct PageStore<'a> {
    pipeline: &'a Pipeline,
    ctx: Ctx<'a>,
    id: RegistrationId,
    db: Db,
    prefix: Vec<u8>,
    replaces: bool,
    ttl_s: u64,
    in_cluster: bool,
    stored: Vec<Text>,
    stored_bytes: usize,
}

impl<'a> PageStore<'a> {
    fn new(pipeline: &'a Pipeline, ctx: Ctx<'a>, id: RegistrationId) -> Option<Self> {
        let backlog = pipeline.backlog.borrow();
        let registration = &backlog.registry.at(id)?.registration;
        let options = &backlog.loads.get(id)?.options;
        ctx.select(registration.db);
        Some(PageStore {
            pipeline,
            ctx,
            id,
            db: registration.db,
            prefix: registration.prefix.clone(),
            replaces: options.replaces,
            ttl_s: options.ttl_s,
            in_cluster: cluster::is_on(ctx),
            stored: Vec::new(),
            stored_bytes: 0,
        })
    }

    /// Stores items until `end_us`. True if there are no more, or the load has ended.
    fn run(&mut self, waiting: &mut Waiting, end_us: u64) -> bool {
        let Waiting { page, next, counts, slots, .. } = waiting;
        for (count, item) in page.items.iter().enumerate().skip(*next) {
            *next = count + 1;
            self.item(page, item, slots, counts);
            if count % CHECK_KEYS == CHECK_KEYS - 1 && memory::used_of_max() >= MEMORY {
                *next = page.items.len();
                let error = "maxmemory is nearly reached: the load has ended early".to_owned();
                self.pipeline.backlog.borrow_mut().end_load(self.id, Some(error));
                return true;
            }
            if clock::now_us() >= end_us {
                return *next == page.items.len();
            }
        }
        true
    }

    fn item(&mut self, page: &Page, item: &PageItem, slots: &Slots, counts: &mut LoadFigures) {
        let key = page.bytes.get(item.key.range()).unwrap_or_default();
        let bytes = page.bytes.get(item.value.range()).unwrap_or_default();
        let now_ms = clock::unix_ms();
        let expire_ms = match self.ttl_s {
            0 => item.expire_ms,
            ttl_s => i64::try_from(now_ms + ttl_s * 1000).unwrap_or(i64::MAX),
        };
        let is_over = expire_ms != NO_EXPIRY && expire_ms <= i64::try_from(now_ms).unwrap_or(0);
        let name = Text::new(key);
        // The server itself refuses a key whose slot has left since the page was received.
        let is_here = !self.in_cluster || slots.has(self.ctx, key);
        // Looking for the key may expire it, which may be a change to be written.
        let exists = || value::expiry_ms(&self.pipeline.opener, self.ctx, &name).is_some();
        let exists = is_here && !is_over && exists();
        let may_load = || {
            let mut backlog = self.pipeline.backlog.borrow_mut();
            backlog.may_load(self.id, self.db, key, clock::now_us())
        };
        if !is_here || is_over || exists && !self.replaces || !may_load() {
            counts.kept += 1;
            return;
        }
        let content = (item.content, bytes);
        match store(self.pipeline, self.ctx, (&name, exists), content, expire_ms) {
            Ok(()) => {
                counts.loaded += 1;
                self.stored_bytes += key.len() + bytes.len();
                self.stored.extend(propagate::loaded_words(&LoadedValue {
                    key,
                    content: item.content,
                    expire_ms,
                    value: bytes,
                }));
                if self.stored_bytes >= REPLICATED_BYTES {
                    self.replicate();
                }
            }
            Err(error) => {
                counts.failed += 1;
                if counts.error.is_empty() {
                    counts.error = error;
                }
            }
        }
    }

    fn replicate(&mut self) {
        if !self.stored.is_empty() {
            propagate::loaded(self.ctx, &self.stored);
            self.stored.clear();
            self.stored_bytes = 0;
        }
    }

    fn end(&self, waiting: Waiting) {
        let Waiting { load, page, counts, .. } = waiting;
        let mut backlog = self.pipeline.backlog.borrow_mut();
        let has_ended = backlog.page_stored(self.id, &page, counts, clock::now_us());
        let Some(of) = backlog.loads.get(self.id) else { return };
        let is_over = has_ended || !of.is_pending;
        let after = if is_over { &[][..] } else { &of.after };
        propagate::loading(self.ctx, &self.prefix, of.figures.documents, after);
        if is_over {
            let (prefix, loaded) = (printable(&self.prefix), of.figures.loaded);
            log::notice(&format!("load of prefix '{prefix}' has stored {loaded} keys"));
        }
        let message = if is_over { LoadMessage::End(load) } else { LoadMessage::More(load) };
        drop(backlog);
        say(self.pipeline, message);
    }
}
