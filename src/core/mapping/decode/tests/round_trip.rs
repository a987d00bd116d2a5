//! Value → document → value, for every type and option that keeps everything.

use super::*;
use crate::core::mapping::value::push_bytes;

/// Distinct names of fields: neither reserved nor with a NUL.
fn names() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof!["[a-f]{1,3}", "[$.]?[é ]{0,2}x", Just(String::new())];
    prop::collection::btree_set(name, 1..6).prop_map(|names| names.into_iter().collect())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let number = any::<i64>().prop_map(|number| number.to_string().into_bytes());
    let double = any::<f64>().prop_map(|number| format!("{number:?}").into_bytes());
    let json = Just(br#"{"a":1}"#.to_vec());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        number,
        double,
        json,
        "[ -~]{0,8}".prop_map(String::into_bytes)
    ]
}

fn hash() -> impl Strategy<Value = Vec<u8>> {
    names().prop_flat_map(|names| {
        let count = names.len();
        prop::collection::vec(bytes(), count).prop_map(move |values| {
            let mut value = Vec::new();
            for (name, field) in names.iter().zip(&values) {
                push_bytes(&mut value, name.as_bytes());
                push_bytes(&mut value, field);
            }
            value
        })
    })
}

fn list() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(bytes(), 1..6)
        .prop_map(|items| strings(&items.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn set() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::btree_set(bytes(), 1..6)
        .prop_map(|items| strings(&items.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn zset() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::btree_map(bytes(), -9..9_i8, 1..6).prop_map(|members| {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by_key(|(member, score)| (*score, member.clone()));
        let mut value = Vec::new();
        for (member, score) in members {
            push_bytes(&mut value, &member);
            value.extend_from_slice(&(f64::from(score) / 4.0).to_le_bytes());
        }
        value
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::btree_map((any::<u64>(), 1..u64::MAX), hash(), 1..4).prop_map(|entries| {
        let mut value = Vec::new();
        for ((ms, sequence), fields) in entries {
            let count = super::super::super::value::Strings::new(&fields).count() as u32 / 2;
            value.extend_from_slice(&ms.to_le_bytes());
            value.extend_from_slice(&sequence.to_le_bytes());
            value.extend_from_slice(&count.to_le_bytes());
            value.extend_from_slice(&fields);
        }
        value
    })
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| json!(n)),
        ".{0,6}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        let name = "[a-d$.é]{1,3}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Asserts that the document of `value` becomes the same value again.
fn returns(registration: &Registration, content: Content, value: &[u8]) {
    let before = Decoded { content, expire_ms: NO_EXPIRY };
    let document = encode(registration, value, before).expect("a document");
    let after = decoded(registration, &document).expect("a value");
    assert_eq!(after, Some((value.to_vec(), before)));
}

/// Asserts that the document of `value`, if it has one, is also that of the value that it becomes.
fn converges(registration: &Registration, content: Content, value: &[u8]) {
    let before = Decoded { content, expire_ms: NO_EXPIRY };
    let Some(document) = encode(registration, value, before) else { return };
    match decoded(registration, &document).expect("a value") {
        Some((value, decoded)) => {
            assert_eq!(encode(registration, &value, decoded), Some(document));
        }
        None => assert_eq!(Elements::of(&document).unwrap().count(), 1, "only the key"),
    }
}

fn with(key_type: KeyType, schema: Option<Box<Schema>>) -> Registration {
    Registration { schema, ..registration(key_type) }
}

fn every_type_for_one_field() -> Vec<Option<Box<Schema>>> {
    use FieldType::{
        Auto, Binary, Bool, Date, DateMs, DateS, Decimal, Double, Int64, Json, String,
    };
    let types = [String, Int64, Double, Decimal, Bool, Date, DateS, DateMs, Binary, Json, Auto];
    types.map(|to| schema(&[("a", to, Some("z")), ("value", to, None)], None)).into()
}

proptest! {
    #[test]
    fn hashes_return(value in hash()) {
        returns(&registration(KeyType::Hash), Content::Hash, &value);
        returns(&with(KeyType::Hash, schema(&[], Some(FieldType::Auto))), Content::Hash, &value);
        let renamed = schema(&[("a", FieldType::Auto, Some("zz")), ("b", FieldType::String, Some("a.b"))], None);
        returns(&with(KeyType::Hash, renamed), Content::Hash, &value);
    }

    #[test]
    fn strings_return(value in bytes()) {
        returns(&registration(KeyType::String), Content::String, &value);
        let auto = schema(&[("value", FieldType::Auto, Some("v"))], None);
        returns(&with(KeyType::String, auto), Content::String, &value);
    }

    #[test]
    fn collections_return(list in list(), set in set(), zset in zset(), stream in stream()) {
        returns(&registration(KeyType::List), Content::List, &list);
        returns(&registration(KeyType::Set), Content::Set, &set);
        returns(&registration(KeyType::Zset), Content::Zset, &zset);
        returns(&registration(KeyType::Stream), Content::Stream, &stream);
    }

    #[test]
    fn json_returns(value in any_json()) {
        // Only the sole field `value` is ambiguous.
        let text = serde_json::to_vec(&value).unwrap();
        returns(&registration(KeyType::Json), Content::Json, &text);
        let renamed = schema(&[("a.b", FieldType::Auto, Some("z"))], None);
        converges(&with(KeyType::Json, renamed), Content::Json, &text);
    }

    #[test]
    fn an_unwrapped_object_returns(value in any_json()) {
        let registration = Registration { unwraps: true, ..registration(KeyType::String) };
        returns(&registration, Content::String, &serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn every_type_of_schema_converges(hash in hash(), list in list(), json in any_json(), string in bytes()) {
        for schema in every_type_for_one_field() {
            converges(&with(KeyType::Hash, schema.clone()), Content::Hash, &hash);
            converges(&with(KeyType::List, schema.clone()), Content::List, &list);
            converges(&with(KeyType::String, schema.clone()), Content::String, &string);
            let text = serde_json::to_vec(&json).unwrap();
            converges(&with(KeyType::Json, schema), Content::Json, &text);
        }
    }

    #[test]
    fn expiration_times_return(expire_ms in 0..i64::MAX, value in hash()) {
        let registration =
            Registration { ttl_field: Some("ttl".to_owned()), ..registration(KeyType::Hash) };
        let before = Decoded { content: Content::Hash, expire_ms };
        let document = encode(&registration, &value, before).unwrap();
        assert_eq!(decoded(&registration, &document), Ok(Some((value, before))));
    }
}
