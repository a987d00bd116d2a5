//! Into the dirty set: changes are folded in, many at a time.

use super::arena::{self, Place};
use super::entries::{self, State};
use super::{Dirty, DirtyKey, Moved};
use crate::core::change::{Change, FOLD_AT, Log, Touch};

impl Dirty {
    /// Moves all changes of `log` into the set.
    ///
    /// The cost of a change is its cache misses. So the places of a whole block are visited
    /// first, in loops whose loads do not depend on each other and so overlap.
    pub fn fold(&mut self, log: &mut Log, now_us: u64) {
        let now_us = now_us.max(self.latest_us);
        self.latest_us = now_us;
        let mut hashes = [0u32; FOLD_AT];
        let mut found = [entries::NONE; FOLD_AT];
        let mut start = 0;
        while start < log.len() {
            let len = (log.len() - start).min(FOLD_AT);
            for (at, hash) in hashes[..len].iter_mut().enumerate() {
                if let Some(change) = log.change(start + at) {
                    *hash = self.hash(change.db, change.key);
                }
            }
            self.visit(&hashes[..len], &mut found[..len]);
            let mut room = self.room_bytes();
            for (at, (hash, found)) in hashes[..len].iter().zip(&found).enumerate() {
                if let Some(change) = log.change(start + at) {
                    self.mark(change, (*hash, *found), now_us, &mut room);
                }
            }
            start += len;
        }
        log.clear();
    }

    /// Touches what [`mark`](Self::mark) will need, one kind of place after the other, and puts
    /// down the entry that each hash leads to: most likely that of the key.
    ///
    /// Nothing in a loop is decided by what that loop loads for the first time: a branch that was
    /// guessed wrongly would wait for the load, and the loads after it would wait for the branch.
    fn visit(&self, hashes: &[u32], found: &mut [u32]) {
        self.visit_homes(hashes);
        for (id, hash) in found.iter_mut().zip(hashes) {
            *id = self.index.find(*hash, |_| true).unwrap_or(entries::NONE);
        }
        let mut seen = [None; FOLD_AT];
        for (entry, id) in seen.iter_mut().zip(found.iter()).filter(|(_, id)| **id != entries::NONE)
        {
            *entry = Some(self.entries.at(*id));
        }
        let mut places = [(0u16, Place::default()); FOLD_AT];
        for (place, entry) in places.iter_mut().zip(seen) {
            if let Some(entry) = entry {
                *place = (entry.slot, entry.place());
            }
        }
        let mut keys = [&[][..]; FOLD_AT];
        for (key, (slot, place)) in keys.iter_mut().zip(&places[..found.len()]) {
            *key = self.arenas[usize::from(*slot)].stored(*place);
        }
        std::hint::black_box(keys.iter().fold(0, |all, key| all ^ arena::touch(key)));
    }

    /// Touches what looking up, or removing, these hashes will need: [`FOLD_AT`] of them at most.
    fn visit_homes(&self, hashes: &[u32]) {
        let mut homes = [&0; FOLD_AT];
        for (home, hash) in homes.iter_mut().zip(hashes) {
            *home = self.index.home(*hash);
        }
        std::hint::black_box(homes.iter().fold(0, |all, home| all ^ **home));
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
        self.visit_homes(&hashes[..count]);
    }

    /// Marks a key whose hash, and the entry that it most likely has, are known.
    fn mark(&mut self, change: Change<'_>, (hash, found): (u32, u32), now_us: u64, room: &mut i64) {
        if change.touch == Touch::Lifetime {
            return self.look_again(change, hash);
        }
        self.ver = self.ver.wrapping_add(1);
        let slot = usize::from(change.slot);
        self.queues[slot].captured_total += 1;
        let likely =
            (found != entries::NONE && self.is_key(found, change.db, change.key)).then_some(found);
        let Some(id) = likely.or_else(|| self.find(hash, change.db, change.key)) else {
            let Change { db, slot, touch, key } = change;
            if self.must_miss(slot, touch, key, room) {
                return self.miss(slot, now_us);
            }
            let touch = settled(touch);
            let new = DirtyKey { db, slot, touch, since_us: now_us, key, captured: None };
            let id = self.insert(hash, new);
            self.fresh.iter_mut().for_each(|fresh| fresh.push(id));
            return;
        };
        let ver = self.ver;
        let entry = self.entries.at(id);
        // Nobody who has read the key must be told, and what is not written stays clean in the cache.
        let same = (entry.touch, entry.slot) == (change.touch, change.slot);
        if same && entry.state != State::InFlight && change.touch != Touch::Captured {
            self.queues[slot].coalesced_total += 1;
            return;
        }
        let entry = self.entries.at_mut(id);
        entry.ver = ver;
        let earlier = std::mem::replace(&mut entry.touch, settled(change.touch));
        if earlier == Touch::Captured {
            self.captured.remove(id);
        }
        let anew = entry.state == State::InFlight || earlier == Touch::Captured;
        if anew || change.touch == Touch::Timed {
            self.fresh.iter_mut().for_each(|fresh| fresh.push(id));
        }
        match entry.state {
            State::InFlight => {
                entry.state = State::InFlightAgain;
                entry.since_us = now_us;
            }
            _ => self.queues[slot].coalesced_total += 1,
        }
        if self.entries.at(id).slot != change.slot {
            self.change_slot(id, change.slot);
        }
    }

    /// A key has another time to live. What is clean need not be written for that.
    fn look_again(&mut self, change: Change<'_>, hash: u32) {
        let id = self.find(hash, change.db, change.key);
        if let (Some(id), Some(fresh)) = (id, &mut self.fresh) {
            fresh.push(id);
        }
    }

    /// Another registration has the key now: its next write belongs to that one.
    fn change_slot(&mut self, id: u32, slot: u16) {
        let entry = *self.entries.at(id);
        let (old, new) = (usize::from(entry.slot), usize::from(slot));
        self.moved.push(Moved { entry: id, slot: entry.slot, since_us: entry.since_us });
        if entry.state == State::Dirty {
            self.queues[old].unlink(&mut self.entries, id);
            self.queues[new].push(&mut self.entries, id);
        } else {
            self.queues[old].in_flight -= 1;
            self.queues[new].in_flight += 1;
        }
        self.rehome(id, entry, slot);
        self.entries.at_mut(id).slot = slot;
    }
}

/// Times to live matter to those who watch only, and how a key was found to nobody.
fn settled(touch: Touch) -> Touch {
    if matches!(touch, Touch::Timed | Touch::Found) { Touch::Changed } else { touch }
}
