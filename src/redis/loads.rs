//! WB.LOAD: stores the documents that the worker has read, a slice at a time.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;

use super::api::context::{Ctx, NOT_NOW, PAUSED_US, Text, must_not_replicate};
use super::api::{clock, log, memory, raw};
use super::cluster;
use super::pipeline::Pipeline;
use super::read::value;
use super::replication::propagate;
use super::slice::ClientTime;
use super::store::{NotStored, store};
use crate::core::backlog::loads::LoadFigures;
use crate::core::backlog::stream_words::LoadedValue;
use crate::core::delivery::page::{LoadMessage, Page, PageItem, ReadFailure};
use crate::core::hash_slot;
use crate::core::ids::{Db, LoadId, RegistrationId};
use crate::core::mapping::value::{Content, NO_EXPIRY};
use crate::core::registration::printable::printable;

/// Under heavy load of clients a slice takes so long, and the next one begins so much later, microseconds: the
/// server thread sleeps between them, because the processor is short.
const HEAVY_SLICE_US: u64 = 60;
const REST_US: u64 = 900;
/// Keys between two looks at the memory in use.
const CHECK_KEYS: usize = 16;
/// A load stops when so much of `maxmemory` is in use, in thousandths: what it stores is no reason to evict.
const MEMORY: u32 = 980;
/// Pause while the cluster is down, microseconds.
const STALL_US: u64 = 100_000;
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
    /// While the cluster is down, when storing is tried again, microseconds.
    stalls_us: Cell<u64>,
    /// In a cluster, the slots that this node had when a load began: what is read of other slots may be older
    /// than what their former node has written.
    slots: RefCell<HashMap<LoadId, Vec<RangeInclusive<u16>>>>,
    /// Loads that have ended while nothing was stored; replicas must know.
    ended: RefCell<Vec<RegistrationId>>,
}

#[derive(Debug)]
struct Waiting {
    load: LoadId,
    page: Page,
    /// The next item.
    next: usize,
    counts: LoadFigures,
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
                let counts = LoadFigures::default();
                self.waiting.borrow_mut().push_back(Waiting { load, page, next: 0, counts });
            }
            Err(failure) => {
                self.ended.borrow_mut().extend(backlog.load_failed(load, failure, clock::now_us()));
                self.slots.borrow_mut().remove(&load);
            }
        }
    }

    /// When [`step`](Self::step) has something to do, microseconds; `u64::MAX` for never.
    pub fn due_us(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> u64 {
        let due_us = if self.waiting.borrow().is_empty() && self.ended.borrow().is_empty() {
            pipeline.backlog.borrow().loads_due_us()
        } else if pipeline.client_time.is_heavy() {
            self.rests_us.get().max(self.stalls_us.get())
        } else {
            self.stalls_us.get()
        };
        if due_us != u64::MAX && !may_store(ctx) {
            return due_us.max(clock::now_us() + PAUSED_US);
        }
        due_us
    }

    /// Begins loads that are due, and stores for one slice. True if anything was stored.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, now_us: u64) -> bool {
        if !may_store(ctx) {
            if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0 {
                self.drop_pages(pipeline);
            }
            return false;
        }
        for id in self.ended.take() {
            replicate_progress(pipeline, ctx, id);
        }
        while let Some(request) = { pipeline.backlog.borrow_mut().next_load(now_us) } {
            if cluster::is_on(ctx) {
                self.slots.borrow_mut().insert(request.load, cluster::served_slots(ctx));
            }
            say(pipeline, LoadMessage::Begin(request));
        }
        if now_us < self.stalls_us.get() {
            return false;
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
                self.end(pipeline, waiting.load);
                continue;
            };
            has_stored = true;
            let slots = self.slots.borrow().get(&waiting.load).cloned();
            let Some(mut store) = PageStore::new(pipeline, ctx, id, slots) else { continue };
            let progress = store.run(&mut waiting, end_us);
            store.replicate();
            if progress == Progress::Stalled {
                self.stalls_us.set(clock::now_us() + STALL_US);
            }
            if progress != Progress::Done {
                self.waiting.borrow_mut().push_front(waiting);
                return true;
            }
            let load = waiting.load;
            if store.end(waiting) {
                self.end(pipeline, load);
            } else {
                say(pipeline, LoadMessage::More(load));
            }
        }
    }

    /// A replica stores nothing; when it is promoted, its loads go on after what has been stored.
    fn drop_pages(&self, pipeline: &Pipeline) {
        let pages = self.waiting.take();
        pages.into_iter().for_each(|waiting| self.end(pipeline, waiting.load));
    }

    fn end(&self, pipeline: &Pipeline, load: LoadId) {
        self.slots.borrow_mut().remove(&load);
        say(pipeline, LoadMessage::End(load));
    }
}

/// How far the storing of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// All of it is stored, or the load has ended.
    Done,
    /// The time was up.
    More,
    /// The cluster is down.
    Stalled,
}

