//! Converts keys and values, and reads the documents back with the `bson` crate.

use std::collections::HashMap;

use mongodb::bson::{
    Binary, Bson, DateTime, Document as Parsed, RawDocument, doc, spec::BinarySubtype,
};
use proptest::prelude::*;

use super::*;
use crate::core::ids::Db;
use crate::core::mapping::error::MAX_LEVELS;
use crate::core::mapping::value::push_bytes;
use crate::core::registration::{IdType, Namespace};

mod collections;
mod typed;

fn registration() -> Registration {
    let namespace = Namespace { database: "d".into(), collection: "c".into() };
    Registration::new(Db(0), b"user:", namespace)
}

fn registration_by(field: &str) -> Registration {
    Registration { key_field: field.to_owned(), ..registration() }
}

fn convert(
    registration: &Registration,
    key: &[u8],
    content: Content,
    value: &[u8],
) -> Result<(Parsed, Shape), MappingError> {
    convert_with_expiry(registration, key, content, value, NO_EXPIRY)
}

fn convert_with_expiry(
    registration: &Registration,
    key: &[u8],
    content: Content,
    value: &[u8],
    expire_ms: i64,
) -> Result<(Parsed, Shape), MappingError> {
    let identity = Identity::of(registration, key)?;
    let expiry = Expiry::of(registration, expire_ms)?;
    let read = Read { identity, expiry, content, value, rules: Rules::of(registration) };
    let mut out = b"something before".to_vec();
    let before = out.len();
    let document = Document::begin(&mut out);
    let shape = write(document, &read, &mut Names::default())?;
    let parsed = Parsed::try_from(RawDocument::from_bytes(&out[before..]).unwrap()).unwrap();
    Ok((parsed, shape))
}

fn hash(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut value = Vec::new();
    for (name, field) in pairs {
        push_bytes(&mut value, name);
        push_bytes(&mut value, field);
    }
    value
}

fn of_hash(
    registration: &Registration,
    pairs: &[(&[u8], &[u8])],
) -> Result<(Parsed, Shape), MappingError> {
    convert(registration, b"user:7", Content::Hash, &hash(pairs))
}

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

#[test]
fn the_key_field_comes_first_and_holds_the_suffix() {
    let (document, _) = of_hash(&registration(), &[(b"name", b"Ada"), (b"age", b"36")]).unwrap();
    assert_eq!(document, doc! { "_id": "7", "name": "Ada", "age": "36" });
    assert_eq!(document.keys().collect::<Vec<_>>(), ["_id", "name", "age"]);
    let (document, _) = of_hash(&registration_by("email"), &[(b"name", b"Ada")]).unwrap();
    assert_eq!(document, doc! { "email": "7", "name": "Ada" });
}

#[test]
fn the_suffix_is_converted_as_registered() {
    let by = |key_as| Registration { key_as, ..registration() };
    let id = |key_as, key: &[u8]| {
        convert(&by(key_as), key, Content::Hash, b"")
            .map(|(mut document, _)| document.remove("_id"))
    };
    assert_eq!(id(IdType::String, b"user:"), Ok(Some(Bson::from(""))));
    assert_eq!(id(IdType::String, b"user:\xff"), Ok(Some(Bson::from(binary(b"\xff")))));
    assert_eq!(id(IdType::Int64, b"user:-7"), Ok(Some(Bson::Int64(-7))));
    assert!(matches!(id(IdType::Int64, b"user:x"), Err(MappingError::Suffix(_))));
    assert!(matches!(id(IdType::ObjectId, b"user:x"), Err(MappingError::Suffix(_))));
    assert!(matches!(id(IdType::Uuid, b"user:x"), Err(MappingError::Suffix(_))));
}

#[test]
fn hash_values_are_strings_or_binary_if_they_are_not_utf8() {
    let (document, _) =
        of_hash(&registration(), &[(b"", b""), (b"a.b", b"1"), (b"x", b"\xff\0"), (b"n", b"\0")])
            .unwrap();
    let expected = doc! { "_id": "7", "": "", "a.b": "1", "x": binary(b"\xff\0"), "n": "\0" };
    assert_eq!(document, expected);
}

#[test]
fn a_hash_field_name_that_bson_cannot_hold_is_refused() {
    assert_eq!(of_hash(&registration(), &[(b"a\0", b"1")]), Err(MappingError::NulInName));
    assert_eq!(of_hash(&registration(), &[(b"a\xff", b"1")]), Err(MappingError::NameNotUtf8));
}

#[test]
fn a_hash_with_an_incomplete_pair_is_refused() {
    let mut value = hash(&[(b"a", b"1")]);
    push_bytes(&mut value, b"b");
    assert_eq!(
        convert(&registration(), b"user:7", Content::Hash, &value),
        Err(MappingError::Truncated)
    );
}

