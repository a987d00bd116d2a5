//! Documents that others wrote.

use super::*;
use crate::core::mapping::value::push_bytes;

fn text(registration: &Registration, document: Parsed) -> Result<String, String> {
    let value = value_of(registration, &document)?;
    Ok(value.map_or_else(|| "absent".to_owned(), |(bytes, _)| String::from_utf8(bytes).unwrap()))
}

/// The text of a field of each BSON type in a hash; the error where there is none.
fn in_hash(value: impl Into<Bson>, to: Option<FieldType>) -> Result<String, String> {
    let schema = to.and_then(|to| schema(&[("f", to, None)], None));
    let registration = Registration { schema, ..registration(KeyType::Hash) };
    let value = value_of(&registration, &doc! { "_id": "7", "f": value.into() })?;
    let Some((bytes, _)) = value else { return Ok("left out".to_owned()) };
    let field = super::super::super::value::Strings::new(&bytes).nth(1).unwrap();
    Ok(String::from_utf8_lossy(field).into_owned())
}

fn in_json(value: impl Into<Bson>) -> Result<String, String> {
    text(&registration(KeyType::Json), doc! { "_id": "7", "f": value.into() })
}

fn is(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn generic(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

#[test]
fn every_scalar_is_a_string_in_a_hash() {
    let plain = |value: Bson| in_hash(value, None);
    assert_eq!(plain("x".into()), is("x"));
    assert_eq!(plain(5.into()), is("5"));
    assert_eq!(plain(i64::MIN.into()), is("-9223372036854775808"));
    assert_eq!(plain(1.5.into()), is("1.5"));
    assert_eq!(plain(5.0.into()), is("5"));
    assert_eq!(plain((-0.0).into()), is("-0"));
    assert_eq!(plain(1e300.into()), is("1e300"));
    assert_eq!(plain(f64::NEG_INFINITY.into()), is("-inf"));
    assert_eq!(plain(f64::NAN.into()), is("nan"));
    assert_eq!(plain(true.into()), is("1"));
    assert_eq!(plain(Bson::Null), is("left out"));
    assert_eq!(plain(DateTime::from_millis(5).into()), is("1970-01-01T00:00:00.005Z"));
    assert_eq!(plain(ObjectId::from_bytes([0xab; 12]).into()), is("abababababababababababab"));
    assert_eq!(plain("1.50".parse::<Decimal128>().unwrap().into()), is("1.50"));
    assert_eq!(plain(generic(b"bytes").into()), is("bytes"));
    let uuid = Binary { subtype: BinarySubtype::Uuid, bytes: (0..16).collect() };
    assert_eq!(plain(uuid.into()), is("00010203-0405-0607-0809-0a0b0c0d0e0f"));
    assert_eq!(in_hash(5.0, Some(FieldType::Auto)), is("5.0"));
    let date = DateTime::from_millis(1_500);
    assert_eq!(in_hash(date, Some(FieldType::DateS)), is("1.5"));
    assert_eq!(in_hash(date, Some(FieldType::DateMs)), is("1500"));
}

#[test]
fn what_a_hash_cannot_hold_is_an_error_that_names_field_and_type() {
    let refused = |value: Bson, kind: &str| {
        let expected = format!("the field \"f\" is {kind}, which a hash cannot hold");
        assert_eq!(in_hash(value, None), Err(expected));
    };
    refused(doc! { "a": 1 }.into(), "a document");
    refused(vec![1].into(), "an array");
    let regex = Regex { pattern: "a".try_into().unwrap(), options: "".try_into().unwrap() };
    refused(regex.into(), "a regular expression");
    refused(Bson::MaxKey, "a MaxKey");
    let md5 = Binary { subtype: BinarySubtype::Md5, bytes: vec![0; 16] };
    refused(md5.into(), "binary data");
    let short = Binary { subtype: BinarySubtype::Uuid, bytes: vec![0; 15] };
    refused(short.into(), "a UUID");
}

#[test]
fn a_document_in_a_hash_is_json_text_if_schema_says_so() {
    let to = Some(FieldType::Json);
    assert_eq!(in_hash(doc! { "a": [1, Bson::Null] }, to), is(r#"{"a":[1,null]}"#));
    assert_eq!(in_hash("x", to), is(r#""x""#));
}

#[test]
fn json_keeps_types() {
    assert_eq!(
        in_json(doc! { "a": [1, 2.0, true, Bson::Null, "é\n"] }),
        is(r#"{"f":{"a":[1,2.0,true,null,"é\n"]}}"#)
    );
    assert_eq!(in_json(DateTime::from_millis(0)), is(r#"{"f":"1970-01-01T00:00:00Z"}"#));
    assert_eq!(in_json(DateTime::MAX), is(r#"{"f":9223372036854775807}"#));
    assert_eq!(in_json(generic(b"text")), is(r#"{"f":"text"}"#));
    let refused = |kind| Err(format!("the field \"f\" is {kind}, which JSON cannot hold"));
    assert_eq!(in_json(generic(b"\xff")), refused("binary data"));
    assert_eq!(in_json(f64::NAN), refused("not a finite number"));
    assert_eq!(in_json(vec![Bson::MinKey]), refused("a MinKey"));
    assert_eq!(in_json(doc! {}), is(r#"{"f":{}}"#));
}

#[test]
fn a_json_document_with_only_the_value_field_is_a_root_that_is_no_object() {
    let json = |document| text(&registration(KeyType::Json), document);
    assert_eq!(json(doc! { "_id": 7, "value": [1, 2] }), is("[1,2]"));
    assert_eq!(json(doc! { "_id": 7, "value": Bson::Null }), is("null"));
    assert_eq!(json(doc! { "_id": 7, "value": { "a": 1 } }), is(r#"{"value":{"a":1}}"#));
    assert_eq!(json(doc! { "_id": 7, "value": 1, "b": 2 }), is(r#"{"value":1,"b":2}"#));
    assert_eq!(json(doc! { "_id": 7 }), is("{}"));
}

#[test]
fn an_unwrapped_string_is_the_text_of_an_object_unless_only_the_value_field_is_there() {
    let registration = Registration { unwraps: true, ..registration(KeyType::String) };
    let string = |document| text(&registration, document);
    assert_eq!(string(doc! { "_id": 7, "value": "x" }), is("x"));
    assert_eq!(string(doc! { "_id": 7, "value": 1 }), is(r#"{"value":1}"#));
    assert_eq!(string(doc! { "_id": 7, "value": "x", "a": 1 }), is(r#"{"value":"x","a":1}"#));
    assert_eq!(string(doc! { "_id": 7 }), is("{}"));
}

#[test]
fn a_document_without_a_value_is_absent() {
    for key_type in [KeyType::Hash, KeyType::String, KeyType::List, KeyType::Zset, KeyType::Any] {
        assert_eq!(text(&registration(key_type), doc! { "_id": 7 }), is("absent"), "{key_type:?}");
    }
    let empty = doc! { "_id": 7, "value": [] };
    for key_type in [KeyType::List, KeyType::Set, KeyType::Zset, KeyType::Stream] {
        assert_eq!(text(&registration(key_type), empty.clone()), is("absent"), "{key_type:?}");
    }
}

#[test]
fn collections_of_another_form_are_refused() {
    let refused = |key_type, value: Bson| {
        text(&registration(key_type), doc! { "_id": 7, "value": value }).unwrap_err()
    };
    let why = refused(KeyType::List, 5.into());
    assert_eq!(why, "the field \"value\" is an integer, and not an array");
    let why = refused(KeyType::Set, vec![Bson::Null].into());
    assert_eq!(why, "the field \"value\" is null, which a set cannot hold");
    let why = refused(KeyType::Zset, vec![doc! { "member": "a", "score": "1" }].into());
    assert!(why.contains("without `member` and `score`"), "{why}");
    let why = refused(KeyType::Zset, vec![doc! { "member": "a", "score": f64::NAN }].into());
    assert!(why.contains("without `member` and `score`"), "{why}");
    let entry = |id: &str| doc! { "id": id, "fields": { "f": "v" } };
    for ids in [["1-1", "1-1"], ["2-0", "1-9"], ["0-0", "1-0"]] {
        let why = refused(KeyType::Stream, ids.map(entry).to_vec().into());
        assert!(why.contains("do not increase"), "{why}");
    }
    for id in ["1", "1-", "+1-1", "x-1", "18446744073709551616-0"] {
        let why = refused(KeyType::Stream, vec![entry(id)].into());
        assert!(why.contains("without `id`"), "{id}: {why}");
    }
}

#[test]
fn integers_are_scores() {
    let members = doc! { "_id": 7, "value": [{ "member": 5, "score": 1 }, { "score": 2_i64, "member": "b" }] };
    let (value, _) = value_of(&registration(KeyType::Zset), &members).unwrap().unwrap();
    let mut expected = Vec::new();
    for (member, score) in [("5", 1.0_f64), ("b", 2.0)] {
        push_bytes(&mut expected, member.as_bytes());
        expected.extend_from_slice(&score.to_le_bytes());
    }
    assert_eq!(value, expected);
}

#[test]
fn only_a_date_in_the_ttl_field_is_an_expiration_time() {
    let registration =
        Registration { ttl_field: Some("t".to_owned()), ..registration(KeyType::Hash) };
    let expires = |ttl: Bson| {
        let document = doc! { "_id": 7, "t": ttl, "f": "v" };
        let (value, decoded) = value_of(&registration, &document).unwrap().unwrap();
        assert_eq!(value, strings(&[b"f", b"v"]));
        decoded.expire_ms
    };
    assert_eq!(expires(DateTime::from_millis(5).into()), 5);
    assert_eq!(expires(DateTime::from_millis(-5).into()), 0);
    assert_eq!(expires(5.into()), NO_EXPIRY);
}

#[test]
fn fields_that_schema_stores_elsewhere_are_not_ours() {
    let rules = [("a", FieldType::Int64, Some("b")), ("s", FieldType::Skip, None)];
    let document = doc! { "_id": 7, "b": 1_i64, "a": 2, "s": 3, "other": 4 };
    let star = |star| {
        let registration =
            Registration { schema: schema(&rules, star), ..registration(KeyType::Hash) };
        value_of(&registration, &document).unwrap().unwrap().0
    };
    assert_eq!(star(None), strings(&[b"a", b"1", b"other", b"4"]));
    assert_eq!(star(Some(FieldType::Skip)), strings(&[b"a", b"1"]));
    let nested = [("u.a", FieldType::Int64, Some("b"))];
    let registration =
        Registration { schema: schema(&nested, None), ..registration(KeyType::Json) };
    let document = doc! { "_id": 7, "u": { "b": 1, "a": 2, "c": 3 }, "b": 4 };
    assert_eq!(text(&registration, document), is(r#"{"u":{"a":1,"c":3},"b":4}"#));
}

#[test]
fn nesting_beyond_mongodbs_limit_is_refused() {
    let nested =
        |levels: usize| (1..levels).fold(doc! { "_id": 7 }, |inner, _| doc! { "d": inner });
    let registration = registration(KeyType::Json);
    assert!(text(&registration, nested(180)).is_ok());
    assert!(text(&registration, nested(181)).unwrap_err().contains("180 levels"));
}

#[test]
fn bytes_that_are_no_document_are_refused() {
    for key_type in [KeyType::Hash, KeyType::Json, KeyType::String, KeyType::Stream] {
        let why = decoded(&registration(key_type), b"\x05\0\0\0\x01").unwrap_err();
        assert_eq!(why, DecodeError::Malformed);
    }
}
