//! Statistics of the backlog, for WB.STATUS and INFO.

use std::ffi::CStr;

use super::loads::LoadFigures;
use super::reads::counts::ReadCounts;
use super::verify::{Verify, VerifyFigures};
use super::writes::counts::WriteCounts;
use super::{ActiveRegistration, Backlog, Counters};
use crate::core::delivery::group_counts::{GroupCounts, Split};
use crate::core::delivery::lag::{Percentiles, WINDOW_US};
use crate::core::delivery::lease::LeaseState;
use crate::core::ids::RegistrationId;

/// A statistic: its name in WB.STATUS and INFO, and its value.
pub type Figure = (&'static CStr, u64);

impl Counters {
    fn figures(&self) -> [Figure; 8] {
        [
            (c"captured_total", self.captured_total),
            (c"coalesced_total", self.coalesced_total),
            (c"written_total", self.written_total),
            (c"deleted_total", self.deleted_total),
            (c"failed_total", self.failed_total),
            (c"retries_total", self.retries_total),
            (c"batches_total", self.batches_total),
            (c"bytes_total", self.bytes_total),
        ]
    }

    /// The figures at the end of the list: the lag, and the time of the last write.
    fn late(&self, lag: Percentiles) -> [Figure; 3] {
        [
            (c"lag_p50_us", lag.p50_us),
            (c"lag_p99_us", lag.p99_us),
            (c"last_write_unix_ms", self.last_write_unix_ms),
        ]
    }
}

impl ReadCounts {
    fn figures(&self) -> [Figure; 9] {
        [
            (c"reads_total", self.reads()),
            (c"read_hits_total", self.hits),
            (c"read_misses_total", self.misses),
            (c"read_hit_percent", self.hit_percent()),
            (c"read_loads_total", self.loads),
            (c"read_absent_total", self.absent),
            (c"read_failed_total", self.failed),
            (c"read_unloaded_total", self.unloaded),
            (c"evicted_total", self.evicted),
        ]
    }
}

impl WriteCounts {
    fn figures(&self) -> [Figure; 4] {
        [
            (c"through_writes_total", self.writes),
            (c"through_refused_total", self.refused),
            (c"through_timeouts_total", self.timeouts),
            (c"through_unheld_total", self.unheld),
        ]
    }
}

impl PrefixState<'_> {
    /// All figures. `percent` is the progress of a running scan in percent of the keys of the
    /// database.
    pub fn figures(&self, percent: u64) -> Vec<Figure> {
        let scans = self.active.sync_pending || self.rescan_pending;
        let mut figures = vec![
            (c"paused", u64::from(self.paused)),
            (c"dirty_keys", self.dirty_keys as u64),
            (c"in_flight_keys", self.in_flight_keys as u64),
            (c"blocked_keys", self.blocked_keys as u64),
            (c"dead_letters", self.dead_letters as u64),
            (c"resting", u64::from(self.resting)),
            (c"oldest_dirty_ms", self.oldest_dirty_ms),
            (c"rescans_pending", u64::from(self.rescan_pending)),
            (c"sync_pending", u64::from(self.active.sync_pending)),
            (c"sync_marked", self.active.scanned.marked),
            (c"sync_percent", if scans { percent } else { 100 }),
            (c"load_pending", u64::from(self.load_pending)),
            (c"load_documents", self.load.documents),
            (c"load_loaded", self.load.loaded),
            (c"load_kept", self.load.kept),
            (c"load_failed", self.load.failed),
            (c"load_rate", self.load.rate),
            (c"verify_pending", u64::from(self.verify_pending)),
            (c"verify_checked", self.verify.checked),
            (c"verify_skipped", self.verify.skipped),
            (c"verify_missing", self.verify.missing),
            (c"verify_different", self.verify.different),
            (c"verify_extra", self.verify.extra),
            (c"verify_repaired", self.verify.repaired),
            (c"verify_every", self.verify_every_s),
            (c"verify_age_ms", self.verify_age_ms),
            (c"verified_total", self.verified_total),
            (c"different_total", self.different_total),
        ];
        figures.extend(self.counters.figures());
        figures.extend(self.reads.figures());
        figures.extend([
            (c"read_p50_us", self.read_times.p50_us),
            (c"read_p99_us", self.read_times.p99_us),
        ]);
        figures.extend(self.writes.figures());
        figures.extend([
            (c"through_p50_us", self.write_times.p50_us),
            (c"through_p99_us", self.write_times.p99_us),
        ]);
        figures.extend(self.counters.late(self.lag));
        figures
    }
}

