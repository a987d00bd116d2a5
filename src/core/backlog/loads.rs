//! Loads: documents that WB.LOAD brings into Redis. A key that came from MongoDB is dirty nowhere.
//!
//! Redis is the newer side: a key that is dirty, that has a dead letter, or that was written while its
//! document was read, is left as it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Backlog, KeyList};
use crate::core::delivery::page::{LoadRequest, Page, ReadFailure};
use crate::core::ids::{Db, LoadId, RegistrationId};
use crate::core::registration::args::load::LoadOptions;
use crate::core::registration::{KeyType, OnRemoval, Registration};

/// Pages for which a key that was written stays: MongoDB sends up to 16 MiB at a time, which may become many pages.
const WRITTEN_PAGES: u64 = 64;
/// Loads that run at a time; the others wait. Each has a few pages in memory.
const AT_ONCE: usize = 2;
/// Pause before a load that failed is tried again, microseconds.
const AGAIN_US: u64 = 1_000_000;

/// A load that was asked for.
#[derive(Debug)]
pub struct Load {
    /// Its options.
    pub options: LoadOptions,
    /// The last document that was stored, as in `LoadRequest::after`.
    pub after: Vec<u8>,
    /// Its progress.
    pub figures: LoadFigures,
    /// True until it has ended.
    pub is_pending: bool,
    /// Its number while the worker reads.
    running: Option<LoadId>,
    /// When the worker is asked, microseconds.
    due_us: u64,
    /// Keys that were written while pages were on their way, with the page that was received last.
    written: HashMap<Vec<u8>, u64>,
    /// Number of pages received.
    pages: u64,
    /// True if its error is why it was interrupted.
    has_failed: bool,
}

/// The progress of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadFigures {
    /// Documents that were read.
    pub documents: u64,
    /// Keys that were stored.
    pub loaded: u64,
    /// Documents that were left out: Redis has the key, or something newer to write, or another node has it.
    pub kept: u64,
    /// Documents that no value can hold, or that the server does not take.
    pub failed: u64,
    /// Why the load waits or has ended early, or why the first document failed; empty if all is well.
    pub error: String,
    /// Documents read per second, since the load began here.
    pub rate: u64,
    began_us: u64,
    counted: u64,
}

/// All loads, by their registrations.
#[derive(Debug, Default)]
pub struct Loads {
    by_registration: HashMap<RegistrationId, Load>,
    next: LoadId,
}

impl Loads {
    /// The current or the last load of a registration.
    pub fn get(&self, id: RegistrationId) -> Option<&Load> {
        self.by_registration.get(&id)
    }

    /// A number that no load has had.
    pub(super) fn take_number(&mut self) -> LoadId {
        self.next = LoadId(self.next.0 + 1);
        self.next
    }

    /// The loads that have not ended.
    pub fn pending(&self) -> impl Iterator<Item = (RegistrationId, &Load)> {
        let all = self.by_registration.iter();
        all.filter(|(_, load)| load.is_pending).map(|(id, load)| (*id, load))
    }

    /// The registration of a load that the worker reads.
    fn running(&self, load: LoadId) -> Option<RegistrationId> {
        self.pending().find(|(_, of)| of.running == Some(load)).map(|(id, _)| id)
    }

    /// The options of registrations have changed, or other data was loaded: what the worker reads is of no use
    /// any more.
    pub(super) fn begin_epoch(&mut self) {
        self.by_registration.values_mut().for_each(Load::stop);
    }

    /// The registration has other options, which its load follows from now on.
    pub(super) fn changed(&mut self, id: RegistrationId) {
        if let Some(load) = self.by_registration.get_mut(&id) {
            load.stop();
            load.after.clear();
            load.figures.documents = 0;
        }
    }

    /// Number of loads that the worker reads.
    fn running_len(&self) -> usize {
        self.pending().filter(|(_, load)| load.running.is_some()).count()
    }

    /// A key has changed: what is read of it at present may be older.
    pub(super) fn see_written(&mut self, id: RegistrationId, key: &[u8]) {
        if let Some(load) = self.by_registration.get_mut(&id).filter(|load| load.running.is_some())
        {
            load.written.insert(key.to_vec(), load.pages);
        }
    }

