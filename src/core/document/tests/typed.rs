//! Documents whose fields have the types that SCHEMA asks for.

use mongodb::bson::{Decimal128, oid::ObjectId};

use super::*;
use crate::core::args;

fn typed(schema: &str) -> Registration {
    let words = [&["user:", "d.c"], schema.split(' ').collect::<Vec<_>>().as_slice()].concat();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    args::register(0, &words).unwrap().0
}

fn of_json(schema: &str, json: &str) -> Result<Parsed, Unfit> {
    let written = convert(&typed(schema), b"user:7", Content::Json, json.as_bytes());
    written.map(|(mut document, _)| {
        document.remove("_id");
        document
    })
}

fn mismatch(field: &str, to: &'static str) -> Unfit {
    Unfit::Mismatch(field.to_owned(), to)
}

#[test]
fn fields_of_a_hash_get_their_types_and_names() {
    let registration = typed(
        "SCHEMA age INT64 AS years price DECIMAL ok BOOL at DATE id OBJECTID raw BINARY \
         tags JSON secret SKIP a.b DOUBLE * AUTO",
    );
    let pairs: [(&[u8], &[u8]); 11] = [
        (b"age", b"36"),
        (b"price", b"1.50"),
        (b"ok", b"1"),
        (b"at", b"1970-01-01T00:00:01Z"),
        (b"id", b"000102030405060708090a0b"),
        (b"raw", b"text"),
        (b"tags", b"{\"a\": [1, {\"_id\": 2.0}]}"),
        (b"secret", b"s"),
        (b"a.b", b"inf"),
        (b"n", b"5"),
        (b"s", b"05"),
    ];
    let (document, _) = of_hash(&registration, &pairs).unwrap();
    let expected = doc! {
        "_id": "7",
        "years": 36_i64,
        "price": "1.50".parse::<Decimal128>().unwrap(),
        "ok": true,
        "at": DateTime::from_millis(1_000),
        "id": ObjectId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        "raw": binary(b"text"),
        "tags": { "a": [1_i64, { "_id": 2.0 }] },
        "a.b": f64::INFINITY,
        "n": 5_i64,
        "s": "05",
    };
    assert_eq!(document, expected);
}

