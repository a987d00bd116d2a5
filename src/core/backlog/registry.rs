//! The active registrations by id and by prefix. Looking up, adding and removing one takes constant
//! time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::ops::Bound;

use super::ActiveRegistration;
use crate::core::ids::{Db, RegistrationId};
use crate::core::registration::Atomic;
use crate::core::registration::router::Routes;

/// Registrations by id and by prefix.
#[derive(Debug, Default)]
pub struct Registry {
    routes: Routes,
    /// True once any registration had EXCLUDE: only then are exclusions checked for each key.
    has_excluded: bool,
    registrations: Vec<Option<ActiveRegistration>>,
    /// Unused ids, the lowest first.
    free: BinaryHeap<Reverse<RegistrationId>>,
    /// By database and prefix, including draining ones.
    by_prefix: HashMap<Db, HashMap<Vec<u8>, RegistrationId>>,
    /// Draining registrations: unregistered, but with keys still to be written.
    draining: BTreeSet<RegistrationId>,
    /// Live registrations without `ATOMIC NONE`: only with them it is found out which keys changed
    /// together.
    grouped: BTreeSet<RegistrationId>,
    /// Live registrations with READTHROUGH, by their databases.
    readers: BTreeMap<Db, BTreeSet<RegistrationId>>,
    /// Live registrations with MODE THROUGH.
    writers: BTreeMap<Db, BTreeSet<RegistrationId>>,
    /// Live registrations whose existing keys are still to be marked as dirty.
    to_sync: BTreeSet<RegistrationId>,
    version: u64,
}

impl Registry {
    /// True for an id that is or was in use.
    pub(super) fn was_used(&self, id: RegistrationId) -> bool {
        usize::from(id) < self.registrations.len()
    }

    /// The ids that were ever in use.
    pub(super) fn ever(&self) -> impl Iterator<Item = RegistrationId> + use<> {
        // At most 65,535.
        (0..self.registrations.len() as u16).map(RegistrationId)
    }

    /// Number of registrations, including draining ones.
    pub(super) fn len(&self) -> usize {
        self.registrations.len() - self.free.len()
    }

    /// Number of live registrations.
    pub fn live_len(&self) -> usize {
        self.len() - self.draining.len()
    }

    /// The registration `id`.
    #[inline]
    pub fn at(&self, id: RegistrationId) -> Option<&ActiveRegistration> {
        self.registrations.get(usize::from(id))?.as_ref()
    }

    /// The same, mutable. Call [`changed`](Self::changed) after a change of `live` or `sync_pending`.
    pub(super) fn at_mut(&mut self, id: RegistrationId) -> Option<&mut ActiveRegistration> {
        self.registrations.get_mut(usize::from(id))?.as_mut()
    }

    /// The registration of `prefix` in `db`.
    pub fn find(&self, db: Db, prefix: &[u8]) -> Option<RegistrationId> {
        self.by_prefix.get(&db)?.get(prefix).copied()
    }

    /// The same if it is live.
    pub fn find_live(&self, db: Db, prefix: &[u8]) -> Option<RegistrationId> {
        self.find(db, prefix).filter(|id| self.is_live(*id))
    }

    /// The logical databases in which `prefix` is registered.
    pub fn databases_of(&self, prefix: &[u8]) -> impl Iterator<Item = Db> {
        let live = self.iter().filter(|active| active.live);
        live.map(|active| &active.registration)
            .filter(move |of| of.prefix == prefix)
            .map(|of| of.db)
    }

    /// True if no registration is live, so that no change is captured.
    #[inline]
    pub fn captures_nothing(&self) -> bool {
        self.routes.is_empty()
    }

    /// True if keys can be in groups.
    #[inline]
    pub(super) fn has_groups(&self) -> bool {
        !self.grouped.is_empty()
    }

    /// The registration that `key` of `db` belongs to.
    #[inline(always)]
    pub fn route(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let id = self.routes.find(db, key)?;
        let excluded = self.has_excluded && self.excludes(id, key);
        (!excluded).then_some(id)
    }

    /// The registration with the longest prefix of `key`, even if EXCLUDE excludes the key.
    pub(super) fn longest_prefix(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        self.routes.find(db, key)
    }

