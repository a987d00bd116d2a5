//! Where the names of the keys are stored: in the arena of their registration.

use super::Dirty;
use super::arena::Place;
use super::entry::Entry;
use crate::core::ids::{EntryId, RegistrationId};

impl Dirty {
    /// Moves the key's name to the newest chunk, so that a key which stays dirty for a long time
    /// does not keep a chunk whose other keys are clean.
    pub(super) fn move_key(&mut self, id: EntryId) {
        let entry = *self.entries.at(id);
        self.rehome(id, entry, entry.registration_id);
    }

    pub(super) fn rehome(&mut self, id: EntryId, entry: Entry, registration_id: RegistrationId) {
        let from = &self.arenas[usize::from(entry.registration_id)];
        let key = from.key(entry.place()).to_vec();
        self.free_key(entry.registration_id, entry.place());
        let place = self.store_key(registration_id, &key);
        self.entries.at_mut(id).set_place(place);
    }

    pub(super) fn store_key(&mut self, registration_id: RegistrationId, key: &[u8]) -> Place {
        let arena = &mut self.arenas[usize::from(registration_id)];
        let before = arena.memory_bytes();
        let place = arena.store(key);
        self.key_bytes = self.key_bytes + arena.memory_bytes() - before;
        place
    }

    pub(super) fn free_key(&mut self, registration_id: RegistrationId, place: Place) {
        let arena = &mut self.arenas[usize::from(registration_id)];
        let before = arena.memory_bytes();
        arena.free(place);
        self.key_bytes = self.key_bytes + arena.memory_bytes() - before;
    }
}
