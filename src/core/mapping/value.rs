//! Values as read from Redis: bytes copied into one buffer per batch, so that the server thread
//! allocates once per batch and not once per field.

use std::ops::Range;

/// The result of reading a key, which determines the write to MongoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The key is missing or of another type than the registration's: delete the document.
    Tombstone,
    /// Alternating field names and values, each as a [`push_bytes`] string.
    Hash,
    /// The bytes of a Redis string.
    String,
    /// The text of a JSON value, as `JSON.GET key` returns it.
    Json,
    /// A value that cannot be written and becomes a dead letter; the bytes are the reason.
    Unwritable,
    /// The items in order, each as a [`push_bytes`] string.
    List,
    /// The members in any order, each as a [`push_bytes`] string; duplicates are possible.
    Set,
    /// Members as [`push_bytes`] strings, each followed by its score as eight bytes (f64, little
    /// endian), in any order; duplicates are possible.
    Zset,
    /// Entries in order: milliseconds and sequence of the ID (u64 each), the number of fields
    /// (u32), then alternating names and values, each as a [`push_bytes`] string.
    Stream,
}

impl Content {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Content> {
        let all = [
            Content::Tombstone,
            Content::Hash,
            Content::String,
            Content::Json,
            Content::Unwritable,
            Content::List,
            Content::Set,
            Content::Zset,
            Content::Stream,
        ];
        all.into_iter().find(|content| *content as u8 == number)
    }
}

/// The expiration time of a key without one; same value as in the Redis module API.
pub const NO_EXPIRY: i64 = -1;

/// Appends one length-prefixed byte string (u32, little endian, then the bytes).
pub fn push_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    // Redis strings are at most 512 MiB, so the length fits.
    buffer.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    buffer.extend_from_slice(bytes);
}

/// Iterates over the strings that [`push_bytes`] wrote. A truncated tail ends the iteration.
#[derive(Clone, Debug)]
pub struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    /// Reads `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Strings(bytes)
    }

    /// Takes `N` bytes that are stored between two strings.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// True when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Position of bytes in a batch's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The same as a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back_in_order() {
        let mut buffer = Vec::new();
        for text in [&b"a"[..], b"", b"\0\xff"] {
            push_bytes(&mut buffer, text);
        }
        let all: Vec<_> = Strings::new(&buffer).collect();
        assert_eq!(all, [&b"a"[..], b"", b"\0\xff"]);
    }

    #[test]
    fn every_content_is_found_by_its_number() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|n| Content::from_u8(*n).is_some()).collect();
        assert_eq!(known, (0..9).collect::<Vec<u8>>());
        assert!(
            known.iter().all(|n| Content::from_u8(*n).map(|content| content as u8) == Some(*n))
        );
    }

    #[test]
    fn a_truncated_tail_ends_the_iteration() {
        let mut buffer = Vec::new();
        push_bytes(&mut buffer, b"whole");
        push_bytes(&mut buffer, b"cut");
        buffer.truncate(buffer.len() - 1);
        assert_eq!(Strings::new(&buffer).count(), 1);
    }
}
