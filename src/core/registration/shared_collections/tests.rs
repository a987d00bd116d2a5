use proptest::prelude::*;

use super::*;

/// Registered with SHARED.
const SAID: bool = true;

fn registration(db: u16, collection: &str, field: &str) -> Registration {
    let namespace = Namespace { database: "d".to_owned(), collection: collection.to_owned() };
    let key_field = field.to_owned();
    Registration { key_field, ..Registration::new(db, b"", namespace) }
}

fn plain(shared: bool) -> Registration {
    Registration { shared, ..registration(0, "c", "_id") }
}

fn whole(db: u16) -> Registration {
    Registration { key_whole: true, ..registration(db, "c", "_id") }
}

fn sharing(members: &[Registration]) -> Sharing {
    let mut sharing = Sharing::default();
    (0..).zip(members).for_each(|(slot, member)| sharing.join(slot, member));
    sharing
}

#[test]
fn the_same_field_of_the_same_collection_is_refused_and_the_first_is_named() {
    let of = sharing(&[registration(0, "c", "id"), plain(!SAID), plain(SAID)]);
    assert_eq!(of.rival(None, &plain(!SAID)), Some(1));
    assert_eq!(of.rival(None, &registration(7, "c", "_id")), Some(1));
    assert_eq!(of.rival(None, &registration(0, "c", "id")), Some(0));
    for other in [registration(0, "c", "kid"), registration(0, "other", "_id"), plain(SAID)] {
        assert_eq!(of.rival(None, &other), None, "{other:?}");
    }
}

#[test]
fn whole_keys_of_one_database_never_meet() {
    let of = sharing(&[whole(0), whole(0)]);
    assert_eq!(of.rival(None, &whole(0)), None);
    assert_eq!(of.rival(None, &whole(1)), Some(0));
    assert_eq!(of.rival(None, &plain(!SAID)), Some(0));
    assert_eq!(sharing(&[plain(!SAID)]).rival(None, &whole(0)), Some(0));
}

#[test]
fn shared_is_remembered_for_the_pair() {
    let mut of = sharing(&[plain(!SAID), plain(SAID)]);
    // Neither needs it again.
    assert_eq!(of.rival(Some(0), &plain(!SAID)), None);
    assert_eq!(of.rival(Some(1), &plain(!SAID)), None);
    of.join(1, &plain(!SAID));
    assert!(of.is_shared(1) && !of.is_shared(0));
    assert_eq!(of.rival(Some(0), &plain(!SAID)), None);
    // A third one is no part of it.
    assert_eq!(of.rival(None, &plain(!SAID)), Some(0));
    of.join(2, &plain(SAID));
    assert_eq!(of.rival(Some(0), &plain(!SAID)), None);
    assert!(of.clashes().is_empty());
}

#[test]
fn a_registration_that_leaves_its_collection_is_forgotten() {
    let mut of = sharing(&[plain(!SAID), plain(SAID)]);
    of.leave(1);
    assert_eq!(of.rival(None, &plain(!SAID)), Some(0));
    of.join(1, &plain(SAID));
    of.join(1, &registration(0, "other", "_id"));
    assert_eq!(of.rival(Some(1), &plain(!SAID)), Some(0));
    assert!(!of.is_shared(1));
    of.leave(0);
    of.leave(1);
    assert!(of.members.is_empty() && of.collections.is_empty());
}

#[test]
fn what_is_loaded_all_the_same_is_a_clash() {
    let mut of = sharing(&[plain(!SAID), registration(0, "c", "id")]);
    assert!(of.clashes().is_empty());
    of.join(2, &plain(!SAID));
    assert_eq!(of.clashes(), [(0, 2)]);
    of.join(3, &plain(SAID));
    assert_eq!(of.clashes(), [(0, 2)]);
    of.join(2, &plain(SAID));
    assert!(of.clashes().is_empty());
}

