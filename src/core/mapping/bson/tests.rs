//! Reads the written BSON back with the `bson` crate.

use mongodb::bson::{
    Binary, Bson, DateTime, RawDocumentBuf, doc, oid::ObjectId, rawdoc, spec::BinarySubtype,
};
use proptest::prelude::*;

use super::*;

fn written(write: impl FnOnce(&mut Document<'_>)) -> RawDocumentBuf {
    let mut out = Vec::new();
    let mut document = Document::begin(&mut out);
    write(&mut document);
    document.end();
    RawDocumentBuf::from_bytes(out).unwrap()
}

#[test]
fn an_empty_document_takes_five_bytes() {
    assert_eq!(written(|_| {}).as_bytes(), [5, 0, 0, 0, 0]);
}

#[test]
fn every_type_is_read_back_as_it_was_written() {
    let document = written(|document| {
        document.element(c"double").double(-0.5);
        document.element(c"string").string("é\0x");
        document.element(c"binary").binary(b"\xff\0");
        document.element(c"uuid").uuid([7; 16]);
        document.element(c"object_id").object_id([9; 12]);
        document.element(c"bool").bool(true);
        document.element(c"date").date_ms(-5);
        document.element(c"null").null();
        document.element(c"int32").int32(i32::MIN);
        document.element(c"int64").int64(i64::MIN);
        document.element(c"raw").raw_document(rawdoc! { "a": 1 }.as_bytes());
    });
    let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
    let expected = doc! {
        "double": -0.5,
        "string": "é\0x",
        "binary": binary(BinarySubtype::Generic, b"\xff\0"),
        "uuid": binary(BinarySubtype::Uuid, &[7; 16]),
        "object_id": ObjectId::from_bytes([9; 12]),
        "bool": true,
        "date": DateTime::from_millis(-5),
        "null": Bson::Null,
        "int32": i32::MIN,
        "int64": i64::MIN,
        "raw": { "a": 1 },
    };
    assert_eq!(mongodb::bson::Document::try_from(&*document).unwrap(), expected);
}

#[test]
fn documents_and_arrays_nest() {
    let document = written(|document| {
        let mut array = document.element(c"array").array();
        array.push().int32(1);
        let mut inner = array.push().document();
        inner.element(c"").array().end();
        inner.end();
        array.end();
        document.element(c"after").document().end();
    });
    assert_eq!(document, rawdoc! { "array": [1, { "": [] }], "after": {} });
}

#[test]
fn the_indexes_of_an_array_are_decimal() {
    let count = 1_234;
    let document = written(|document| {
        let mut array = document.element(c"a").array();
        for _ in 0..count {
            array.push().null();
        }
        array.end();
    });
    let array = document.get_array("a").unwrap();
    let names = mongodb::bson::RawDocument::from_bytes(array.as_bytes()).unwrap();
    let names: Vec<_> = names.iter().map(|item| item.unwrap().0.as_str().to_owned()).collect();
    assert_eq!(names, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_largest_index_has_ten_digits() {
    let mut out = Vec::new();
    ArrayIndex(u32::MAX).append_to(&mut out);
    assert_eq!(out, b"4294967295\0");
}

#[test]
fn a_name_with_a_nul_at_any_position_is_refused() {
    for name in ["\0", "\0a", "a\0", "a\0b", "a long name with it at the end\0"] {
        assert_eq!(FieldName::new(name), Err(NulInName));
    }
    assert!(FieldName::new("").is_ok());
}

#[test]
fn a_rolled_back_array_is_as_it_was() {
    let document = written(|document| {
        let mut array = document.element(c"a").array();
        array.push().int32(1);
        let mark = array.mark();
        let mut incomplete = array.push().document();
        let _ = incomplete.element(c"without a value");
        array.roll_back(mark);
        array.push().int32(2);
        array.end();
    });
    assert_eq!(document, rawdoc! { "a": [1, 2] });
}

#[test]
fn elements_are_removed_at_the_front_in_the_middle_and_at_the_end() {
    let document = written(|document| {
        let mut starts = Vec::new();
        for name in [c"a", c"b", c"c", c"d"] {
            starts.push(document.position());
            assert_eq!(document.name_at(document.position()), b"");
            document.element(name).int32(0);
        }
        assert_eq!(document.name_at(starts[1]), b"b");
        let end = document.position();
        document.remove(&[starts[0]..starts[1], starts[2]..starts[3], starts[3]..end]);
        document.element(c"e").int32(0);
    });
    assert_eq!(document, rawdoc! { "b": 0, "e": 0 });
}

#[test]
fn removing_no_or_invalid_ranges_changes_nothing() {
    let document = written(|document| {
        document.element(c"a").int32(0);
        document.remove(&[]);
        let beyond = document.position() + 7;
        document.remove(&[beyond..beyond + 1, beyond + 1..usize::MAX]);
    });
    assert_eq!(document, rawdoc! { "a": 0 });
}

proptest! {
    #[test]
    fn any_strings_and_bytes_are_read_back(
        fields in prop::collection::vec(("[^\0]*", any::<String>(), any::<Vec<u8>>()), 0..8)
    ) {
        let document = written(|document| {
            for (name, text, bytes) in &fields {
                document.element(FieldName::new(name).unwrap()).string(text);
                document.element(FieldName::new(name).unwrap()).binary(bytes);
            }
        });
        let mut read = document.iter().map(Result::unwrap);
        for (name, text, bytes) in &fields {
            let (first, value) = read.next().unwrap();
            prop_assert_eq!(first.as_str(), name);
            prop_assert_eq!(value.as_str().unwrap(), text);
            let (_, value) = read.next().unwrap();
            prop_assert_eq!(value.as_binary().unwrap().bytes, &bytes[..]);
        }
        prop_assert!(read.next().is_none());
    }
}