#[test]
fn a_hash_field_read_twice_is_written_once_with_its_last_value() {
    let (document, _) =
        of_hash(&registration(), &[(b"a", b"old"), (b"b", b"1"), (b"a", b"new")]).unwrap();
    assert_eq!(document, doc! { "_id": "7", "b": "1", "a": "new" });
}

#[test]
fn fields_of_the_value_never_override_the_key() {
    let pairs: [(&[u8], &[u8]); 3] = [(b"_id", b"evil"), (b"email", b"evil"), (b"a", b"1")];
    let json = br#"{"_id": "evil", "email": "evil", "a": "1"}"#;
    let cases = [
        (registration(), doc! { "_id": "7", "email": "evil", "a": "1" }),
        (registration_by("email"), doc! { "email": "7", "a": "1" }),
    ];
    for (registration, expected) in cases {
        assert_eq!(of_hash(&registration, &pairs).unwrap().0, expected);
        let (document, _) = convert(&registration, b"user:7", Content::Json, json).unwrap();
        assert_eq!(document, expected);
    }
}

#[test]
fn a_string_becomes_the_field_value() {
    let of = |value: &[u8]| convert(&registration(), b"user:7", Content::String, value).unwrap().0;
    assert_eq!(of(b"text"), doc! { "_id": "7", "value": "text" });
    assert_eq!(of(b""), doc! { "_id": "7", "value": "" });
    assert_eq!(of(b"\xff"), doc! { "_id": "7", "value": binary(b"\xff") });
}

#[test]
fn a_value_whose_field_is_the_key_field_is_refused() {
    let registration = registration_by("value");
    for content in [Content::String, Content::Json] {
        let result = convert(&registration, b"user:7", content, b"1");
        assert_eq!(result, Err(MappingError::ValueFieldTaken));
    }
    let (document, _) = convert(&registration, b"user:7", Content::Json, b"{\"a\":1}").unwrap();
    assert_eq!(document, doc! { "value": "7", "a": 1_i64 });
}

