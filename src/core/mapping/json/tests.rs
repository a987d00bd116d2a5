//! Converts JSON text and reads the BSON back with the `bson` crate.

use mongodb::bson::{Bson, Document as Parsed, RawDocument, doc};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn convert(text: &[u8]) -> Result<(Parsed, Shape), MappingError> {
    let mut out = b"something before".to_vec();
    let before = out.len();
    let mut document = Document::begin(&mut out);
    document.element(c"_id").int32(1);
    let reserved = |name: &str| name == "_id" || name == "key";
    let shape = append(text, &mut document, &reserved, Rules::default(), &mut Names::default())?;
    document.end();
    // `try_from` checks UTF-8, types and lengths of everything.
    let parsed = Parsed::try_from(RawDocument::from_bytes(&out[before..]).unwrap()).unwrap();
    Ok((parsed, shape))
}

/// The document's fields after its `_id`.
fn fields(text: &str) -> Parsed {
    let (mut document, _) = convert(text.as_bytes()).unwrap();
    assert_eq!(document.iter().next(), Some((&"_id".to_owned(), &Bson::Int32(1))));
    document.remove("_id");
    document
}

fn number(text: &str) -> Bson {
    fields(text).remove("value").unwrap()
}

fn is_json_error(text: &str) -> bool {
    matches!(convert(text.as_bytes()), Err(MappingError::Json(_)))
}

#[test]
fn the_fields_of_a_root_object_are_top_level_fields_in_their_order() {
    let text = r#" {"z": 1, "a": {"y": [true, null, "x", {}, []], "b": false}, "": ""} "#;
    let expected =
        doc! { "z": 1_i64, "a": { "y": [true, Bson::Null, "x", {}, []], "b": false }, "": "" };
    let document = fields(text);
    assert_eq!(document, expected);
    assert_eq!(document.keys().collect::<Vec<_>>(), ["z", "a", ""]);
}

#[test]
fn another_root_becomes_the_field_value() {
    assert_eq!(fields("[1, {\"_id\": 2}]"), doc! { "value": [1_i64, { "_id": 2_i64 }] });
    assert_eq!(fields("\"text\""), doc! { "value": "text" });
    assert_eq!(fields("null"), doc! { "value": Bson::Null });
    assert_eq!(fields("true"), doc! { "value": true });
    assert_eq!(fields("{}"), doc! {});
}

#[test]
fn integers_in_the_range_of_int64_become_int64() {
    for value in [0, 1, -1, i64::from(i32::MAX) + 1, i64::MAX, i64::MIN] {
        assert_eq!(number(&value.to_string()), Bson::Int64(value));
    }
}

#[test]
fn other_numbers_become_doubles() {
    let cases = [
        ("1.0", 1.0),
        ("1e2", 100.0),
        ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ("18446744073709551615", 18_446_744_073_709_551_615.0),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("-9223372036854775809", -9_223_372_036_854_775_809.0),
        ("1e-400", 0.0),
        ("0.1", 0.1),
    ];
    for (text, value) in cases {
        assert_eq!(number(text), Bson::Double(value), "{text}");
    }
    for text in ["-0", "-0.0"] {
        let Bson::Double(zero) = number(text) else { panic!("{text} is no double") };
        assert!(zero == 0.0 && zero.is_sign_negative());
    }
}

#[test]
fn a_number_beyond_the_range_of_a_double_is_an_error() {
    for text in ["1e400", "[-1e400]", "{\"a\": 1e999999999999}"] {
        assert!(is_json_error(text), "{text}");
    }
}

#[test]
fn objects_like_extended_json_are_plain_documents() {
    let text =
        r#"{"a": {"$oid": "x"}, "b": {"$date": 1}, "c": {"$numberLong": "1"}, "d": {"$set": {}}}"#;
    let expected = doc! {
        "a": { "$oid": "x" }, "b": { "$date": 1_i64 }, "c": { "$numberLong": "1" },
        "d": { "$set": {} },
    };
    assert_eq!(fields(text), expected);
}

