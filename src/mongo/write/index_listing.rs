//! Reads the reply to `listIndexes`.

use mongodb::bson::{Bson, Document, doc};

/// The indexes of a collection; none if it does not exist. The first batch of a reply contains up
/// to 101 of them, and a collection has at most 64.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing(Vec<Document>);

impl Listing {
    /// The indexes in `reply`.
    pub fn of(reply: &Document) -> Self {
        let indexes =
            reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let indexes = indexes.map(Vec::as_slice).unwrap_or_default();
        Self(indexes.iter().filter_map(Bson::as_document).cloned().collect())
    }

    /// The collection's default collation in readable form, if it is not the simple one: that of
    /// the `_id` index, which is always the same.
    pub fn collation(&self) -> Option<String> {
        let index = self.0.iter().find(|index| is_on(index, "_id"))?;
        let collation = index.get_document("collation").ok()?;
        let locale = collation.get_str("locale").unwrap_or("?");
        let mut text = format!("{{ locale: \"{locale}\"");
        if let Ok(strength) = collation.get_i32("strength") {
            text += &format!(", strength: {strength}");
        }
        Some(text + " }")
    }

    /// An index that ensures that no two documents have the same bytes in `field`, and that queries
    /// by `field` can use. It may be one that is still being built.
    pub fn unique(&self, field: &str) -> Option<&Document> {
        self.0.iter().find(|index| {
            is_on(index, field)
                && index.get_bool("unique").unwrap_or(false)
                && !index.contains_key("collation")
                && !index.get_bool("hidden").unwrap_or(false)
                && index.get("partialFilterExpression").is_none_or(|filter| *filter == has(field))
        })
    }
}

/// The filter that selects the documents with `field`.
pub fn has(field: &str) -> Bson {
    Bson::Document(doc! { field: { "$exists": true } })
}

fn is_on(index: &Document, field: &str) -> bool {
    let key = index.get_document("key");
    key.is_ok_and(|key| key.len() == 1 && key.keys().all(|name| name == field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(index: Document) -> Listing {
        let id = doc! { "key": { "_id": 1 }, "name": "_id_" };
        Listing::of(&doc! { "cursor": { "firstBatch": [id, index] } })
    }

    fn is_usable(changes: Document) -> bool {
        let mut index = doc! { "key": { "movieId": 1 }, "name": "mine", "unique": true };
        index.extend(changes);
        listing(index).unique("movieId").is_some()
    }

    #[test]
    fn a_unique_index_of_another_name_is_usable_and_others_are_not() {
        assert!(is_usable(doc! {}));
        assert!(is_usable(doc! { "key": { "movieId": -1 } }));
        assert!(is_usable(doc! { "sparse": true }));
        assert!(is_usable(doc! { "partialFilterExpression": has("movieId") }));
        for other in [
            doc! { "unique": false },
            doc! { "key": { "other": 1 } },
            doc! { "key": { "movieId": 1, "year": 1 } },
            doc! { "partialFilterExpression": { "year": { "$gt": 1979 } } },
            doc! { "partialFilterExpression": {} },
            doc! { "collation": { "locale": "en" } },
            doc! { "hidden": true },
        ] {
            assert!(!is_usable(other.clone()), "{other}");
        }
        assert_eq!(Listing::of(&doc! {}), Listing::default());
        assert_eq!(Listing::default().unique("movieId"), None);
    }

    #[test]
    fn the_collation_is_that_of_the_id_index() {
        let collation = |of_id: Document| {
            let mut id = doc! { "key": { "_id": 1 }, "name": "_id_" };
            id.extend(of_id);
            Listing::of(&doc! { "cursor": { "firstBatch": [id] } }).collation()
        };
        assert_eq!(collation(doc! {}), None);
        let english = doc! { "locale": "en", "strength": 2, "caseLevel": false };
        let expected = "{ locale: \"en\", strength: 2 }";
        assert_eq!(collation(doc! { "collation": english }).as_deref(), Some(expected));
        let other = listing(doc! { "key": { "a": 1 }, "collation": { "locale": "en" } });
        assert_eq!(other.collation(), None);
    }
}
