//! Determines the [`Lookup`] of operations, with which each key has one document: the unique index
//! that a registration with a `KEY` other than `_id` needs, created before the first write, and the
//! collation.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};
use tokio::time::{Instant, timeout};

use super::index_listing::{Listing, has};
use super::lookup::Lookup;
use crate::core::registration::{IdType, Namespace, Registration};
use crate::mongo::client::Connected;
use crate::mongo::codes::{Meaning, meaning};
use crate::mongo::error::broken;
use crate::sink::Failure;

/// Time limit for creating an index. On a large collection the server continues the index build
/// after that.
const INDEX_WITHIN: Duration = Duration::from_secs(10);
/// A lookup is read again after this time: the collection may have been dropped and created with
/// other options.
const REFRESH_AFTER: Duration = Duration::from_secs(60);

/// `IndexOptionsConflict` and `IndexKeySpecsConflict`: such an index exists with other options.
const CONFLICTS: [i32; 2] = [85, 86];
/// `CannotCreateIndex`.
const CANNOT_CREATE: i32 = 67;
/// `NamespaceNotFound`.
const NO_COLLECTION: i32 = 26;

/// The properties of a registration that determine its lookup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LookupKey {
    namespace: Namespace,
    key_field: String,
    strings: bool,
}

impl LookupKey {
    fn of(registration: &Registration) -> Self {
        let Registration { namespace, key_field, key_as, .. } = registration;
        let strings = *key_as == IdType::String;
        LookupKey { namespace: namespace.clone(), key_field: key_field.clone(), strings }
    }
}

/// The lookups that one client has read, by namespace and key field.
#[derive(Debug, Default)]
pub struct Indexes(RefCell<HashMap<LookupKey, (Lookup, Instant)>>);

impl Indexes {
    /// The known lookup for `registration`, without a query.
    pub fn known(&self, registration: &Registration) -> Option<Lookup> {
        self.0.borrow().get(&LookupKey::of(registration)).map(|(lookup, _)| lookup.clone())
    }

    /// Drops the lookups of `namespace`, which may have changed.
    pub fn forget(&self, namespace: &Namespace) {
        self.0.borrow_mut().retain(|key, _| key.namespace != *namespace);
    }

    /// The lookup for `registration`. Queries the server when it is unknown or older than
    /// [`REFRESH_AFTER`]; ensures that a key field other than `_id` has a unique index.
    ///
    /// # Errors
    /// [`Failure::Namespace`] with the obstacle and its remedy.
    pub async fn ensure(
        &self,
        connected: &Connected,
        registration: &Registration,
    ) -> Result<Lookup, Failure> {
        let key = LookupKey::of(registration);
        let known = self.0.borrow().get(&key).cloned();
        if let Some((lookup, read_at)) = &known
            && read_at.elapsed() < REFRESH_AFTER
        {
            return Ok(lookup.clone());
        }
        let database = connected.client.database(&registration.namespace.database);
        let lookup =
            match (timeout(INDEX_WITHIN, read_lookup(&database, registration)).await, known) {
                (Ok(lookup), _) => lookup?,
                // The collection may be locked; the known lookup stays in use.
                (Err(_), Some((lookup, _))) => lookup,
                (Err(_), None) => return Err(not_ready(registration)),
            };
        self.0.borrow_mut().insert(key, (lookup.clone(), Instant::now()));
        Ok(lookup)
    }
}

async fn read_lookup(database: &Database, registration: &Registration) -> Result<Lookup, Failure> {
    let Registration { namespace, key_field, .. } = registration;
    let list = doc! { "listIndexes": &namespace.collection };
    // Without the privilege `listIndexes` the indexes are unknown; any other error will be that of
    // the write, too.
    let listing = match database.run_command(list).await {
        Ok(reply) => Some(Listing::of(&reply)),
        Err(error) => match code(&error) {
            Some(NO_COLLECTION) => Some(Listing::default()),
            Some(code) if !matches!(meaning(code), Meaning::Link(_) | Meaning::Permanent(_)) => {
                None
            }
            _ => return Err(Failure::Link(broken(&error))),
        },
    };
    let Some(listing) = listing else {
        let index = match key_field.as_str() {
            "_id" => None,
            _ => Some(create(database, registration, None).await?),
        };
        return Ok(Lookup { index, simple: true });
    };
    let collation = listing.collation();
    if key_field != "_id" {
        let index = create(database, registration, listing.unique(key_field)).await?;
        return Ok(Lookup { index: Some(index), simple: collation.is_some() });
    }
    match collation {
        Some(collation) if registration.key_as == IdType::String => {
            Err(Failure::Namespace(format!(
                "documents of {namespace} cannot be told apart by strings in _id, because the \
                 collection has the collation {collation}; register the prefix with KEY <field>, \
                 or write to a collection without one"
            )))
        }
        _ => Ok(Lookup::default()),
    }
}

/// Creates the unique index, or waits until the `existing` one is built. Returns its name.
async fn create(
    database: &Database,
    registration: &Registration,
    existing: Option<&Document>,
) -> Result<String, Failure> {
    let Registration { namespace, key_field, .. } = registration;
    let mut index = existing.cloned().unwrap_or_else(|| {
        doc! {
            "key": { key_field: 1 },
            // An application may create an index of the default name for itself.
            "name": format!("writebehind_{key_field}"),
            "unique": true,
            "partialFilterExpression": has(key_field),
        }
    });
    index.insert("collation", doc! { "locale": "simple" });
    let name = index.get_str("name").unwrap_or_default().to_owned();
    let command = doc! { "createIndexes": &namespace.collection, "indexes": [index] };
    match database.run_command(command).await {
        Ok(_) => Ok(name),
        // An existing index need not be created, so the privilege to do so is not needed either.
        Err(error) if existing.is_some() && code(&error).is_some() => Ok(name),
        Err(error) => Err(failure(&error, registration)),
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

fn not_ready(registration: &Registration) -> Failure {
    let Registration { namespace, key_field, .. } = registration;
    Failure::Namespace(match key_field.as_str() {
        "_id" => {
            format!("{namespace} does not answer within {} s; is it locked", INDEX_WITHIN.as_secs())
        }
        _ => format!(
            "the unique index of {key_field} in {namespace} is still being built; writing goes on \
             by itself when it is ready"
        ),
    })
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
            "an index on it exists that is not unique, or is hidden, or is for a part of the \
             documents; drop that one"
        }
        code => match meaning(code) {
            Meaning::Link(_) | Meaning::Permanent(_) => return Failure::Link(broken(error)),
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
    use crate::core::ids::Db;

    fn registration() -> Registration {
        let namespace = Namespace { database: "shop".into(), collection: "movies".into() };
        Registration { key_field: "movieId".into(), ..Registration::new(Db(0), b"m:", namespace) }
    }

    fn failure_of(code: i32) -> Failure {
        let reply = doc! { "code": code, "codeName": "X", "errmsg": "dup key: { movieId: 42 }" };
        let error: CommandError = bson::deserialize_from_document(reply).unwrap();
        failure(&Error::from(ErrorKind::Command(error)), &registration())
    }

    #[test]
    fn each_obstacle_is_reported_with_its_remedy_and_without_values() {
        for (code, action) in [
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
            assert!(sentence.contains(action), "{sentence}");
            assert!(sentence.contains("movieId in shop.movies"), "{sentence}");
            assert!(!sentence.contains("42"), "{sentence}");
        }
    }

    #[test]
    fn an_index_fails_with_the_link() {
        assert!(matches!(failure_of(11_602), Failure::Link(_)));
    }
}
