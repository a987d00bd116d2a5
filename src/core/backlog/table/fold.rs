//! Folds the change log into the dirty table, many changes at a time.

use super::arena::{self, Place};
use super::entry;
use super::entry::State;
use super::hash::NO_FINGERPRINT;
use super::index::Home;
use super::{Dirty, DirtyKey, Moved};
use crate::core::backlog::change_log::{Change, ChangeKind, FOLD_AT, Log};
use crate::core::ids::{EntryId, RegistrationId};

/// A change that was looked up and is not marked yet.
#[derive(Clone, Copy, Default)]
struct Probe {
    /// The fingerprint of a change that [may be a no-op](entry::Entries::noop_fingerprint), else
    /// [`NO_FINGERPRINT`].
    fingerprint: u64,
    /// The hash of its key.
    hash: u32,
    /// The first entry with this hash: most likely that of the key.
    found: EntryId,
    /// Id of the registration.
    registration_id: RegistrationId,
    /// [`Change::joins`].
    joins: bool,
}

impl Dirty {
    /// Moves all changes of `log` into the table.
    ///
    /// The cost of a change is its cache misses. So the memory for a whole block is prefetched first,
    /// in loops whose loads do not depend on each other and so overlap.
    pub fn fold(&mut self, log: &mut Log, now_us: u64) {
        let now_us = now_us.max(self.latest_us);
        self.latest_us = now_us;
        let mut probes = [Probe::default(); FOLD_AT];
        let mut start = 0;
        while start < log.len() {
            let len = (log.len() - start).min(FOLD_AT);
            for (probe, change) in probes[..len].iter_mut().zip(log.changes(start)) {
                let Change { db, registration_id, kind, joins, key } = change;
                let hash = self.hashes.of(db, key);
                let fingerprint = match kind {
                    ChangeKind::Changed => hash.fingerprint(registration_id),
                    _ => NO_FINGERPRINT,
                };
                let (hash, found) = (hash.index, entry::NONE);
                *probe = Probe { fingerprint, hash, found, registration_id, joins };
            }
            let probes = &mut probes[..len];
            self.visit(probes);
            let noops = |probe: &&Probe| self.is_noop(probe) && !probe.joins;
            let noops = probes.iter().take_while(noops).count();
            for probe in &probes[..noops] {
                self.queues[usize::from(probe.registration_id)].count_noop();
            }
            if let Some(last) = probes[..noops].last() {
                self.follow(false, last.registration_id, last.found);
            }
            self.captured_total += noops as u64;
            self.coalesced_total += noops as u64;
            let mut room = self.room_bytes();
            for (probe, change) in probes[noops..].iter().zip(log.changes(start + noops)) {
                self.mark(change, probe, now_us, &mut room);
            }
            start += len;
        }
        log.clear();
    }

    /// Prefetches the memory that [`mark`](Self::mark) will need, one kind after the other, and
    /// stores the first entry of each hash in its probe.
    ///
    /// No branch in a loop depends on a value that this loop loads for the first time: a mispredicted
    /// branch would wait for the load, and the loads after it would wait for the branch.
    fn visit(&self, probes: &mut [Probe]) {
        let mut homes = [Home::default(); FOLD_AT];
        for (home, probe) in homes.iter_mut().zip(probes.iter()) {
            *home = self.index.home(probe.hash);
        }
        for (probe, home) in probes.iter_mut().zip(homes) {
            probe.found = self.index.first(probe.hash, home).map_or(entry::NONE, EntryId);
        }
        if self.groups.len() > 0 {
            let joining = probes.iter().filter(|probe| probe.joins && probe.found != entry::NONE);
            let links = joining.map(|probe| self.groups.of(probe.found).map_or(0, |of| of.0));
            std::hint::black_box(links.fold(0, |all, group| all ^ group));
        }
        let mut changed = [EntryId(0); FOLD_AT];
        let mut count = 0;
        for probe in probes.iter().filter(|probe| probe.found != entry::NONE) {
            changed[count] = probe.found;
            count += usize::from(!self.is_noop(probe));
        }
        if count > 0 {
            self.visit_keys(&changed[..count]);
        }
    }

    /// True if the change is a no-op: the entry found is that of the key, and a further change does
    /// not change it.
    #[inline]
    fn is_noop(&self, probe: &Probe) -> bool {
        probe.fingerprint != NO_FINGERPRINT
            && probe.found != entry::NONE
            && self.entries.noop_fingerprint(probe.found) == probe.fingerprint
    }

    /// Prefetches these entries and their keys, at most [`FOLD_AT`].
    fn visit_keys(&self, ids: &[EntryId]) {
        let mut places = [(RegistrationId(0), Place::default()); FOLD_AT];
        for (place, id) in places.iter_mut().zip(ids) {
            let entry = self.entries.at(*id);
            *place = (entry.registration_id, entry.place());
        }
        let mut keys = [&[][..]; FOLD_AT];
        for (key, (registration_id, place)) in keys.iter_mut().zip(&places[..ids.len()]) {
            *key = self.arenas[usize::from(*registration_id)].stored(*place);
        }
        std::hint::black_box(keys.iter().fold(0, |all, key| all ^ arena::prefetch(key)));
    }

