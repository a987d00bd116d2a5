//! Collections that several registrations write to.
//!
//! A document is identified by its KEY field. If two registrations use the same field of one
//! collection, a key of one can overwrite or delete the document of a key of the other. Such a
//! registration is refused unless the operator declares with SHARED that their ids never collide.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Namespace, Registration};
use crate::core::ids::{Db, RegistrationId};

/// The search for conflicting pairs ends at this many.
const MOST_PAIRS: usize = 4;

/// A collection, and the field that identifies its documents.
type Collection = (Namespace, String);

/// The registrations of each collection.
#[derive(Debug, Default)]
pub struct Sharing {
    members: BTreeMap<RegistrationId, Member>,
    collections: HashMap<Collection, Group>,
    /// The last stamp issued.
    last: u64,
    /// Cached pairs that must not share a collection; `None` after a change.
    clashes: Option<Vec<(RegistrationId, RegistrationId)>>,
}

#[derive(Debug)]
struct Member {
    collection: Collection,
    /// The database of the registration if its documents hold whole keys.
    whole: Option<Db>,
    stamps: Stamps,
}

/// When a registration joined its collection, and when it was last registered with SHARED, which
/// applies to all registrations that the collection had at that time. Stamps are ordered numbers
/// without a unit; 0 means never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// When it joined the collection.
    pub joined: u64,
    /// When it was last registered with SHARED.
    pub shared: u64,
}

impl Stamps {
    /// True if SHARED of either one applies to the pair.
    fn are_shared(self, other: Stamps) -> bool {
        self.shared > other.joined || other.shared > self.joined
    }
}

/// The registrations of one collection and field.
#[derive(Debug, Default)]
struct Group {
    /// Those whose documents hold the suffix of the key.
    partial: BTreeSet<RegistrationId>,
    /// Those with whole keys, by database: the keys of one database are unique.
    whole: BTreeMap<Db, BTreeSet<RegistrationId>>,
}

impl Group {
    /// Registrations whose ids can collide with those of a registration with whole keys of the
    /// database `whole`, or with suffixes if `whole` is `None`.
    fn rivals(&self, whole: Option<Db>) -> impl Iterator<Item = RegistrationId> + '_ {
        let others = self.whole.iter().filter(move |(db, _)| whole != Some(**db));
        self.partial.iter().chain(others.flat_map(|(_, ids)| ids)).copied()
    }

    fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.whole.is_empty()
    }

    /// True if the group may hold conflicting registrations.
    fn is_contested(&self) -> bool {
        self.partial.len() > 1 || self.whole.len() + usize::from(!self.partial.is_empty()) > 1
    }
}

fn collection_of(registration: &Registration) -> Collection {
    (registration.namespace.clone(), registration.key_field.clone())
}

fn whole_of(registration: &Registration) -> Option<Db> {
    registration.key_whole.then_some(registration.db)
}

impl Sharing {
    /// Sets the registration of `id`. As long as its collection is the same, it stays shared with the
    /// registrations that it was shared with.
    pub fn join(&mut self, id: RegistrationId, registration: &Registration) {
        let (collection, whole) = (collection_of(registration), whole_of(registration));
        let before = self.remove(id).filter(|before| before.collection.0 == collection.0);
        let joined = before.as_ref().map_or_else(|| self.next(), |before| before.stamps.joined);
        let shared_before = before.map_or(0, |before| before.stamps.shared);
        let shared = if registration.shared { self.next() } else { shared_before };
        let group = self.collections.entry(collection.clone()).or_default();
        match whole {
            Some(db) => group.whole.entry(db).or_default().insert(id),
            None => group.partial.insert(id),
        };
        let stamps = Stamps { joined, shared };
        self.members.insert(id, Member { collection, whole, stamps });
    }

    /// Removes the registration of `id`.
    pub fn leave(&mut self, id: RegistrationId) {
        self.remove(id);
    }

    fn remove(&mut self, id: RegistrationId) -> Option<Member> {
        self.clashes = None;
        let member = self.members.remove(&id)?;
        if let Some(group) = self.collections.get_mut(&member.collection) {
            group.partial.remove(&id);
            group.whole.values_mut().for_each(|ids| {
                ids.remove(&id);
            });
            group.whole.retain(|_, ids| !ids.is_empty());
            if group.is_empty() {
                self.collections.remove(&member.collection);
            }
        }
        Some(member)
    }

