use proptest::prelude::*;

use super::*;
use crate::core::ids::{Db, RegistrationId};

/// Registered with SHARED.
const SHARED: bool = true;

fn registration(db: Db, collection: &str, field: &str) -> Registration {
    let namespace = Namespace { database: "d".to_owned(), collection: collection.to_owned() };
    let key_field = field.to_owned();
    Registration { key_field, ..Registration::new(db, b"", namespace) }
}

fn plain(shared: bool) -> Registration {
    Registration { shared, ..registration(Db(0), "c", "_id") }
}

fn whole(db: Db) -> Registration {
    Registration { key_whole: true, ..registration(db, "c", "_id") }
}

fn sharing(members: &[Registration]) -> Sharing {
    let mut sharing = Sharing::default();
    (0..).zip(members).for_each(|(id, member)| sharing.join(RegistrationId(id), member));
    sharing
}

#[test]
fn the_same_field_of_the_same_collection_is_refused_and_the_first_is_named() {
    let of = sharing(&[registration(Db(0), "c", "id"), plain(!SHARED), plain(SHARED)]);
    assert_eq!(of.rival(None, &plain(!SHARED)), Some(RegistrationId(1)));
    assert_eq!(of.rival(None, &registration(Db(7), "c", "_id")), Some(RegistrationId(1)));
    assert_eq!(of.rival(None, &registration(Db(0), "c", "id")), Some(RegistrationId(0)));
    for other in
        [registration(Db(0), "c", "kid"), registration(Db(0), "other", "_id"), plain(SHARED)]
    {
        assert_eq!(of.rival(None, &other), None, "{other:?}");
    }
}

#[test]
fn whole_keys_of_one_database_never_collide() {
    let of = sharing(&[whole(Db(0)), whole(Db(0))]);
    assert_eq!(of.rival(None, &whole(Db(0))), None);
    assert_eq!(of.rival(None, &whole(Db(1))), Some(RegistrationId(0)));
    assert_eq!(of.rival(None, &plain(!SHARED)), Some(RegistrationId(0)));
    assert_eq!(sharing(&[plain(!SHARED)]).rival(None, &whole(Db(0))), Some(RegistrationId(0)));
}

#[test]
fn shared_holds_for_a_pair_until_it_leaves_the_collection() {
    let mut of = sharing(&[plain(!SHARED), plain(SHARED)]);
    // Neither needs SHARED again.
    assert_eq!(of.rival(Some(RegistrationId(0)), &plain(!SHARED)), None);
    assert_eq!(of.rival(Some(RegistrationId(1)), &plain(!SHARED)), None);
    of.join(RegistrationId(1), &plain(!SHARED));
    assert!(of.is_shared(RegistrationId(1)) && !of.is_shared(RegistrationId(0)));
    assert_eq!(of.rival(Some(RegistrationId(0)), &plain(!SHARED)), None);
    // SHARED does not apply to a third one.
    assert_eq!(of.rival(None, &plain(!SHARED)), Some(RegistrationId(0)));
    of.join(RegistrationId(2), &plain(SHARED));
    assert_eq!(of.rival(Some(RegistrationId(0)), &plain(!SHARED)), None);
    assert!(of.clashes().is_empty());
}

#[test]
fn a_registration_that_leaves_its_collection_is_forgotten() {
    let mut of = sharing(&[plain(!SHARED), plain(SHARED)]);
    of.leave(RegistrationId(1));
    assert_eq!(of.rival(None, &plain(!SHARED)), Some(RegistrationId(0)));
    of.join(RegistrationId(1), &plain(SHARED));
    of.join(RegistrationId(1), &registration(Db(0), "other", "_id"));
    assert_eq!(of.rival(Some(RegistrationId(1)), &plain(!SHARED)), Some(RegistrationId(0)));
    assert!(!of.is_shared(RegistrationId(1)));
    of.leave(RegistrationId(0));
    of.leave(RegistrationId(1));
    assert!(of.members.is_empty() && of.collections.is_empty());
}

#[test]
fn loaded_registrations_without_shared_are_reported_as_a_clash() {
    let mut of = sharing(&[plain(!SHARED), registration(Db(0), "c", "id")]);
    assert!(of.clashes().is_empty());
    of.join(RegistrationId(2), &plain(!SHARED));
    assert_eq!(of.clashes(), [(RegistrationId(0), RegistrationId(2))]);
    of.join(RegistrationId(3), &plain(SHARED));
    assert_eq!(of.clashes(), [(RegistrationId(0), RegistrationId(2))]);
    of.join(RegistrationId(2), &plain(SHARED));
    assert!(of.clashes().is_empty());
}

