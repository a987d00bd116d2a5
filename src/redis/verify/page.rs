//! Keys with their values, to be compared. A large value is read in steps; if its key changes between two of them, it is
//! left out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::delivery::batch::{Batch, Item};
use crate::core::delivery::comparison::CompareRequest;
use crate::core::ids::{EntryId, RegistrationId, RunId, Version};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::registration::Registration;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::pipeline::Pipeline;
use crate::redis::read::cursor::{Progress, ValueCursor};
use crate::redis::read::request::ReadRequest;
use crate::redis::read::value::{self, ReadOutcome};

/// A batch with so many bytes is full.
const BYTES: usize = 4 << 20;

/// How far the reading of a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// All keys that were added are read.
    Ended,
    /// The batch is full.
    Full,
    /// The time was up.
    OutOfTime,
}

/// Reads keys into batches.
#[derive(Debug)]
pub struct PageReader {
    run: RunId,
    id: RegistrationId,
    registration: Arc<Registration>,
    /// Keys that are to be read.
    keys: VecDeque<Vec<u8>>,
    items: Vec<Item>,
    bytes: Vec<u8>,
    /// A large value that was read in part: its key, and where its value begins.
    partial: Option<Partial>,
    is_again: bool,
    /// Maximum number of keys of a batch.
    limit: usize,
}

#[derive(Debug)]
struct Partial {
    key: Span,
    cursor: ValueCursor,
}

impl PageReader {
    /// Without keys.
    pub fn new(run: RunId, id: RegistrationId, registration: Arc<Registration>) -> Self {
        let (keys, items, bytes) = (VecDeque::new(), Vec::new(), Vec::new());
        let (partial, is_again, limit) = (None, false, 1);
        PageReader { run, id, registration, keys, items, bytes, partial, is_again, limit }
    }

    /// A batch is full when it has so many keys.
    pub fn limit(&mut self, keys: usize) {
        self.limit = keys;
    }

    /// True if keys are to be read or sent.
    pub fn is_begun(&self) -> bool {
        !self.keys.is_empty() || !self.items.is_empty() || self.partial.is_some()
    }

    /// True if no key was read.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True if the keys have differed before.
    pub fn is_again(&self) -> bool {
        self.is_again
    }

    /// Adds keys.
    pub fn add(&mut self, keys: Vec<Vec<u8>>) {
        self.keys.extend(keys);
    }

    /// Begins a batch of keys that have differed before.
    pub fn begin_again(&mut self, keys: Vec<Vec<u8>>) {
        self.is_again = true;
        self.keys = keys.into();
    }

    /// The keys of a batch that were not read.
    pub fn take_unread(&mut self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut self.keys)
    }

    /// The batch, if there is one.
    pub fn take(&mut self) -> Option<CompareRequest> {
        let is_again = std::mem::take(&mut self.is_again);
        let batch = Batch {
            registration: Arc::clone(&self.registration),
            registration_id: self.id,
            epoch: 0,
            slow: false,
            retry: 0,
            items: std::mem::take(&mut self.items),
            groups: Vec::new(),
            bytes: std::mem::take(&mut self.bytes),
        };
        (!batch.items.is_empty()).then_some(CompareRequest { run: self.run, is_again, batch })
    }

    /// Reads keys until `end_us`.
    pub fn step(&mut self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) -> Read {
        if let Some(partial) = self.partial.take()
            && !self.go_on(pipeline, ctx, partial, end_us)
        {
            return Read::OutOfTime;
        }
        while let Some(key) = self.keys.pop_front() {
            self.key(pipeline, ctx, &key, end_us);
            if self.partial.is_some() {
                return Read::OutOfTime;
            }
            if self.items.len() >= self.limit || self.bytes.len() >= BYTES {
                return Read::Full;
            }
            if clock::now_us() >= end_us {
                return Read::OutOfTime;
            }
        }
        Read::Ended
    }

    fn key(&mut self, pipeline: &Pipeline, ctx: Ctx<'_>, key: &[u8], end_us: u64) {
        if !self.is_comparable(pipeline, key) {
            return self.leave_out(pipeline, key);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let name = Span { start, end: self.bytes.len() };
        let request = ReadRequest { end_us: Some(end_us), ..ReadRequest::of(&self.registration) };
        let read = value::value(&pipeline.opener, ctx, &Text::new(key), request, &mut self.bytes);
        // Reading it may have expired it.
        let is_comparable = self.is_comparable(pipeline, key);
        match read.outcome {
            ReadOutcome::Value(content) if is_comparable => {
                self.item(name, content, read.expire_ms)
            }
            ReadOutcome::Unfinished(cursor) if is_comparable => {
                pipeline.backlog.borrow_mut().watch_verified(key);
                self.partial = Some(Partial { key: name, cursor });
            }
            // Its document is extra, if there is one.
            ReadOutcome::Missing if is_comparable && self.is_again => {
                self.item(name, Content::Tombstone, NO_EXPIRY);
            }
            // It was removed since the scan.
            ReadOutcome::Missing => {
                self.bytes.truncate(start);
                pipeline.backlog.borrow_mut().not_again(key);
            }
            _ => {
                self.bytes.truncate(start);
                self.leave_out(pipeline, key);
            }
        }
    }

    /// Goes on with a large value. False if the time was up.
    fn go_on(
        &mut self,
        pipeline: &Pipeline,
        ctx: Ctx<'_>,
        mut partial: Partial,
        end_us: u64,
    ) -> bool {
        let Span { start, end } = partial.key;
        let key = self.bytes.get(start..end).unwrap_or_default().to_vec();
        let is_same = |reader: &Self| {
            reader.is_comparable(pipeline, &key) && pipeline.backlog.borrow().is_unwritten(&key)
        };
        let request = ReadRequest { end_us: Some(end_us), ..ReadRequest::of(&self.registration) };
        let name = Text::new(&key);
        let read = if is_same(self) {
            let out = (&mut self.bytes, end);
            value::continue_reading(&pipeline.opener, ctx, &name, &mut partial.cursor, request, out)
        } else {
            None
        };
        match read.filter(|_| is_same(self)) {
            Some((Progress::More, _)) => {
                self.partial = Some(partial);
                return false;
            }
            Some((Progress::Done, expire_ms)) => {
                self.item(partial.key, partial.cursor.content(), expire_ms);
            }
            Some((Progress::TooLarge, _)) | None => {
                self.bytes.truncate(start);
                self.leave_out(pipeline, &key);
            }
        }
        true
    }

    fn item(&mut self, key: Span, content: Content, expire_ms: i64) {
        let value = Span { start: key.end, end: self.bytes.len() };
        let (entry, version, since_us) = (EntryId(0), Version(0), 0);
        self.items.push(Item { entry, version, since_us, key, content, value, expire_ms });
    }

    fn leave_out(&self, pipeline: &Pipeline, key: &[u8]) {
        let mut backlog = pipeline.backlog.borrow_mut();
        backlog.not_again(key);
        backlog.verify_skipped(1);
    }

    fn is_comparable(&self, pipeline: &Pipeline, key: &[u8]) -> bool {
        let mut backlog = pipeline.backlog.borrow_mut();
        backlog.is_clean(self.id, self.registration.db, key, clock::now_us())
    }
}