impl BacklogState<'_> {
    /// All figures.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            (c"link_since_unix_ms", self.link_since_unix_ms),
            (c"link_down_ms_total", self.link_down_ms_total),
            (c"paused", u64::from(self.paused)),
            (c"registrations", self.registrations as u64),
            (c"dirty_keys", self.dirty_keys as u64),
            (c"in_flight_keys", self.in_flight_keys as u64),
            (c"blocked_keys", self.blocked_keys as u64),
            (c"dead_letters", self.dead_letters as u64),
            (c"resting", self.resting as u64),
            (c"oldest_dirty_ms", self.oldest_dirty_ms),
            (c"rescans_pending", self.rescans_pending as u64),
            (c"syncs_pending", self.syncs_pending as u64),
        ];
        figures.extend(self.counters.figures());
        figures.extend(self.reads.figures());
        figures.extend(self.writes.figures());
        figures.extend(self.counters.late(self.lag));
        figures.extend([
            (c"readers_waiting", self.readers as u64),
            (c"writers_waiting", self.writers as u64),
            (c"verified_total", self.verified_total),
            (c"different_total", self.different_total),
            (c"memory_bytes", self.memory_bytes as u64),
            (c"lost_total", self.lost_total),
            (c"slice_max_us", self.slice_max_us),
            (c"leaving_keys", self.leaving_keys as u64),
            (c"dirty_groups", self.groups as u64),
            (c"groups_total", self.group_counts.whole),
            (c"groups_split_total", self.group_counts.split_total()),
        ]);
        figures.extend(Split::ALL.map(|why| (why.figure(), self.group_counts.split(why))));
        figures
    }
}

/// Statistics of one registration.
#[derive(Debug)]
pub struct PrefixState<'a> {
    /// The registration.
    pub active: &'a ActiveRegistration,
    /// Counters, all of them.
    pub counters: Counters,
    /// Recent lag; 0 for none measured.
    pub lag: Percentiles,
    /// Dirty keys, including those in flight.
    pub dirty_keys: usize,
    /// Keys that were read and are not acknowledged.
    pub in_flight_keys: usize,
    /// Keys in flight whose documents cannot be written at the moment.
    pub blocked_keys: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Age of the oldest change that is not acknowledged, milliseconds; 0 for none.
    pub oldest_dirty_ms: u64,
    /// True while it is paused.
    pub paused: bool,
    /// True while it has dirty keys and backs off because the namespace refuses writes.
    pub resting: bool,
    /// True if its keys must be scanned for changes that were missed past `dirty-max-bytes`.
    pub rescan_pending: bool,
    /// True until its load has ended.
    pub load_pending: bool,
    /// The progress of its current or last load.
    pub load: LoadFigures,
    /// True until its verification has ended.
    pub verify_pending: bool,
    /// The result of its current or last verification.
    pub verify: VerifyFigures,
    /// Seconds between the beginnings of two rounds of verification; 0 for none.
    pub verify_every_s: u64,
    /// The age of its last whole round of verification, milliseconds; 0 without one.
    pub verify_age_ms: u64,
    /// Keys compared with their documents.
    pub verified_total: u64,
    /// Those that were missing or different.
    pub different_total: u64,
    /// What commands looked for.
    pub reads: ReadCounts,
    /// Recent times of loads of missing keys; 0 for none.
    pub read_times: Percentiles,
    /// Commands whose clients waited for MongoDB.
    pub writes: WriteCounts,
    /// For how long clients waited recently; 0 for none.
    pub write_times: Percentiles,
}