#[test]
fn only_names_of_the_root_are_reported() {
    for (text, dollar, path) in [
        (r#"{"a": {"$b": 1, "c.d": 1, "": 1}}"#, false, false),
        (r#"[{"$b": 1, "c.d": 1}]"#, false, false),
        (r#"{"a$": 1}"#, false, false),
        (r#"{"a": 1, "$b": 1}"#, true, false),
        (r#"{"$": 1}"#, true, false),
        (r#"{"\u0024b": 1}"#, true, false),
        (r#"{"a": 1, "": 1}"#, false, true),
        (r#"{"a.b": 1, "c": 1}"#, false, true),
        (r#"{"$a\u002e": 1}"#, true, true),
    ] {
        assert_eq!(convert(text.as_bytes()).unwrap().1, Shape { dollar, path }, "{text}");
    }
}

#[test]
fn reserved_names_are_skipped_at_the_root_and_kept_below() {
    let text = r#"{"_id": {"deep": [1e400]}, "a": {"_id": 1, "key": 2}, "key": 3, "\u005fid": 4}"#;
    assert_eq!(fields(text), doc! { "a": { "_id": 1_i64, "key": 2_i64 } });
}

#[test]
fn a_value_whose_field_is_reserved_is_refused() {
    let mut out = Vec::new();
    let mut document = Document::begin(&mut out);
    let result = append(
        b"[1]",
        &mut document,
        &|name| name == "value",
        Rules::default(),
        &mut Names::default(),
    );
    assert_eq!(result, Err(MappingError::ValueFieldTaken));
}

#[test]
fn of_equal_names_the_last_is_kept_in_its_position() {
    let text = r#"{"a": 1, "b": {"x": 1, "y": 2, "x": 3}, "a": {"c": 4}, "d": 5}"#;
    let document = fields(text);
    assert_eq!(document, doc! { "b": { "y": 2_i64, "x": 3_i64 }, "a": { "c": 4_i64 }, "d": 5_i64 });
    assert_eq!(document.keys().collect::<Vec<_>>(), ["b", "a", "d"]);
}

#[test]
fn escapes_and_nul_in_texts_are_kept() {
    let text = r#"{"a\"b": "\u0000\n\ud83d\ude00/é"}"#;
    assert_eq!(fields(text), doc! { "a\"b": "\0\n😀/é" });
}

#[test]
fn a_nul_in_a_name_is_refused() {
    assert_eq!(convert(br#"{"a\u0000": 1}"#), Err(MappingError::NulInName));
    assert_eq!(convert(br#"[{"": {"\u0000b": 1}}]"#), Err(MappingError::NulInName));
}

#[test]
fn broken_text_is_refused_without_being_quoted() {
    let texts = [
        "",
        " ",
        "{",
        "[1",
        "{\"secret\": }",
        "{\"secret\" 1}",
        "{\"secret\": 1} 2",
        "[secret]",
        "\"secret",
        "{secret: 1}",
        "\"secret\\ud800\"",
        "{\"secret\": 01}",
        "[1,]",
        "nul",
        "\u{feff}1",
        "{\"a\": \"secret\n\"}",
    ];
    for text in texts {
        let Err(error) = convert(text.as_bytes()) else { panic!("{text} was taken") };
        assert!(matches!(error, MappingError::Json(_)), "{text}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(convert(b"{\"a\": \"\xff\"}"), Err(MappingError::JsonNotUtf8));
}

fn nested(levels: usize, open: &str, innermost: &str, close: &str) -> Vec<u8> {
    (open.repeat(levels) + innermost + &close.repeat(levels)).into_bytes()
}

#[test]
fn a_hundred_and_eighty_levels_are_written_and_one_more_is_refused() {
    assert!(convert(&nested(180, "{\"a\":", "1", "}")).is_ok());
    assert!(convert(&nested(180, "{\"a\":", "{}", "}")).is_ok());
    assert_eq!(convert(&nested(181, "{\"a\":", "1", "}")), Err(MappingError::TooDeep));
    // Another root is in the field `value`, and so one level deeper.
    assert!(convert(&nested(179, "[", "1", "]")).is_ok());
    assert!(convert(&nested(180, "[", "", "]")).is_ok());
    assert_eq!(convert(&nested(180, "[", "1", "]")), Err(MappingError::TooDeep));
    assert_eq!(convert(&nested(181, "[", "", "]")), Err(MappingError::TooDeep));
}

#[test]
fn a_million_levels_are_refused_without_a_stack_overflow() {
    assert_eq!(convert(&nested(1_000_000, "[", "", "]")), Err(MappingError::TooDeep));
    assert_eq!(convert(&nested(1_000_000, "{\"a\":", "1", "}")), Err(MappingError::TooDeep));
    let skipped = nested(1_000_000, "[", "", "]");
    let text = [b"{\"_id\":", &skipped[..], b"}"].concat();
    assert_eq!(convert(&text).unwrap().0, doc! { "_id": 1 });
}

#[test]
fn a_document_that_grows_too_large_is_refused() {
    let text = format!("\"{}\"", "x".repeat(MAX_DOCUMENT_BYTES));
    assert_eq!(convert(text.as_bytes()), Err(MappingError::TooLarge));
    let numbers = format!("[{}1]", "1,".repeat(2_000_000));
    assert_eq!(convert(numbers.as_bytes()), Err(MappingError::TooLarge));
    let spaces = format!("[{}1]", " ".repeat(MAX_DOCUMENT_BYTES));
    assert!(convert(spaces.as_bytes()).is_ok());
}

/// A simple reference implementation of the mapping.
fn expected(value: &Json) -> Bson {
    match value {
        Json::Null => Bson::Null,
        Json::Bool(value) => Bson::Boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Bson::Int64(value),
            None => Bson::Double(number.as_f64().unwrap()),
        },
        Json::String(text) => Bson::String(text.clone()),
        Json::Array(items) => Bson::Array(items.iter().map(expected).collect()),
        Json::Object(fields) => Bson::Document(
            fields.iter().map(|(name, value)| (name.clone(), expected(value))).collect(),
        ),
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::vec(("[^\0]{0,6}", inner), 0..40)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

/// A JSON object with these fields, which may have equal names.
fn object_text(fields: &[(String, i64)]) -> String {
    let quoted = |name: &String| serde_json::to_string(name).unwrap();
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(","))
}

proptest! {
    #[test]
    fn any_json_is_mapped_like_the_reference(value in any_json(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        // Wrapped in one more array, so that no name is reserved. The expected value is parsed from
        // the text, too, because serde_json may not print a double the way it was written.
        let value: Json = serde_json::from_str(&text).unwrap();
        let read = fields(&format!("[{text}]")).remove("value").unwrap();
        prop_assert_eq!(read, Bson::Array(vec![expected(&value)]));
    }

    #[test]
    fn of_repeated_names_the_last_is_kept(
        fields_in in prop::collection::vec(("[ab$é]{0,3}", any::<i64>()), 0..60)
    ) {
        let mut last: Vec<(String, i64)> = Vec::new();
        for (name, value) in &fields_in {
            last.retain(|(earlier, _)| earlier != name);
            last.push((name.clone(), *value));
        }
        let read: Vec<(String, i64)> = fields(&object_text(&fields_in))
            .into_iter()
            .map(|(name, value)| (name, value.as_i64().unwrap()))
            .collect();
        prop_assert_eq!(read, last);
    }

    #[test]
    fn arbitrary_bytes_never_panic(text in any::<Vec<u8>>()) {
        let _ = convert(&text);
    }

    #[test]
    fn truncated_json_never_panics(value in any_json(), cut in any::<prop::sample::Index>()) {
        let text = value.to_string().into_bytes();
        let _ = convert(&text[..cut.index(text.len())]);
    }
}
