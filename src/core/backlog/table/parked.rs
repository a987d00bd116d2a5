//! Keys that are parked: counted as in flight, in no batch.

use super::entry::{Entry, State};
use super::{Dirty, Taken};
use crate::core::ids::{Db, EntryId, RegistrationId, Version};

impl Dirty {
    /// Takes a key in flight that was not written again for the same registration. If the key has
    /// moved to another registration, it is requeued there.
    pub fn take_again(
        &mut self,
        id: EntryId,
        registration_id: RegistrationId,
        since_us: u64,
        copy: impl FnOnce(&[u8]),
    ) -> Option<Taken> {
        let entry = *self
            .entries
            .get(id)
            .filter(|entry| matches!(entry.state, State::InFlight | State::InFlightAgain))?;
        if entry.registration_id != registration_id {
            self.requeue_front(id, since_us);
            return None;
        }
        self.move_key(id);
        let entry = self.entries.at_mut(id);
        (entry.state, entry.since_us) = (State::InFlight, since_us);
        let taken =
            Taken { entry: id, version: entry.version, since_us, db: entry.db, kind: entry.kind };
        let place = entry.place();
        copy(self.arenas[usize::from(registration_id)].key(place));
        Some(taken)
    }

    /// True if entry `id` is still at version `version`.
    pub fn has_version(&self, id: EntryId, version: Version) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.version == version)
    }

    /// Takes one key from any position of its queue; `None` if it is clean or in flight.
    pub fn take_one(&mut self, db: Db, key: &[u8]) -> Option<Taken> {
        let id = self.find(self.hash(db, key), db, key)?;
        let Entry { state, registration_id, version, since_us, kind, .. } = *self.entries.at(id);
        if state != State::Dirty {
            return None;
        }
        self.unlink(registration_id, id);
        self.queues[usize::from(registration_id)].in_flight += 1;
        self.in_flight += 1;
        self.entries.at_mut(id).state = State::InFlight;
        if let Some(group) = self.groups.of(id) {
            self.took_off(group);
        }
        Some(Taken { entry: id, version, since_us, db, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backlog::change_log::{Change, ChangeKind, Log};

    fn dirty(keys: &[&str]) -> Dirty {
        let mut dirty = Dirty::default();
        dirty.open_registration(RegistrationId(0));
        dirty.open_registration(RegistrationId(1));
        mark(&mut dirty, RegistrationId(0), keys, 1);
        dirty
    }

    fn mark(dirty: &mut Dirty, registration_id: RegistrationId, keys: &[&str], now_us: u64) {
        let mut log = Log::default();
        for key in keys {
            log.push(Change {
                db: Db(0),
                registration_id,
                kind: ChangeKind::Changed,
                joins: false,
                key: key.as_bytes(),
            });
        }
        dirty.fold(&mut log, now_us);
    }

    #[test]
    fn a_parked_key_is_taken_again_with_its_latest_version_and_its_first_time() {
        let mut dirty = dirty(&["a", "b"]);
        let first = dirty.take(RegistrationId(0), |_| ()).unwrap();
        mark(&mut dirty, RegistrationId(0), &["a"], 5);
        let mut key = Vec::new();
        let again =
            dirty.take_again(first.entry, RegistrationId(0), 1, |k| key = k.to_vec()).unwrap();
        assert_eq!((key.as_slice(), again.since_us), (&b"a"[..], 1));
        assert_ne!(again.version, first.version);
        assert_eq!(
            (dirty.in_flight(), dirty.queue(RegistrationId(0)).in_flight, dirty.len()),
            (1, 1, 2)
        );
        dirty.acknowledge(again.entry, again.version, |_, _| ());
        assert_eq!((dirty.in_flight(), dirty.len()), (0, 1));
        assert!(
            dirty.take_again(again.entry, RegistrationId(0), 1, |_| ()).is_none(),
            "it is clean"
        );
    }

    #[test]
    fn a_parked_key_that_moved_is_requeued_in_its_registration() {
        let mut dirty = dirty(&["a"]);
        let first = dirty.take(RegistrationId(0), |_| ()).unwrap();
        mark(&mut dirty, RegistrationId(1), &["a"], 5);
        assert!(dirty.take_again(first.entry, RegistrationId(0), 1, |_| ()).is_none());
        assert_eq!(
            (
                dirty.in_flight(),
                dirty.queue(RegistrationId(0)).dirty(),
                dirty.queue(RegistrationId(1)).waiting()
            ),
            (0, 0, 1)
        );
    }

    #[test]
    fn one_key_is_taken_from_the_middle_of_the_queue() {
        let mut dirty = dirty(&["a", "b", "c"]);
        let taken = dirty.take_one(Db(0), b"b").unwrap();
        assert_eq!((dirty.queue(RegistrationId(0)).waiting(), dirty.in_flight()), (2, 1));
        assert!(dirty.take_one(Db(0), b"b").is_none(), "it is in flight");
        assert!(dirty.take_one(Db(0), b"x").is_none());
        dirty.requeue_front(taken.entry, taken.since_us);
        assert_eq!((dirty.queue(RegistrationId(0)).waiting(), dirty.in_flight()), (3, 0));
    }
}
