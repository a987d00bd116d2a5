//! What WB.CHECK reports about a MongoDB deployment.

use crate::core::registration::{Namespace, Registration};

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkup {
    /// Why the deployment cannot be used as configured, in one sentence; empty if it can.
    pub error: String,
    /// The server's version; empty if no server was reached.
    pub server: String,
    /// `standalone`, `replica set`, `sharded` or `load balanced`; empty if no server was reached.
    pub topology: &'static str,
    /// The name of the replica set; empty if there is none.
    pub set_name: String,
    /// The user's privileges, for each namespace.
    pub rights: Vec<Rights>,
    /// MongoDB's clock minus the local clock, in milliseconds.
    pub clock_skew_ms: i64,
}

impl Checkup {
    /// The result for a deployment that cannot be used.
    pub fn failed(error: impl Into<String>) -> Self {
        Checkup { error: error.into(), ..Checkup::default() }
    }
}

/// The user's privileges in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The namespace, `database.collection`.
    pub namespace: String,
    /// Actions that the module requires there and for which the user has no privilege.
    pub missing: Vec<&'static str>,
}

/// A namespace and the privilege actions that its registrations require, named as in MongoDB's
/// manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The namespace.
    pub namespace: Namespace,
    /// The actions.
    pub actions: Vec<&'static str>,
}

/// The privileges that `registrations` require, one entry per namespace, sorted by name.
pub fn needs<'r>(registrations: impl Iterator<Item = &'r Registration>) -> Vec<Need> {
    let mut needs: Vec<Need> = registrations
        .map(|registration| {
            let mut actions = vec!["find", "insert", "update", "remove"];
            if registration.key_field != "_id" {
                actions.extend(["createIndex", "listIndexes"]);
            }
            Need { namespace: registration.namespace.clone(), actions }
        })
        .collect();
    let name = |need: &Need| (need.namespace.database.clone(), need.namespace.collection.clone());
    needs.sort_by_cached_key(|need| (name(need), std::cmp::Reverse(need.actions.len())));
    // The longest list of a namespace is sorted first, and contains all others.
    needs.dedup_by(|next, first| next.namespace == first.namespace);
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;

    #[test]
    fn a_namespace_is_listed_once_with_all_required_actions() {
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
                Need {
                    namespace: namespace("a"),
                    actions: vec!["find", "insert", "update", "remove"],
                },
                Need {
                    namespace: namespace("b"),
                    actions: vec![
                        "find",
                        "insert",
                        "update",
                        "remove",
                        "createIndex",
                        "listIndexes",
                    ],
                },
            ]
        );
    }
}
