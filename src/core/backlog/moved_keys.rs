//! Keys that arrive in a database which the server names wrongly: inside MULTI, Valkey 9.1 reports
//! the arrival of MOVE in the database that the key came from. No MOVE can do that, so it is noticed.

use std::collections::BTreeSet;

use super::Backlog;
use crate::core::ids::Db;

impl Backlog {
    /// A key leaves `db` for another database.
    pub fn move_from(&mut self, db: Db, key: &[u8]) {
        self.left = Some((db, key.to_vec()));
    }

    /// Handles a `move_to` event of a key in `db`. If the key has just left that database, the event
    /// names the source: a MOVE within one database is impossible. Then it returns the other databases
    /// with registrations, and the key must be marked in each where it is found. A key that was there
    /// before is written once more, which changes nothing. Nothing when it is to be marked as usual.
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
    fn a_key_that_arrives_where_it_left_is_in_another_database_with_registrations() {
        let mut backlog = Backlog::default();
        for db in [0, 2, 5] {
            let namespace = Namespace { database: "d".to_owned(), collection: format!("c{db}") };
            backlog.register(Registration::new(Db(db), b"", namespace)).unwrap();
        }
        backlog.move_from(Db(0), b"k");
        assert_eq!(backlog.move_to(Db(0), b"k"), Some(BTreeSet::from([Db(2), Db(5)])));
        backlog.move_from(Db(0), b"k");
        assert_eq!(backlog.move_to(Db(2), b"k"), None, "as other servers say it");
        assert_eq!(backlog.move_to(Db(0), b"k"), None, "and once only");
    }
}
