//! Storage of key names: chunks are filled one after the other, and freed when their last key is
//! removed. Keys are removed nearly in the order of insertion, so no chunk has to be compacted.

/// Bytes of a full chunk; a longer key has a chunk of its own.
const CHUNK_BYTES: usize = 64 * 1024;
/// In place of the length of a key with at least this many bytes: the length follows in four bytes.
const LONG: u8 = u8::MAX;

/// The location of a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Number of the chunk.
    pub chunk: u32,
    /// First byte in it.
    pub offset: u16,
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    live: u32,
}

/// A store of byte strings.
#[derive(Debug, Default)]
pub struct Arena {
    chunks: Vec<Chunk>,
    empty: Vec<u32>,
    current: Option<u32>,
    held_bytes: usize,
}

impl Arena {
    /// Stores a copy of `key`.
    pub fn store(&mut self, key: &[u8]) -> Place {
        let long = key.len() >= usize::from(LONG);
        let stored_bytes = key.len() + if long { 1 + size_of::<u32>() } else { 1 };
        let index = match self.current {
            Some(index) if self.has_room(index, stored_bytes) => index,
            _ => self.open(stored_bytes),
        };
        let chunk = &mut self.chunks[index as usize];
        let before = chunk.bytes.capacity();
        // At most CHUNK_BYTES - 2, or 0 in a chunk of its own.
        let offset = chunk.bytes.len() as u16;
        if long {
            chunk.bytes.push(LONG);
            // The server's strings are far shorter than 4 GiB.
            chunk.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        } else {
            chunk.bytes.push(key.len() as u8);
        }
        chunk.bytes.extend_from_slice(key);
        chunk.live += 1;
        self.held_bytes += chunk.bytes.capacity() - before;
        Place { chunk: index, offset }
    }

    /// The key at `place`.
    #[inline]
    pub fn key(&self, place: Place) -> &[u8] {
        first_key(self.stored(place))
    }

    /// True if the key at `place` is `key`. Does not use memcmp: an implementation with masked
    /// AVX-512 loads also waits for the adjacent cache line.
    #[inline]
    pub fn is(&self, place: Place, key: &[u8]) -> bool {
        let stored = self.key(place);
        if stored.len() != key.len() {
            return false;
        }
        let ((words, rest), (stored_words, stored_rest)) = (key.as_chunks(), stored.as_chunks());
        let mut pairs = words.iter().zip(stored_words);
        pairs.all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
            && rest.iter().zip(stored_rest).all(|(a, b)| a == b)
    }

    /// The stored bytes from `place` on: the key with its length, and the keys after it.
    #[inline]
    pub fn stored(&self, place: Place) -> &[u8] {
        let chunk = self.chunks.get(place.chunk as usize);
        chunk.and_then(|chunk| chunk.bytes.get(usize::from(place.offset)..)).unwrap_or_default()
    }

    /// Frees the key at `place`.
    pub fn free(&mut self, place: Place) {
        let Some(chunk) = self.chunks.get_mut(place.chunk as usize) else {
            return;
        };
        chunk.live = chunk.live.saturating_sub(1);
        if chunk.live > 0 {
            return;
        }
        if self.current == Some(place.chunk) {
            chunk.bytes.clear();
        } else {
            self.held_bytes -= chunk.bytes.capacity();
            chunk.bytes = Vec::new();
            self.empty.push(place.chunk);
        }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.held_bytes
            + self.chunks.capacity() * size_of::<Chunk>()
            + self.empty.capacity() * size_of::<u32>()
    }

    fn has_room(&self, index: u32, len: usize) -> bool {
        self.chunks[index as usize].bytes.len() + len <= CHUNK_BYTES
    }

    /// Opens a chunk with room for `len` bytes and makes it the current one.
    fn open(&mut self, len: usize) -> u32 {
        if let Some(old) = self.current.take()
            && self.chunks[old as usize].live == 0
        {
            self.held_bytes -= self.chunks[old as usize].bytes.capacity();
            self.chunks[old as usize].bytes = Vec::new();
            self.empty.push(old);
        }
        let index = match self.empty.pop() {
            Some(index) => index,
            None => {
                self.chunks.push(Chunk::default());
                (self.chunks.len() - 1) as u32
            }
        };
        // The first chunk grows as it fills, so that a small set stays small.
        let capacity = if self.held_bytes < CHUNK_BYTES { len } else { len.max(CHUNK_BYTES) };
        self.chunks[index as usize].bytes.reserve_exact(capacity);
        self.held_bytes += self.chunks[index as usize].bytes.capacity();
        self.current = Some(index);
        index
    }
}

/// The key at the beginning of `stored`.
#[inline]
fn first_key(stored: &[u8]) -> &[u8] {
    let Some((len, rest)) = stored.split_first() else { return &[] };
    if *len < LONG {
        return rest.get(..usize::from(*len)).unwrap_or_default();
    }
    match rest.split_first_chunk() {
        Some((len, rest)) => rest.get(..u32::from_le_bytes(*len) as usize).unwrap_or_default(),
        None => &[],
    }
}

/// The last byte of the key at the beginning of `stored`: loading it brings all of a short key into
/// the cache.
#[inline]
pub fn prefetch(stored: &[u8]) -> u8 {
    first_key(stored).last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_come_back() {
        let mut arena = Arena::default();
        let keys: Vec<Vec<u8>> =
            [0, 1, 20, 253, 254, 255, 256, 65_530, 65_531, 65_532, 65_537, 0, 200_000, 3]
                .into_iter()
                .map(|len| vec![len as u8; len])
                .collect();
        let places: Vec<Place> = keys.iter().map(|key| arena.store(key)).collect();
        for (key, place) in keys.iter().zip(places) {
            assert_eq!(arena.key(place), key);
        }
    }

    #[test]
    fn memory_is_given_back_in_the_order_of_arrival() {
        let mut arena = Arena::default();
        let key = [7u8; 100];
        let places: Vec<Place> = (0..10_000).map(|_| arena.store(&key)).collect();
        let full = arena.memory_bytes();
        for place in places {
            arena.free(place);
        }
        assert!(arena.memory_bytes() < full / 5, "{} of {full}", arena.memory_bytes());
    }

    #[test]
    fn a_steady_flow_holds_a_bounded_number_of_chunks() {
        let mut arena = Arena::default();
        let key = [7u8; 100];
        let mut waiting = std::collections::VecDeque::new();
        for _ in 0..1_000_000 {
            waiting.push_back(arena.store(&key));
            if waiting.len() > 1_000 {
                arena.free(waiting.pop_front().expect("just pushed"));
            }
        }
        assert!(arena.memory_bytes() < 6 * CHUNK_BYTES, "{}", arena.memory_bytes());
    }
}
