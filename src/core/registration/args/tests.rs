use proptest::prelude::*;

use super::*;
use crate::core::ids::Db;
use crate::core::registration::glob::Glob;
use crate::core::registration::schema::{FIELD_TYPES, Rule, Schema};

fn parse(line: &str) -> Result<(Registration, bool), String> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    register(Db(0), &words)
}

#[test]
fn prefix_and_namespace_alone_give_every_default() {
    let (registration, sync) = parse("movie: shop.movies").unwrap();
    let namespace = Namespace { database: "shop".to_owned(), collection: "movies".to_owned() };
    assert_eq!(registration, Registration::new(Db(0), b"movie:", namespace));
    assert!(!sync);
}

#[test]
fn options_are_read_in_any_order_and_case() {
    let line = "m: a.b.c sync batch 10 interval 0 ttlfield expires onevict delete \
                onexpire delete ondel keep write merge key movieId as uuid type json";
    let (registration, sync) = parse(&line.replace("  ", " ")).unwrap();
    assert!(sync);
    assert_eq!(registration.namespace.collection, "b.c");
    assert_eq!(registration.key_type, KeyType::Json);
    assert_eq!((&*registration.key_field, registration.key_as), ("movieId", IdType::Uuid));
    assert_eq!(registration.write, WriteMode::Merge);
    assert_eq!(registration.on_delete, OnRemoval::Keep);
    assert_eq!(
        (registration.on_expire, registration.on_evict),
        (OnRemoval::Delete, OnRemoval::Delete)
    );
    assert_eq!(registration.ttl_field.as_deref(), Some("expires"));
    assert_eq!((registration.interval_ms, registration.batch_max_keys), (Some(0), Some(10)));
}

#[test]
fn globs_are_counted_and_may_be_spelled_like_options() {
    let (registration, sync) = parse("p: a.b EXCLUDE 3 index:hash SYNC *:phantom UNWRAP").unwrap();
    let globs: Vec<&[u8]> = registration.exclude.iter().map(Glob::text).collect();
    assert_eq!(globs, [&b"index:hash"[..], b"SYNC", b"*:phantom"]);
    assert!(registration.unwraps && !sync);
    assert!(registration.excludes(b"p:1:phantom") && !registration.excludes(b"p:1"));
    let globs = vec!["*"; 64].join(" ");
    assert_eq!(parse(&format!("p: a.b EXCLUDE 64 {globs}")).unwrap().0.exclude.len(), 64);
    let long = format!("p: a.b EXCLUDE 1 {}", "x".repeat(256));
    assert!(parse(&long).unwrap_err().contains("at most 255 bytes"));
}

