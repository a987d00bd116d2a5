//! The key of a document.

use super::scalar;
use crate::core::mapping::bson::{Elements, Malformed, Value};
use crate::core::registration::{IdType, Registration};

/// Appends the key whose document `document` is to `out`; false if it is none of `registration`: its key
/// field is missing, or of another type than keys are written with.
pub fn append(
    document: &[u8],
    registration: &Registration,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    for element in Elements::of(document)? {
        let (name, value) = element?;
        if name == registration.key_field.as_bytes() {
            return Ok(id(value, registration, out));
        }
    }
    Ok(false)
}

fn id(value: Value<'_>, registration: &Registration, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    if !registration.key_whole {
        out.extend_from_slice(&registration.prefix);
    }
    let is_id = match (registration.key_as, value) {
        // A key that is UTF-8 is written as a string, any other as binary data.
        (IdType::String, Value::String(bytes)) => {
            out.extend_from_slice(bytes);
            std::str::from_utf8(bytes).is_ok()
        }
        (IdType::String, Value::Binary(0, bytes)) => {
            out.extend_from_slice(bytes);
            std::str::from_utf8(bytes).is_err()
        }
        // MongoDB takes equal numbers of different types for the same value.
        (IdType::Int64, Value::Int64(_) | Value::Int32(_)) => scalar::append(value, None, out),
        (IdType::Int64, Value::Double(number)) if is_int64(number) => {
            scalar::append(Value::Int64(number as i64), None, out)
        }
        (IdType::ObjectId, Value::ObjectId(_)) | (IdType::Uuid, Value::Binary(4, _)) => {
            scalar::append(value, None, out)
        }
        _ => false,
    };
    is_id && out.get(start..).is_some_and(|key| key.starts_with(&registration.prefix))
}

/// True for a whole number in the range of int64.
fn is_int64(number: f64) -> bool {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Binary, Bson, doc, oid::ObjectId, spec::BinarySubtype};

    use super::*;
    use crate::core::ids::Db;
    use crate::core::mapping::bson::Document;
    use crate::core::mapping::document::Identity;
    use crate::core::registration::Namespace;

    fn registration(key_as: IdType, key_whole: bool) -> Registration {
        let namespace = Namespace { database: "d".into(), collection: "c".into() };
        let registration = Registration::new(Db(0), b"k:", namespace);
        Registration { key_as, key_whole, ..registration }
    }

    fn key_of(registration: &Registration, id: impl Into<Bson>) -> Option<String> {
        let mut bytes = Vec::new();
        doc! { "value": 1, "_id": id.into() }.to_writer(&mut bytes).unwrap();
        let mut out = Vec::new();
        let is_key = append(&bytes, registration, &mut out).unwrap();
        is_key.then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn the_key_of_a_document_is_that_from_which_it_was_written() {
        let uuid = "123e4567-e89b-12d3-a456-426614174000";
        let keys: [(&[u8], IdType); 6] = [
            (b"k:", IdType::String),
            (b"k:\xff", IdType::String),
            (b"k:-9223372036854775808", IdType::Int64),
            (b"k:000102030405060708abcdef", IdType::ObjectId),
            (b"k:123e4567-e89b-12d3-a456-426614174000", IdType::Uuid),
            (b"k:x", IdType::String),
        ];
        assert_eq!(keys[4].0, [b"k:", uuid.as_bytes()].concat());
        for (key, key_as) in keys {
            for key_whole in [false, key_as == IdType::String] {
                let registration = registration(key_as, key_whole);
                let mut document = Vec::new();
                let mut writer = Document::begin(&mut document);
                Identity::of(&registration, key).unwrap().append_to(&mut writer);
                writer.end();
                let mut out = Vec::new();
                assert_eq!(append(&document, &registration, &mut out), Ok(true));
                assert_eq!(out, key, "{key_as:?} {key_whole}");
            }
        }
    }

    #[test]
    fn documents_with_other_ids_are_not_ours() {
        let text = registration(IdType::String, false);
        let number = registration(IdType::Int64, false);
        let whole = registration(IdType::String, true);
        assert_eq!(key_of(&text, 7), None);
        assert_eq!(key_of(&text, ObjectId::from_bytes([1; 12])), None);
        let binary = Binary { subtype: BinarySubtype::Generic, bytes: b"utf-8".to_vec() };
        assert_eq!(key_of(&text, binary), None);
        assert_eq!(key_of(&number, "7"), None);
        assert_eq!(key_of(&number, 7.5), None);
        assert_eq!(key_of(&number, 1e300), None);
        assert_eq!(key_of(&number, 7.0).as_deref(), Some("k:7"));
        assert_eq!(key_of(&number, 7).as_deref(), Some("k:7"));
        assert_eq!(key_of(&whole, "other:7"), None);
        assert_eq!(key_of(&whole, "k:7").as_deref(), Some("k:7"));
        assert_eq!(key_of(&registration(IdType::ObjectId, false), "x"), None);
    }
}