    /// Prefetches the memory that [`acknowledge`](Self::acknowledge) will need for these entries,
    /// at most [`FOLD_AT`].
    pub fn visit_entries(&self, ids: impl Iterator<Item = EntryId>) {
        let mut hashes = [0u32; FOLD_AT];
        let mut count = 0;
        for (hash, id) in hashes.iter_mut().zip(ids) {
            if let Some(entry) = self.entries.get(id) {
                let key = self.arenas[usize::from(entry.registration_id)].key(entry.place());
                *hash = self.hash(entry.db, key);
            }
            count += 1;
        }
        let homes = hashes[..count].iter().map(|hash| self.index.home(*hash));
        std::hint::black_box(homes.fold(0, |all, home| all ^ home.bits()));
    }

    /// Marks the key of a change as dirty, after its look-up.
    fn mark(&mut self, change: Change<'_>, probe: &Probe, now_us: u64, room: &mut i64) {
        let Probe { hash, found, fingerprint, .. } = *probe;
        if change.kind == ChangeKind::ExpiryOnly {
            self.pass(change.joins);
            return self.look_again(change, hash);
        }
        let registration_id = usize::from(change.registration_id);
        self.captured_total += 1;
        if self.is_noop(probe) {
            self.coalesced_total += 1;
            self.queues[registration_id].count_noop();
            return self.follow(change.joins, change.registration_id, found);
        }
        self.queues[registration_id].captured_total += 1;
        self.version = self.version.next();
        let likely =
            (found != entry::NONE && self.is_key(found, change.db, change.key)).then_some(found);
        let Some(id) = likely.or_else(|| self.find(hash, change.db, change.key)) else {
            let Change { db, registration_id, kind, joins, key } = change;
            if self.must_miss(registration_id, kind, key, room) {
                self.lose(joins, registration_id);
                return self.miss(registration_id, now_us);
            }
            let kind = settled(kind);
            let new = DirtyKey {
                db,
                registration_id,
                kind,
                since_us: now_us,
                key,
                retained: None,
                group: None,
            };
            let id = self.insert(hash, new);
            self.note_noop(id, change.registration_id, fingerprint);
            self.note_newly_dirty(id);
            return self.follow(joins, change.registration_id, id);
        };
        self.mark_again(id, change, now_us);
        self.note_noop(id, change.registration_id, fingerprint);
        self.follow(change.joins, change.registration_id, id);
    }

    /// Marks a key that is already dirty.
    fn mark_again(&mut self, id: EntryId, change: Change<'_>, now_us: u64) {
        let registration_id = usize::from(change.registration_id);
        let entry = self.entries.at(id);
        // No batch in flight has read the key, so its version need not change. Without a store the
        // cache line stays clean.
        let same = (entry.kind, entry.registration_id) == (change.kind, change.registration_id);
        if same && entry.state != State::InFlight && change.kind != ChangeKind::Retained {
            self.queues[registration_id].coalesced_total += 1;
            self.coalesced_total += 1;
            return;
        }
        let version = self.version;
        let entry = self.entries.at_mut(id);
        entry.version = version;
        let earlier = std::mem::replace(&mut entry.kind, settled(change.kind));
        if earlier == ChangeKind::Retained {
            self.retained.remove(id);
        }
        // A key without a value was not checked.
        let anew = entry.state == State::InFlight
            || earlier == ChangeKind::Retained
            || !earlier.may_hold_value();
        if anew || change.kind == ChangeKind::ExpiryMayHaveChanged {
            self.note_newly_dirty(id);
        }
        let entry = self.entries.at_mut(id);
        match entry.state {
            State::InFlight => {
                entry.state = State::InFlightAgain;
                entry.since_us = now_us;
            }
            _ => {
                self.queues[registration_id].coalesced_total += 1;
                self.coalesced_total += 1;
            }
        }
        if self.entries.at(id).registration_id != change.registration_id {
            self.change_registration(id, change.registration_id);
        }
    }

    /// Records, after a change of entry `id` in `registration_id`, that a further change would be a
    /// no-op: the key is dirty, or in flight and already marked as changed.
    fn note_noop(&mut self, id: EntryId, registration_id: RegistrationId, fingerprint: u64) {
        let entry = self.entries.at(id);
        if (entry.kind, entry.registration_id) == (ChangeKind::Changed, registration_id) {
            self.entries.set_noop_fingerprint(id, fingerprint);
        }
    }

    /// The time to live of a key may have changed. A clean key needs no write for that.
    fn look_again(&mut self, change: Change<'_>, hash: u32) {
        let id = self.find(hash, change.db, change.key);
        if let Some(id) = id {
            self.note_newly_dirty(id);
        }
    }

    /// Moves the key to another registration, to which its next write belongs.
    fn change_registration(&mut self, id: EntryId, registration_id: RegistrationId) {
        let entry = *self.entries.at(id);
        let (old, new) = (usize::from(entry.registration_id), usize::from(registration_id));
        self.moved.push(Moved {
            entry: id,
            registration_id: entry.registration_id,
            since_us: entry.since_us,
        });
        if entry.state == State::Dirty {
            self.unlink(entry.registration_id, id);
            self.push(registration_id, id);
        } else {
            self.queues[old].in_flight -= 1;
            self.queues[new].in_flight += 1;
        }
        self.rehome(id, entry, registration_id);
        self.entries.at_mut(id).registration_id = registration_id;
    }
}

/// The kind that is stored: a new time to live matters only for tracking, and it is irrelevant that a
/// scan found the key.
fn settled(kind: ChangeKind) -> ChangeKind {
    if matches!(kind, ChangeKind::ExpiryMayHaveChanged | ChangeKind::Found) {
        ChangeKind::Changed
    } else {
        kind
    }
}
