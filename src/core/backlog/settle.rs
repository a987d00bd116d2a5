//! Settles finished batches: acknowledges, requeues or dead-letters each key.

use std::iter::Peekable;

use super::{ActiveRegistration, Backlog, Flight, KeyList, Refused};
use crate::core::backlog::change_log::FOLD_AT;
use crate::core::backlog::flush_waiters::KeyEnd;
use crate::core::backlog::table::{Settled, Taken};
use crate::core::delivery::batch::{Batch, Item, Link, Verdict, Written};
use crate::core::delivery::report::Report;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::Content;
use crate::core::now::Now;

/// Outcomes that must be propagated to replicas and the AOF.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Keys that became clean.
    pub keys: KeyList,
    /// New dead letters, of clean or dirty keys.
    pub dead: Vec<Refused>,
    /// Database and key of dirty keys whose dead letters were removed, because MongoDB acknowledged
    /// an earlier change.
    pub resolved: Vec<(Db, Vec<u8>)>,
}

impl Acknowledged {
    /// True if there is nothing to propagate.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.dead.is_empty() && self.resolved.is_empty()
    }

    /// Number of keys to propagate.
    pub fn len(&self) -> usize {
        self.keys.len() + self.dead.len() + self.resolved.len()
    }

    /// Removes all entries, and keeps the memory of the keys.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.dead.clear();
        self.resolved.clear();
    }
}

/// The entry of the item `index` in a list in ascending order. Entries of earlier items and
/// duplicates are skipped.
fn next_of<T>(
    list: &mut Peekable<impl Iterator<Item = T>>,
    index: usize,
    index_of: impl Fn(&T) -> usize,
) -> Option<T> {
    let mut found = None;
    while let Some(next) = list.next_if(|next| index_of(next) <= index) {
        if index_of(&next) == index && found.is_none() {
            found = Some(next);
        }
    }
    found
}

impl Backlog {
    /// Settles one report of the worker. Keys that became clean are added to `clean`.
    #[cfg(test)]
    pub fn report(&mut self, report: Report, now: Now, clean: &mut Acknowledged) {
        let rest = self.report_part(report, usize::MAX, now, clean);
        debug_assert!(rest.is_none());
    }

    /// Settles one report of the worker, or the next `most` keys of a written batch. Keys that
    /// became clean are added to `clean`. Returns the rest of the report, which must be settled
    /// before any other report.
    pub fn report_part(
        &mut self,
        report: Report,
        most: usize,
        now: Now,
        clean: &mut Acknowledged,
    ) -> Option<Report> {
        // Changes that are still in the log keep their keys dirty.
        self.fold_logged(|| now.us);
        match report {
            Report::Credit(more) => self.in_flight.credits += i64::from(more),
            Report::SlowCredit(more) => self.in_flight.slow_credits += i64::from(more),
            Report::Slow { registration_id: id, registration, slow } => {
                let same = |active: &&ActiveRegistration| {
                    active.registration.is_same_prefix(&registration)
                };
                if !slow {
                    self.slow_registrations.remove(&id);
                } else if self.active(id).filter(same).is_some() {
                    self.slow_registrations.insert(id);
                }
            }
            Report::GroupCredit(more) => self.in_flight.group_credits += i64::from(more),
            Report::Groups(counts) => self.count_groups(&counts),
            Report::Sessions(sessions) => self.sessions.set(sessions, true),
            Report::Lease(state) => self.lease.report(state),
            Report::Link(link) => {
                if let Link::Down { error } = &link {
                    error.clone_into(&mut self.link_error);
                }
                self.link.change(link, now);
                self.reads_lose_link(now.us);
                self.writes_lose_link();
            }
            // Handled by the caller: for the clients of WB.CHECK and of missing keys, for WB.LOAD and WB.VERIFY.
            Report::Checked { .. }
            | Report::Page { .. }
            | Report::Found { .. }
            | Report::Compared(..) => {}
            Report::Times(times) => self.times = *times,
            Report::Lag { of: None, lag } => self.lag = Some((now.us, lag)),
            Report::Lag { of: Some((id, registration)), lag } => {
                let same = |active: &&mut ActiveRegistration| {
                    active.registration.is_same_prefix(&registration)
                };
                if let Some(active) = self.active_mut(id).filter(same) {
                    active.lag = Some((now.us, lag));
                }
            }
            Report::Done { batch, verdict } => {
                return self.done(batch, verdict, most, now, clean);
            }
        }
        None
    }