#[test]
fn a_value_that_does_not_convert_is_refused_by_field_and_type_and_never_shown() {
    for to in [
        "INT64", "DOUBLE", "DECIMAL", "BOOL", "DATE", "DATE_S", "DATE_MS", "OBJECTID", "UUID",
        "JSON",
    ] {
        let registration = typed(&format!("SCHEMA age {to}"));
        for value in [&b"s3cret"[..], b"\xff", b"{\"s3cret\":"] {
            let why = of_hash(&registration, &[(b"age", value)]).unwrap_err().to_string();
            assert!(why.contains("\"age\"") && why.contains(to), "{why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
        let registration = typed(&format!("SCHEMA * {to}"));
        let why = of_hash(&registration, &[(b"other", b"s3cret")]).unwrap_err();
        assert!(why.to_string().contains("\"other\""), "{why}");
    }
}

#[test]
fn the_name_in_a_reason_is_cut() {
    let name = "é".repeat(1_000_000);
    let why = of_hash(&typed("SCHEMA * INT64"), &[(name.as_bytes(), b"x")]).unwrap_err();
    assert!(why.to_string().len() < 300);
}

#[test]
fn a_field_cannot_take_the_name_that_another_gets() {
    let registration = typed("SCHEMA a STRING AS b");
    let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
    assert_eq!(of_hash(&registration, &pairs), Err(Unfit::Renamed("b".to_owned())));
    let (document, _) = of_hash(&registration, &pairs[..1]).unwrap();
    assert_eq!(document, doc! { "_id": "7", "b": "1" });
}

#[test]
fn paths_in_json_get_their_types_and_names() {
    let schema = "SCHEMA at DATE address.zip INT64 AS code tags UUID items.price DECIMAL \
                  address.note SKIP";
    let json = r#"{"at": 5, "address": {"zip": "8010", "note": 1, "street": "x"}, "n": 1.0,
        "tags": ["123e4567-e89b-12d3-a456-426614174000", null],
        "items": [{"price": 1.5, "n": 2}, {"price": "2.50"}, 3]}"#;
    let uuid = [
        0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0,
    ];
    let uuid = Binary { subtype: BinarySubtype::Uuid, bytes: uuid.to_vec() };
    let decimal = |text: &str| text.parse::<Decimal128>().unwrap();
    let expected = doc! {
        "at": DateTime::from_millis(5_000),
        "address": { "code": 8010_i64, "street": "x" },
        "n": 1.0,
        "tags": [uuid, Bson::Null],
        "items": [{ "price": decimal("1.5"), "n": 2_i64 }, { "price": decimal("2.50") }, 3_i64],
    };
    assert_eq!(of_json(schema, json), Ok(expected));
}

#[test]
fn all_other_fields_of_json_are_those_of_every_level() {
    let json = r#"{"keep": {"a": {"b": 1}}, "a": {"b": 1, "c": "2"}, "d": "3"}"#;
    let skipped = doc! { "keep": { "a": { "b": 1_i64 } }, "a": { "b": 1_i64 } };
    assert_eq!(of_json("SCHEMA keep JSON a.b AUTO * SKIP", json), Ok(skipped));
    let typed = doc! {
        "keep": { "a": { "b": "1" } },
        "a": { "b": "1", "c": "2" },
        "d": "3",
    };
    assert_eq!(of_json("SCHEMA * STRING", json), Ok(typed));
    let as_it_is = doc! {
        "keep": { "a": { "b": 1_i64 } },
        "a": { "b": 1_i64, "c": "2" },
        "d": "3",
    };
    assert_eq!(of_json("SCHEMA * AUTO", json), Ok(as_it_is));
}

#[test]
fn json_that_does_not_convert_is_refused_by_path_and_type() {
    let of = |schema: &str, json: &str| of_json(schema, json).unwrap_err();
    assert_eq!(of("SCHEMA a.b INT64", r#"{"a": {"b": "x"}}"#), mismatch("a.b", "INT64"));
    assert_eq!(of("SCHEMA a INT64", r#"{"a": {"b": 1}}"#), mismatch("a", "INT64"));
    assert_eq!(of("SCHEMA a INT64", r#"{"a": [1, true]}"#), mismatch("a", "INT64"));
    assert_eq!(of("SCHEMA * INT64", r#"{"a": {"b": 1.5}}"#), mismatch("b", "INT64"));
    assert_eq!(of("SCHEMA a JSON", r#"{"a": "[1"}"#), mismatch("a", "JSON"));
    assert_eq!(of("SCHEMA a STRING AS b", r#"{"b": 1}"#), Unfit::Renamed("b".to_owned()));
}

#[test]
fn json_text_inside_of_json_becomes_its_value() {
    let document = of_json("SCHEMA a JSON b BINARY", r#"{"a": "{\"x\": [1]}", "b": "é"}"#);
    assert_eq!(document, Ok(doc! { "a": { "x": [1_i64] }, "b": binary("é".as_bytes()) }));
    let nested = "[".repeat(200) + &"]".repeat(200);
    let of = |text: &str| of_hash(&typed("SCHEMA a JSON"), &[(b"a", text.as_bytes())]);
    assert_eq!(of(&nested), Err(Unfit::TooDeep));
    assert_eq!(of("{\"x\": 1, \"x\": 2}").unwrap().0, doc! { "_id": "7", "a": { "x": 2_i64 } });
    let large = format!("\"{}\"", "x".repeat(MAX_DOCUMENT_BYTES));
    assert_eq!(of(&large), Err(Unfit::TooLarge));
    assert_eq!(of("{\"a\\u0000\": 1}"), Err(Unfit::NulInName));
}

#[test]
fn the_value_of_a_string_or_a_collection_has_the_rule_of_its_field() {
    let registration = typed("SCHEMA value INT64 AS count");
    let of = |content, value: &[u8]| convert(&registration, b"user:7", content, value);
    let (document, _) = of(Content::String, b"7").unwrap();
    assert_eq!(document, doc! { "_id": "7", "count": 7_i64 });
    assert_eq!(of(Content::String, b"x"), Err(mismatch("count", "INT64")));
    let (document, _) = of(Content::Json, b"[1, \"2\"]").unwrap();
    assert_eq!(document, doc! { "_id": "7", "count": [1_i64, 2_i64] });
    let mut items = Vec::new();
    [&b"2"[..], b"1"].iter().for_each(|item| push_bytes(&mut items, item));
    let (document, _) = of(Content::List, &items).unwrap();
    assert_eq!(document, doc! { "_id": "7", "count": [2_i64, 1_i64] });
    let skip = typed("SCHEMA value SKIP");
    for (content, value) in [(Content::String, &b"x"[..]), (Content::Json, b"1")] {
        let (document, _) = convert(&skip, b"user:7", content, value).unwrap();
        assert_eq!(document, doc! { "_id": "7" });
    }
}
