//! Keys of which it is known for a short time that they have no document.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Maximum memory, bytes; the oldest keys are forgotten beyond it.
const MOST_BYTES: usize = 16 << 20;
/// Memory of a key beside its bytes.
const KEY_BYTES: usize = 112;

/// Keys without documents, of one registration.
#[derive(Debug, Default)]
pub struct AbsentKeys {
    /// Until when, microseconds.
    until_us: HashMap<Arc<[u8]>, u64, RandomState>,
    /// In the order in which they were added.
    order: VecDeque<(u64, Arc<[u8]>)>,
    bytes: usize,
}

impl AbsentKeys {
    /// Remembers a key until `until_us`.
    pub fn insert(&mut self, key: &[u8], now_us: u64, until_us: u64) {
        while let Some((first_us, first)) = self.order.front() {
            if *first_us > now_us && self.bytes < MOST_BYTES {
                break;
            }
            self.bytes -= first.len() + KEY_BYTES;
            // The key may have been remembered again.
            if self.until_us.get(first) == Some(first_us) {
                self.until_us.remove(first);
            }
            self.order.pop_front();
        }
        self.bytes += key.len() + KEY_BYTES;
        let key: Arc<[u8]> = key.into();
        self.until_us.insert(Arc::clone(&key), until_us);
        self.order.push_back((until_us, key));
    }

    /// True if the key has no document, as far as is known.
    pub fn contains(&self, key: &[u8], now_us: u64) -> bool {
        self.until_us.get(key).is_some_and(|until_us| now_us < *until_us)
    }

    /// The key may have a document.
    pub fn remove(&mut self, key: &[u8]) {
        self.until_us.remove(key);
    }

    /// All keys may have documents.
    pub fn clear(&mut self) {
        *self = AbsentKeys::default();
    }

    /// True if no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.until_us.is_empty()
    }

    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_until_its_time_or_a_change() {
        let mut absent = AbsentKeys::default();
        absent.insert(b"a", 0, 10);
        absent.insert(b"b", 0, 20);
        assert!(absent.contains(b"a", 9) && !absent.contains(b"a", 10));
        absent.remove(b"b");
        assert!(!absent.contains(b"b", 1));
        absent.insert(b"a", 5, 15);
        absent.insert(b"c", 12, 30);
        assert!(absent.contains(b"a", 14), "its first time is over, its second is not");
        absent.insert(b"d", 40, 50);
        assert_eq!((absent.until_us.len(), absent.order.len()), (1, 1));
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_limit() {
        let mut absent = AbsentKeys::default();
        let most = (MOST_BYTES / (8 + KEY_BYTES)) as u64 + 2;
        for n in 0..most {
            absent.insert(&n.to_le_bytes(), 0, u64::MAX);
        }
        assert!(absent.memory_bytes() < MOST_BYTES + 8 + KEY_BYTES);
        assert!(!absent.contains(&0u64.to_le_bytes(), 1));
        assert!(absent.contains(&(most - 1).to_le_bytes(), 1));
    }
}