    pub(super) fn remove(&mut self, id: RegistrationId) {
        self.by_registration.remove(&id);
    }

    pub(super) fn clear(&mut self) {
        self.by_registration.clear();
    }
}

impl Load {
    fn new(options: LoadOptions) -> Self {
        Load {
            options,
            after: Vec::new(),
            figures: LoadFigures::default(),
            is_pending: true,
            running: None,
            due_us: 0,
            written: HashMap::new(),
            pages: 0,
            has_failed: false,
        }
    }

    fn stop(&mut self) {
        self.running = None;
        self.due_us = 0;
        self.written.clear();
    }

    /// True if the load goes on after the last document, and does not begin again.
    fn resumes(&self) -> bool {
        self.options.sort.is_empty()
    }
}

impl Backlog {
    /// Begins a load, in place of the last one of the registration.
    ///
    /// # Errors
    /// One sentence if its documents cannot become values.
    pub fn begin_load(&mut self, id: RegistrationId, options: LoadOptions) -> Result<(), String> {
        let registration = self.active(id).map(|active| Arc::clone(&active.registration));
        let deletes = |of: &Registration| of.on_expire == OnRemoval::Delete;
        if options.ttl_s > 0 && registration.as_deref().is_some_and(deletes) {
            return Err(
                "WB.LOAD takes no TTL for a prefix with ONEXPIRE DELETE: the documents would \
                        be deleted when the keys expire"
                    .to_owned(),
            );
        }
        if registration.is_some_and(|of| of.key_type == KeyType::Any) {
            return Err(
                "WB.LOAD takes a prefix that was registered with a TYPE other than ANY: a \
                        document does not tell what kind of key it was"
                    .to_owned(),
            );
        }
        self.loads.by_registration.insert(id, Load::new(options));
        Ok(())
    }

    /// Ends the load of a registration. True if there was one.
    pub fn cancel_load(&mut self, id: RegistrationId) -> bool {
        let Some(load) = self.loads.by_registration.get_mut(&id).filter(|load| load.is_pending)
        else {
            return false;
        };
        load.is_pending = false;
        load.stop();
        "the load was cancelled".clone_into(&mut load.figures.error);
        true
    }

    /// The next load that the worker is to begin; nothing while MongoDB is not reached.
    pub fn next_load(&mut self, now_us: u64) -> Option<LoadRequest> {
        if self.link.name() != "up" || self.loads.running_len() >= AT_ONCE {
            return None;
        }
        let is_due = |load: &Load| load.running.is_none() && load.due_us <= now_us;
        let id = self.loads.pending().find(|(_, load)| is_due(load))?.0;
        let registration = self.registry.at(id)?.registration.clone();
        let running = self.loads.take_number();
        let load = self.loads.by_registration.get_mut(&id)?;
        load.running = Some(running);
        (load.figures.began_us, load.figures.counted) = (now_us, 0);
        let LoadOptions { filter, sort, limit, .. } = load.options.clone();
        if !load.resumes() {
            load.after.clear();
            load.figures.documents = 0;
        }
        let read = if limit == 0 { 0 } else { load.figures.documents.min(limit - 1) };
        let after = load.after.clone();
        let limit = limit - read;
        let keys_only = false;
        Some(LoadRequest { load: running, registration, filter, sort, limit, after, keys_only })
    }

    /// When a load is due, microseconds; `u64::MAX` for never.
    pub fn loads_due_us(&self) -> u64 {
        let waiting = self.loads.pending().filter(|(_, load)| load.running.is_none());
        let due_us = waiting.map(|(_, load)| load.due_us).min();
        let may_begin = self.link.name() == "up" && self.loads.running_len() < AT_ONCE;
        due_us.filter(|_| may_begin).unwrap_or(u64::MAX)
    }

    /// The registration of a page that was received; `None` if the load has ended.
    pub fn page_received(&mut self, of: LoadId) -> Option<RegistrationId> {
        let id = self.loads.running(of)?;
        let load = self.loads.by_registration.get_mut(&id)?;
        load.pages += 1;
        if std::mem::take(&mut load.has_failed) {
            load.figures.error.clear();
        }
        Some(id)
    }

    /// The registration whose pages are to be stored; `None` if the load has ended.
    pub fn load_runs(&self, of: LoadId) -> Option<RegistrationId> {
        self.loads.running(of)
    }