    /// True if the registration `id` has SHARED, or had it earlier in this collection.
    pub fn is_shared(&self, id: RegistrationId) -> bool {
        self.members.get(&id).is_some_and(|member| member.stamps.shared > 0)
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The earliest registration with which `registration` must not share its collection. `id` is the
    /// id of `registration` if it has one already.
    pub fn rival(
        &self,
        id: Option<RegistrationId>,
        registration: &Registration,
    ) -> Option<RegistrationId> {
        if registration.shared {
            return None;
        }
        let collection = collection_of(registration);
        let own = id.and_then(|id| self.members.get(&id));
        let own = own.filter(|own| own.collection.0 == collection.0).map(|own| own.stamps);
        let rivals = self.collections.get(&collection)?.rivals(whole_of(registration));
        let rivals = rivals.filter(|rival| Some(*rival) != id);
        let rivals = rivals.filter_map(|rival| Some((self.members.get(&rival)?.stamps, rival)));
        let unshared = rivals.filter(|(stamps, _)| own.is_none_or(|own| !own.are_shared(*stamps)));
        unshared.min_by_key(|(stamps, _)| stamps.joined).map(|(_, rival)| rival)
    }

    /// Pairs that must not share a collection, the later registration second; not all of them if
    /// there are many.
    pub fn clashes(&mut self) -> &[(RegistrationId, RegistrationId)] {
        if self.clashes.is_none() {
            let mut found = Vec::new();
            for group in self.collections.values().filter(|group| group.is_contested()) {
                self.clashes_of(group, &mut found);
            }
            self.clashes = Some(found);
        }
        self.clashes.as_deref().unwrap_or_default()
    }

    fn clashes_of(&self, group: &Group, found: &mut Vec<(RegistrationId, RegistrationId)>) {
        let ids = group.partial.iter().chain(group.whole.values().flatten());
        let mut members: Vec<(RegistrationId, &Member)> =
            ids.filter_map(|id| Some((*id, self.members.get(id)?))).collect();
        members.sort_by_key(|(_, member)| member.stamps.joined);
        let mut latest = 0;
        for (id, member) in members {
            let stamps = member.stamps;
            // SHARED of most registrations of a shared collection applies to all earlier ones.
            if latest > 0 && stamps.shared < latest {
                let rivals = group.rivals(member.whole).filter(|rival| *rival != id);
                let first = rivals
                    .filter_map(|rival| Some((self.members.get(&rival)?.stamps, rival)))
                    .find(|(other, _)| other.joined < stamps.joined && !stamps.are_shared(*other));
                found.extend(first.map(|(_, rival)| (rival, id)));
            }
            if found.len() >= MOST_PAIRS {
                return;
            }
            latest = stamps.joined;
        }
    }

    /// Prepares for loading saved registrations. The registrations that remain are those of the file;
    /// they count as later than all loaded ones.
    pub fn begin_load(&mut self) {
        const LATER: u64 = 1 << 62;
        for stamps in self.members.values_mut().map(|member| &mut member.stamps) {
            for stamp in [&mut stamps.joined, &mut stamps.shared] {
                if (1..LATER).contains(stamp) {
                    *stamp += LATER;
                }
                self.last = self.last.max(*stamp);
            }
        }
        self.clashes = None;
    }

    /// Sets the saved stamps of `id`.
    pub fn load(&mut self, id: RegistrationId, stamps: Stamps) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stamps = stamps;
            self.last = self.last.max(stamps.joined).max(stamps.shared);
            self.clashes = None;
        }
    }

    /// The stamps to save, renumbered from 1 in the same order; only those of collections with
    /// SHARED.
    pub fn saved(&self) -> Vec<(RegistrationId, Stamps)> {
        let shared: HashSet<&Collection> = self
            .members
            .values()
            .filter(|member| member.stamps.shared > 0)
            .map(|member| &member.collection)
            .collect();
        let mut saved: Vec<(RegistrationId, Stamps)> = self
            .members
            .iter()
            .filter(|(_, member)| shared.contains(&member.collection))
            .map(|(id, member)| (*id, member.stamps))
            .collect();
        let all: BTreeSet<u64> =
            saved.iter().flat_map(|(_, stamps)| [stamps.joined, stamps.shared]).collect();
        let ranks: HashMap<u64, u64> =
            all.into_iter().filter(|stamp| *stamp > 0).zip(1..).collect();
        let rank = |stamp: u64| ranks.get(&stamp).copied().unwrap_or(0);
        for (_, Stamps { joined, shared }) in &mut saved {
            (*joined, *shared) = (rank(*joined), rank(*shared));
        }
        saved
    }
}

#[cfg(test)]
mod tests;
