//! MOVE inside MULTI: Valkey 9.1 then reports the `move_to` event with the source database. This
//! can be detected, because a MOVE within one database is impossible.

use std::collections::BTreeSet;

use super::Backlog;
use crate::core::ids::Db;

impl Backlog {
    /// Handles a `move_from` event of a key in `db`.
    pub fn move_from(&mut self, db: Db, key: &[u8]) {
        self.left = Some((db, key.to_vec()));
    }

    /// Handles a `move_to` event of a key in `db`. If the last `move_from` event was of the same
    /// key in the same database, the event names the source. Then this returns the other databases
    /// with registrations, and the caller must mark the key in each database where it exists: a key
    /// that existed there before is only written once more. `None` if the event names the target.
    pub fn move_to(&mut self, db: Db, key: &[u8]) -> Option<BTreeSet<Db>> {
        self.left.take().filter(|(from, name)| *from == db && name == key)?;
        Some(self.registry.dbs().filter(|other| *other != db).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::registration::{Namespace, Registration};

    #[test]
    fn a_move_to_event_with_the_source_database_returns_the_other_databases() {
        let mut backlog = Backlog::default();
        for db in [0, 2, 5] {
            let namespace = Namespace { database: "d".to_owned(), collection: format!("c{db}") };
            backlog.register(Registration::new(Db(db), b"", namespace)).unwrap();
        }
        backlog.move_from(Db(0), b"k");
        assert_eq!(backlog.move_to(Db(0), b"k"), Some(BTreeSet::from([Db(2), Db(5)])));
        backlog.move_from(Db(0), b"k");
        assert_eq!(backlog.move_to(Db(2), b"k"), None, "other servers report the target");
        assert_eq!(
            backlog.move_to(Db(0), b"k"),
            None,
            "only the first event after move_from counts"
        );
    }
}
