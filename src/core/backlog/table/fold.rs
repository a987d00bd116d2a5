//! Into the dirty set: changes are folded in, many at a time.

use super::arena::{self, Place};
use super::entry;
use super::entry::State;
use super::hash::NO_FINGERPRINT;
use super::index::Home;
use super::{Dirty, DirtyKey, Moved};
use crate::core::backlog::change_log::{Change, FOLD_AT, Log, Touch};

/// What is known of a change before it is marked.
#[derive(Clone, Copy, Default)]
struct Look {
    /// What makes it [quiet](entry::Entries::quiet), if anything does.
    fingerprint: u64,
    /// Of its key.
    hash: u32,
    /// The entry that the hash leads to: most likely that of the key.
    found: u32,
    /// Slot of the registration.
    slot: u16,
}

impl Dirty {
    /// Moves all changes of `log` into the set.
    ///
    /// The cost of a change is its cache misses. So the places of a whole block are visited
    /// first, in loops whose loads do not depend on each other and so overlap.
    pub fn fold(&mut self, log: &mut Log, now_us: u64) {
        let now_us = now_us.max(self.latest_us);
        self.latest_us = now_us;
        let mut looks = [Look::default(); FOLD_AT];
        let mut start = 0;
        while start < log.len() {
            let len = (log.len() - start).min(FOLD_AT);
            for (look, change) in looks[..len].iter_mut().zip(log.changes(start)) {
                let Change { db, slot, touch, key } = change;
                let hash = self.hashes.of(db, key);
                let fingerprint = match touch {
                    Touch::Changed => hash.fingerprint(slot),
                    _ => NO_FINGERPRINT,
                };
                *look = Look { fingerprint, hash: hash.index, found: entry::NONE, slot };
            }
            let looks = &mut looks[..len];
            self.visit(looks);
            let quiet = looks.iter().take_while(|look| self.is_quiet(look)).count();
            for look in &looks[..quiet] {
                self.queues[usize::from(look.slot)].changed_quietly();
            }
            self.captured_total += quiet as u64;
            self.coalesced_total += quiet as u64;
            let mut room = self.room_bytes();
            for (look, change) in looks[quiet..].iter().zip(log.changes(start + quiet)) {
                self.mark(change, look, now_us, &mut room);
            }
            start += len;
        }
        log.clear();
    }

    /// Touches what [`mark`](Self::mark) will need, one kind of place after the other, and puts
    /// down the entry that each hash leads to.
    ///
    /// Nothing in a loop is decided by what that loop loads for the first time: a branch that was
    /// guessed wrongly would wait for the load, and the loads after it would wait for the branch.
    fn visit(&self, looks: &mut [Look]) {
        let mut homes = [Home::default(); FOLD_AT];
        for (home, look) in homes.iter_mut().zip(looks.iter()) {
            *home = self.index.home(look.hash);
        }
        for (look, home) in looks.iter_mut().zip(homes) {
            look.found = self.index.first(look.hash, home).unwrap_or(entry::NONE);
        }
        let mut loud = [0; FOLD_AT];
        let mut count = 0;
        for look in looks.iter().filter(|look| look.found != entry::NONE) {
            loud[count] = look.found;
            count += usize::from(!self.is_quiet(look));
        }
        if count > 0 {
            self.visit_keys(&loud[..count]);
        }
    }

    /// Whether another change of the key changes nothing of the entry that was found, which is its
    /// own.
    #[inline]
    fn is_quiet(&self, look: &Look) -> bool {
        look.fingerprint != NO_FINGERPRINT
            && look.found != entry::NONE
            && self.entries.quiet(look.found) == look.fingerprint
    }

    /// Touches these entries and their keys, [`FOLD_AT`] of them at most.
    fn visit_keys(&self, ids: &[u32]) {
        let mut places = [(0u16, Place::default()); FOLD_AT];
        for (place, id) in places.iter_mut().zip(ids) {
            let entry = self.entries.at(*id);
            *place = (entry.slot, entry.place());
        }
        let mut keys = [&[][..]; FOLD_AT];
        for (key, (slot, place)) in keys.iter_mut().zip(&places[..ids.len()]) {
            *key = self.arenas[usize::from(*slot)].stored(*place);
        }
        std::hint::black_box(keys.iter().fold(0, |all, key| all ^ arena::touch(key)));
    }

