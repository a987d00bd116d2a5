//! Storage of key bytes: chunks filled one after the other and dropped when their last key is
//! gone. Keys leave nearly in the order in which they came, so no chunk has to be compacted.

/// Bytes of a full chunk; a longer key has a chunk of its own.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a key is kept.
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
    /// Keeps a copy of `key`.
    pub fn store(&mut self, key: &[u8]) -> Place {
        let index = match self.current {
            Some(index) if self.has_room(index, key.len()) => index,
            _ => self.open(key.len()),
        };
        let chunk = &mut self.chunks[index as usize];
        let before = chunk.bytes.capacity();
        // At most CHUNK_BYTES - 1, or 0 in a chunk of its own.
        let offset = chunk.bytes.len() as u16;
        chunk.bytes.extend_from_slice(key);
        chunk.live += 1;
        self.held_bytes += chunk.bytes.capacity() - before;
        Place { chunk: index, offset }
    }

    /// The key of `len` bytes at `place`.
    #[inline]
    pub fn bytes(&self, place: Place, len: usize) -> &[u8] {
        let start = usize::from(place.offset);
        match self.chunks.get(place.chunk as usize) {
            Some(chunk) => chunk.bytes.get(start..start + len).unwrap_or_default(),
            None => &[],
        }
    }

    /// Forgets the key at `place`.
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
        let used = self.chunks[index as usize].bytes.len();
        // An empty key must not get the offset CHUNK_BYTES, which is more than 16 bits hold.
        used < CHUNK_BYTES && used + len <= CHUNK_BYTES
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_come_back() {
        let mut arena = Arena::default();
        let keys: Vec<Vec<u8>> = [0, 1, 20, 65_535, 65_536, 65_537, 0, 200_000, 3]
            .into_iter()
            .map(|len| vec![len as u8; len])
            .collect();
        let places: Vec<Place> = keys.iter().map(|key| arena.store(key)).collect();
        for (key, place) in keys.iter().zip(places) {
            assert_eq!(arena.bytes(place, key.len()), key);
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
