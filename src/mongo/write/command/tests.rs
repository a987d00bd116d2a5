//! Commands built from batches, parsed with the `bson` crate.

use std::sync::Arc;

use mongodb::bson::{DateTime, Document as Parsed, RawDocument, doc};
use proptest::prelude::*;

use super::*;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::{NO_EXPIRY, Span, push_bytes};
use crate::core::registration::{IdType, Namespace, Registration, WriteMode};

mod lookups;
mod sizes;

/// The commands for a collection that needs no hint and no collation.
fn build(batch: &Batch, documents: Kind) -> Built {
    super::build(batch, documents, &Lookup::default(), Forms::Plain)
}

pub fn registration() -> Registration {
    let namespace = Namespace { database: "d".into(), collection: "c".into() };
    Registration::new(Db(0), b"k:", namespace)
}

pub fn batch(registration: Registration, reads: &[(&[u8], Content, &[u8])]) -> Batch {
    let mut bytes = Vec::new();
    let mut add = |part: &[u8]| {
        let start = bytes.len();
        bytes.extend_from_slice(part);
        Span { start, end: bytes.len() }
    };
    let items = reads
        .iter()
        .map(|(key, content, value)| Item {
            entry: EntryId(0),
            version: Version(0),
            since_us: 0,
            key: add(key),
            content: *content,
            value: add(value),
            expire_ms: NO_EXPIRY,
        })
        .collect();
    Batch {
        registration: Arc::new(registration),
        registration_id: RegistrationId(0),
        epoch: 0,
        slow: false,
        retry: 0,
        groups: Vec::new(),
        items,
        bytes,
    }
}

fn hash(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut value = Vec::new();
    for (name, field) in pairs {
        push_bytes(&mut value, name.as_bytes());
        push_bytes(&mut value, field.as_bytes());
    }
    value
}

fn parse(command: &Command) -> Parsed {
    Parsed::try_from(RawDocument::from_bytes(&command.bytes).unwrap()).unwrap()
}

/// The operations of the single command that is built from `reads`.
fn ops(registration: Registration, reads: &[(&[u8], Content, &[u8])]) -> Vec<Parsed> {
    let built = build(&batch(registration, reads), Kind::Update);
    assert_eq!(built.refused, []);
    let [command] = &built.commands[..] else { panic!("{} commands", built.commands.len()) };
    operations(command)
}

fn operations(command: &Command) -> Vec<Parsed> {
    let name = if command.kind == Kind::Update { "updates" } else { "deletes" };
    let operations = parse(command).get_array(name).unwrap().clone();
    assert_eq!(operations.len(), command.items.len());
    operations.into_iter().map(|op| op.as_document().unwrap().clone()).collect()
}

#[test]
fn an_update_replaces_or_creates_the_document_of_the_key() {
    let value = hash(&[("a", "1")]);
    let built = build(&batch(registration(), &[(b"k:7", Content::Hash, &value)]), Kind::Update);
    let [command] = &built.commands[..] else { panic!("not one command") };
    let expected = doc! {
        "update": "c",
        "ordered": false,
        "updates": [{ "q": { "_id": "7" }, "u": { "_id": "7", "a": "1" }, "upsert": true }],
    };
    assert_eq!(parse(command), expected);
    assert_eq!((command.kind, &command.items[..]), (Kind::Update, &[0][..]));
    // The server reads the first field as the command's name.
    assert_eq!(parse(command).keys().next().unwrap(), "update");
}

#[test]
fn a_tombstone_deletes_the_document_of_the_key() {
    let built = build(&batch(registration(), &[(b"k:7", Content::Tombstone, b"")]), Kind::Update);
    let [command] = &built.commands[..] else { panic!("not one command") };
    let expected = doc! {
        "delete": "c",
        "ordered": false,
        "deletes": [{ "q": { "_id": "7" }, "limit": 1 }],
    };
    assert_eq!(parse(command), expected);
    assert_eq!((command.kind, &command.items[..]), (Kind::Delete, &[0][..]));
}