/// Replicates how far the load of a registration is.
fn replicate_progress(pipeline: &Pipeline, ctx: Ctx<'_>, id: RegistrationId) {
    let backlog = pipeline.backlog.borrow();
    let Some((active, load)) = backlog.registry.at(id).zip(backlog.loads.get(id)) else { return };
    let after = if load.is_pending { load.after.as_slice() } else { &[] };
    // Empty stands for the end. The documents of a view may have no `_id`.
    if load.is_pending && after.is_empty() {
        return;
    }
    ctx.select(active.registration.db);
    propagate::loading(ctx, &active.registration.prefix, load.figures.documents, after);
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
    /// In a cluster, the slots whose keys are stored.
    slots: Option<Vec<RangeInclusive<u16>>>,
    stored: Vec<Text>,
    stored_bytes: usize,
}

impl<'a> PageStore<'a> {
    fn new(
        pipeline: &'a Pipeline,
        ctx: Ctx<'a>,
        id: RegistrationId,
        slots: Option<Vec<RangeInclusive<u16>>>,
    ) -> Option<Self> {
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
            slots,
            stored: Vec::new(),
            stored_bytes: 0,
        })
    }

    /// Stores items until `end_us`.
    fn run(&mut self, waiting: &mut Waiting, end_us: u64) -> Progress {
        let Waiting { page, next, counts, .. } = waiting;
        for (at, item) in page.items.iter().enumerate().skip(*next) {
            if at % CHECK_KEYS == 0 && memory::used_of_max() >= MEMORY {
                let error = "maxmemory is nearly reached: the load has ended early".to_owned();
                self.pipeline.backlog.borrow_mut().end_load(self.id, Some(error));
                return Progress::Done;
            }
            match self.item(page, item) {
                Ok(true) => counts.loaded += 1,
                Ok(false) | Err(NotStored::Elsewhere) => counts.kept += 1,
                Err(NotStored::NotNow) => return Progress::Stalled,
                Err(NotStored::Refused(error)) => {
                    counts.failed += 1;
                    if counts.error.is_empty() {
                        counts.error = error;
                    }
                }
            }
            *next = at + 1;
            if clock::now_us() >= end_us && *next < page.items.len() {
                return Progress::More;
            }
        }
        Progress::Done
    }

    /// Stores an item. False if the document is left out.
    fn item(&mut self, page: &Page, item: &PageItem) -> Result<bool, NotStored> {
        let key = page.bytes.get(item.key.range()).unwrap_or_default();
        let bytes = page.bytes.get(item.value.range()).unwrap_or_default();
        let now_ms = clock::unix_ms();
        let expire_ms = match self.ttl_s {
            0 => item.expire_ms,
            ttl_s => i64::try_from(now_ms + ttl_s * 1000).unwrap_or(i64::MAX),
        };
        let is_over = expire_ms != NO_EXPIRY && expire_ms <= i64::try_from(now_ms).unwrap_or(0);
        // The server itself refuses a key whose slot has left since.
        let slot = || hash_slot::slot(key);
        let is_here =
            self.slots.as_ref().is_none_or(|own| own.iter().any(|own| own.contains(&slot())));
        if is_over || !is_here {
            return Ok(false);
        }
        let name = Text::new(key);
        // Looking for the key may expire it, which may be a change to be written.
        let exists = value::expiry_ms(&self.pipeline.opener, self.ctx, &name).is_some();
        let may_load = || {
            let mut backlog = self.pipeline.backlog.borrow_mut();
            backlog.may_load(self.id, self.db, key, clock::now_us())
        };
        if exists && !self.replaces || !may_load() {
            return Ok(false);
        }
        let value = (item.content, bytes);
        let stored = store(self.pipeline, self.ctx, (&name, exists), value, expire_ms);
        let (content, value) = match &stored {
            Ok(()) => value,
            // The former value is removed; so it is on replicas.
            Err(NotStored::Refused(_)) if exists => (Content::Tombstone, &[][..]),
            Err(_) => return stored.map(|()| false),
        };
        self.stored_bytes += key.len() + value.len();
        self.stored.extend(propagate::loaded_words(&LoadedValue {
            key,
            content,
            expire_ms: if content == Content::Tombstone { NO_EXPIRY } else { expire_ms },
            value,
        }));
        if self.stored_bytes >= REPLICATED_BYTES {
            self.replicate();
        }
        stored.map(|()| true)
    }

    fn replicate(&mut self) {
        if !self.stored.is_empty() {
            propagate::loaded(self.ctx, &self.stored);
            self.stored.clear();
            self.stored_bytes = 0;
        }
    }

    /// Ends a page. True if the load has ended.
    fn end(&self, waiting: Waiting) -> bool {
        let Waiting { page, counts, .. } = waiting;
        let mut backlog = self.pipeline.backlog.borrow_mut();
        backlog.page_stored(self.id, &page, counts, clock::now_us());
        let ended = backlog.loads.get(self.id).filter(|load| !load.is_pending);
        let ended = ended.map(|load| load.figures.loaded);
        drop(backlog);
        replicate_progress(self.pipeline, self.ctx, self.id);
        if let Some(loaded) = ended {
            let prefix = printable(&self.prefix);
            log::notice(&format!("load of prefix '{prefix}' has stored {loaded} keys"));
        }
        ended.is_some()
    }
}
