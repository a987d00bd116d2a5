//! WB.VERIFY: reads clean keys, a slice at a time, has them compared with their documents, and marks what differs.

mod page;
mod walk;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use self::page::{PageReader, Read};
use self::walk::Walk;
use super::api::context::{Ctx, NOT_NOW, PAUSED_US, Text, must_not_replicate};
use super::api::{clock, log, raw};
use super::pipeline::Pipeline;
use super::read::value;
use super::replication::propagate;
use super::slice::ClientTime;
use crate::core::backlog::verify::Running;
use crate::core::delivery::comparison::{CompareRequest, Compared};
use crate::core::delivery::page::{LoadMessage, LoadRequest, Page, ReadFailure};
use crate::core::ids::{LoadId, RunId};
use crate::core::registration::Registration;
use crate::core::registration::printable::printable;

/// Batches that the worker compares at a time.
const AT_ONCE: usize = 2;
/// As for WB.LOAD: the length of a slice under heavy load of clients, and the rest after it, microseconds.
const HEAVY_SLICE_US: u64 = 60;
const REST_US: u64 = 900;
/// Keys of a batch, also under heavy load of clients: MongoDB and the worker take processor time from them.
const KEYS: usize = 1000;
const HEAVY_KEYS: usize = 50;
/// Under heavy load there is one batch at a time, and so many times as long none as it took.
const HEAVY_REST: u64 = 6;

/// What the worker has compared, or why it could not.
type Comparison = Result<Box<Compared>, ReadFailure>;

/// The run of WB.VERIFY that is under way.
#[derive(Debug, Default)]
pub struct Verification {
    state: RefCell<Option<State>>,
    /// What has come from the worker.
    compared: RefCell<VecDeque<(RunId, Comparison)>>,
    /// The time that clients shall have before the next slice, microseconds.
    owed_us: Cell<u64>,
    /// Under heavy load of clients, or if a round has more time, when the next slice begins, microseconds.
    rests_us: Cell<u64>,
}

#[derive(Debug)]
struct State {
    running: Running,
    registration: Arc<Registration>,
    walk: Walk,
    page: PageReader,
    /// Batches that the worker compares.
    out: usize,
    /// When the last one was sent, microseconds.
    sent_us: u64,
    /// The listing of all documents, with FULL, once all keys are compared.
    listing: Option<LoadId>,
    /// Documents that were listed.
    listed: VecDeque<Page>,
    is_listed: bool,
}

impl Verification {
    /// Takes what the worker has compared.
    pub fn compared(&self, run: RunId, result: Comparison) {
        self.compared.borrow_mut().push_back((run, result));
    }

    /// True if the worker lists documents by this number for the run.
    pub fn lists(&self, load: LoadId) -> bool {
        self.state.borrow().as_ref().is_some_and(|state| state.listing == Some(load))
    }

    /// Takes documents that were listed.
    pub fn listed(&self, pipeline: &Pipeline, result: Result<Page, ReadFailure>) {
        let mut state = self.state.borrow_mut();
        let Some(state) = &mut *state else { return };
        match result {
            Ok(page) => {
                state.is_listed = page.is_last;
                state.listed.push_back(page);
            }
            Err(failure) => {
                let error = Some(failure.error);
                pipeline.backlog.borrow_mut().end_run(state.running.run, error, clock::now_us());
            }
        }
    }