    /// Touches what [`acknowledge`](Self::acknowledge) will need for these entries, [`FOLD_AT`] of
    /// them at most.
    pub fn visit_entries(&self, ids: impl Iterator<Item = u32>) {
        let mut hashes = [0u32; FOLD_AT];
        let mut count = 0;
        for (hash, id) in hashes.iter_mut().zip(ids) {
            if let Some(entry) = self.entries.get(id) {
                let key = self.arenas[usize::from(entry.slot)].key(entry.place());
                *hash = self.hash(entry.db, key);
            }
            count += 1;
        }
        let homes = hashes[..count].iter().map(|hash| self.index.home(*hash));
        std::hint::black_box(homes.fold(0, |all, home| all ^ home.bits()));
    }

    /// Marks a key whose hash, and the entry that it most likely has, are known.
    fn mark(&mut self, change: Change<'_>, look: &Look, now_us: u64, room: &mut i64) {
        let Look { hash, found, fingerprint, .. } = *look;
        if change.touch == Touch::Lifetime {
            return self.look_again(change, hash);
        }
        let slot = usize::from(change.slot);
        self.captured_total += 1;
        if self.is_quiet(look) {
            self.coalesced_total += 1;
            return self.queues[slot].changed_quietly();
        }
        self.queues[slot].captured_total += 1;
        self.ver = self.ver.wrapping_add(1);
        let likely =
            (found != entry::NONE && self.is_key(found, change.db, change.key)).then_some(found);
        let Some(id) = likely.or_else(|| self.find(hash, change.db, change.key)) else {
            let Change { db, slot, touch, key } = change;
            if self.must_miss(slot, touch, key, room) {
                return self.miss(slot, now_us);
            }
            let touch = settled(touch);
            let new = DirtyKey { db, slot, touch, since_us: now_us, key, captured: None };
            let id = self.insert(hash, new);
            self.hush(id, change.slot, fingerprint);
            self.note_fresh(id);
            return;
        };
        self.mark_again(id, change, now_us);
        self.hush(id, change.slot, fingerprint);
    }

    /// Marks a key that is dirty already.
    fn mark_again(&mut self, id: u32, change: Change<'_>, now_us: u64) {
        let slot = usize::from(change.slot);
        let entry = self.entries.at(id);
        // No batch that has read the key is concerned, and what is not written stays clean in the
        // cache.
        let same = (entry.touch, entry.slot) == (change.touch, change.slot);
        if same && entry.state != State::InFlight && change.touch != Touch::Captured {
            self.queues[slot].coalesced_total += 1;
            self.coalesced_total += 1;
            return;
        }
        let ver = self.ver;
        let entry = self.entries.at_mut(id);
        entry.ver = ver;
        let earlier = std::mem::replace(&mut entry.touch, settled(change.touch));
        if earlier == Touch::Captured {
            self.captured.remove(id);
        }
        let anew = entry.state == State::InFlight || earlier == Touch::Captured;
        if anew || change.touch == Touch::Timed {
            self.note_fresh(id);
        }
        let entry = self.entries.at_mut(id);
        match entry.state {
            State::InFlight => {
                entry.state = State::InFlightAgain;
                entry.since_us = now_us;
            }
            _ => {
                self.queues[slot].coalesced_total += 1;
                self.coalesced_total += 1;
            }
        }
        if self.entries.at(id).slot != change.slot {
            self.change_slot(id, change.slot);
        }
    }

    /// Notes, after a change of entry `id` in `slot`, whether another one would change nothing: it
    /// is dirty, or in flight and told to be dirty again.
    fn hush(&mut self, id: u32, slot: u16, fingerprint: u64) {
        let entry = self.entries.at(id);
        if (entry.touch, entry.slot) == (Touch::Changed, slot) {
            self.entries.set_quiet(id, fingerprint);
        }
    }

    /// A key has another time to live. What is clean need not be written for that.
    fn look_again(&mut self, change: Change<'_>, hash: u32) {
        let id = self.find(hash, change.db, change.key);
        if let Some(id) = id {
            self.note_fresh(id);
        }
    }

    /// Another registration has the key now: its next write belongs to that one.
    fn change_slot(&mut self, id: u32, slot: u16) {
        let entry = *self.entries.at(id);
        let (old, new) = (usize::from(entry.slot), usize::from(slot));
        self.moved.push(Moved { entry: id, slot: entry.slot, since_us: entry.since_us });
        if entry.state == State::Dirty {
            self.unlink(entry.slot, id);
            self.push(slot, id);
        } else {
            self.queues[old].in_flight -= 1;
            self.queues[new].in_flight += 1;
        }
        self.rehome(id, entry, slot);
        self.entries.at_mut(id).slot = slot;
    }
}

/// Times to live matter only where they are watched, and how a key was found nowhere.
fn settled(touch: Touch) -> Touch {
    if matches!(touch, Touch::Timed | Touch::Found) { Touch::Changed } else { touch }
}