#[test]
fn a_registration_without_newer_options_is_readable_by_older_versions() {
    let words = words(&parse("p: a.b").unwrap().0);
    let words: Vec<&str> = words.iter().map(|word| std::str::from_utf8(word).unwrap()).collect();
    let expected = "p: a.b TYPE ANY KEY _id AS STRING WRITE REPLACE ONDEL DELETE ONEXPIRE KEEP \
                    ONEVICT KEEP";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn each_bad_argument_is_named() {
    for (line, named) in [
        ("p", "takes <prefix>"),
        ("p movies", "the dot"),
        ("p .movies", "empty"),
        ("p shop.", "empty"),
        ("p a/b.movies", "database name"),
        ("p shop.a$b", "collection name"),
        ("p shop.system.users", "system"),
        ("p a.b TYPE", "TYPE takes one of ANY"),
        ("p a.b TYPE NONE", "TYPE takes one of ANY"),
        ("p a.b KEY", "KEY takes"),
        ("p a.b KEY a.b", "KEY takes"),
        ("p a.b KEY $a", "KEY takes"),
        ("p a.b KEY id AS FLOAT", "AS takes one of STRING"),
        ("p a.b AS INT64", "unknown option 'AS'"),
        ("p a.b WHOLE", "unknown option 'WHOLE'"),
        ("p a.b KEY id AS INT64 WHOLE", "WHOLE takes AS STRING"),
        ("p a.b KEY id WHOLE AS STRING", "unknown option 'AS'"),
        ("p a.b WRITE BOTH", "WRITE takes one of REPLACE, MERGE"),
        ("p a.b ONDEL MAYBE", "ONDEL takes one of DELETE, KEEP"),
        ("p a.b TTLFIELD", "TTLFIELD takes the name of a field"),
        ("p a.b TTLFIELD a.b", "TTLFIELD takes the name of a field"),
        ("p a.b TTLFIELD $a", "TTLFIELD takes the name of a field"),
        ("p a.b TTLFIELD a\0", "TTLFIELD takes the name of a field"),
        ("p a.b TTLFIELD _id", "TTLFIELD takes the name of a field other than _id"),
        ("p a.b TTLFIELD _id KEY id", "TTLFIELD takes the name of a field other than _id"),
        ("p a.b TTLFIELD id KEY id", "and that of KEY"),
        ("p a.b KEY id TTLFIELD id", "and that of KEY"),
        ("p a.b INTERVAL -1", "INTERVAL takes a whole number from 0"),
        ("p a.b INTERVAL 1.5", "INTERVAL takes"),
        ("p a.b BATCH 0", "BATCH takes a whole number from 1"),
        ("p a.b BATCH 100001", "to 100000"),
        ("p a.b SCHEMA", "SCHEMA takes <field|*> <type>"),
        ("p a.b SCHEMA x", "SCHEMA \"x\" takes one of STRING, INT64"),
        ("p a.b SCHEMA x INT32", "SCHEMA \"x\" takes one of STRING, INT64"),
        ("p a.b SCHEMA x INT64 AS", "AS takes the name"),
        ("p a.b SCHEMA x INT64 AS y.z", "AS takes the name"),
        ("p a.b SCHEMA * INT64 AS y", "not of *"),
        ("p a.b SCHEMA as INT64", "none of them AS"),
        ("p a.b SCHEMA x\0 INT64", "without NUL"),
        ("p a.b SCHEMA x INT64 x DATE", "\"x\" is given twice"),
        ("p a.b SCHEMA * INT64 * DATE", "\"*\" is given twice"),
        ("p a.b SCHEMA x INT64 AS z y DATE AS z", "two fields get the name \"z\""),
        ("p a.b SCHEMA x INT64 AS y y DATE", "two fields get the name \"y\""),
        ("p a.b TYPE JSON SCHEMA c.x INT64 AS y c.y DATE", "two fields get the name"),
        ("p a.b SCHEMA x INT64 AS _id", "that of KEY, of TTLFIELD or _id"),
        ("p a.b KEY id SCHEMA id INT64", "that of KEY, of TTLFIELD or _id"),
        ("p a.b TTLFIELD t SCHEMA x INT64 AS t", "that of KEY, of TTLFIELD or _id"),
        ("p a.b SCHEMA x INT64 TYPE HASH", "SCHEMA \"TYPE\" takes one of"),
        ("p a.b PARTS x", "PARTS is not supported"),
        ("p a.b REFRESH UPDATE", "REFRESH is not supported"),
        ("p a.b parts {a}:{b}", "PARTS is not supported"),
        ("p a.b RATE 5", "RATE is not supported"),
        ("p a.b STAMP at", "STAMP is not supported"),
        ("p a.b ATOMIC maybe", "ATOMIC takes one of SPLIT, WHOLE, NONE"),
        ("p a.b ONDEL MARK gone", "ONDEL MARK is not supported"),
        ("p a.b ONEXPIRE mark gone", "ONEXPIRE MARK is not supported"),
        ("p a.b ONEVICT MARK gone", "ONEVICT MARK is not supported"),
        ("p a.b EXCLUDE", "EXCLUDE takes a whole number from 1 to 64"),
        ("p a.b EXCLUDE 0", "EXCLUDE takes a whole number from 1 to 64"),
        ("p a.b EXCLUDE 65 x", "EXCLUDE takes a whole number from 1 to 64"),
        ("p a.b EXCLUDE *:phantom", "EXCLUDE takes a whole number from 1 to 64"),
        ("p a.b EXCLUDE 2 x", "EXCLUDE 2 takes 2 globs"),
        ("p a.b EXCLUDE 1 x SYNC y", "unknown option 'Y'"),
        ("p a.b ONERROR", "ONERROR takes one of DEADLETTER, STRING, SKIP"),
        ("p a.b ONERROR IGNORE", "ONERROR takes one of DEADLETTER, STRING, SKIP"),
        ("p a.b UNWRAP TYPE HASH", "UNWRAP takes TYPE STRING or ANY"),
        ("p a.b TYPE STRING UNWRAP SCHEMA c.x INT64 AS y c.y DATE", "two fields get the name"),
        ("p a.b FASTER", "unknown option 'FASTER'"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(named), "{line}: {error}");
    }
}

#[test]
fn flush_reads_all_its_forms() {
    let parse = |line: &'static str| {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        flush(&words)
    };
    assert_eq!(parse("").unwrap(), FlushArgs::default());
    assert_eq!(parse("p:").unwrap().prefix, Some(&b"p:"[..]));
    assert_eq!(parse("p: timeout 5").unwrap().timeout_ms, 5);
    let args = parse("KEYS 2 a b TIMEOUT 7").unwrap();
    assert_eq!((args.prefix, args.timeout_ms), (None, 7));
    assert_eq!(args.keys.unwrap(), [b"a", b"b"]);
    assert_eq!(parse("KEYS TIMEOUT 7").unwrap().prefix, Some(&b"KEYS"[..]));
    let both = parse("p: KEYS 1 p:a").unwrap();
    assert_eq!((both.prefix, both.keys), (Some(&b"p:"[..]), Some(vec![&b"p:a"[..]])));
    for (line, named) in [
        ("TIMEOUT", "TIMEOUT takes"),
        ("TIMEOUT -1", "TIMEOUT takes"),
        ("KEYS 0", "KEYS takes"),
        ("KEYS 3 a b", "KEYS 3 takes 3 keys"),
        ("p: q:", "WB.FLUSH takes"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(named), "{line}: {error}");
    }
}

