//! Documents whose fields have the types in SCHEMA.

use mongodb::bson::{Decimal128, oid::ObjectId};

use super::*;
use crate::core::ids::Db;
use crate::core::registration::args;

fn typed(schema: &str) -> Registration {
    let words = [&["user:", "d.c"], schema.split(' ').collect::<Vec<_>>().as_slice()].concat();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    args::register(Db(0), &words).unwrap().0
}

fn of_json(schema: &str, json: &str) -> Result<Parsed, MappingError> {
    let written = convert(&typed(schema), b"user:7", Content::Json, json.as_bytes());
    written.map(|(mut document, _)| {
        document.remove("_id");
        document
    })
}

fn mismatch(field: &str, to: &'static str) -> MappingError {
    MappingError::Mismatch(field.to_owned(), to)
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
fn a_conversion_error_names_field_and_type_and_never_the_value() {
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
fn a_long_field_name_in_an_error_is_truncated() {
    let name = "é".repeat(1_000_000);
    let why = of_hash(&typed("SCHEMA * INT64"), &[(name.as_bytes(), b"x")]).unwrap_err();
    assert!(why.to_string().len() < 300);
}

#[test]
fn a_field_with_the_new_name_of_another_is_refused() {
    let registration = typed("SCHEMA a STRING AS b");
    let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
    assert_eq!(of_hash(&registration, &pairs), Err(MappingError::Renamed("b".to_owned())));
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
fn the_star_applies_to_json_fields_at_every_level() {
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
fn a_json_conversion_error_names_path_and_type() {
    let of = |schema: &str, json: &str| of_json(schema, json).unwrap_err();
    assert_eq!(of("SCHEMA a.b INT64", r#"{"a": {"b": "x"}}"#), mismatch("a.b", "INT64"));
    assert_eq!(of("SCHEMA a INT64", r#"{"a": {"b": 1}}"#), mismatch("a", "INT64"));
    assert_eq!(of("SCHEMA a INT64", r#"{"a": [1, true]}"#), mismatch("a", "INT64"));
    assert_eq!(of("SCHEMA * INT64", r#"{"a": {"b": 1.5}}"#), mismatch("b", "INT64"));
    assert_eq!(of("SCHEMA a JSON", r#"{"a": "[1"}"#), mismatch("a", "JSON"));
    assert_eq!(of("SCHEMA a STRING AS b", r#"{"b": 1}"#), MappingError::Renamed("b".to_owned()));
}

#[test]
fn json_text_inside_json_is_stored_as_its_value() {
    let document = of_json("SCHEMA a JSON b BINARY", r#"{"a": "{\"x\": [1]}", "b": "é"}"#);
    assert_eq!(document, Ok(doc! { "a": { "x": [1_i64] }, "b": binary("é".as_bytes()) }));
    let nested = "[".repeat(200) + &"]".repeat(200);
    let of = |text: &str| of_hash(&typed("SCHEMA a JSON"), &[(b"a", text.as_bytes())]);
    assert_eq!(of(&nested), Err(MappingError::TooDeep));
    assert_eq!(of("{\"x\": 1, \"x\": 2}").unwrap().0, doc! { "_id": "7", "a": { "x": 2_i64 } });
    let large = format!("\"{}\"", "x".repeat(MAX_DOCUMENT_BYTES));
    assert_eq!(of(&large), Err(MappingError::TooLarge));
    assert_eq!(of("{\"a\\u0000\": 1}"), Err(MappingError::NulInName));
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

#[test]
fn on_error_stores_a_field_as_a_string_or_omits_it() {
    let schema = "SCHEMA age INT64 data JSON raw BOOL";
    let fields: [(&[u8], &[u8]); 4] =
        [(b"age", b"old"), (b"data", b"[1e999]"), (b"raw", b"\xff"), (b"other", b"x")];
    let of = |on_error: &str| {
        of_hash(&typed(&format!("ONERROR {on_error} {schema}")), &fields)
            .map(|(document, _)| document)
    };
    assert_eq!(of("DEADLETTER"), Err(mismatch("age", "INT64")));
    let raw = Binary { subtype: BinarySubtype::Generic, bytes: vec![0xff] };
    let text = doc! { "_id": "7", "age": "old", "data": "[1e999]", "raw": raw, "other": "x" };
    assert_eq!(of("STRING"), Ok(text));
    assert_eq!(of("SKIP"), Ok(doc! { "_id": "7", "other": "x" }));
}

#[test]
fn on_error_applies_to_json_values_of_every_type() {
    let json =
        r#"{"a":{"b":[1,{"c":"\n"}]},"list":[1,[true]],"at":"no","o":{"at":1,"x":{}},"n":null}"#;
    let schema = "SCHEMA a INT64 list INT64 at DATE o.at BOOL o.x DATE n BOOL text JSON";
    let text = of_json(&format!("ONERROR STRING {schema}"), json).unwrap();
    let expected = doc! {
        "a": r#"{"b":[1,{"c":"\n"}]}"#,
        "list": [1_i64, ["true"]],
        "at": "no",
        "o": { "at": true, "x": "{}" },
        "n": null,
    };
    assert_eq!(text, expected);
    let skipped = of_json(&format!("ONERROR SKIP {schema}"), json).unwrap();
    assert_eq!(skipped, doc! { "o": { "at": true }, "n": null });
    let root = of_json("ONERROR SKIP SCHEMA value INT64", "[1,\"x\"]").unwrap();
    assert_eq!(root, doc! {});
}

#[test]
fn on_error_applies_to_json_text_that_cannot_be_stored() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for text in [deep(MAX_LEVELS as usize + 1), r#"{"a\u0000":1}"#.to_owned(), "{".to_owned()] {
        let json = format!("{{\"data\":{}}}", serde_json::to_string(&text).unwrap());
        let kept = of_json("ONERROR STRING SCHEMA data JSON", &json).unwrap();
        assert_eq!(kept, doc! { "data": text.clone() });
        assert_eq!(of_json("ONERROR SKIP SCHEMA data JSON", &json), Ok(doc! {}));
        assert!(of_json("SCHEMA data JSON", &json).is_err());
    }
    let whole = format!("{{\"data\":\"{}\"}}", deep(MAX_LEVELS as usize));
    let written = |options: &str| of_json(&format!("{options}SCHEMA data JSON"), &whole).unwrap();
    assert_eq!(written("ONERROR SKIP "), written(""));
}

#[test]
fn an_object_that_is_too_deep_is_refused_even_with_onerror_string() {
    let levels = MAX_LEVELS as usize + 1;
    let json = format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert_eq!(of_json("ONERROR STRING SCHEMA a INT64", &json), Err(MappingError::TooDeep));
}

#[test]
fn a_string_is_unwrapped_only_if_it_holds_an_object() {
    let unwrapping = typed("UNWRAP SCHEMA a.b INT64 AS c value INT64");
    let of = |text: &str| convert(&unwrapping, b"user:7", Content::String, text.as_bytes());
    assert_eq!(
        of(r#" {"a":{"b":"5"},"_id":1} "#),
        Ok((doc! { "_id": "7", "a": { "c": 5_i64 } }, Shape::default()))
    );
    assert_eq!(
        of(r#"{"$a":1}"#),
        Ok((doc! { "_id": "7", "$a": 1_i64 }, Shape { dollar: true, path: false }))
    );
    assert_eq!(of("{}"), Ok((doc! { "_id": "7" }, Shape::default())));
    assert_eq!(of("12"), Ok((doc! { "_id": "7", "value": 12_i64 }, Shape::default())));
    // A part was written before the parser found that the end is not JSON.
    let plain = typed("UNWRAP");
    for text in [r#"{"a":[1,{"b":2},"#, r#"{"a":1}{"#, "{", "[{}]", "{\"a\":\u{1}}"] {
        let written = convert(&plain, b"user:7", Content::String, text.as_bytes());
        assert_eq!(written, Ok((doc! { "_id": "7", "value": text }, Shape::default())), "{text}");
    }
    assert_eq!(of(r#"{"a":{"b":"x"}}"#), Err(mismatch("a.b", "INT64")));
    assert_eq!(of(r#"{"a":{"b":"x"}"#), Err(mismatch("value", "INT64")));
}
