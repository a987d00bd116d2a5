//! Hint and collation of operations, with which they find the document of their key.

use super::*;
use crate::mongo::write::forms::Forms;

fn lookup(index: Option<&str>, simple: bool) -> Lookup {
    Lookup { index: index.map(str::to_owned), simple }
}

/// Keyed by a field: an item that cannot be written, and two documents with a deletion between
/// them.
fn mixed() -> Batch {
    let registration = Registration { key_field: "id".into(), ..registration() };
    let reads: [(&[u8], Content, &[u8]); 4] = [
        (b"k:1", Content::Unwritable, b"too large"),
        (b"k:2", Content::String, b"x"),
        (b"k:3", Content::Tombstone, b""),
        (b"k:4", Content::String, b"y"),
    ];
    batch(registration, &reads)
}

#[test]
fn every_operation_names_the_index_and_the_collation_that_it_needs() {
    let batch = mixed();
    for (lookup, expected) in [
        (lookup(Some("i"), true), doc! { "hint": "i", "collation": { "locale": "simple" } }),
        (lookup(Some("i"), false), doc! { "hint": "i" }),
        (lookup(None, true), doc! { "collation": { "locale": "simple" } }),
    ] {
        let built =
            crate::mongo::write::command::build(&batch, Kind::Update, &lookup, Forms::default());
        let [deletes, updates] = &built.commands[..] else { panic!("not two commands") };
        for op in operations(updates).into_iter().chain(operations(deletes)) {
            let rest = op.into_iter().filter(|(name, _)| ["hint", "collation"].contains(&&**name));
            assert_eq!(rest.collect::<Parsed>(), expected);
        }
        assert_eq!(built.lookup, lookup);
    }
}

#[test]
fn inserts_by_a_field_follow_an_update_that_finds_the_index() {
    let built = crate::mongo::write::command::build(
        &mixed(),
        Kind::Insert,
        &lookup(Some("i"), false),
        Forms::default(),
    );
    let [delete, update, insert] = &built.commands[..] else { panic!("not three commands") };
    assert_eq!((update.kind, &update.items[..]), (Kind::Update, &[1][..]));
    assert_eq!((insert.kind, &insert.items[..]), (Kind::Insert, &[3][..]));
    assert_eq!((delete.kind, &delete.items[..]), (Kind::Delete, &[2][..]));
    assert_eq!((built.refused.len(), built.inserts()), (1, 1));
    assert_eq!(operations(update)[0].get_str("hint").unwrap(), "i");
}