    /// When [`step`](Self::step) has something to do, microseconds; `u64::MAX` for never.
    pub fn due_us(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> u64 {
        let state = self.state.borrow();
        let backlog = pipeline.backlog.borrow();
        let due_us = match &*state {
            None => backlog.verifies_due_us(),
            Some(_) if !self.compared.borrow().is_empty() || backlog.compares_again() => 0,
            Some(state) if state.out >= AT_ONCE || backlog.verifies.is_busy() => u64::MAX,
            Some(state) if state.has_more() => self.rests_us.get(),
            Some(state) if state.out > 0 || !backlog.verifies.is_settled() => u64::MAX,
            // Documents are being listed.
            Some(state) if state.listing.is_some() && !state.is_listed => u64::MAX,
            Some(_) => 0,
        };
        if due_us != u64::MAX && !may_mark(ctx) {
            return due_us.max(clock::now_us() + PAUSED_US);
        }
        due_us
    }

    /// Works for one slice. True if there was anything to do.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, now_us: u64) -> bool {
        if !may_mark(ctx) {
            return false;
        }
        self.begin(pipeline, now_us);
        let mut state = self.state.borrow_mut();
        let Some(of) = &mut *state else {
            self.compared.borrow_mut().clear();
            return false;
        };
        if pipeline.backlog.borrow().verifies.running() != Some(of.running) {
            // It was cancelled, or the registration has other options.
            of.stop(pipeline);
            *state = None;
            return true;
        }
        ctx.select(of.registration.db);
        let mut worked = self.settle(pipeline, ctx, of);
        let is_heavy = pipeline.client_time.is_heavy();
        let rests =
            now_us < self.rests_us.get() || !is_heavy && !pipeline.client_time.pays(&self.owed_us);
        let (at_once, keys) = if is_heavy { (1, HEAVY_KEYS) } else { (AT_ONCE, KEYS) };
        if !rests && of.out < at_once {
            of.page.limit(keys);
            let longest_us = pipeline.longest_slice_us();
            let slice_us =
                if is_heavy { longest_us.min(HEAVY_SLICE_US) } else { pipeline.slice_us(now_us) };
            let began_us = clock::now_us();
            let has_sent = of.read(pipeline, ctx, began_us + slice_us);
            let ended_us = clock::now_us();
            let pace_us = if has_sent { of.pace_us(ctx) } else { 0 };
            self.rests_us.set(ended_us + pace_us.max(if is_heavy { REST_US } else { 0 }));
            if slice_us < longest_us {
                self.owed_us.set(ClientTime::owed_us(ended_us.saturating_sub(began_us)));
            }
            worked = true;
        }
        if of.is_done(pipeline) {
            end(pipeline, of);
            *state = None;
        }
        worked
    }

    fn begin(&self, pipeline: &Pipeline, now_us: u64) {
        if self.state.borrow().is_some() {
            return;
        }
        let mut backlog = pipeline.backlog.borrow_mut();
        let Some(running) = backlog.next_run(now_us) else { return };
        let Some(active) = backlog.registry.at(running.id) else { return };
        let registration = Arc::clone(&active.registration);
        self.rests_us.set(0);
        *self.state.borrow_mut() = Some(State {
            running,
            walk: Walk::new(),
            page: PageReader::new(running.run, running.id, Arc::clone(&registration)),
            registration,
            out: 0,
            sent_us: 0,
            listing: None,
            listed: VecDeque::new(),
            is_listed: false,
        });
    }

    /// Handles what was compared. True if there was anything.
    fn settle(&self, pipeline: &Pipeline, ctx: Ctx<'_>, of: &mut State) -> bool {
        let mut worked = false;
        loop {
            let Some((run, result)) = self.compared.borrow_mut().pop_front() else { return worked };
            if run != of.running.run {
                continue;
            }
            worked = true;
            of.out = of.out.saturating_sub(1);
            let now_us = clock::now_us();
            if pipeline.client_time.is_heavy() {
                let rest_us = HEAVY_REST * now_us.saturating_sub(of.sent_us);
                self.rests_us.set(self.rests_us.get().max(now_us + rest_us));
            }
            let mut backlog = pipeline.backlog.borrow_mut();
            match result {
                Err(failure) => backlog.end_run(run, Some(failure.error), now_us),
                Ok(compared) => {
                    let keys = backlog.compared(&compared, now_us);
                    keys.iter().for_each(|key| backlog.repair(of.running.id, key, now_us));
                    drop(backlog);
                    let keys: Vec<Text> = keys.iter().map(|key| Text::new(key)).collect();
                    propagate::marked(ctx, &of.registration.prefix, &keys);
                }
            }
        }
    }
}

impl State {
    /// True if keys or documents are left that were not looked at.
    fn has_more(&self) -> bool {
        !self.walk.is_done() || self.page.is_begun() || !self.listed.is_empty()
    }

    fn is_done(&self, pipeline: &Pipeline) -> bool {
        let backlog = pipeline.backlog.borrow();
        match backlog.verifies.running() {
            Some(running) if running == self.running => {
                let listed = !self.running.full || self.is_listed;
                listed && !self.has_more() && self.out == 0 && backlog.verifies.is_settled()
            }
            // It has failed.
            _ => true,
        }
    }

