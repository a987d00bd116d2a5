//! Queries for the documents of keys.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};

use crate::core::mapping::document_id::DocumentId;
use crate::core::registration::Registration;

/// The query for the documents of these keys; `None` if none of them can have one. A key whose suffix cannot be
/// converted has none.
pub fn filter<'k>(
    registration: &Registration,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Option<Document> {
    let ids = keys.filter_map(|key| {
        let id = registration.id_of(key);
        DocumentId::convert(id, registration.key_as).ok().map(value)
    });
    let ids: Vec<Bson> = ids.collect();
    let filter = match <[Bson; 1]>::try_from(ids) {
        Ok([id]) => Bson::Document(doc! { "$eq": id }),
        Err(ids) if ids.is_empty() => return None,
        Err(ids) => Bson::Document(doc! { "$in": ids }),
    };
    Some(doc! { &registration.key_field: filter })
}

fn value(id: DocumentId<'_>) -> Bson {
    let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype, bytes: bytes.to_vec() });
    match id {
        DocumentId::Text(text) => Bson::String(text.to_owned()),
        DocumentId::Bytes(bytes) => binary(BinarySubtype::Generic, bytes),
        DocumentId::Int64(number) => Bson::Int64(number),
        DocumentId::ObjectId(bytes) => Bson::ObjectId(ObjectId::from_bytes(bytes)),
        DocumentId::Uuid(bytes) => binary(BinarySubtype::Uuid, &bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;
    use crate::core::registration::{IdType, Namespace};

    fn of(key_as: IdType, keys: &[&str]) -> Option<Document> {
        let namespace = Namespace { database: "d".into(), collection: "c".into() };
        let registration = Registration::new(Db(0), b"k:", namespace);
        let registration = Registration { key_as, key_field: "id".into(), ..registration };
        filter(&registration, keys.iter().map(|key| key.as_bytes()))
    }

    #[test]
    fn keys_are_asked_for_by_their_suffixes() {
        assert_eq!(of(IdType::String, &["k:a"]), Some(doc! { "id": { "$eq": "a" } }));
        assert_eq!(of(IdType::String, &["k:a", "k:"]), Some(doc! { "id": { "$in": ["a", ""] } }));
        assert_eq!(of(IdType::Int64, &["k:x", "k:7"]), Some(doc! { "id": { "$eq": 7_i64 } }));
        assert_eq!(of(IdType::Int64, &["k:x", "k:07"]), None);
    }
}
