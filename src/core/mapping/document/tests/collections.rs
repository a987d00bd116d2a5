//! Lists, sets, sorted sets and streams as arrays.

use super::*;

fn of(content: Content, value: &[u8]) -> Result<Bson, MappingError> {
    let written = convert(&registration(), b"user:7", content, value);
    written.map(|(mut document, _)| document.remove("value").unwrap())
}

fn strings(texts: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::new();
    texts.iter().for_each(|text| push_bytes(&mut value, text));
    value
}

fn scored(members: &[(&[u8], f64)]) -> Vec<u8> {
    let mut value = Vec::new();
    for (member, score) in members {
        push_bytes(&mut value, member);
        value.extend_from_slice(&score.to_le_bytes());
    }
    value
}

fn entry(value: &mut Vec<u8>, id: (u64, u64), fields: &[(&[u8], &[u8])]) {
    value.extend_from_slice(&id.0.to_le_bytes());
    value.extend_from_slice(&id.1.to_le_bytes());
    value.extend_from_slice(&(fields.len() as u32).to_le_bytes());
    for (name, field) in fields {
        push_bytes(value, name);
        push_bytes(value, field);
    }
}

fn array(items: impl IntoIterator<Item = impl Into<Bson>>) -> Result<Bson, MappingError> {
    Ok(Bson::Array(items.into_iter().map(Into::into).collect()))
}

#[test]
fn a_list_keeps_its_order_and_its_duplicates() {
    let value = strings(&[b"b", b"a", b"b", b"", b"\xff"]);
    let items = [Bson::from("b"), "a".into(), "b".into(), "".into(), binary(b"\xff").into()];
    assert_eq!(of(Content::List, &value), array(items));
    assert_eq!(of(Content::List, b""), array([] as [Bson; 0]));
}

#[test]
fn a_set_is_sorted_by_bytes() {
    let value = strings(&[b"b", b"\xff", b"B", b"", b"a", b"aa", b"10", b"9", b"b"]);
    let mut items: Vec<Bson> = ["", "10", "9", "B", "a", "aa", "b"].map(Bson::from).into();
    items.push(binary(b"\xff").into());
    assert_eq!(of(Content::Set, &value), array(items));
}

#[test]
fn a_sorted_set_is_sorted_by_score_and_then_by_bytes() {
    let value = scored(&[
        (b"z", 0.0),
        (b"b", 1.5),
        (b"top", f64::INFINITY),
        (b"a", 1.5),
        (b"\xff", -0.0),
        (b"low", f64::NEG_INFINITY),
        (b"a", 1.5),
    ]);
    let item = |member: Bson, score: f64| doc! { "member": member, "score": score };
    let items = [
        item("low".into(), f64::NEG_INFINITY),
        item("z".into(), 0.0),
        item(binary(b"\xff").into(), -0.0),
        item("a".into(), 1.5),
        item("b".into(), 1.5),
        item("top".into(), f64::INFINITY),
    ];
    assert_eq!(of(Content::Zset, &value), array(items));
    let Ok(Bson::Array(items)) = of(Content::Zset, &value) else { panic!() };
    let third = items[2].as_document().unwrap().get_f64("score").unwrap();
    assert!(third.is_sign_negative());
}

#[test]
fn a_stream_keeps_ids_and_fields_and_the_last_of_repeated_fields() {
    let mut value = Vec::new();
    entry(&mut value, (1, 2), &[(b"b", b"1"), (b"a", b"\xff"), (b"$x.y", b""), (b"_id", b"i")]);
    entry(&mut value, (u64::MAX, u64::MAX), &[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]);
    entry(&mut value, (9, 0), &[]);
    let items = [
        doc! {
            "id": "1-2",
            "fields": { "b": "1", "a": binary(b"\xff"), "$x.y": "", "_id": "i" },
        },
        doc! {
            "id": "18446744073709551615-18446744073709551615",
            "fields": { "b": "2", "a": "3" },
        },
        doc! { "id": "9-0", "fields": {} },
    ];
    assert_eq!(of(Content::Stream, &value), array(items));
    let mut value = Vec::new();
    entry(&mut value, (1, 1), &[(b"a\0", b"1")]);
    assert_eq!(of(Content::Stream, &value), Err(MappingError::NulInName));
}