#[test]
fn a_document_with_a_dollar_name_at_the_top_is_replaced_as_a_literal() {
    let value = hash(&[("a", "1"), ("$b", "2")]);
    let json = br#"{"a": {"$b": 1}}"#;
    let reads: [(&[u8], Content, &[u8]); 3] = [
        (b"k:1", Content::Hash, &value),
        (b"k:2", Content::Json, json),
        (b"k:3", Content::Json, b"{\"$set\": {\"a\": 1}}"),
    ];
    let literal = |document: Parsed| doc! { "$replaceWith": { "$literal": document } };
    let expected = [
        doc! {
            "q": { "_id": "1" },
            "u": [literal(doc! { "_id": "1", "a": "1", "$b": "2" })],
            "upsert": true,
        },
        doc! { "q": { "_id": "2" }, "u": { "_id": "2", "a": { "$b": 1_i64 } }, "upsert": true },
        doc! {
            "q": { "_id": "3" },
            "u": [literal(doc! { "_id": "3", "$set": { "a": 1_i64 } })],
            "upsert": true,
        },
    ];
    assert_eq!(ops(registration(), &reads), expected);
}

#[test]
fn merge_sets_the_fields_as_literals() {
    let registration = Registration { write: WriteMode::Merge, ..registration() };
    let value = hash(&[("a.b", "$c"), ("$d", "1")]);
    let expected = doc! {
        "q": { "_id": "7" },
        "u": [{ "$replaceWith": { "$mergeObjects": [
            "$$ROOT",
            { "$literal": { "_id": "7", "a.b": "$c", "$d": "1" } },
        ] } }],
        "upsert": true,
    };
    assert_eq!(ops(registration, &[(b"k:7", Content::Hash, &value)]), [expected]);
}

/// The operation that writes the hash `{a: "1"}`, which expires at `expire_ms`.
fn op_with_expiry(write: WriteMode, expire_ms: i64) -> Parsed {
    let registration = Registration { write, ttl_field: Some("until".into()), ..registration() };
    let value = hash(&[("a", "1"), ("until", "of the value")]);
    let mut batch = batch(registration, &[(b"k:7", Content::Hash, &value)]);
    batch.items[0].expire_ms = expire_ms;
    operations(&build(&batch, Kind::Update).commands[0]).remove(0)
}

#[test]
fn replace_writes_the_expiry_or_leaves_it_out() {
    let op = |document: Parsed| doc! { "q": { "_id": "7" }, "u": document, "upsert": true };
    let until = DateTime::from_millis(1_700_000_000_123);
    assert_eq!(
        op_with_expiry(WriteMode::Replace, 1_700_000_000_123),
        op(doc! { "_id": "7", "until": until, "a": "1" })
    );
    assert_eq!(op_with_expiry(WriteMode::Replace, NO_EXPIRY), op(doc! { "_id": "7", "a": "1" }));
}

#[test]
fn merge_sets_the_expiry_or_removes_it() {
    let merge = |literal: Parsed| {
        doc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", { "$literal": literal }] } }
    };
    let op = |u: Vec<Parsed>| doc! { "q": { "_id": "7" }, "u": u, "upsert": true };
    let until = DateTime::from_millis(1_700_000_000_123);
    assert_eq!(
        op_with_expiry(WriteMode::Merge, 1_700_000_000_123),
        op(vec![merge(doc! { "_id": "7", "until": until, "a": "1" })])
    );
    assert_eq!(
        op_with_expiry(WriteMode::Merge, NO_EXPIRY),
        op(vec![doc! { "$unset": "until" }, merge(doc! { "_id": "7", "a": "1" })])
    );
}

/// The operations that merge `reads` in the form that pays.
fn set_ops(registration: Registration, reads: &[(&[u8], Content, &[u8])]) -> Vec<Parsed> {
    let registration = Registration { write: WriteMode::Merge, ..registration };
    let built =
        super::build(&batch(registration, reads), Kind::Update, &Lookup::default(), Forms::Sets);
    assert_eq!(built.refused, []);
    operations(&built.commands[0])
}

