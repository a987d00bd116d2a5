//! What WB.CHECK finds out about a MongoDB deployment.

use crate::core::registration::{Namespace, Registration};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkup {
    /// Why MongoDB cannot be used as it should be, in one sentence; empty when it can.
    pub error: String,
    /// The server's version; empty when none was reached.
    pub server: String,
    /// `standalone`, `replica set`, `sharded` or `load balanced`; empty when no server was reached.
    pub topology: &'static str,
    /// The name of the replica set; empty for none.
    pub set_name: String,
    /// What the user may do, for each namespace.
    pub rights: Vec<Rights>,
    /// MongoDB's clock minus this machine's, in milliseconds.
    pub clock_skew_ms: i64,
}

impl Checkup {
    /// MongoDB cannot be used.
    pub fn failed(error: impl Into<String>) -> Self {
        Checkup { error: error.into(), ..Checkup::default() }
    }
}

/// What the user may do in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The namespace, `database.collection`.
    pub namespace: String,
    /// Actions that the module needs there and the user may not do.
    pub missing: Vec<&'static str>,
}

/// A namespace and the actions that its registrations need there, by their names in MongoDB's manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The namespace.
    pub namespace: Namespace,
    /// The actions.
    pub actions: Vec<&'static str>,
}

/// What `registrations` need, each namespace once, in the order of their names.
pub fn needs<'r>(registrations: impl Iterator<Item = &'r Registration>) -> Vec<Need> {
    let mut needs: Vec<Need> = registrations
        .map(|registration| {
            let mut actions = vec!["insert", "update", "remove"];
            if registration.key_field != "_id" {
                actions.extend(["createIndex", "listIndexes"]);
            }
            Need { namespace: registration.namespace.clone(), actions }
        })
        .collect();
    let name = |need: &Need| (need.namespace.database.clone(), need.namespace.collection.clone());
    needs.sort_by_cached_key(|need| (name(need), std::cmp::Reverse(need.actions.len())));
    // Of one namespace the longest list stands first, and it holds the others.
    needs.dedup_by(|next, first| next.namespace == first.namespace);
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;

    #[test]
    fn a_namespace_is_named_once_with_all_that_is_needed_there() {
        let namespace = |collection: &str| Namespace {
            database: "shop".to_owned(),
            collection: collection.to_owned(),
        };
        let plain = Registration::new(Db(0), b"a:", namespace("b"));
        let mut keyed = Registration::new(Db(0), b"b:", namespace("b"));
        keyed.key_field = "number".to_owned();
        let other = Registration::new(Db(0), b"c:", namespace("a"));
        let needs = needs([&plain, &keyed, &other].into_iter());
        assert_eq!(
            needs,
            [
                Need { namespace: namespace("a"), actions: vec!["insert", "update", "remove"] },
                Need {
                    namespace: namespace("b"),
                    actions: vec!["insert", "update", "remove", "createIndex", "listIndexes"],
                },
            ]
        );
    }
}
