//! Reads one key into its batch, and settles a key for which there is nothing to write.

use super::large_value::LargeValue;
use super::request::ReadRequest;
use super::value::{self, ReadOutcome, ReadResult, value};
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::table::Taken;
use crate::core::backlog::{Acknowledged, Backlog, Missing, item};
use crate::core::delivery::batch::Batch;
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::redis::api::access_age::AccessAge;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text, must_not_replicate};
use crate::redis::api::run_command::call_many;
use crate::redis::cluster::{self, Owner, Slots};
use crate::redis::pipeline::Pipeline;

/// Delay before a large value is tried again while another one is being read, microseconds.
const DEFERRED_US: u64 = 10_000;

/// Delay before a missing key is tried again that could not be settled, microseconds.
const UNSETTLED_US: u64 = 10_000;

/// Delay before a removed key is looked at again that no other node has taken over yet, microseconds.
const HANDED_OVER_US: u64 = 20_000;

/// Delay before a key is tried again that could not be read, microseconds.
const UNREADABLE_US: u64 = 200_000;
const UNREADABLE: &str = "the server refuses to read a key for writing it to MongoDB, as a \
     cluster that is down does; it is tried again";

/// Maximum number of short strings that one MGET reads.
const MAX_SHORT: usize = 16;

/// Reads keys into a batch.
pub struct BatchReader<'a> {
    pipeline: &'a Pipeline,
    large: &'a LargeValue,
    ctx: Ctx<'a>,
    /// The batch that is being filled.
    pub batch: &'a mut Batch,
    /// A large value is read until this time only, and the rest of it in later event-loop
    /// iterations.
    end_us: u64,
    clean: &'a mut Acknowledged,
    short: Vec<Short>,
    max_short: usize,
    /// True if every value is read in one go.
    at_once: bool,
    /// True in a cluster.
    in_cluster: bool,
    /// The slots of this node. One reader is used for a slice at most.
    slots: Slots,
}

/// A short string whose item is in the batch already, without its value.
struct Short {
    /// The index of its item.
    item: usize,
    taken: Taken,
    name: Text,
    age: AccessAge,
}

impl<'a> BatchReader<'a> {
    /// A reader that reads until `end_us`; keys that need no write are added to `clean`.
    pub fn new(
        (pipeline, large): (&'a Pipeline, &'a LargeValue),
        ctx: Ctx<'a>,
        batch: &'a mut Batch,
        end_us: u64,
        clean: &'a mut Acknowledged,
    ) -> Self {
        // In a cluster one command may not read keys of several hash slots.
        let in_cluster = cluster::is_on(ctx);
        let max_short = if in_cluster { 1 } else { MAX_SHORT };
        let (short, at_once) = (Vec::new(), false);
        BatchReader {
            pipeline,
            large,
            ctx,
            batch,
            end_us,
            clean,
            short,
            max_short,
            at_once,
            in_cluster,
            slots: Slots::default(),
        }
    }

    /// A reader for keys of a group: each value is read in one go.
    pub fn of_group(
        parts: (&'a Pipeline, &'a LargeValue),
        ctx: Ctx<'a>,
        batch: &'a mut Batch,
        clean: &'a mut Acknowledged,
    ) -> Self {
        BatchReader { at_once: true, ..BatchReader::new(parts, ctx, batch, u64::MAX, clean) }
    }

    /// Reads the taken key, whose name is at `key` in the batch's bytes, and adds it to the batch,
    /// or settles it when there is nothing to write. False when a key cannot be settled now and is
    /// tried again later.
    pub fn key(&mut self, taken: &Taken, key: Span) -> bool {
        let settled = self.one(taken, key, self.max_short > 1);
        settled && (self.short.len() < self.max_short || self.read_short())
    }

    /// Reads the remaining short strings: until then the batch is not complete. False as in
    /// [`key`](Self::key).
    pub fn finish(mut self) -> bool {
        self.read_short()
    }

