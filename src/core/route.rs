//! Routing: the registration that a key belongs to, by the longest matching prefix.

/// Prefixes of all logical databases.
#[derive(Debug, Default)]
pub struct Routes {
    by_db: Vec<DbRoutes>,
}

#[derive(Debug)]
struct DbRoutes {
    db: u16,
    /// The empty prefix stands apart: comparing with an empty slice costs 100–200 ns where
    /// memcmp is written with masked AVX-512 loads.
    catch_all: Option<u16>,
    /// Sorted by prefix.
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    prefix: Box<[u8]>,
    /// Its first eight bytes, and which of them there are: most keys are told apart by these.
    head: u64,
    mask: u64,
    slot: u16,
    /// The longest other prefix that this one starts with.
    parent: Option<u32>,
}

impl Routes {
    /// Routes keys under `prefix` in `db` to `slot`, in place of any earlier route of it.
    pub fn insert(&mut self, db: u16, prefix: &[u8], slot: u16) {
        let at = match self.by_db.iter().position(|routes| routes.db == db) {
            Some(at) => at,
            None => {
                self.by_db.push(DbRoutes { db, catch_all: None, routes: Vec::new() });
                self.by_db.len() - 1
            }
        };
        self.by_db[at].insert(prefix, slot);
    }

    /// Stops routing `prefix` in `db`; its keys go to the next shorter prefix.
    pub fn remove(&mut self, db: u16, prefix: &[u8]) {
        if let Some(routes) = self.by_db.iter_mut().find(|routes| routes.db == db) {
            routes.remove(prefix);
        }
        self.by_db.retain(|routes| routes.catch_all.is_some() || !routes.routes.is_empty());
    }

    /// The slot that `key` in `db` belongs to.
    #[inline]
    pub fn find(&self, db: u16, key: &[u8]) -> Option<u16> {
        self.by_db.iter().find(|routes| routes.db == db)?.find(key)
    }

    /// True when no key of any database is routed.
    pub fn is_empty(&self) -> bool {
        self.by_db.is_empty()
    }
}

impl DbRoutes {
    fn insert(&mut self, prefix: &[u8], slot: u16) {
        if prefix.is_empty() {
            self.catch_all = Some(slot);
            return;
        }
        match self.routes.binary_search_by(|route| (*route.prefix).cmp(prefix)) {
            Ok(at) => self.routes[at].slot = slot,
            Err(at) => {
                self.routes.insert(at, Route::new(prefix, slot));
                self.link();
            }
        }
    }

    fn remove(&mut self, prefix: &[u8]) {
        if prefix.is_empty() {
            self.catch_all = None;
            return;
        }
        self.routes.retain(|route| *route.prefix != *prefix);
        self.link();
    }

    /// Sets every parent. In sorted order the prefixes of a prefix stand before it, so one pass
    /// with a stack of open prefixes is enough.
    fn link(&mut self) {
        let mut open: Vec<u32> = Vec::new();
        for at in 0..self.routes.len() {
            while let Some(&top) = open.last() {
                if self.routes[at].prefix.starts_with(&self.routes[top as usize].prefix) {
                    break;
                }
                open.pop();
            }
            self.routes[at].parent = open.last().copied();
            open.push(at as u32);
        }
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<u16> {
        if self.routes.is_empty() { self.catch_all } else { self.find_longest(key) }
    }

    fn find_longest(&self, key: &[u8]) -> Option<u16> {
        let head = head(key);
        // The greatest prefix that is not after the key either matches, or starts with the
        // longest one that does: walk up from it.
        let after = self.routes.partition_point(|route| {
            route.head < head || (route.head == head && *route.prefix <= *key)
        });
        let mut at = after.checked_sub(1);
        while let Some(route) = at.and_then(|at| self.routes.get(at)) {
            if route.matches(key, head) {
                return Some(route.slot);
            }
            at = route.parent.map(|parent| parent as usize);
        }
        self.catch_all
    }
}

impl Route {
    /// A route for a prefix that is not empty.
    fn new(prefix: &[u8], slot: u16) -> Self {
        let mask = u64::MAX << (64 - 8 * prefix.len().clamp(1, 8));
        Route { prefix: prefix.into(), head: head(prefix), mask, slot, parent: None }
    }

    fn matches(&self, key: &[u8], head: u64) -> bool {
        (self.head ^ head) & self.mask == 0
            && key.len() >= self.prefix.len()
            && (self.prefix.len() <= 8 || key.starts_with(&self.prefix))
    }
}

/// The first eight bytes, in an order that is that of the strings; zeros after a shorter one.
#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => bytes.iter().rev().fold(0, |head, byte| head >> 8 | u64::from(*byte) << 56),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routes(prefixes: &[&[u8]]) -> Routes {
        let mut routes = Routes::default();
        for (slot, prefix) in prefixes.iter().enumerate() {
            routes.insert(0, prefix, slot as u16);
        }
        routes
    }

    #[test]
    fn the_longest_matching_prefix_wins() {
        let routes = routes(&[b"person", b"personal", b"person:"]);
        assert_eq!(routes.find(0, b"person1"), Some(0));
        assert_eq!(routes.find(0, b"personal1"), Some(1));
        assert_eq!(routes.find(0, b"person:1"), Some(2));
        assert_eq!(routes.find(0, b"perso"), None);
    }

    #[test]
    fn the_empty_prefix_takes_what_no_other_does() {
        let routes = routes(&[b"", b"a"]);
        assert_eq!(routes.find(0, b""), Some(0));
        assert_eq!(routes.find(0, b"b"), Some(0));
        assert_eq!(routes.find(0, b"ab"), Some(1));
    }

    #[test]
    fn a_removed_prefix_falls_back_to_a_shorter_one() {
        let mut routes = routes(&[b"a", b"ab", b"abc"]);
        routes.remove(0, b"ab");
        assert_eq!(routes.find(0, b"abd"), Some(0));
        assert_eq!(routes.find(0, b"abcd"), Some(2));
    }

    #[test]
    fn databases_are_apart() {
        let mut routes = routes(&[b"a"]);
        routes.insert(3, b"b", 7);
        assert_eq!(routes.find(3, b"a"), None);
        assert_eq!(routes.find(3, b"b"), Some(7));
        routes.remove(0, b"a");
        routes.remove(3, b"b");
        assert!(routes.is_empty());
    }

    proptest! {
        #[test]
        fn finds_what_a_search_of_all_prefixes_finds(
            prefixes in prop::collection::btree_set("[ab\0]{0,4}|abababa[ab\0]{0,4}", 0..12),
            removed in prop::collection::vec("[ab]{0,4}", 0..4),
            key in "[abc\0]{0,6}|abababa[abc\0]{0,6}",
        ) {
            let mut all: Vec<String> = prefixes.into_iter().collect();
            let mut routes = Routes::default();
            for (slot, prefix) in all.iter().enumerate() {
                routes.insert(0, prefix.as_bytes(), slot as u16);
            }
            let slots: std::collections::HashMap<String, u16> =
                all.iter().enumerate().map(|(slot, prefix)| (prefix.clone(), slot as u16)).collect();
            for prefix in &removed {
                routes.remove(0, prefix.as_bytes());
                all.retain(|other| other != prefix);
            }
            let expected = all
                .iter()
                .filter(|prefix| key.starts_with(prefix.as_str()))
                .max_by_key(|prefix| prefix.len())
                .map(|prefix| slots[prefix]);
            prop_assert_eq!(routes.find(0, key.as_bytes()), expected);
        }
    }
}