#[test]
fn the_ttl_field_is_a_date_and_absent_without_an_expiry() {
    let registration = Registration { ttl_field: Some("until".into()), ..registration() };
    let pairs = hash(&[(b"a", b"1"), (b"until", b"x")]);
    let cases = [
        (Content::Hash, &pairs[..], doc! { "_id": "7", "a": "1" }),
        (Content::String, b"text", doc! { "_id": "7", "value": "text" }),
        (Content::Json, br#"{"until": 1, "a": 1}"#, doc! { "_id": "7", "a": 1_i64 }),
        (Content::Json, b"[1]", doc! { "_id": "7", "value": [1_i64] }),
    ];
    for (content, value, mut expected) in cases {
        let of = |expire_ms| {
            convert_with_expiry(&registration, b"user:7", content, value, expire_ms).unwrap().0
        };
        assert_eq!(of(NO_EXPIRY), expected);
        for at_ms in [0, 1, 1_700_000_000_123, i64::MAX] {
            expected.insert("until", DateTime::from_millis(at_ms));
            assert_eq!(of(at_ms), expected);
            assert_eq!(of(at_ms).keys().take(2).collect::<Vec<_>>(), ["_id", "until"]);
        }
    }
}

#[test]
fn without_a_ttl_field_the_expiry_is_not_written() {
    let result = convert_with_expiry(&registration(), b"user:7", Content::String, b"x", 1_000);
    assert_eq!(result.unwrap().0, doc! { "_id": "7", "value": "x" });
}

#[test]
fn a_value_whose_field_is_the_ttl_field_is_refused() {
    let registration = Registration { ttl_field: Some("value".into()), ..registration() };
    for content in [Content::String, Content::Json] {
        for expire_ms in [1_000, NO_EXPIRY] {
            let result = convert_with_expiry(&registration, b"user:7", content, b"1", expire_ms);
            assert_eq!(result, Err(MappingError::ValueFieldTaken));
        }
    }
}

#[test]
fn a_json_object_is_the_document_and_other_json_the_field_value() {
    let of = |value: &[u8]| convert(&registration(), b"user:7", Content::Json, value).unwrap().0;
    assert_eq!(of(b"{\"a\": [1, 2.0]}"), doc! { "_id": "7", "a": [1_i64, 2.0] });
    assert_eq!(of(b"[1]"), doc! { "_id": "7", "value": [1_i64] });
}

#[test]
fn top_level_names_with_dollars_and_dots_are_reported() {
    let hash = |names: &[&[u8]]| {
        let pairs: Vec<_> = names.iter().map(|name| (*name, &b"$.1"[..])).collect();
        let shape = of_hash(&registration(), &pairs).unwrap().1;
        (shape.dollar, shape.path)
    };
    assert_eq!(hash(&[b"a$", b"b"]), (false, false));
    assert_eq!(hash(&[b"a", b"$b"]), (true, false));
    assert_eq!(hash(&[b"$"]), (true, false));
    assert_eq!(hash(&[b"a", b"", b"b"]), (false, true));
    assert_eq!(hash(&[b"a.b", b"c"]), (false, true));
    assert_eq!(hash(&[b"."]), (false, true));
    let json =
        |text: &[u8]| convert(&registration(), b"user:7", Content::Json, text).unwrap().1.dollar;
    assert!(json(b"{\"$a\": 1}"));
    assert!(!json(b"{\"a\": {\"$b\": 1}}"));
}

#[test]
fn an_unwritable_value_is_refused_with_the_reason_of_the_reader() {
    let refused = convert(&registration(), b"user:7", Content::Unwritable, "zu groß".as_bytes());
    assert_eq!(refused.unwrap_err().to_string(), "zu groß");
}

#[test]
fn the_document_of_a_tombstone_has_only_the_key_field() {
    let (document, _) = convert(&registration(), b"user:7", Content::Tombstone, b"").unwrap();
    assert_eq!(document, doc! { "_id": "7" });
}

#[test]
fn sixteen_mebibytes_are_written_and_one_byte_more_is_refused() {
    // {_id: "7", value: "…"}: 4 + (1+4+4+2) + (1+6+4+1) + 1, without the text.
    let room = MAX_DOCUMENT_BYTES - 28;
    let of =
        |content, value: &[u8]| convert(&registration(), b"user:7", content, value).map(|_| ());
    let text = "x".repeat(room + 1);
    let json = format!("\"{text}\"");
    let json_fits = format!("\"{}\"", &text[1..]);
    assert_eq!(of(Content::String, &text.as_bytes()[1..]), Ok(()));
    assert_eq!(of(Content::String, text.as_bytes()), Err(MappingError::TooLarge));
    assert_eq!(of(Content::Json, json_fits.as_bytes()), Ok(()));
    assert_eq!(of(Content::Json, json.as_bytes()), Err(MappingError::TooLarge));
    let pair: [(&[u8], &[u8]); 1] = [(b"value", text.as_bytes())];
    assert_eq!(of_hash(&registration(), &pair).map(|_| ()), Err(MappingError::TooLarge));
}

#[test]
fn many_small_fields_can_be_too_large() {
    let names: Vec<String> = (0..1_300_000).map(|n| n.to_string()).collect();
    let pairs: Vec<(&[u8], &[u8])> = names.iter().map(|n| (n.as_bytes(), &b""[..])).collect();
    assert_eq!(of_hash(&registration(), &pairs).map(|_| ()), Err(MappingError::TooLarge));
}

#[test]
fn deep_json_is_written_up_to_the_limit() {
    let nested = |levels: u32| {
        let levels = levels as usize;
        "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels)
    };
    let of = |text: String| convert(&registration(), b"user:7", Content::Json, text.as_bytes());
    assert!(of(nested(MAX_LEVELS)).is_ok());
    assert_eq!(of(nested(MAX_LEVELS + 1)), Err(MappingError::TooDeep));
}

proptest! {
    #[test]
    fn any_hash_is_written_exactly_or_refused(
        pairs in prop::collection::vec(
            (prop_oneof![
                3 => any::<String>().prop_map(String::into_bytes),
                3 => "[a-z_$.]{0,3}".prop_map(String::into_bytes),
                1 => any::<Vec<u8>>(),
            ], prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()]),
            0..40,
        )
    ) {
        let slices: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let result = of_hash(&registration(), &slices);
        let bad = |name: &&[u8]| std::str::from_utf8(name).is_err() || name.contains(&0);
        if slices.iter().any(|(name, _)| bad(name)) {
            prop_assert!(matches!(result, Err(MappingError::NameNotUtf8 | MappingError::NulInName)));
            return Ok(());
        }
        let (mut document, shape) = result.unwrap();
        prop_assert_eq!(document.remove("_id"), Some(Bson::from("7")));
        let last: HashMap<&[u8], &[u8]> =
            slices.iter().copied().filter(|(name, _)| *name != b"_id").collect();
        prop_assert_eq!(shape.dollar, last.keys().any(|name| name.starts_with(b"$")));
        let is_path = |name: &&[u8]| name.is_empty() || name.contains(&b'.');
        prop_assert_eq!(shape.path, last.keys().any(is_path));
        prop_assert_eq!(document.len(), last.len());
        for (name, value) in last {
            let expected = match std::str::from_utf8(value) {
                Ok(text) => Bson::from(text),
                Err(_) => Bson::from(binary(value)),
            };
            prop_assert_eq!(document.get(std::str::from_utf8(name).unwrap()), Some(&expected));
        }
    }
}