    /// Reads the short strings that were put off. False as in [`key`](Self::key).
    fn read_short(&mut self) -> bool {
        let short = std::mem::take(&mut self.short);
        let mut names: Vec<_> = short.iter().map(|short| short.name.raw()).collect();
        let mut is_read = [false; MAX_SHORT];
        let Batch { items, bytes, .. } = &mut *self.batch;
        let runs = short.is_empty()
            || call_many(self.ctx, c"MGET", &mut names, |at, value| {
                let start = bytes.len();
                bytes.extend_from_slice(value);
                items[short[at].item].value = Span { start, end: bytes.len() };
                is_read[at] = true;
            });
        if runs {
            is_read[..names.len()].iter().for_each(|is_read| self.pipeline.opener.count(*is_read));
        } else {
            self.max_short = 1;
        }
        let mut alone = Vec::new();
        for (short, is_read) in short.iter().zip(is_read).rev() {
            if is_read {
                value::restore_age(&self.pipeline.opener, self.ctx, &short.name, short.age);
            } else {
                alone.push((short.taken, self.batch.items.remove(short.item).key));
            }
        }
        // The key has expired meanwhile, or MGET was renamed.
        alone.iter().rev().fold(true, |settled, (taken, key)| {
            let start = self.batch.bytes.len();
            self.batch.bytes.extend_from_within(key.range());
            let key = Span { start, end: self.batch.bytes.len() };
            self.one(taken, key, false) && settled
        })
    }

    /// Reads one key; with `defers_short`, a short string is put off until
    /// [`read_short`](Self::read_short).
    fn one(&mut self, taken: &Taken, key: Span, defers_short: bool) -> bool {
        let BatchReader { pipeline, large, ctx, ref mut batch, end_us, .. } = *self;
        let start = batch.bytes.len();
        let name = Text::new(&batch.bytes[key.range()]);
        let ReadResult { outcome, expire_ms, took_us } = match taken.kind {
            ChangeKind::Retained => {
                ReadResult { outcome: ReadOutcome::Missing, expire_ms: NO_EXPIRY, took_us: 0 }
            }
            _ if self.at_once => {
                let request = ReadRequest { defers_short, ..ReadRequest::of(&batch.registration) };
                value(&pipeline.opener, ctx, &name, request, &mut batch.bytes)
            }
            _ => {
                let request = match request((pipeline, large), batch, key, end_us) {
                    Ok(request) => ReadRequest { defers_short, ..request },
                    Err(not_before_us) => {
                        return park_slow(pipeline, batch, taken, key, not_before_us);
                    }
                };
                value(&pipeline.opener, ctx, &name, request, &mut batch.bytes)
            }
        };
        if took_us > 0 && !matches!(outcome, ReadOutcome::Unfinished(_)) {
            let now_us = clock::now_us();
            let mut backlog = pipeline.backlog.borrow_mut();
            backlog.was_read(batch.registration.db, &batch.bytes[key.range()], took_us, now_us);
        }
        let content = match outcome {
            ReadOutcome::Value(content)
                if value::all_fields_expired(content, &batch.bytes[start..]) =>
            {
                return self.missing(taken, key, expire_ms, true);
            }
            ReadOutcome::Value(content) => content,
            ReadOutcome::Short(age) => {
                self.short.push(Short { item: batch.items.len(), taken: *taken, name, age });
                Content::String
            }
            ReadOutcome::TooLarge => value::too_large(&mut batch.bytes),
            ReadOutcome::Deferred => {
                let until_us = clock::now_us() + DEFERRED_US;
                return park_slow(pipeline, batch, taken, key, until_us);
            }
            ReadOutcome::Unfinished(cursor) => {
                large.begin(pipeline, batch, taken, key, cursor, took_us);
                return true;
            }
            ReadOutcome::Unwritable(reason) => {
                batch.bytes.extend_from_slice(reason.as_bytes());
                Content::Unwritable
            }
            ReadOutcome::Unreadable => return self.unreadable(taken, key),
            ReadOutcome::Missing => return self.missing(taken, key, expire_ms, true),
            ReadOutcome::WrongType => return self.missing(taken, key, expire_ms, false),
        };
        let value = Span { start, end: batch.bytes.len() };
        batch.items.push(item(taken, key, content, value, expire_ms));
        true
    }

    /// The server refuses to read a key: it is tried again.
    fn unreadable(&mut self, taken: &Taken, key: Span) -> bool {
        let mut backlog = self.pipeline.backlog.borrow_mut();
        backlog.postpone(self.batch, taken, clock::now_us() + UNREADABLE_US);
        backlog.back_off(self.batch.registration_id, UNREADABLE);
        self.batch.bytes.truncate(key.start);
        false
    }

    /// True once the node that has the slot of a removed key writes its document.
    fn is_handed_over(&self, taken: &Taken, key: Span) -> bool {
        let mut backlog = self.pipeline.backlog.borrow_mut();
        let retained = backlog.retained(taken, clock::now_us()).cloned();
        backlog.hand_over(taken, &self.batch.bytes[key.range()], retained)
    }