#[test]
fn a_truncated_value_is_refused() {
    let mut stream = Vec::new();
    entry(&mut stream, (1, 1), &[(b"a", b"1")]);
    let zset = scored(&[(b"a", 1.0)]);
    let list = strings(&[b"ab"]);
    for (content, value) in [
        (Content::List, &list[..list.len() - 1]),
        (Content::Set, &list[..list.len() - 1]),
        (Content::Hash, &list[..]),
        (Content::Zset, &zset[..zset.len() - 1]),
        (Content::Stream, &stream[..stream.len() - 1]),
        (Content::Stream, &stream[..18]),
    ] {
        let result = convert(&registration(), b"user:7", content, value);
        assert_eq!(result, Err(MappingError::Truncated), "{content:?}");
    }
}

#[test]
fn sixteen_mebibytes_are_written_and_one_byte_more_is_refused() {
    // {_id: "7", value: ["…"]}: 4 + (1+4+4+2) + (1+6 + 4 + (1+2+4+1) + 1) + 1, without the text.
    let room = MAX_DOCUMENT_BYTES - 36;
    let text = vec![b'x'; room + 1];
    for content in [Content::List, Content::Set] {
        assert!(of(content, &strings(&[&text[1..]])).is_ok());
        assert_eq!(of(content, &strings(&[&text])), Err(MappingError::TooLarge));
    }
    // In an array: (1+2 + 4 + (1+7+4+1) + (1+6+8) + 1) instead of (1+2+4+1).
    let room = MAX_DOCUMENT_BYTES - 64;
    assert!(of(Content::Zset, &scored(&[(&text[..room], 1.0)])).is_ok());
    assert_eq!(
        of(Content::Zset, &scored(&[(&text[..room + 1], 1.0)])),
        Err(MappingError::TooLarge)
    );
    let many: Vec<String> = (0..1_500_000).map(|n| n.to_string()).collect();
    let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    for content in [Content::List, Content::Set] {
        assert_eq!(of(content, &strings(&many)), Err(MappingError::TooLarge));
    }
}

#[test]
fn a_collection_whose_field_is_reserved_is_refused() {
    let list = strings(&[b"a"]);
    for registration in [
        registration_by("value"),
        Registration { ttl_field: Some("value".into()), ..registration() },
    ] {
        for content in [Content::List, Content::Set, Content::Zset, Content::Stream] {
            let result = convert(&registration, b"user:7", content, &list);
            assert_eq!(result, Err(MappingError::ValueFieldTaken));
        }
    }
}

proptest! {
    #[test]
    fn any_members_are_written_exactly_and_sorted(
        members in prop::collection::btree_map(any::<Vec<u8>>(), any::<f64>(), 0..40)
    ) {
        let member = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Bson::from(text),
            Err(_) => Bson::from(binary(bytes)),
        };
        let names: Vec<&[u8]> = members.keys().map(Vec::as_slice).collect();
        let reversed: Vec<&[u8]> = names.iter().rev().copied().collect();
        let expected = array(names.iter().map(|name| member(name)));
        prop_assert_eq!(of(Content::Set, &strings(&reversed)), expected);

        let mut sorted: Vec<(&[u8], f64)> = members
            .iter()
            .filter(|(_, score)| !score.is_nan())
            .map(|(name, score)| (name.as_slice(), *score))
            .collect();
        let value = scored(&sorted);
        sorted.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then(a.0.cmp(b.0)));
        let expected = array(sorted.iter().map(|(name, score)| {
            doc! { "member": member(name), "score": *score }
        }));
        prop_assert_eq!(of(Content::Zset, &value), expected);
    }
}
