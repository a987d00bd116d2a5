//! Keys in the order in which they became clean, in one buffer because there are thousands at a time.

use crate::core::ids::Db;

/// Memory that a cleared list keeps.
const KEPT_BYTES: usize = 256 << 10;
const KEPT_KEYS: usize = 16 << 10;

/// Keys with their logical databases.
#[derive(Debug, Default)]
pub struct KeyList {
    bytes: Vec<u8>,
    /// The database of each key, and the end of its name in `bytes`.
    ends: Vec<(Db, usize)>,
}

impl KeyList {
    /// Adds a key.
    pub fn push(&mut self, db: Db, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push((db, self.bytes.len()));
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (Db, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(db, end)| {
            let key = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (*db, key)
        })
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all keys and keeps the memory, up to a limit.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.ends.shrink_to(KEPT_KEYS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_returned_in_order() {
        let mut keys = KeyList::default();
        let all = [(Db(0), &b"a"[..]), (Db(3), b""), (Db(0), b"bc")];
        all.iter().for_each(|(db, key)| keys.push(*db, key));
        assert_eq!((keys.iter().collect::<Vec<_>>(), keys.len()), (all.to_vec(), 3));
        keys.clear();
        assert!(keys.is_empty() && keys.iter().next().is_none());
    }
}