    /// Settles a key that does not exist (`is_missing`), or else is of another type than the
    /// registration's.
    fn missing(&mut self, taken: &Taken, key: Span, expire_ms: i64, is_missing: bool) -> bool {
        let deletes = |kind| Backlog::on_missing(&self.batch.registration, kind) == Missing::Delete;
        let has_write = !is_missing || taken.kind == ChangeKind::Retained || deletes(taken.kind);
        let owner = if self.in_cluster && has_write {
            let name = &self.batch.bytes[key.range()];
            self.slots.owner(self.ctx, &Text::new(name), name)
        } else {
            Owner::This
        };
        if owner == Owner::Unknown {
            return self.unreadable(taken, key);
        }
        // The document belongs to another node.
        let is_ours = owner == Owner::This;
        if !is_ours && is_missing && self.at_once {
            // A group does not wait for another node.
            let mut backlog = self.pipeline.backlog.borrow_mut();
            let retained = backlog.retained(taken, clock::now_us()).cloned();
            let of = (self.batch.registration.db, &self.batch.bytes[key.range()]);
            backlog.leave_to_other(of, taken.kind, retained);
        } else if !is_ours && is_missing && !self.is_handed_over(taken, key) {
            let until_us = clock::now_us() + HANDED_OVER_US;
            return park_slow(self.pipeline, self.batch, taken, key, until_us);
        }
        let batch = &mut *self.batch;
        let mut backlog = self.pipeline.backlog.borrow_mut();
        // The read itself may have expired the key.
        let now_us = clock::now_us();
        let start = batch.bytes.len();
        if let Some(retained) = backlog.retained(taken, now_us).filter(|_| is_missing && is_ours) {
            batch.bytes.extend_from_slice(&retained.bytes);
            let value = Span { start, end: batch.bytes.len() };
            batch.items.push(item(taken, key, retained.content, value, retained.expire_ms));
            return true;
        }
        let kind = match (is_ours, is_missing) {
            (false, _) => ChangeKind::Changed,
            (true, true) => taken.kind,
            (true, false) => ChangeKind::Deleted,
        };
        let missing = Backlog::on_missing(&batch.registration, kind);
        // While replication is paused Redis hides expired keys without deleting them, so a miss
        // proves nothing, and the acknowledgement of a key that needs no write could not be
        // replicated. It is tried again later.
        let is_certain = missing == Missing::Delete && kind != ChangeKind::MaybeDeleted;
        if !is_certain && must_not_replicate() {
            backlog.postpone(batch, taken, now_us + UNSETTLED_US);
            batch.bytes.truncate(key.start);
            return false;
        }
        if backlog.changed_since(taken, now_us) {
            backlog.requeue(taken);
            batch.bytes.truncate(key.start);
            return false;
        }
        match missing {
            Missing::Delete => {
                let nothing = Span { start, end: start };
                batch.items.push(item(taken, key, Content::Tombstone, nothing, expire_ms));
            }
            Missing::Keep => {
                backlog.skip(batch.registration_id, &Taken { kind, ..*taken }, now_us, self.clean);
                batch.bytes.truncate(key.start);
            }
        }
        true
    }
}

/// The read request for the key, or until when it must not be read, microseconds.
fn request(
    (pipeline, large): (&Pipeline, &LargeValue),
    batch: &Batch,
    key: Span,
    end_us: u64,
) -> Result<ReadRequest, u64> {
    let backlog = pipeline.backlog.borrow();
    let (db, name) = (batch.registration.db, &batch.bytes[key.range()]);
    let not_before_us = backlog.slow_keys.not_before_us(db, name);
    if not_before_us > 0 && not_before_us > clock::now_us() {
        return Err(not_before_us);
    }
    let end_us = if backlog.slow_keys.is_hot(db, name) {
        Some(u64::MAX)
    } else if large.is_in_progress() {
        // Only one large value is read at a time.
        None
    } else {
        Some(end_us)
    };
    Ok(ReadRequest { end_us, ..ReadRequest::of(&batch.registration) })
}

fn park_slow(
    pipeline: &Pipeline,
    batch: &mut Batch,
    taken: &Taken,
    key: Span,
    until_us: u64,
) -> bool {
    pipeline.backlog.borrow_mut().park_slow(batch, taken, until_us);
    batch.bytes.truncate(key.start);
    true
}