proptest! {
    #[test]
    fn formatted_arguments_are_parsed_back(
        prefix in prop::collection::vec(any::<u8>(), 0..8),
        choice in prop::collection::vec(0usize..100, 8),
        exclude in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..4),
        [unwraps, key_whole, shared] in any::<[bool; 3]>(),
        // Not a field of the schema below, because two fields must not get the same name.
        ttl_field in prop::option::of("[a-rt-zä -][a-zä -]{0,5}|TTLFIELD"),
        interval_ms in prop::option::of(0u64..1_000),
        batch_max_keys in prop::option::of(1u32..1_000),
        fields in prop::collection::btree_map(
            "s[a-c.]{0,3}|AS\\.|",
            (0..FIELD_TYPES.len(), prop::option::of("n")),
            0..4,
        ),
        star in prop::option::of(0..FIELD_TYPES.len()),
    ) {
        fn pick<T: Copy>(choices: &[(&str, T)], at: usize) -> T {
            choices[at % choices.len()].1
        }
        // Each new name is used once, because two fields must not get the same name.
        let rules: Vec<Rule> = fields
            .into_iter()
            .enumerate()
            .map(|(n, (field, (to, name)))| {
                Rule { field, to: pick(&FIELD_TYPES, to), name: name.map(|name| format!("{name}{n}")) }
            })
            .collect();
        let star = star.map(|to| pick(&FIELD_TYPES, to));
        let schema = (!rules.is_empty() || star.is_some()).then(|| Box::new(Schema::new(rules, star)));
        let namespace = Namespace { database: "d".to_owned(), collection: "c.d".to_owned() };
        let key_type = pick(&KEY_TYPES, choice[0]);
        let strings = matches!(key_type, KeyType::Any | KeyType::String);
        let registration = Registration {
            key_type,
            exclude: exclude.iter().map(|glob| Glob::new(glob).unwrap()).collect(),
            unwraps: unwraps && strings,
            on_error: pick(&ON_ERROR, choice[7]),
            key_field: ["_id", "movieId", "KEY"][choice[1] % 3].to_owned(),
            key_as: if key_whole { IdType::String } else { pick(&ID_TYPES, choice[2]) },
            key_whole,
            shared,
            write: pick(&WRITE_MODES, choice[3]),
            on_delete: pick(&ON_REMOVAL, choice[4]),
            on_expire: pick(&ON_REMOVAL, choice[5]),
            on_evict: pick(&ON_REMOVAL, choice[6]),
            ttl_field,
            interval_ms,
            batch_max_keys,
            schema,
            ..Registration::new(Db(3), &prefix, namespace)
        };
        let words = words(&registration);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(register(Db(3), &words).unwrap(), (registration, false));
    }

    #[test]
    fn accepted_arguments_are_formatted_and_parsed_back(
        given in prop::collection::vec(prop::sample::select(&OPTION_WORDS[..]), 0..9),
    ) {
        let all = ["k:", "d.c"].iter().chain(&given).map(|word| word.as_bytes()).collect::<Vec<_>>();
        let strict = register(Db(0), &all);
        let Ok((registration, sync)) = registered(Db(0), &all) else {
            prop_assert!(strict.is_err());
            return Ok(());
        };
        let printed = words(&registration);
        let printed: Vec<&[u8]> = printed.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(register(Db(0), &printed).map(|(again, _)| again), Ok(registration.clone()));
        prop_assert!(strict.is_err() || strict == Ok((registration, sync)));
    }
}

/// Options, their values, and words that are neither.
const OPTION_WORDS: [&str; 24] = [
    "TYPE", "HASH", "ANY", "KEY", "id", "_id", "AS", "INT64", "STRING", "WRITE", "MERGE", "ONDEL",
    "KEEP", "TTLFIELD", "INTERVAL", "BATCH", "5", "SYNC", "SCHEMA", "*", "AUTO", "DATE", "$", "",
];
