//! Routing: the registration that a key belongs to, by the longest matching prefix.

use crate::core::ids::{Db, RegistrationId};

/// Up to this many prefixes, comparing with each one is faster than a binary search.
const FEW: usize = 4;

/// From this many prefixes on, their common beginning is compared first, and the heads are taken
/// after it: prefixes such as `tenant:0001:` differ only at the end.
const MANY: usize = 16;

/// Number of two-byte strings.
const BEGINS: usize = 1 << 16;

/// Prefixes of all logical databases.
#[derive(Debug, Default)]
pub struct Routes {
    /// Sorted by database.
    by_db: Vec<DbRoutes>,
}

#[derive(Debug)]
struct DbRoutes {
    db: Db,
    /// The empty prefix is kept separately: comparing with an empty slice costs 100–200 ns where
    /// memcmp is written with masked AVX-512 loads.
    catch_all: Option<RegistrationId>,
    /// The common beginning of all prefixes if there are [`MANY`]; else empty.
    common: Head,
    /// One bit for each pair of bytes that follows `common` in a prefix: rules out most keys that
    /// match no prefix. Empty if there are fewer than [`MANY`].
    begins: Vec<u64>,
    /// The head of each prefix after `common`, in the order of the prefixes: for most keys no more
    /// than these is compared.
    heads: Vec<u64>,
    /// Their numbers, in the same order.
    order: Vec<u32>,
    /// By number; those that are not in `order` are free.
    routes: Vec<Route>,
    free: Vec<u32>,
}

/// A string with its first eight bytes.
#[derive(Debug, Default)]
struct Head {
    bytes: Box<[u8]>,
    head: u64,
    /// Which of the eight bytes exist.
    mask: u64,
}

#[derive(Debug)]
struct Route {
    prefix: Box<[u8]>,
    /// Its head after the common beginning, and which bytes of the head exist.
    head: u64,
    mask: u64,
    registration_id: RegistrationId,
    /// The longest other prefix that this one starts with.
    parent: Option<u32>,
}

impl Routes {
    /// Routes keys under `prefix` in `db` to `id`, replacing any earlier route of the prefix.
    pub fn insert(&mut self, db: Db, prefix: &[u8], id: RegistrationId) {
        let at = match self.by_db.binary_search_by_key(&db, |routes| routes.db) {
            Ok(at) => at,
            Err(at) => {
                self.by_db.insert(at, DbRoutes::new(db));
                at
            }
        };
        self.by_db[at].insert(prefix, id);
    }

    /// Stops routing `prefix` in `db`; its keys are routed by the next shorter prefix.
    pub fn remove(&mut self, db: Db, prefix: &[u8]) {
        let Ok(at) = self.by_db.binary_search_by_key(&db, |routes| routes.db) else { return };
        self.by_db[at].remove(prefix);
        if self.by_db[at].is_empty() {
            self.by_db.remove(at);
        }
    }

    /// The registration that `key` in `db` belongs to.
    // A call of its own would cost every event 14 instructions, of 163 without a match.
    #[inline(always)]
    pub fn find(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        match self.by_db.as_slice() {
            [only] if only.db == db => only.find(key),
            [] | [_] => None,
            many => {
                let at = many.binary_search_by_key(&db, |routes| routes.db).ok()?;
                many[at].find(key)
            }
        }
    }

    /// The databases in which keys are routed.
    pub fn dbs(&self) -> impl Iterator<Item = Db> + '_ {
        self.by_db.iter().map(|routes| routes.db)
    }

    /// True when no key of any database is routed.
    pub fn is_empty(&self) -> bool {
        self.by_db.is_empty()
    }
}