    fn done(
        &mut self,
        batch: Batch,
        mut verdict: Verdict,
        most: usize,
        now: Now,
        clean: &mut Acknowledged,
    ) -> Option<Report> {
        if matches!(verdict, Verdict::Returned { indeterminate: true, .. }) {
            self.record_indeterminate(&batch);
        }
        if !self.in_flight.is_current(&batch) {
            self.in_flight.stale_ended();
            self.in_flight.recycle(batch);
            return None;
        }
        match &mut verdict {
            Verdict::Written(written) => {
                if written.settled < batch.items.len() {
                    self.written(&batch, written, most, now, clean);
                }
                if written.settled == batch.items.len() && !written.contested.is_empty() {
                    let failed = self.settle_contested(&batch, written, most, now, clean);
                    self.count(batch.registration_id, |counters| counters.failed_total += failed);
                }
                if written.settled < batch.items.len() || !written.contested.is_empty() {
                    return Some(Report::Done { batch, verdict });
                }
            }
            Verdict::Returned { error, hold_ms, .. } => {
                let until_us = now.us + *hold_ms * 1000;
                match (batch.items.as_slice(), *hold_ms) {
                    (_, 0) => error.clone_into(&mut self.link_error),
                    ([_], _) if batch.retry > 0 => {}
                    _ => self.back_off(batch.registration_id, error),
                }
                match batch.items.as_slice() {
                    [item] if batch.retry > 0 => self.block(&batch, item, error, until_us),
                    items => self.returned(&batch, items.iter().rev(), until_us),
                }
            }
        }
        self.contested.batch_ended(&batch);
        self.departed_with(&batch);
        let flight = Flight::of(&batch);
        self.in_flight.ended(flight);
        self.dirty.reschedule(batch.registration_id);
        self.retire_if_done(batch.registration_id);
        self.in_flight.recycle(batch);
        None
    }

    /// Acknowledges a key that was taken and needs no write, unless it has changed since.
    pub fn skip(
        &mut self,
        id: RegistrationId,
        taken: &Taken,
        now_us: u64,
        clean: &mut Acknowledged,
    ) {
        self.fold_logged(|| now_us);
        self.contested.forget(taken.entry);
        let mut skipped = None;
        let settled = self.dirty.acknowledge(taken.entry, taken.version, |db, key| {
            skipped = Some((db, key.to_vec()));
        });
        let mut refused = None;
        if let Some((db, key)) = skipped {
            self.forget_indeterminate(db, &key);
            self.handovers.stays(db, &key);
            self.blocked.remove(taken.entry);
            refused = self.expire_retried_letter(taken, db, &key);
            if refused.is_none() {
                clean.keys.push(db, &key);
            }
        }
        let reason = refused.as_ref().map(|refused| &*refused.letter.reason);
        self.notify_waiters(
            id,
            (taken.entry, taken.version, taken.since_us),
            settled,
            reason,
            now_us,
        );
        clean.dead.extend(refused);
        self.retire_if_done(id);
    }

    /// Applies an acknowledgement from the replication stream or the AOF.
    pub(super) fn forget(&mut self, db: Db, key: &[u8]) {
        let id = self.dirty.forget(db, key);
        self.clear_letter(db, key);
        if let Some(id) = id {
            self.retire_if_done(id);
        }
    }