    /// Reads keys until `end_us` or until a batch is full, and sends it. True if one was sent.
    fn read(&mut self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) -> bool {
        // A large value that was read in part comes first.
        if !self.page.is_begun() {
            let again =
                pipeline.backlog.borrow_mut().compare_again(self.registration.db, clock::now_us());
            if !again.is_empty() {
                self.page.begin_again(again);
            }
        }
        if pipeline.backlog.borrow().verifies.is_busy() && !self.page.is_again() {
            return false;
        }
        loop {
            let read = self.page.step(pipeline, ctx, end_us);
            if read == Read::Full
                || read == Read::Ended && !self.page.is_empty() && self.walk.is_done()
            {
                return self.send(pipeline);
            }
            if read == Read::OutOfTime || clock::now_us() >= end_us {
                return false;
            }
            if self.page.is_again() {
                // All keys to be compared again were read.
                return self.send(pipeline);
            }
            if !self.walk.is_done() {
                let keys = self.walk.next(ctx, |key| {
                    pipeline.backlog.borrow().registry.route(self.registration.db, key)
                        == Some(self.running.id)
                });
                self.page.add(keys);
                continue;
            }
            return self.page_of_documents(pipeline, ctx, end_us);
        }
    }

    fn send(&mut self, pipeline: &Pipeline) -> bool {
        if self.page.is_again() {
            // The others do not fit into the batch.
            let mut backlog = pipeline.backlog.borrow_mut();
            for key in self.page.take_unread() {
                backlog.not_again(&key);
                backlog.suspect(&key);
            }
        }
        let request: Option<CompareRequest> = self.page.take();
        let Some(request) = request else { return false };
        let worker = pipeline.worker.borrow();
        if worker.as_ref().is_some_and(|worker| worker.compare(request)) {
            self.out += 1;
            self.sent_us = clock::now_us();
        }
        true
    }

    /// With FULL, looks for the keys of documents until `end_us`. True if there were any.
    fn page_of_documents(&mut self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) -> bool {
        if !self.running.full {
            return false;
        }
        if self.listing.is_none() {
            let load = pipeline.backlog.borrow_mut().list_documents();
            self.listing = Some(load);
            let registration = Arc::clone(&self.registration);
            let nothing = Vec::new;
            let (filter, sort, after) = (nothing(), nothing(), nothing());
            let request =
                LoadRequest { load, registration, filter, sort, limit: 0, after, keys_only: true };
            say(pipeline, LoadMessage::Begin(request));
            return false;
        }
        let db = self.registration.db;
        let Some(mut page) = self.listed.pop_front() else { return false };
        while let Some(item) = page.items.pop() {
            let key = page.bytes.get(item.key.range()).unwrap_or_default();
            let is_missing = value::expiry_ms(&pipeline.opener, ctx, &Text::new(key)).is_none();
            let mut backlog = pipeline.backlog.borrow_mut();
            if is_missing && backlog.is_clean(self.running.id, db, key, clock::now_us()) {
                backlog.suspect(key);
            }
            drop(backlog);
            if clock::now_us() >= end_us && !page.items.is_empty() {
                self.listed.push_front(page);
                return true;
            }
        }
        if let Some(load) = self.listing.filter(|_| !page.is_last) {
            say(pipeline, LoadMessage::More(load));
        }
        true
    }

    /// How long a batch rests so that the round takes the time that it has, microseconds.
    fn pace_us(&self, ctx: Ctx<'_>) -> u64 {
        let batches = self.walk.keys(ctx) / KEYS as u64 + 1;
        // Somewhat faster, so that the round ends in time.
        (self.running.round_us / batches / 2).min(1_000_000)
    }

    fn stop(&self, pipeline: &Pipeline) {
        if let Some(load) = self.listing.filter(|_| !self.is_listed) {
            say(pipeline, LoadMessage::End(load));
        }
    }
}

fn end(pipeline: &Pipeline, of: &State) {
    of.stop(pipeline);
    let mut backlog = pipeline.backlog.borrow_mut();
    backlog.end_run(of.running.run, None, clock::now_us());
    if of.running.round_us > 0 {
        return;
    }
    let Some(figures) = backlog.verifies.get(of.running.id).map(|of| of.figures.clone()) else {
        return;
    };
    drop(backlog);
    let prefix = printable(&of.registration.prefix);
    let (checked, missing, different) = (figures.checked, figures.missing, figures.different);
    log::notice(&format!(
        "verification of prefix '{prefix}': {checked} keys compared, {missing} without documents, {different} with \
         different ones, {} documents without keys, {} keys marked to be written",
        figures.extra, figures.repaired
    ));
}

fn may_mark(ctx: Ctx<'_>) -> bool {
    ctx.flags() & (NOT_NOW | raw::REDISMODULE_CTX_FLAGS_SLAVE) == 0 && !must_not_replicate()
}

fn say(pipeline: &Pipeline, message: LoadMessage) {
    if let Some(worker) = &*pipeline.worker.borrow() {
        worker.load(message);
    }
}