#[test]
fn merge_by_set_names_the_key_field_too() {
    let (value, empty) = (hash(&[("b", "$c"), ("a$", "1"), ("_id", "x")]), hash(&[]));
    let reads: [(&[u8], Content, &[u8]); 3] = [
        (b"k:7", Content::Hash, &value),
        (b"k:8", Content::Hash, &empty),
        (b"k:9", Content::String, b"x"),
    ];
    let op =
        |id: &str, set: Parsed| doc! { "q": { "_id": id }, "u": { "$set": set }, "upsert": true };
    let expected = [
        op("7", doc! { "_id": "7", "b": "$c", "a$": "1" }),
        op("8", doc! { "_id": "8" }),
        op("9", doc! { "_id": "9", "value": "x" }),
    ];
    assert_eq!(set_ops(registration(), &reads), expected);
    let by_number =
        Registration { key_field: "nr".into(), key_as: IdType::Int64, ..registration() };
    let set = doc! { "$set": { "nr": 7_i64, "b": "$c", "a$": "1" } };
    let expected = doc! { "q": { "nr": 7_i64 }, "u": set, "upsert": true };
    assert_eq!(set_ops(by_number, &reads[..1]), [expected]);
}

#[test]
fn merge_by_set_removes_the_expiry() {
    let registration = Registration { ttl_field: Some("until".into()), ..registration() };
    let value = hash(&[("until", "of the value"), ("a", "1")]);
    let expected = doc! {
        "q": { "_id": "7" },
        "u": { "$set": { "_id": "7", "a": "1" }, "$unset": { "until": "" } },
        "upsert": true,
    };
    assert_eq!(set_ops(registration, &[(b"k:7", Content::Hash, &value)]), [expected]);
}

#[test]
fn names_that_set_does_not_take_are_merged_by_a_pipeline() {
    let pipeline = |id: &str, document: Parsed| {
        let merged = doc! { "$mergeObjects": ["$$ROOT", { "$literal": document }] };
        doc! { "q": { "_id": id }, "u": [{ "$replaceWith": merged }], "upsert": true }
    };
    for name in ["a.b", ".", "$a", "$", "", "$[]", "a."] {
        let (odd, usual) = (hash(&[("a", "1"), (name, "2")]), hash(&[("a", "3")]));
        let reads: [(&[u8], Content, &[u8]); 2] =
            [(b"k:1", Content::Hash, &odd), (b"k:2", Content::Hash, &usual)];
        let set = doc! { "$set": { "_id": "2", "a": "3" } };
        let expected = [
            pipeline("1", doc! { "_id": "1", "a": "1", name: "2" }),
            doc! { "q": { "_id": "2" }, "u": set, "upsert": true },
        ];
        assert_eq!(set_ops(registration(), &reads), expected, "{name:?}");
    }
}

#[test]
fn documents_are_found_by_the_key_field_in_its_type() {
    let registration =
        Registration { key_field: "nr".into(), key_as: IdType::Int64, ..registration() };
    let value = hash(&[("_id", "x"), ("a", "1")]);
    let expected = doc! { "q": { "nr": 7_i64 }, "u": { "nr": 7_i64, "a": "1" }, "upsert": true };
    assert_eq!(ops(registration.clone(), &[(b"k:7", Content::Hash, &value)]), [expected]);
    let expected = doc! { "q": { "nr": 7_i64 }, "limit": 1 };
    assert_eq!(ops(registration, &[(b"k:7", Content::Tombstone, b"")]), [expected]);
}

#[test]
fn an_empty_batch_needs_no_command() {
    let built = build(&batch(registration(), &[]), Kind::Update);
    assert!(built.commands.is_empty() && built.refused.is_empty());
}

#[test]
fn a_batch_of_refusals_needs_no_command() {
    let built =
        build(&batch(registration(), &[(b"k:1", Content::Unwritable, b"too large")]), Kind::Update);
    assert!(built.commands.is_empty());
    assert_eq!(built.refused, [Refusal { index: 0, code: 0, reason: "too large".into() }]);
}