    /// Settles the next `most` items of a written batch.
    fn written(
        &mut self,
        batch: &Batch,
        written: &mut Written,
        most: usize,
        now: Now,
        clean: &mut Acknowledged,
    ) {
        let start = written.settled;
        let items = batch.items.get(start..).unwrap_or_default();
        let items = &items[..most.min(items.len())];
        written.settled += items.len();
        let end = written.settled;
        let all_held = written.held.take();
        let (all, held_because) =
            all_held.as_ref().map_or((&[][..], ""), |held| (&held.items[..], &held.because));
        let part = all.partition_point(|index| *index < start);
        let mut held = all.iter().skip(part).copied().peekable();
        let part = written.refused.partition_point(|refusal| refusal.index < end);
        let mut refused = written.refused.drain(..part).peekable();
        let first = written.contested.partition_point(|refusal| refusal.index < start);
        let mut contested = written.contested[first..].iter().peekable();
        let part = written.blocked.partition_point(|blocked| blocked.index < end);
        let mut blocked = written.blocked.drain(..part).peekable();
        let blocked_us = now.us + written.blocked_ms * 1000;
        let part = written.returned.partition_point(|index| *index < start);
        let mut returned = written.returned.iter().skip(part).copied().peekable();
        let mut counts = [0u64; 3];
        let mut retries = 0;
        for (index, item) in (start..).zip(items) {
            if (index - start).is_multiple_of(FOLD_AT) {
                let next = items[index - start..].iter().take(FOLD_AT);
                self.dirty.visit_entries(next.map(|item| item.entry));
            }
            // Reads the next entries of all lists, so that a duplicate entry never hides a later
            // item.
            let is_returned = next_of(&mut returned, index, |returned| *returned).is_some();
            let blocked = next_of(&mut blocked, index, |blocked| blocked.index);
            let refusal = next_of(&mut refused, index, |refusal| refusal.index);
            let is_contested = next_of(&mut contested, index, |refusal| refusal.index).is_some();
            if is_returned {
                continue;
            }
            if next_of(&mut held, index, |held| *held).is_some() {
                self.hold_item(batch, index, held_because, (now.us, blocked_us));
                retries = 1;
                continue;
            }
            if let Some(blocked) = blocked {
                self.block(batch, item, &blocked.reason, blocked_us);
                retries = 1;
                continue;
            }
            self.blocked.remove(item.entry);
            if is_contested {
                continue;
            }
            self.schedule_rewrite(batch, item, now.us);
            match &refusal {
                Some(_) => self.contested.forget(item.entry),
                None => self.contested_written(batch, item),
            }
            let refused = refusal.map(|refusal| self.refuse(batch, item, refusal, now.unix_ms, 1));
            let settled = self.dirty.acknowledge(item.entry, item.version, |db, key| {
                if refused.is_none() {
                    clean.keys.push(db, key);
                }
            });
            self.notify_waiters(
                batch.registration_id,
                (item.entry, item.version, item.since_us),
                settled,
                refused.as_ref().map(|refused| &*refused.letter.reason),
                now.us,
            );
            match refused {
                Some(refused) => {
                    counts[2] += 1;
                    clean.dead.push(refused);
                }
                None => {
                    counts[usize::from(item.content == Content::Tombstone)] += 1;
                    let (db, key) = (batch.registration.db, batch.key(item));
                    if self.resolve_dead_letter(batch.registration_id, db, key)
                        && settled != Settled::Clean
                    {
                        clean.resolved.push((db, key.to_vec()));
                    }
                }
            }
        }
        drop((refused, blocked));
        written.held = all_held;
        if counts[0] + counts[1] > 0 {
            self.contested.wrote();
            self.schedule_letter_retry(&batch.registration.namespace);
        }
        let is_last = written.settled == batch.items.len();
        if is_last && !written.error.is_empty() {
            let items = written.returned.iter().filter_map(|index| batch.items.get(*index));
            self.returned(batch, items.rev(), now.us + written.hold_ms * 1000);
        }
        self.count(batch.registration_id, |counters| {
            counters.written_total += counts[0];
            counters.deleted_total += counts[1];
            counters.failed_total += counts[2];
            counters.retries_total += retries;
            if counts[0] + counts[1] > 0 {
                counters.last_write_unix_ms = now.unix_ms;
            }
            if is_last {
                counters.batches_total += 1;
                counters.bytes_total += written.sent_bytes;
            }
        });
        // A batch of which nothing was sent does not prove that the namespace accepts writes.
        if is_last && !written.error.is_empty() {
            self.back_off(batch.registration_id, &written.error);
        } else if is_last && written.sent_bytes > 0 {
            self.end_back_off(batch.registration_id);
        }
    }

    /// Requeues items, which must be passed from the last to the first, so that the oldest is first.
    fn returned<'i>(&mut self, batch: &Batch, items: impl Iterator<Item = &'i Item>, hold_us: u64) {
        for item in items {
            self.dirty.requeue_front(item.entry, item.since_us);
        }
        self.count(batch.registration_id, |counters| counters.retries_total += 1);
        if let Some(active) = self.active_mut(batch.registration_id) {
            active.hold_us = hold_us;
        }
        self.dirty.reschedule(batch.registration_id);
    }

    /// Tells flushes and clients of MODE THROUGH that a write of a key has ended; `refused` is the reason if MongoDB
    /// has refused it.
    pub(super) fn notify_waiters(
        &mut self,
        id: RegistrationId,
        (entry, version, since_us): (EntryId, Version, u64),
        settled: Settled,
        refused: Option<&str>,
        now_us: u64,
    ) {
        let again_us = match settled {
            Settled::Clean => None,
            Settled::ChangedAgain(since_us) => Some(since_us),
            Settled::Unknown => return,
        };
        self.contested.ended(id, since_us, again_us);
        let persisted = refused.is_none();
        self.waiters.ended(KeyEnd { entry, registration_id: id, since_us, again_us, persisted });
        self.end_writes(entry, (version, settled), refused, now_us);
    }
}