#[test]
fn stamps_of_shared_collections_are_saved_in_their_order() {
    let mut of = sharing(&[registration(Db(0), "other", "_id"), plain(!SHARED), plain(SHARED)]);
    of.join(RegistrationId(1), &plain(SHARED));
    let saved = of.saved();
    assert_eq!(saved.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2].map(RegistrationId));
    assert!(saved.iter().all(|(_, stamps)| stamps.joined.max(stamps.shared) <= 4), "{saved:?}");
    // Loaded in another order.
    let mut again = Sharing::default();
    again.join(RegistrationId(2), &plain(!SHARED));
    again.join(RegistrationId(1), &plain(!SHARED));
    saved.iter().for_each(|(id, stamps)| again.load(*id, *stamps));
    again.join(RegistrationId(0), &plain(!SHARED));
    assert_eq!(again.rival(Some(RegistrationId(1)), &plain(!SHARED)), Some(RegistrationId(0)));
    again.leave(RegistrationId(0));
    assert_eq!(again.rival(Some(RegistrationId(1)), &plain(!SHARED)), None);
    assert_eq!(again.saved(), saved);
}

#[test]
fn a_registration_of_the_file_counts_as_later_than_loaded_ones() {
    let mut of = sharing(&[plain(!SHARED)]);
    of.begin_load();
    of.join(RegistrationId(1), &plain(!SHARED));
    of.join(RegistrationId(2), &plain(SHARED));
    // SHARED from before the restart does not apply to it.
    of.load(RegistrationId(1), Stamps { joined: 50, shared: 0 });
    of.load(RegistrationId(2), Stamps { joined: 51, shared: 52 });
    assert_eq!(of.rival(Some(RegistrationId(2)), &plain(!SHARED)), Some(RegistrationId(0)));
    assert_eq!(of.clashes().len(), 1);
    // SHARED in the file means all that are loaded.
    let mut of = sharing(&[plain(SHARED)]);
    of.begin_load();
    of.join(RegistrationId(1), &plain(!SHARED));
    of.load(RegistrationId(1), Stamps { joined: 50, shared: 0 });
    assert_eq!(of.rival(Some(RegistrationId(0)), &plain(!SHARED)), None);
    assert!(of.clashes().is_empty());
}

#[test]
fn joining_and_checking_many_registrations_of_one_collection_is_fast() {
    let began = std::time::Instant::now();
    for members in
        [vec![whole(Db(0)); 20_000], vec![plain(SHARED); 20_000], vec![plain(!SHARED); 20_000]]
    {
        let mut of = Sharing::default();
        for (id, member) in (0..).zip(&members) {
            if member.shared || member.key_whole {
                assert_eq!(of.rival(None, member), None);
            }
            of.join(RegistrationId(id), member);
        }
        let unshared = !members[0].shared && !members[0].key_whole;
        assert_eq!(of.clashes().is_empty(), !unshared);
    }
    // Comparing all pairs would take 600 million comparisons.
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn a_pair_clashes_when_no_rule_allows_it(
        registrations in prop::collection::vec((0u16..5, any::<bool>(), prop::option::of(0u16..2), 0u8..2), 0..12),
    ) {
        let mut of = Sharing::default();
        let mut model: BTreeMap<RegistrationId, Registration> = BTreeMap::new();
        // Pairs to which SHARED applies, and that have had the same collection since.
        let mut shared: BTreeSet<(RegistrationId, RegistrationId)> = BTreeSet::new();
        for (id, with_shared, whole_in, collection) in registrations {
            let id = RegistrationId(id);
            let collection = ["c", "e"][usize::from(collection)];
            let registration = Registration {
                shared: with_shared,
                key_whole: whole_in.is_some(),
                ..registration(Db(whole_in.unwrap_or(0)), collection, "_id")
            };
            let moves = model.get(&id).is_some_and(|of| of.namespace != registration.namespace);
            if moves {
                shared.retain(|(a, b)| *a != id && *b != id);
            }
            let together = |other: &Registration| other.namespace == registration.namespace;
            if with_shared {
                let others = model.iter().filter(|(other, of)| **other != id && together(of));
                shared.extend(others.flat_map(|(other, _)| [(*other, id), (id, *other)]));
            }
            of.join(id, &registration);
            model.insert(id, registration);
        }
        let allowed = |a: RegistrationId, b: RegistrationId| {
            let (one, other) = (&model[&a], &model[&b]);
            one.namespace != other.namespace
                || (one.key_whole && other.key_whole && one.db == other.db)
                || shared.contains(&(a, b))
        };
        for (id, registration) in &model {
            let unshared = Registration { shared: false, ..registration.clone() };
            let rivals: Vec<RegistrationId> =
                model.keys().copied().filter(|other| other != id && !allowed(*id, *other)).collect();
            match of.rival(Some(*id), &unshared) {
                Some(rival) => prop_assert!(rivals.contains(&rival)),
                None => prop_assert!(rivals.is_empty(), "{rivals:?}"),
            }
        }
        let any = model.keys().any(|a| model.keys().any(|b| a != b && !allowed(*a, *b)));
        prop_assert_eq!(of.clashes().is_empty(), !any);
        prop_assert!(of.clashes().to_vec().into_iter().all(|(a, b)| !allowed(a, b)));
    }
}