/// Statistics of the module.
#[derive(Debug)]
pub struct BacklogState<'a> {
    /// `idle`, `up` or `down`.
    pub link: &'static str,
    /// Why it is down.
    pub link_error: &'a str,
    /// Since when the link is in this state, milliseconds since 1970; 0 while idle.
    pub link_since_unix_ms: u64,
    /// For how long it was down since the module was loaded, milliseconds.
    pub link_down_ms_total: u64,
    /// True while all registrations are paused.
    pub paused: bool,
    /// Number of registrations that capture changes.
    pub registrations: usize,
    /// Dirty keys, including those in flight.
    pub dirty_keys: usize,
    /// Keys that were read and are not acknowledged.
    pub in_flight_keys: usize,
    /// Keys in flight whose documents cannot be written at the moment.
    pub blocked_keys: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Age of the oldest change that is not acknowledged, milliseconds; 0 for none.
    pub oldest_dirty_ms: u64,
    /// Registrations whose keys must be scanned for changes that were missed.
    pub rescans_pending: usize,
    /// Registrations whose existing keys are still to be marked as dirty.
    pub syncs_pending: usize,
    /// Counters of all registrations, including removed ones.
    pub counters: Counters,
    /// Recent lag; 0 for none measured.
    pub lag: Percentiles,
    /// Registrations with dirty keys that back off because the namespace refuses writes.
    pub resting: usize,
    /// Dirty values that could not be retained before their keys were removed.
    pub lost_total: u64,
    /// The longest time for which the server thread read values or settled reports, microseconds.
    pub slice_max_us: u64,
    /// Memory of the dirty state, bytes.
    pub memory_bytes: usize,
    /// Removals that wait for another node of the cluster to take them over.
    pub leaving_keys: usize,
    /// Groups of dirty keys that are written together.
    pub groups: usize,
    /// Numbers of groups that were written.
    pub group_counts: GroupCounts,
    /// What commands looked for, of all registrations, including removed ones.
    pub reads: ReadCounts,
    /// Clients that wait for missing keys to be loaded.
    pub readers: usize,
    /// Commands whose clients waited for MongoDB, of all registrations, including removed ones.
    pub writes: WriteCounts,
    /// Clients that wait until MongoDB has what they wrote.
    pub writers: usize,
    /// Keys compared with their documents, of all registrations, including removed ones.
    pub verified_total: u64,
    /// Those that were missing or different.
    pub different_total: u64,
    /// The epoch of the lease while this server holds it; 0 otherwise.
    pub lease_epoch: u64,
}