#[test]
fn stamps_are_saved_in_their_order_and_only_where_it_matters() {
    let mut of = sharing(&[registration(0, "other", "_id"), plain(!SAID), plain(SAID)]);
    of.join(1, &plain(SAID));
    let saved = of.saved();
    assert_eq!(saved.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [1, 2]);
    assert!(saved.iter().all(|(_, stamps)| stamps.joined.max(stamps.shared) <= 4), "{saved:?}");
    // Loaded in another order.
    let mut again = Sharing::default();
    again.join(2, &plain(!SAID));
    again.join(1, &plain(!SAID));
    saved.iter().for_each(|(slot, stamps)| again.load(*slot, *stamps));
    again.join(0, &plain(!SAID));
    assert_eq!(again.rival(Some(1), &plain(!SAID)), Some(0));
    again.leave(0);
    assert_eq!(again.rival(Some(1), &plain(!SAID)), None);
    assert_eq!(again.saved(), saved);
}

#[test]
fn a_registration_of_the_file_comes_after_what_is_loaded() {
    let mut of = sharing(&[plain(!SAID)]);
    of.begin_load();
    of.join(1, &plain(!SAID));
    of.join(2, &plain(SAID));
    // SHARED of before the restart does not mean it.
    of.load(1, Stamps { joined: 50, shared: 0 });
    of.load(2, Stamps { joined: 51, shared: 52 });
    assert_eq!(of.rival(Some(2), &plain(!SAID)), Some(0));
    assert_eq!(of.clashes().len(), 1);
    // SHARED in the file means all that are loaded.
    let mut of = sharing(&[plain(SAID)]);
    of.begin_load();
    of.join(1, &plain(!SAID));
    of.load(1, Stamps { joined: 50, shared: 0 });
    assert_eq!(of.rival(Some(0), &plain(!SAID)), None);
    assert!(of.clashes().is_empty());
}

#[test]
fn many_registrations_of_one_collection_are_joined_and_looked_through_in_time() {
    let began = std::time::Instant::now();
    for members in [vec![whole(0); 20_000], vec![plain(SAID); 20_000], vec![plain(!SAID); 20_000]] {
        let mut of = Sharing::default();
        for (slot, member) in (0..).zip(&members) {
            if member.shared || member.key_whole {
                assert_eq!(of.rival(None, member), None);
            }
            of.join(slot, member);
        }
        let unshared = !members[0].shared && !members[0].key_whole;
        assert_eq!(of.clashes().is_empty(), !unshared);
    }
    // Each with each would be 600 million pairs.
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn a_pair_clashes_when_no_rule_allows_it(
        said in prop::collection::vec((0u16..5, any::<bool>(), prop::option::of(0u16..2), 0u8..2), 0..12),
    ) {
        let mut of = Sharing::default();
        let mut model: BTreeMap<u16, Registration> = BTreeMap::new();
        // Pairs that SHARED means, and that have had one collection since.
        let mut shared: BTreeSet<(u16, u16)> = BTreeSet::new();
        for (slot, said, whole_in, collection) in said {
            let collection = ["c", "e"][usize::from(collection)];
            let registration = Registration {
                shared: said,
                key_whole: whole_in.is_some(),
                ..registration(whole_in.unwrap_or(0), collection, "_id")
            };
            let moves = model.get(&slot).is_some_and(|of| of.namespace != registration.namespace);
            if moves {
                shared.retain(|(a, b)| *a != slot && *b != slot);
            }
            let together = |other: &Registration| other.namespace == registration.namespace;
            if said {
                let others = model.iter().filter(|(other, of)| **other != slot && together(of));
                shared.extend(others.flat_map(|(other, _)| [(*other, slot), (slot, *other)]));
            }
            of.join(slot, &registration);
            model.insert(slot, registration);
        }
        let allowed = |a: u16, b: u16| {
            let (one, other) = (&model[&a], &model[&b]);
            one.namespace != other.namespace
                || (one.key_whole && other.key_whole && one.db == other.db)
                || shared.contains(&(a, b))
        };
        for (slot, registration) in &model {
            let quiet = Registration { shared: false, ..registration.clone() };
            let rivals: Vec<u16> =
                model.keys().copied().filter(|other| other != slot && !allowed(*slot, *other)).collect();
            match of.rival(Some(*slot), &quiet) {
                Some(rival) => prop_assert!(rivals.contains(&rival)),
                None => prop_assert!(rivals.is_empty(), "{rivals:?}"),
            }
        }
        let any = model.keys().any(|a| model.keys().any(|b| a != b && !allowed(*a, *b)));
        prop_assert_eq!(of.clashes().is_empty(), !any);
        prop_assert!(of.clashes().to_vec().into_iter().all(|(a, b)| !allowed(a, b)));
    }
}
