//! The hash of a key: 32 bits for the index, and a 64-bit fingerprint for the key in its
//! registration.
//!
//! Both are computed with a multilinear hash: the sum of the words of the key, each multiplied by a
//! random number of its own, modulo 2^128. Its upper half is strongly universal (D. Lemire, O.
//! Kaser: Strongly universal string hashing is fast, The Computer Journal 57, 2014): for any two
//! keys chosen without knowledge of the random numbers, the collision probability is 2^-64. For
//! keys that differ in one of the lower 49 bits of a word, the probability of a collision that
//! includes the next 16 bits is 2^-80.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::core::ids::{Db, RegistrationId};

/// A longer key has no such hash, which bounds the number of random numbers.
const LONGEST: usize = 256;
/// One random number for each word of a key, and one before them for its length and database.
const NUMBERS: usize = LONGEST / 8 + 1;

/// No fingerprint.
pub const NO_FINGERPRINT: u64 = 0;

/// The hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash {
    /// Hash for the index.
    pub index: u32,
    /// The lower half of the scattered upper half of the sum, and the next 16 bits of the sum;
    /// `None` for a long key.
    rest: Option<(u32, u16)>,
}

/// A hash function with random numbers of its own for each table.
#[derive(Debug)]
pub struct Hashes {
    start: u128,
    numbers: Box<[u128; NUMBERS]>,
    long: foldhash::fast::RandomState,
}

impl Default for Hashes {
    fn default() -> Self {
        // SipHash with a random key from the operating system.
        Hashes::new(&RandomState::new())
    }
}

impl Hashes {
    fn new(random: &impl BuildHasher) -> Self {
        let number = |at: usize| {
            let half = |half: usize| u128::from(random.hash_one((at, half)));
            half(0) << 64 | half(1)
        };
        Hashes {
            start: number(NUMBERS),
            numbers: Box::new(std::array::from_fn(number)),
            long: foldhash::fast::RandomState::default(),
        }
    }

    /// Hashes a key in a database.
    #[inline]
    pub fn of(&self, db: Db, key: &[u8]) -> KeyHash {
        if key.len() > LONGEST {
            return KeyHash { index: self.long(db, key), rest: None };
        }
        let [first, numbers @ ..] = &*self.numbers;
        let mut sum = add(self.start, *first, (key.len() as u64) << 16 | u64::from(db.0));
        let (words, rest) = key.as_chunks();
        for (word, number) in words.iter().zip(numbers) {
            sum = add(sum, *number, u64::from_be_bytes(*word));
        }
        if !rest.is_empty()
            && let Some(number) = numbers.get(words.len())
        {
            let word = match key.last_chunk() {
                // Repeats some bytes, which is harmless: it is the same for all keys of this length.
                Some(last) => u64::from_be_bytes(*last),
                None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            };
            sum = add(sum, *number, word);
        }
        let scattered = scatter((sum >> 64) as u64);
        KeyHash {
            index: (scattered >> 32) as u32,
            rest: Some((scattered as u32, (sum >> 48) as u16)),
        }
    }

    #[cold]
    fn long(&self, db: Db, key: &[u8]) -> u32 {
        let mut hasher = self.long.build_hasher();
        hasher.write(key);
        hasher.write_u16(db.0);
        let hash = hasher.finish();
        (hash ^ (hash >> 32)) as u32
    }
}

impl KeyHash {
    /// The key's fingerprint in `registration_id`; [`NO_FINGERPRINT`] for a long key. The
    /// probability that another key has the same fingerprint and the same hash for the index is
    /// given above.
    #[inline]
    pub fn fingerprint(self, registration_id: RegistrationId) -> u64 {
        self.rest.map_or(NO_FINGERPRINT, |(half, below)| {
            // Plus 1, so that it is never `NO_FINGERPRINT`.
            u64::from(half) << 32 | u64::from(below) << 16 | (u64::from(registration_id.0) + 1)
        })
    }
}

#[inline]
fn add(sum: u128, number: u128, word: u64) -> u128 {
    sum.wrapping_add(number.wrapping_mul(u128::from(word)))
}

/// Sums of words in arithmetic progression are in arithmetic progression, too, and would cluster in
/// the index. Each step is invertible, so different sums stay different.
#[inline]
fn scatter(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_bit_of_a_key_counts() {
        let hashes = Hashes::default();
        for len in (0..=40).chain([255, 256]) {
            let key = vec![7u8; len];
            let mut seen = HashSet::from([hashes.of(Db(0), &key).fingerprint(RegistrationId(0))]);
            for bit in 0..len * 8 {
                let mut other = key.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    seen.insert(hashes.of(Db(0), &other).fingerprint(RegistrationId(0))),
                    "bit {bit} of {len} bytes"
                );
            }
        }
    }

    #[test]
    fn length_and_database_count() {
        let hashes = Hashes::default();
        let zeros = [0u8; 300];
        let all = || (0..300).map(|len| (0, &zeros[..len])).chain((1..100).map(|db| (db, &[][..])));
        let index: HashSet<u32> = all().map(|(db, key)| hashes.of(Db(db), key).index).collect();
        assert!(index.len() > 399 - 3, "{}", index.len());
        let prints: HashSet<u64> =
            all().map(|(db, key)| hashes.of(Db(db), key).fingerprint(RegistrationId(0))).collect();
        assert_eq!(prints.len(), 257 + 1 + 99, "all long keys have none");
        assert!(prints.contains(&NO_FINGERPRINT));
    }

    #[test]
    fn a_key_has_another_fingerprint_in_each_registration() {
        let hash = Hashes::default().of(Db(3), b"k");
        let all: HashSet<u64> =
            (0..u16::MAX).map(|id| hash.fingerprint(RegistrationId(id))).collect();
        assert_eq!(all.len(), usize::from(u16::MAX));
        assert!(!all.contains(&NO_FINGERPRINT));
    }

    #[test]
    fn each_set_has_its_own() {
        assert_ne!(Hashes::default().of(Db(0), b"k"), Hashes::default().of(Db(0), b"k"));
    }

    #[test]
    fn keys_in_order_are_scattered() {
        for seed in 0..4 {
            let hashes = Hashes::new(&foldhash::quality::FixedState::with_seed(seed));
            let keys = (0..1_000_000u32).map(|number| format!("key:{number:012}"));
            let both = keys.map(|key| hashes.of(Db(0), key.as_bytes()));
            let all: HashSet<(u32, u64)> =
                both.map(|hash| (hash.index, hash.fingerprint(RegistrationId(0)))).collect();
            assert_eq!(all.len(), 1_000_000);
            // With random hashes, 116 of a million collide.
            let places: HashSet<u32> = all.iter().map(|both| both.0).collect();
            assert!(places.len() > 999_700, "{}", places.len());
            // With random hashes, all 65,536 values occur.
            let below: HashSet<u64> = all.iter().map(|both| both.1 >> 16 & 0xffff).collect();
            assert!(below.len() > 40_000, "{}", below.len());
        }
    }
}
