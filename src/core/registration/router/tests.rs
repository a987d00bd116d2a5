use super::*;
use crate::core::ids::{Db, RegistrationId};
use proptest::prelude::*;

fn routes(prefixes: &[&[u8]]) -> Routes {
    let mut routes = Routes::default();
    for (id, prefix) in prefixes.iter().enumerate() {
        routes.insert(Db(0), prefix, RegistrationId(id as u16));
    }
    routes
}

#[test]
fn the_longest_matching_prefix_wins() {
    let routes = routes(&[b"person", b"personal", b"person:"]);
    assert_eq!(routes.find(Db(0), b"person1"), Some(RegistrationId(0)));
    assert_eq!(routes.find(Db(0), b"personal1"), Some(RegistrationId(1)));
    assert_eq!(routes.find(Db(0), b"person:1"), Some(RegistrationId(2)));
    assert_eq!(routes.find(Db(0), b"perso"), None);
}

#[test]
fn the_empty_prefix_matches_every_key_that_no_other_does() {
    let routes = routes(&[b"", b"a"]);
    assert_eq!(routes.find(Db(0), b""), Some(RegistrationId(0)));
    assert_eq!(routes.find(Db(0), b"b"), Some(RegistrationId(0)));
    assert_eq!(routes.find(Db(0), b"ab"), Some(RegistrationId(1)));
}

#[test]
fn keys_of_a_removed_prefix_are_routed_by_a_shorter_one() {
    let mut routes = routes(&[b"a", b"ab", b"abc"]);
    routes.remove(Db(0), b"ab");
    assert_eq!(routes.find(Db(0), b"abd"), Some(RegistrationId(0)));
    assert_eq!(routes.find(Db(0), b"abcd"), Some(RegistrationId(2)));
}

#[test]
fn databases_are_routed_separately() {
    let mut routes = routes(&[b"a"]);
    routes.insert(Db(3), b"b", RegistrationId(7));
    assert_eq!(routes.find(Db(3), b"a"), None);
    assert_eq!(routes.find(Db(3), b"b"), Some(RegistrationId(7)));
    routes.remove(Db(0), b"a");
    routes.remove(Db(3), b"b");
    assert!(routes.is_empty());
}

proptest! {
    #[test]
    fn finds_the_same_as_a_linear_search(
        prefixes in prop::collection::btree_set("[ab\0]{0,4}|abababa[ab\0]{0,4}", 0..40),
        common in "(aaaaaaaaa|ab|)",
        removed in prop::collection::vec("[ab]{0,4}", 0..4),
        key in "[abc\0]{0,6}|abababa[abc\0]{0,6}",
        shuffle in any::<u64>(),
    ) {
        let with = |rest: &String| format!("{common}{rest}");
        let prefixes: Vec<String> = prefixes.iter().map(with).collect();
        let removed: Vec<String> = removed.iter().map(with).collect();
        let keys = [with(&key), key];
        let mut all = prefixes;
        fastrand::Rng::with_seed(shuffle).shuffle(&mut all);
        let mut routes = Routes::default();
        for (id, prefix) in all.iter().enumerate() {
            routes.insert(Db(0), prefix.as_bytes(), RegistrationId(id as u16));
        }
        let ids: std::collections::HashMap<String, RegistrationId> =
            all.iter().enumerate().map(|(id, prefix)| (prefix.clone(), RegistrationId(id as u16))).collect();
        for prefix in &removed {
            routes.remove(Db(0), prefix.as_bytes());
            all.retain(|other| other != prefix);
        }
        for key in keys {
            let expected = all
                .iter()
                .filter(|prefix| key.starts_with(prefix.as_str()))
                .max_by_key(|prefix| prefix.len())
                .map(|prefix| ids[prefix]);
            prop_assert_eq!(routes.find(Db(0), key.as_bytes()), expected);
        }
    }
}
