//! Which registration has which slot: found, added and freed in a time that does not depend on how
//! many there are.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use super::Slot;

/// Registrations by slot and by prefix.
#[derive(Debug, Default)]
pub struct Registry {
    slots: Vec<Option<Slot>>,
    /// Slots that are not in use, the lowest first.
    free: BinaryHeap<Reverse<u16>>,
    /// By database and prefix, also those that only drain.
    by_prefix: HashMap<u16, HashMap<Vec<u8>, u16>>,
    /// Those that only drain.
    draining: BTreeSet<u16>,
    /// Those that capture and whose existing keys are still to be marked.
    to_sync: BTreeSet<u16>,
    version: u64,
}

impl Registry {
    /// Slots that were ever in use: each is below this number.
    pub fn end(&self) -> u16 {
        // At most 65,535.
        self.slots.len() as u16
    }

    /// Registrations, also those that only drain.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Registrations that capture.
    pub fn live_len(&self) -> usize {
        self.len() - self.draining.len()
    }

    /// The registration in `slot`.
    #[inline]
    pub fn at(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    /// The same, to change it. Call [`changed`](Self::changed) when it captures or not from now on, or
    /// has other keys to mark.
    pub fn at_mut(&mut self, slot: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(slot))?.as_mut()
    }

    /// The slot of `prefix` in `db`.
    pub fn find(&self, db: u16, prefix: &[u8]) -> Option<u16> {
        self.by_prefix.get(&db)?.get(prefix).copied()
    }

    /// Adds a registration of a prefix that has none. Nothing when there are 65,535 already.
    pub fn add(&mut self, slot: Slot) -> Option<u16> {
        let number = match self.free.pop() {
            Some(Reverse(number)) => number,
            None => {
                // The last number stays free, so that their count is a number, too.
                let next = u16::try_from(self.slots.len()).ok();
                let number = next.filter(|number| *number < u16::MAX)?;
                self.slots.push(None);
                number
            }
        };
        let registration = &slot.registration;
        let by_prefix = self.by_prefix.entry(registration.db).or_default();
        by_prefix.insert(registration.prefix.clone(), number);
        self.slots[usize::from(number)] = Some(slot);
        self.changed(number);
        Some(number)
    }

    /// Frees a slot.
    pub fn remove(&mut self, slot: u16) -> Option<Slot> {
        let gone = self.slots.get_mut(usize::from(slot))?.take()?;
        let db = gone.registration.db;
        if let Some(by_prefix) = self.by_prefix.get_mut(&db) {
            by_prefix.remove(&gone.registration.prefix);
            if by_prefix.is_empty() {
                self.by_prefix.remove(&db);
            }
        }
        self.free.push(Reverse(slot));
        self.changed(slot);
        Some(gone)
    }

    /// Takes note of what a registration is now.
    pub fn changed(&mut self, slot: u16) {
        self.version += 1;
        let (drains, syncs) = match self.at(slot) {
            Some(bound) => (!bound.live, bound.live && bound.sync_pending),
            None => (false, false),
        };
        for (set, is_in) in [(&mut self.draining, drains), (&mut self.to_sync, syncs)] {
            if is_in {
                set.insert(slot);
            } else {
                set.remove(&slot);
            }
        }
    }

    /// Grows with each change of a registration, and begins above 0.
    pub fn version(&self) -> u64 {
        self.version + 1
    }

    /// The slots in use.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        (0..self.end()).filter(|slot| self.at(*slot).is_some())
    }

    /// The slots of registrations that only drain.
    pub fn draining(&self) -> &BTreeSet<u16> {
        &self.draining
    }

    /// The slots that capture and whose existing keys are still to be marked.
    pub fn to_sync(&self) -> &BTreeSet<u16> {
        &self.to_sync
    }

    /// Every registration, also those that only drain.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten()
    }
}

/// The first of `slots` behind `last`, from the beginning again after the end, that `is_wanted`.
pub fn next_after(
    slots: &BTreeSet<u16>,
    last: u16,
    mut is_wanted: impl FnMut(u16) -> bool,
) -> Option<u16> {
    if slots.is_empty() {
        return None;
    }
    let behind = slots.range(last.saturating_add(1)..).chain(slots.range(..=last));
    behind.copied().find(|slot| is_wanted(*slot))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::registration::{Namespace, Registration};

    fn slot(db: u16, prefix: &[u8]) -> Slot {
        let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
        Slot::new(Arc::new(Registration::new(db, prefix, namespace)))
    }

    #[test]
    fn slots_are_found_by_database_and_prefix_and_used_again() {
        let mut registry = Registry::default();
        let [a, b, other] = [(0, b"a"), (0, b"b"), (1, b"a")]
            .map(|(db, prefix)| registry.add(slot(db, prefix)).unwrap());
        assert_eq!([registry.find(0, b"a"), registry.find(1, b"a")], [Some(a), Some(other)]);
        registry.remove(a);
        assert_eq!((registry.find(0, b"a"), registry.find(0, b"b")), (None, Some(b)));
        assert_eq!((registry.len(), registry.add(slot(2, b"c"))), (2, Some(a)));
    }

    #[test]
    fn what_drains_and_what_is_to_be_marked_is_known() {
        let mut registry = Registry::default();
        let [a, b] = [b"a", b"b"].map(|prefix| registry.add(slot(0, prefix)).unwrap());
        registry.at_mut(a).unwrap().live = false;
        registry.at_mut(b).unwrap().sync_pending = true;
        [a, b].iter().for_each(|slot| registry.changed(*slot));
        assert!(registry.draining().iter().eq(&[a]) && registry.to_sync().iter().eq(&[b]));
        assert_eq!((registry.len(), registry.live_len()), (2, 1));
        registry.remove(a);
        assert_eq!((registry.len(), registry.live_len()), (1, 1));
    }

    #[test]
    fn the_registration_after_65_535_others_is_refused() {
        let mut registry = Registry::default();
        for number in 0..u16::MAX {
            assert_eq!(registry.add(slot(0, &number.to_be_bytes())), Some(number));
        }
        assert_eq!(registry.add(slot(0, b"one more")), None);
    }

    #[test]
    fn turns_go_round() {
        let slots = BTreeSet::from([1, 5, 9]);
        let all = [0, 1, 5, 9, u16::MAX].map(|last| next_after(&slots, last, |_| true));
        assert_eq!(all, [Some(1), Some(5), Some(9), Some(1), Some(1)]);
        assert_eq!(next_after(&slots, 5, |slot| slot == 5), Some(5));
        assert_eq!(next_after(&slots, 5, |_| false), None);
    }
}
