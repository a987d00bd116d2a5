//! The unique index that a registration with a `KEY` other than `_id` needs, made before the
//! first write: without it two documents could come to stand for one key.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};
use tokio::time::timeout;

use super::client::Connected;
use super::codes::{Meaning, meaning};
use super::outcome::broken;
use crate::core::registration::{Namespace, Registration};
use crate::sink::Failure;

/// Longest wait for an index. On a large collection the server goes on building it after that.
const INDEX_WITHIN: Duration = Duration::from_secs(10);

/// `IndexOptionsConflict` and `IndexKeySpecsConflict`: such an index exists, made otherwise.
const CONFLICTS: [i32; 2] = [85, 86];
/// `CannotCreateIndex`.
const CANNOT_CREATE: i32 = 67;

/// The indexes that one client has seen to.
#[derive(Debug, Default)]
pub struct Indexes(RefCell<HashSet<(Namespace, String)>>);

impl Indexes {
    /// Makes sure that `registration`'s key field has a unique index; asks the server once.
    ///
    /// # Errors
    /// [`Failure::Namespace`] says what stands in the way and what to do about it.
    pub async fn ensure(
        &self,
        connected: &Connected,
        registration: &Registration,
    ) -> Result<(), Failure> {
        let Registration { namespace, key_field, .. } = registration;
        if key_field == "_id" {
            return Ok(());
        }
        let index = (namespace.clone(), key_field.clone());
        if self.0.borrow().contains(&index) {
            return Ok(());
        }
        let database = connected.client.database(&namespace.database);
        match timeout(INDEX_WITHIN, create(&database, registration)).await {
            Ok(Ok(())) => {
                self.0.borrow_mut().insert(index);
                Ok(())
            }
            Ok(Err(error)) => Err(failure(&error, registration)),
            Err(_) => Err(Failure::Namespace(format!(
                "the unique index of {key_field} in {namespace} is still being built; writing \
                 goes on by itself when it is ready"
            ))),
        }
    }
}

async fn create(database: &Database, registration: &Registration) -> Result<(), Error> {
    let Registration { namespace, key_field, .. } = registration;
    let command = doc! {
        "createIndexes": &namespace.collection,
        "indexes": [{
            "key": { key_field: 1 },
            "name": format!("{key_field}_1"),
            "unique": true,
        }],
    };
    match database.run_command(command).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error).is_some_and(|code| CONFLICTS.contains(&code)) => {
            let list = database.run_command(doc! { "listIndexes": &namespace.collection }).await?;
            if has_unique(&list, key_field) { Ok(()) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// Whether a reply of `listIndexes` holds an index on `field` alone that is unique for every
/// document, whatever its name. The first page of the reply holds up to 101 indexes, and a
/// collection has at most 64.
fn has_unique(list: &Document, field: &str) -> bool {
    let indexes = list.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let indexes = indexes.map(Vec::as_slice).unwrap_or_default();
    indexes.iter().filter_map(Bson::as_document).any(|index| {
        let on_field = index
            .get_document("key")
            .is_ok_and(|key| key.len() == 1 && key.keys().all(|name| name == field));
        let partial = index.contains_key("partialFilterExpression");
        on_field && !partial && index.get_bool("unique").unwrap_or(false)
    })
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

fn failure(error: &Error, registration: &Registration) -> Failure {
    let Registration { namespace, key_field, .. } = registration;
    let Some(code) = code(error) else {
        return Failure::Link(broken(error));
    };
    let why = match code {
        11_000 => "documents with the same value in it exist; remove the duplicates",
        13 => "the user may not make indexes; grant readWrite, or make it as an administrator",
        CANNOT_CREATE => {
            "the collection cannot have it; in a sharded one the key must begin with the shard key"
        }
        code if CONFLICTS.contains(&code) => {
            "an index on it exists that is not unique; drop that one"
        }
        code => match meaning(code) {
            Meaning::Link(_) | Meaning::Lasting(_) => return Failure::Link(broken(error)),
            Meaning::Namespace(why) => why,
            _ => "the server refuses to make it",
        },
    };
    Failure::Namespace(format!(
        "the unique index of {key_field} in {namespace}, which KEY {key_field} needs, cannot be \
         made: {why} (code {code})"
    ))
}

#[cfg(test)]
mod tests {
    use mongodb::bson;
    use mongodb::error::CommandError;

    use super::*;

    fn registration() -> Registration {
        let namespace = Namespace { database: "shop".into(), collection: "movies".into() };
        Registration { key_field: "movieId".into(), ..Registration::new(0, b"m:", namespace) }
    }

    fn failure_of(code: i32) -> Failure {
        let reply = doc! { "code": code, "codeName": "X", "errmsg": "dup key: { movieId: 42 }" };
        let error: CommandError = bson::deserialize_from_document(reply).unwrap();
        failure(&Error::from(ErrorKind::Command(error)), &registration())
    }

    #[test]
    fn each_obstacle_is_told_with_its_remedy_and_without_values() {
        for (code, remedy) in [
            (11_000, "remove the duplicates"),
            (13, "grant"),
            (67, "shard key"),
            (85, "drop"),
            (86, "drop"),
            (166, "view"),
            (9_999_999, "refuses"),
        ] {
            let Failure::Namespace(sentence) = failure_of(code) else {
                panic!("{code} is the namespace's fault");
            };
            assert!(sentence.contains(remedy), "{sentence}");
            assert!(sentence.contains("movieId in shop.movies"), "{sentence}");
            assert!(!sentence.contains("42"), "{sentence}");
        }
    }

    #[test]
    fn an_index_fails_with_the_link() {
        assert!(matches!(failure_of(11_602), Failure::Link(_)));
    }

    #[test]
    fn a_unique_index_of_another_name_serves_and_others_do_not() {
        let list = |index: Document| doc! { "cursor": { "firstBatch": [index] } };
        let unique = doc! { "key": { "movieId": 1 }, "name": "mine", "unique": true };
        assert!(has_unique(&list(unique.clone()), "movieId"));
        assert!(!has_unique(&list(unique.clone()), "other"));
        assert!(!has_unique(&list(doc! { "key": { "movieId": 1 } }), "movieId"));
        let mut partial = unique.clone();
        partial.insert("partialFilterExpression", doc! {});
        assert!(!has_unique(&list(partial), "movieId"));
        let wide = doc! { "key": { "movieId": 1, "year": 1 }, "unique": true };
        assert!(!has_unique(&list(wide), "movieId"));
        assert!(!has_unique(&doc! {}, "movieId"));
    }
}