#[test]
fn a_mixed_batch_maps_every_operation_to_its_item() {
    let registration = Registration { key_as: IdType::Int64, ..registration() };
    let value = hash(&[("a", "1")]);
    let reads: [(&[u8], Content, &[u8]); 8] = [
        (b"k:0", Content::Hash, &value),
        (b"k:x", Content::Tombstone, b""),
        (b"k:2", Content::Tombstone, b""),
        (b"k:3", Content::Json, b"{\"a\": \"half"),
        (b"k:4", Content::Json, b"{\"$a\": 1}"),
        (b"k:05", Content::Hash, &value),
        (b"k:6", Content::String, b"s"),
        (b"k:7", Content::Tombstone, b""),
    ];
    let built = build(&batch(registration, &reads), Kind::Update);
    let [delete, update] = &built.commands[..] else { panic!("not two commands") };
    assert_eq!((update.kind, &update.items[..]), (Kind::Update, &[0, 4, 6][..]));
    assert_eq!((delete.kind, &delete.items[..]), (Kind::Delete, &[2, 7][..]));
    for command in [update, delete] {
        for (op, item) in operations(command).iter().zip(&command.items) {
            assert_eq!(op.get_document("q").unwrap(), &doc! { "_id": i64::from(*item) });
        }
    }
    let refused: Vec<_> = built.refused.iter().map(|refusal| refusal.index).collect();
    assert_eq!(refused, [1, 3, 5]);
    assert!(built.refused.iter().all(|refusal| refusal.code == 0));
    assert!(built.refused.iter().all(|refusal| !refusal.reason.contains("half")));
}

fn any_read() -> impl Strategy<Value = (Content, Vec<u8>)> {
    let text = "[ -~]{0,20}";
    prop_oneof![
        Just((Content::Tombstone, Vec::new())),
        text.prop_map(|reason| (Content::Unwritable, reason.into_bytes())),
        any::<Vec<u8>>().prop_map(|value| (Content::String, value)),
        prop::collection::vec(("[a$.\0]{0,2}", text), 0..5).prop_map(|pairs| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            (Content::Hash, hash(&pairs))
        }),
        "[\\[\\]{}\":,$a1 ]{0,12}".prop_map(|text| (Content::Json, text.into_bytes())),
    ]
}

proptest! {
    #[test]
    fn every_item_is_in_one_command_or_refused(
        reads in prop::collection::vec(any_read(), 0..30), merge: bool, sets: bool,
    ) {
        let forms = if sets { Forms::Sets } else { Forms::Plain };
        let write = if merge { WriteMode::Merge } else { WriteMode::Replace };
        let keys: Vec<String> = (0..reads.len()).map(|n| format!("k:{n}")).collect();
        let reads: Vec<(&[u8], Content, &[u8])> = keys
            .iter()
            .zip(&reads)
            .map(|(key, (content, value))| (key.as_bytes(), *content, &value[..]))
            .collect();
        let batch = batch(Registration { write, ..registration() }, &reads);
        let built = super::build(&batch, Kind::Update, &Lookup::default(), forms);
        let mut seen: Vec<usize> = built.refused.iter().map(|refusal| refusal.index).collect();
        prop_assert!(seen.is_sorted());
        for command in &built.commands {
            for (op, item) in operations(command).iter().zip(&command.items) {
                let item = *item as usize;
                prop_assert_eq!(op.get_document("q").unwrap(), &doc! { "_id": item.to_string() });
                let deleted = reads[item].1 == Content::Tombstone;
                prop_assert_eq!(command.kind == Kind::Delete, deleted);
                if let Ok(set) = op.get_document("u").and_then(|u| u.get_document("$set")) {
                    let is_name = |name: &String| !name.starts_with('$') && !name.contains('.');
                    prop_assert!(sets && set.keys().all(|name| is_name(name) && !name.is_empty()));
                    prop_assert!(set.contains_key("_id"));
                }
                seen.push(item);
            }
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..reads.len()).collect::<Vec<_>>());
    }
}

#[test]
fn an_insert_holds_the_documents_themselves() {
    let value = hash(&[("a", "1"), ("$b", "2")]);
    let reads: [(&[u8], Content, &[u8]); 3] = [
        (b"k:1", Content::Hash, &value),
        (b"k:2", Content::Tombstone, b""),
        (b"k:3", Content::Unwritable, b"too large"),
    ];
    let built = build(&batch(registration(), &reads), Kind::Insert);
    assert_eq!(built.refused.len(), 1);
    let [delete, insert] = &built.commands[..] else { panic!("not two commands") };
    let expected = doc! {
        "insert": "c",
        "ordered": false,
        "documents": [{ "_id": "1", "a": "1", "$b": "2" }],
    };
    assert_eq!((parse(insert), &insert.items[..]), (expected, &[0][..]));
    assert_eq!((delete.kind, &delete.items[..]), (Kind::Delete, &[1][..]));
}