    /// The logical databases with live registrations.
    pub(super) fn dbs(&self) -> impl Iterator<Item = Db> + '_ {
        self.routes.dbs()
    }

    /// True if an EXCLUDE matches `key` of `db`, so that it belongs to no registration.
    pub fn is_excluded(&self, db: Db, key: &[u8]) -> bool {
        self.longest_prefix(db, key).is_some_and(|id| self.excludes(id, key))
    }

    fn excludes(&self, id: RegistrationId, key: &[u8]) -> bool {
        self.at(id).is_some_and(|active| active.registration.excludes(key))
    }

    /// Routes keys with the prefix of `id` to it.
    pub(super) fn route_to(&mut self, id: RegistrationId) {
        let Some(active) = self.registrations.get(usize::from(id)).and_then(Option::as_ref) else {
            return;
        };
        let registration = &active.registration;
        self.has_excluded |= !registration.exclude.is_empty();
        if registration.atomic == Atomic::None {
            self.grouped.remove(&id);
        } else {
            self.grouped.insert(id);
        }
        let (db, reads) = (registration.db, registration.read_through.is_some());
        let writes = registration.write_through.is_some();
        self.routes.insert(db, &registration.prefix, id);
        follow(&mut self.readers, db, id, reads);
        follow(&mut self.writers, db, id, writes);
    }

    /// True if missing keys of a live registration are loaded.
    pub fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// True if clients wait for their writes to a live registration.
    pub fn has_writers(&self) -> bool {
        !self.writers.is_empty()
    }

    /// The databases with such registrations.
    pub(super) fn writer_dbs(&self) -> impl Iterator<Item = Db> {
        self.writers.keys().copied()
    }

    /// The databases with registrations of which missing keys are loaded.
    pub(super) fn reader_dbs(&self) -> impl Iterator<Item = Db> {
        self.readers.keys().copied()
    }

    /// Stops routing keys with this prefix; they belong to the registration of a shorter prefix, if
    /// any.
    pub(super) fn stop_routing(&mut self, db: Db, prefix: &[u8]) {
        if let Some(id) = self.find(db, prefix) {
            self.grouped.remove(&id);
            follow(&mut self.readers, db, id, false);
            follow(&mut self.writers, db, id, false);
        }
        self.routes.remove(db, prefix);
    }

    /// True for a live registration.
    pub fn is_live(&self, id: RegistrationId) -> bool {
        self.at(id).is_some_and(|active| active.live)
    }

    /// The ids of live registrations.
    pub fn live_ids(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.ids().filter(|id| self.is_live(*id))
    }

    /// Adds a registration of a prefix that has none; `None` if there are 65,535 already.
    pub(super) fn add(&mut self, active: ActiveRegistration) -> Option<RegistrationId> {
        let number = match self.free.pop() {
            Some(Reverse(number)) => number,
            None => {
                // The last number stays unused, so that the count of ids fits 16 bits.
                let next = u16::try_from(self.registrations.len()).ok();
                let number = next.filter(|number| *number < u16::MAX)?;
                self.registrations.push(None);
                RegistrationId(number)
            }
        };
        let registration = &active.registration;
        let by_prefix = self.by_prefix.entry(registration.db).or_default();
        by_prefix.insert(registration.prefix.clone(), number);
        self.registrations[usize::from(number)] = Some(active);
        self.changed(number);
        Some(number)
    }

    /// Removes a registration.
    pub(super) fn remove(&mut self, id: RegistrationId) -> Option<ActiveRegistration> {
        let removed = self.registrations.get_mut(usize::from(id))?.take()?;
        let db = removed.registration.db;
        if let Some(by_prefix) = self.by_prefix.get_mut(&db) {
            by_prefix.remove(&removed.registration.prefix);
            if by_prefix.is_empty() {
                self.by_prefix.remove(&db);
            }
        }
        self.free.push(Reverse(id));
        self.changed(id);
        Some(removed)
    }

    /// Updates the indexes after a change of a registration.
    pub(super) fn changed(&mut self, id: RegistrationId) {
        self.version += 1;
        let (drains, syncs) = match self.at(id) {
            Some(active) => (!active.live, active.live && active.sync_pending),
            None => (false, false),
        };
        for (set, is_in) in [(&mut self.draining, drains), (&mut self.to_sync, syncs)] {
            if is_in {
                set.insert(id);
            } else {
                set.remove(&id);
            }
        }
    }

    /// Incremented with each change of a registration; starts at 1.
    pub(super) fn version(&self) -> u64 {
        self.version + 1
    }

    /// The ids in use.
    pub(super) fn ids(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.ever().filter(|id| self.at(*id).is_some())
    }

    /// The ids of draining registrations.
    pub(super) fn draining(&self) -> &BTreeSet<RegistrationId> {
        &self.draining
    }

    /// The ids of live registrations whose existing keys are still to be marked as dirty.
    pub(super) fn to_sync(&self) -> &BTreeSet<RegistrationId> {
        &self.to_sync
    }

    /// All registrations, including draining ones.
    pub fn iter(&self) -> impl Iterator<Item = &ActiveRegistration> {
        self.registrations.iter().flatten()
    }

    /// The same, mutable.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ActiveRegistration> {
        self.registrations.iter_mut().flatten()
    }
}

