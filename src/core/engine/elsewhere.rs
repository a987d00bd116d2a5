//! Keys that arrive in a database which the server names wrongly: inside MULTI, Valkey 9.1 reports
//! the arrival of MOVE in the database that the key came from. No MOVE can do that, so it is noticed.

use std::collections::BTreeSet;

use super::Engine;
use crate::core::change::Touch;

impl Engine {
    /// A key leaves `db` for another database.
    pub fn leaves(&mut self, db: u16, key: &[u8]) {
        self.left = Some((db, key.to_vec()));
    }

    /// A key arrives, it is said, in `db`. If it has just left that one, it is marked in every other
    /// where a registration has it, because nobody says where it is: a key that has not changed is
    /// written once more, which changes nothing. False when it is to be marked as usual.
    pub fn arrives(&mut self, db: u16, key: &[u8], now_us: u64) -> bool {
        if self.left.take().is_none_or(|(from, name)| from != db || name != key) {
            return false;
        }
        let live = self.live_slots().filter_map(|slot| self.slot(slot));
        let dbs: BTreeSet<u16> = live.map(|slot| slot.registration.db).collect();
        for other in dbs.into_iter().filter(|other| *other != db) {
            if self.touch(other, key, Touch::Timed) {
                self.fold(now_us);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::registration::{Namespace, Registration};

    #[test]
    fn a_key_that_moves_is_marked_where_it_may_have_arrived_and_stays_deleted_where_it_left() {
        let mut engine = Engine::default();
        for db in [0, 2] {
            let namespace = Namespace { database: "d".to_owned(), collection: format!("c{db}") };
            engine.register(Registration::new(db, b"", namespace)).unwrap();
        }
        engine.touch(0, b"k", Touch::Deleted);
        engine.leaves(0, b"k");
        assert!(engine.arrives(0, b"k", 1));
        engine.fold(1);
        assert_eq!(engine.dirty.touched(0, b"k"), Some(Touch::Deleted));
        assert_eq!(engine.dirty.touched(2, b"k"), Some(Touch::Changed));
        engine.leaves(0, b"k");
        assert!(!engine.arrives(2, b"k", 1), "as other servers say it");
        assert!(!engine.arrives(0, b"k", 1), "and once only");
    }
}