    /// Keys have become clean: what is read of them at present may be older.
    pub fn loads_see_written(&mut self, keys: &KeyList) {
        if self.loads.pending().next().is_none() {
            return;
        }
        for (db, key) in keys.iter() {
            let Some(id) = self.registry.route(db, key) else { continue };
            self.loads.see_written(id, key);
        }
    }

    /// True if MongoDB has the last state of a key of `id`, as far as the backlog knows.
    pub fn is_clean(&mut self, id: RegistrationId, db: Db, key: &[u8], now_us: u64) -> bool {
        self.fold_logged(|| now_us);
        self.registry.route(db, key) == Some(id)
            && self.dirty.kind_of(db, key).is_none()
            && self.dead.find(db, key).is_none()
            && self.maybe_missed(db, key).is_none()
            && !self.handovers.has(db, key)
            && !self.is_indeterminate(db, key)
    }

    /// True if a document may be stored as `key`, as far as the backlog knows.
    pub fn may_load(&mut self, id: RegistrationId, db: Db, key: &[u8], now_us: u64) -> bool {
        self.is_clean(id, db, key, now_us)
            && self.loads.get(id).is_some_and(|load| !load.written.contains_key(key))
    }

    /// A page was stored. Returns true if it was the last.
    pub fn page_stored(
        &mut self,
        id: RegistrationId,
        page: &Page,
        counts: LoadFigures,
        now_us: u64,
    ) -> bool {
        let Some(load) = self.loads.by_registration.get_mut(&id) else { return false };
        let figures = &mut load.figures;
        figures.documents += page.documents;
        figures.counted += page.documents;
        figures.loaded += counts.loaded;
        figures.kept += counts.kept;
        figures.failed += counts.failed + page.unloadable;
        let errors = [&counts.error].into_iter().chain(&page.error);
        match errors.into_iter().find(|error| !error.is_empty()) {
            Some(error) if figures.error.is_empty() => error.clone_into(&mut figures.error),
            _ => {}
        }
        let took_us = now_us.saturating_sub(figures.began_us).max(1);
        figures.rate = figures.counted.saturating_mul(1_000_000) / took_us;
        if !page.last.is_empty() {
            load.after.clone_from(&page.last);
        }
        // Pages on their way were read after those that are stored now.
        let oldest = load.pages.saturating_sub(WRITTEN_PAGES);
        load.written.retain(|_, pages| *pages >= oldest);
        if page.is_last {
            self.end_load(id, None);
        }
        page.is_last
    }

    /// Ends a load; with an error, early.
    pub fn end_load(&mut self, id: RegistrationId, error: Option<String>) {
        let Some(load) = self.loads.by_registration.get_mut(&id) else { return };
        load.is_pending = false;
        load.stop();
        if let Some(error) = error {
            load.figures.error = error;
        }
    }

    /// The documents of a load could not be read. Returns the registration if the load has ended.
    pub fn load_failed(
        &mut self,
        of: LoadId,
        failure: ReadFailure,
        now_us: u64,
    ) -> Option<RegistrationId> {
        let id = self.loads.running(of)?;
        if failure.is_permanent {
            self.end_load(id, Some(failure.error));
            return Some(id);
        }
        let load = self.loads.by_registration.get_mut(&id)?;
        load.stop();
        load.due_us = now_us + AGAIN_US;
        load.has_failed = true;
        load.figures.error = failure.error;
        None
    }

    /// Another server has loaded the documents of a registration up to `after`, or all.
    pub(super) fn load_progress(&mut self, id: RegistrationId, documents: u64, after: &[u8]) {
        let Some(load) = self.loads.by_registration.get_mut(&id) else { return };
        load.figures.documents = documents;
        if after.is_empty() {
            load.is_pending = false;
        }
        load.after = after.to_vec();
    }

    /// A saved load.
    pub(super) fn restore_load(
        &mut self,
        id: RegistrationId,
        options: LoadOptions,
        documents: u64,
        after: &[u8],
    ) {
        let mut load = Load::new(options);
        load.figures.documents = documents;
        load.after = after.to_vec();
        self.loads.by_registration.insert(id, load);
    }
}
