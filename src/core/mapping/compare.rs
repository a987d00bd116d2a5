//! Whether a document is what a write of its key would leave.

use std::collections::HashMap;

use super::bson::{Elements, Malformed};
use crate::core::registration::{Registration, WriteMode};

/// True if `found`, a document of MongoDB, holds what `ours`, the whole document of its key, says: with WRITE REPLACE
/// nothing else, with WRITE MERGE all of it. The order of the fields does not matter, because Redis does not keep that of
/// a hash; within a field everything does, type and order included.
pub fn holds(found: &[u8], ours: &[u8], registration: &Registration) -> Result<bool, Malformed> {
    if found == ours {
        return Ok(true);
    }
    let mut left = fields(found)?;
    for element in Raw(Elements::of(ours)?) {
        let (name, bytes) = element?;
        if left.remove(name) != Some(bytes) {
            return Ok(false);
        }
    }
    if registration.write == WriteMode::Merge {
        // A key that does not expire has no such field.
        let ttl_field = registration.ttl_field.as_deref();
        return Ok(ttl_field.is_none_or(|name| !left.contains_key(name.as_bytes())));
    }
    left.remove(&b"_id"[..]);
    Ok(left.is_empty())
}

/// The fields of a document, each with its type and value as bytes.
fn fields(document: &[u8]) -> Result<HashMap<&[u8], &[u8]>, Malformed> {
    Raw(Elements::of(document)?).collect()
}

/// The elements of a document with their bytes.
struct Raw<'a>(Elements<'a>);

impl<'a> Iterator for Raw<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.0.rest();
        let element = self.0.next()?;
        let length = before.len() - self.0.rest().len();
        Some(element.map(|(name, _)| (name, before.get(..length).unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::*;
    use crate::core::ids::Db;
    use crate::core::registration::Namespace;

    fn holds_as(write: WriteMode, found: &Document, ours: &Document) -> bool {
        let namespace = Namespace { database: "d".into(), collection: "c".into() };
        let ttl_field = Some("at".to_owned());
        let registration =
            Registration { write, ttl_field, ..Registration::new(Db(0), b"k:", namespace) };
        let bytes = |document: &Document| {
            let mut bytes = Vec::new();
            document.to_writer(&mut bytes).unwrap();
            bytes
        };
        holds(&bytes(found), &bytes(ours), &registration).unwrap()
    }

    #[test]
    fn a_replacement_is_the_whole_document_in_any_order() {
        let ours = doc! { "_id": "1", "a": 1, "b": { "x": [1, 2] } };
        let holds = |found: Document| holds_as(WriteMode::Replace, &found, &ours);
        assert!(holds(ours.clone()));
        assert!(holds(doc! { "b": { "x": [1, 2] }, "_id": "1", "a": 1 }));
        for found in [
            doc! { "_id": "1", "a": 1 },
            doc! { "_id": "1", "a": 2, "b": { "x": [1, 2] } },
            doc! { "_id": "1", "a": 1_i64, "b": { "x": [1, 2] } },
            doc! { "_id": "1", "a": 1, "b": { "x": [2, 1] } },
            doc! { "_id": "1", "a": 1, "b": { "x": [1, 2] }, "c": 1 },
        ] {
            assert!(!holds(found.clone()), "{found}");
        }
        // With KEY other than `_id`, MongoDB has made that.
        let ours = doc! { "id": 7, "a": 1 };
        assert!(holds_as(WriteMode::Replace, &doc! { "_id": 5, "id": 7, "a": 1 }, &ours));
    }

    #[test]
    fn merged_fields_are_there_beside_others() {
        let ours = doc! { "_id": "1", "a": 1 };
        let holds = |found: Document| holds_as(WriteMode::Merge, &found, &ours);
        assert!(holds(doc! { "_id": "1", "other": 1, "a": 1 }));
        assert!(!holds(doc! { "_id": "1", "other": 1 }));
        assert!(!holds(doc! { "_id": "1", "a": "1" }));
        assert!(!holds(doc! { "_id": "1", "a": 1, "at": 5 }), "the key does not expire");
    }

    #[test]
    fn damaged_documents_are_an_error() {
        let namespace = Namespace { database: "d".into(), collection: "c".into() };
        let registration = Registration::new(Db(0), b"k:", namespace);
        assert_eq!(holds(b"x", b"y", &registration), Err(Malformed));
    }
}