impl Backlog {
    /// Statistics of the module at `now_us`.
    pub fn state(&self, now_us: u64) -> BacklogState<'_> {
        let mut counters = self.counted;
        (counters.captured_total, counters.coalesced_total) = self.dirty.totals();
        BacklogState {
            link: self.link.name(),
            link_error: self.link.error(),
            link_since_unix_ms: self.link.since_unix_ms(),
            link_down_ms_total: self.link.down_ms(now_us),
            paused: self.paused,
            registrations: self.registry.live_len(),
            dirty_keys: self.dirty.len() + self.log.len(),
            in_flight_keys: self.dirty.in_flight(),
            blocked_keys: self.blocked.len(),
            dead_letters: self.dead.len(),
            oldest_dirty_ms: age_ms(self.oldest_of_all_us(), now_us),
            rescans_pending: self.dirty.missing().len(),
            syncs_pending: self.registry.to_sync().len(),
            counters,
            lag: of_late(self.lag, now_us),
            resting: self.backing_off().count(),
            lost_total: self.lost_total,
            slice_max_us: self.slice_max_us,
            leaving_keys: self.handovers.unconfirmed(),
            groups: self.groups_len(),
            group_counts: self.group_counts(),
            reads: self.reads.counts,
            readers: self.reads.waiting(),
            writes: self.writes.counts,
            writers: self.writes.waiting(),
            verified_total: self.verifies.verified_total,
            different_total: self.verifies.different_total,
            lease_epoch: match self.lease.state {
                LeaseState::Held { epoch, .. } => epoch,
                _ => 0,
            },
            memory_bytes: self.dirty.memory_bytes()
                + self.log.memory_bytes()
                + self.dead.memory_bytes()
                + self.watched_letters.memory_bytes()
                + self.reads.memory_bytes()
                + self.writes.memory_bytes(),
        }
    }

    /// Statistics of the registration `id` at `now_us`.
    pub fn prefix_state(&self, id: RegistrationId, now_us: u64) -> Option<PrefixState<'_>> {
        let queue = self.dirty.queue(id);
        let oldest_us = self.oldest_us(id).into_iter().chain(self.oldest_slow_us(Some(id)));
        let oldest_us = oldest_us.chain(self.blocked.oldest_us(Some(id)));
        let oldest_us = oldest_us.chain(self.dirty.oldest_parked_us(Some(id)));
        let oldest_us = oldest_us.chain(self.contested.oldest_us(Some(id))).min();
        let active = self.active(id)?;
        let verify = self.verifies.get(id);
        Some(PrefixState {
            active,
            lag: of_late(active.lag, now_us),
            counters: self.counters(id),
            dirty_keys: queue.dirty(),
            in_flight_keys: queue.in_flight,
            blocked_keys: self.blocked.count(id),
            dead_letters: self.dead.count(id),
            oldest_dirty_ms: age_ms(oldest_us, now_us),
            paused: self.is_paused(id),
            resting: queue.dirty() > 0
                && self.backing_off.contains(&id)
                && !active.trouble.backoff.is_empty(),
            rescan_pending: self.dirty.has_missed(id),
            load_pending: self.loads.get(id).is_some_and(|load| load.is_pending),
            load: self.loads.get(id).map(|load| load.figures.clone()).unwrap_or_default(),
            verify_pending: verify.is_some_and(Verify::is_pending),
            verify: verify.map(|verify| verify.figures.clone()).unwrap_or_default(),
            verify_every_s: verify.map_or(0, |verify| verify.every_s),
            verify_age_ms: verify.map_or(0, |verify| verify.age_ms(now_us)),
            verified_total: verify.map_or(0, |verify| verify.verified_total),
            different_total: verify.map_or(0, |verify| verify.different_total),
            reads: active.reads.counts,
            read_times: active.reads.times(now_us),
            writes: active.writes.counts,
            write_times: active.writes.times(now_us),
        })
    }

    /// Time of the oldest change that is not acknowledged, microseconds. Registrations without
    /// dirty keys add no cost, however many there are.
    pub(super) fn oldest_of_all_us(&self) -> Option<u64> {
        let in_flight = self.in_flight.iter().map(|flight| flight.oldest_us);
        let waiting = self.waiting_ids().filter_map(|id| self.dirty.oldest_us(id));
        let missed = self.rescans().filter_map(|id| self.dirty.missed(id).oldest_us());
        let parked = self.oldest_slow_us(None).into_iter().chain(self.contested.oldest_us(None));
        let parked = parked.chain(self.blocked.oldest_us(None));
        let parked = parked.chain(self.dirty.oldest_parked_us(None));
        in_flight.chain(waiting).chain(missed).chain(parked).min()
    }

    fn counters(&self, id: RegistrationId) -> Counters {
        let queue = self.dirty.queue(id);
        let mut counters = self.active(id).map(|active| active.counters).unwrap_or_default();
        counters.captured_total = queue.captured_total;
        counters.coalesced_total = queue.coalesced_total;
        counters
    }

    pub(super) fn oldest_us(&self, id: RegistrationId) -> Option<u64> {
        let in_flight = self.in_flight.iter().filter(|flight| flight.registration_id == id);
        let in_flight = in_flight.map(|flight| flight.oldest_us).min();
        let waiting = self.dirty.oldest_us(id);
        let missed = self.dirty.missed(id).oldest_us();
        [in_flight, waiting, missed].into_iter().flatten().min()
    }
}

fn of_late(lag: Option<(u64, Percentiles)>, now_us: u64) -> Percentiles {
    lag.filter(|(at_us, _)| now_us < at_us + 2 * WINDOW_US).unwrap_or_default().1
}

fn age_ms(since_us: Option<u64>, now_us: u64) -> u64 {
    since_us.map_or(0, |since_us| now_us.saturating_sub(since_us) / 1000)
}