/// The first of `ids` after `last`, with wrap-around, for which `is_wanted` is true.
pub(super) fn next_after(
    ids: &BTreeSet<RegistrationId>,
    last: RegistrationId,
    mut is_wanted: impl FnMut(RegistrationId) -> bool,
) -> Option<RegistrationId> {
    if ids.is_empty() {
        return None;
    }
    let behind = ids.range((Bound::Excluded(last), Bound::Unbounded)).chain(ids.range(..=last));
    behind.copied().find(|id| is_wanted(*id))
}

fn follow(
    all: &mut BTreeMap<Db, BTreeSet<RegistrationId>>,
    db: Db,
    id: RegistrationId,
    is_in: bool,
) {
    let of_db = all.entry(db).or_default();
    if is_in {
        of_db.insert(id);
    } else {
        of_db.remove(&id);
    }
    all.retain(|_, of_db| !of_db.is_empty());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::registration::{Namespace, Registration};

    fn active(db: Db, prefix: &[u8]) -> ActiveRegistration {
        let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
        ActiveRegistration::new(Arc::new(Registration::new(db, prefix, namespace)))
    }

    #[test]
    fn ids_are_found_by_database_and_prefix_and_reused() {
        let mut registry = Registry::default();
        let [a, b, other] = [(0, b"a"), (0, b"b"), (1, b"a")]
            .map(|(db, prefix)| registry.add(active(Db(db), prefix)).unwrap());
        assert_eq!(
            [registry.find(Db(0), b"a"), registry.find(Db(1), b"a")],
            [Some(a), Some(other)]
        );
        registry.remove(a);
        assert_eq!((registry.find(Db(0), b"a"), registry.find(Db(0), b"b")), (None, Some(b)));
        assert_eq!((registry.len(), registry.add(active(Db(2), b"c"))), (2, Some(a)));
    }

    #[test]
    fn draining_and_syncing_registrations_are_indexed() {
        let mut registry = Registry::default();
        let [a, b] = [b"a", b"b"].map(|prefix| registry.add(active(Db(0), prefix)).unwrap());
        registry.at_mut(a).unwrap().live = false;
        registry.at_mut(b).unwrap().sync_pending = true;
        [a, b].iter().for_each(|id| registry.changed(*id));
        assert!(registry.draining().iter().eq(&[a]) && registry.to_sync().iter().eq(&[b]));
        assert_eq!((registry.len(), registry.live_len()), (2, 1));
        registry.remove(a);
        assert_eq!((registry.len(), registry.live_len()), (1, 1));
    }

    #[test]
    fn the_registration_after_65_535_others_is_refused() {
        let mut registry = Registry::default();
        for number in 0..u16::MAX {
            assert_eq!(
                registry.add(active(Db(0), &number.to_be_bytes())),
                Some(RegistrationId(number))
            );
        }
        assert_eq!(registry.add(active(Db(0), b"one more")), None);
    }

    #[test]
    fn the_next_id_wraps_around() {
        let ids = BTreeSet::from([1, 5, 9].map(RegistrationId));
        let all = [0, 1, 5, 9, u16::MAX]
            .map(|last| next_after(&ids, RegistrationId(last), |_| true).map(|id| id.0));
        assert_eq!(all, [Some(1), Some(5), Some(9), Some(1), Some(1)]);
        assert_eq!(
            next_after(&ids, RegistrationId(5), |id| id == RegistrationId(5)),
            Some(RegistrationId(5))
        );
        assert_eq!(next_after(&ids, RegistrationId(5), |_| false), None);
    }
}