impl DbRoutes {
    fn new(db: Db) -> Self {
        DbRoutes {
            db,
            catch_all: None,
            common: Head::default(),
            begins: Vec::new(),
            heads: Vec::new(),
            order: Vec::new(),
            routes: Vec::new(),
            free: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.catch_all.is_none() && self.order.is_empty()
    }

    fn insert(&mut self, prefix: &[u8], id: RegistrationId) {
        if prefix.is_empty() {
            self.catch_all = Some(id);
            return;
        }
        let at = match self.position(prefix) {
            Ok(at) => {
                let number = self.order[at];
                self.routes[number as usize].registration_id = id;
                return;
            }
            Err(at) => at,
        };
        let parent = self.longest_until(at, prefix);
        let route = Route { prefix: prefix.into(), head: 0, mask: 0, registration_id: id, parent };
        let number = match self.free.pop() {
            Some(number) => {
                self.routes[number as usize] = route;
                number
            }
            None => {
                self.routes.push(route);
                (self.routes.len() - 1) as u32
            }
        };
        self.order.insert(at, number);
        self.heads.insert(at, 0);
        self.adopt(at, parent, Some(number));
        if !self.share(prefix) {
            self.set_head(at);
        }
    }

    fn remove(&mut self, prefix: &[u8]) {
        if prefix.is_empty() {
            self.catch_all = None;
            return;
        }
        let Ok(at) = self.position(prefix) else { return };
        let number = self.order[at];
        let route = &mut self.routes[number as usize];
        (route.prefix, route.mask) = (Box::default(), 0);
        let parent = route.parent;
        self.adopt_from(at + 1, prefix, Some(number), parent);
        self.order.remove(at);
        self.heads.remove(at);
        self.free.push(number);
    }

    /// The position of `prefix` in the order (`Ok`), or where to insert it (`Err`).
    fn position(&self, prefix: &[u8]) -> Result<usize, usize> {
        self.order.binary_search_by(|number| (*self.routes[*number as usize].prefix).cmp(prefix))
    }

    /// The longest prefix before `at` that `key` starts with. The prefix just before `at` either is
    /// the result or starts with it, so the result is found along its parents.
    fn longest_until(&self, at: usize, key: &[u8]) -> Option<u32> {
        let mut number = Some(*self.order.get(at.checked_sub(1)?)?);
        while let Some(route) = number.and_then(|number| self.routes.get(number as usize)) {
            if key.starts_with(&route.prefix) {
                return number;
            }
            number = route.parent;
        }
        None
    }

    /// Changes the parent of prefixes that start with the prefix at `at` from `from` to `to`.
    fn adopt(&mut self, at: usize, from: Option<u32>, to: Option<u32>) {
        let prefix = self.routes[self.order[at] as usize].prefix.clone();
        self.adopt_from(at + 1, &prefix, from, to);
    }

    /// The same for prefixes that start with `prefix`: they are adjacent in the order, from `start`
    /// on.
    fn adopt_from(&mut self, start: usize, prefix: &[u8], from: Option<u32>, to: Option<u32>) {
        for number in self.order.iter().skip(start) {
            let route = &mut self.routes[*number as usize];
            if !route.prefix.starts_with(prefix) {
                break;
            }
            if route.parent == from {
                route.parent = to;
            }
        }
    }

    /// Shortens the common beginning as the new prefix requires. True if all heads were recomputed.
    fn share(&mut self, prefix: &[u8]) -> bool {
        let common = match self.order.len() {
            MANY => {
                let (first, last) = (self.order[0], self.order[MANY - 1]);
                // The common beginning of sorted strings is that of the first and the last.
                let last = &self.routes[last as usize].prefix;
                shared(&self.routes[first as usize].prefix, last)
            }
            _ => shared(&self.common.bytes, prefix),
        };
        let has_begins = !self.begins.is_empty() || self.order.len() < MANY;
        if common == self.common.bytes.len() && has_begins {
            return false;
        }
        self.common = Head::new(&prefix[..common]);
        self.begins = if self.order.len() < MANY { Vec::new() } else { vec![0; BEGINS / 64] };
        (0..self.order.len()).for_each(|at| self.set_head(at));
        true
    }

    fn set_head(&mut self, at: usize) {
        let route = &mut self.routes[self.order[at] as usize];
        let rest = route.prefix.get(self.common.bytes.len()..).unwrap_or_default();
        (route.head, route.mask) = (head(rest), mask(rest));
        self.heads[at] = route.head;
        if !self.begins.is_empty() {
            // After a prefix that is shorter than two bytes, any byte may follow.
            let first = (route.head >> 48) as usize;
            let last = first | (!route.mask >> 48) as usize;
            (first..=last).for_each(|begin| self.begins[begin / 64] |= 1 << (begin % 64));
        }
    }

    /// False if no prefix continues with the first two bytes of `head`.
    #[inline]
    fn may_begin(&self, head: u64) -> bool {
        let begin = (head >> 48) as usize;
        self.begins.get(begin / 64).is_none_or(|bits| bits >> (begin % 64) & 1 == 1)
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<RegistrationId> {
        if self.order.len() <= FEW && self.common.bytes.is_empty() {
            self.find_among_few(key).or(self.catch_all)
        } else {
            self.find_longest(key)
        }
    }

    #[inline]
    fn find_among_few(&self, key: &[u8]) -> Option<RegistrationId> {
        let head = head(key);
        // Of the prefixes that a key starts with, the longest is the last in order.
        let mut routes =
            self.order.iter().rev().filter_map(|number| self.routes.get(*number as usize));
        routes.find(|route| route.matches(key, key.len(), head)).map(|route| route.registration_id)
    }

    fn find_longest(&self, key: &[u8]) -> Option<RegistrationId> {
        let Some(rest) = self.common.strip(key) else { return self.catch_all };
        let head = head(rest);
        if !self.may_begin(head) {
            return self.catch_all;
        }
        // The greatest prefix that is not after the key either matches, or starts with the
        // longest one that does: walk up from it.
        let mut after = self.heads.partition_point(|other| *other < head);
        if self.heads.get(after) == Some(&head) {
            let same = self.heads[after..].partition_point(|other| *other == head);
            after += self.order[after..after + same]
                .partition_point(|number| *self.routes[*number as usize].prefix <= *key);
        }
        let mut number = after.checked_sub(1).and_then(|at| self.order.get(at)).copied();
        while let Some(route) = number.and_then(|number| self.routes.get(number as usize)) {
            if route.matches(key, rest.len(), head) {
                return Some(route.registration_id);
            }
            number = route.parent;
        }
        self.catch_all
    }
}

impl Route {
    /// True if `key` starts with the prefix; `rest` is the length of the key after the common
    /// beginning, and `head` the head of that part.
    #[inline]
    fn matches(&self, key: &[u8], rest: usize, head: u64) -> bool {
        let common = key.len() - rest;
        (self.head ^ head) & self.mask == 0
            && key.len() >= self.prefix.len()
            && (self.prefix.len() <= common + 8 || key.starts_with(&self.prefix))
    }
}

impl Head {
    fn new(bytes: &[u8]) -> Self {
        Head { bytes: bytes.into(), head: head(bytes), mask: mask(bytes) }
    }

    /// The part of `key` after this string; `None` if the key does not start with it.
    #[inline]
    fn strip<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let len = self.bytes.len();
        if len == 0 {
            return Some(key);
        }
        let starts = (self.head ^ head(key)) & self.mask == 0
            && key.len() >= len
            && (len <= 8 || key.starts_with(&self.bytes));
        starts.then(|| &key[len..])
    }
}

/// Length of the common beginning of both, in bytes.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A mask of the bytes that a string has in its head.
fn mask(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0 => 0,
        len => u64::MAX << (64 - 8 * len.min(8)),
    }
}

/// The first eight bytes as a number that sorts like the string; a shorter string is padded with
/// zeros.
#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => bytes.iter().rev().fold(0, |head, byte| head >> 8 | u64::from(*byte) << 56),
    }
}

#[cfg(test)]
mod tests;
