//! Writes BSON directly into one buffer, where the length of a document is filled in when it ends, and
//! reads BSON in place.

use std::ops::Range;

mod element;
mod name;
mod reader;

pub use element::Element;
use name::ArrayIndex;
pub use name::{FieldName, Name, NulInName};
pub use reader::{Elements, Malformed, Value};

/// A document that is being written: elements are appended until [`Document::end`].
#[derive(Debug)]
#[must_use = "a document is only whole after `end`"]
pub struct Document<'w> {
    out: &'w mut Vec<u8>,
    start: usize,
}

impl<'w> Document<'w> {
    /// Begins a document at the end of `out`.
    #[inline]
    pub fn begin(out: &'w mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Document { out, start }
    }

    /// Continues a document that was ended before; `out` must contain nothing else.
    pub fn reopen(out: &'w mut Vec<u8>) -> Self {
        out.pop();
        Document { out, start: 0 }
    }

    /// Begins an element, whose value must be written next.
    #[inline]
    pub fn element(&mut self, name: impl Name) -> Element<'_> {
        Element::begin(self.out, name)
    }

    /// Position of the next element in the buffer.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Size of the document in bytes if it ended now.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.out.len() - self.start + 1
    }

    /// The name of the element at `position`; empty if there is none.
    pub fn name_at(&self, position: usize) -> &[u8] {
        let named = self.out.get(position.saturating_add(1)..).unwrap_or_default();
        named.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Removes elements. The ranges are [positions](Document::position) in ascending order and do not
    /// overlap; bytes outside of the document are not removed.
    pub fn remove(&mut self, ranges: &[Range<usize>]) {
        let first = ranges.first().map_or(self.out.len(), |range| range.start);
        let first = first.clamp(self.start + 4, self.out.len());
        let tail = self.out.split_off(first);
        let mut kept_from = first;
        for range in ranges {
            let kept = tail.get(kept_from - first..range.start.saturating_sub(first));
            self.out.extend_from_slice(kept.unwrap_or_default());
            kept_from = range.end.max(first);
        }
        self.out.extend_from_slice(tail.get(kept_from - first..).unwrap_or_default());
    }

    /// Ends the document.
    #[inline]
    pub fn end(self) {
        end(self.out, self.start);
    }
}

/// An array that is being written: values are pushed until [`Array::end`].
#[derive(Debug)]
#[must_use = "an array is only whole after `end`"]
pub struct Array<'w> {
    out: &'w mut Vec<u8>,
    start: usize,
    next: u32,
}

/// A position in an array to which it can be rolled back.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    position: usize,
    next: u32,
}

impl Array<'_> {
    /// Begins the next value.
    #[inline]
    pub fn push(&mut self) -> Element<'_> {
        let index = ArrayIndex(self.next);
        self.next = self.next.saturating_add(1);
        Element::begin(self.out, index)
    }

    /// Position of the next value in the buffer.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// The current position, for [`Array::roll_back`].
    pub fn mark(&self) -> Mark {
        Mark { position: self.out.len(), next: self.next }
    }

    /// Removes everything that was pushed since `mark`, also an incomplete value.
    pub fn roll_back(&mut self, mark: Mark) {
        self.out.truncate(mark.position);
        self.next = mark.next;
    }

    /// Ends the array.
    #[inline]
    pub fn end(self) {
        end(self.out, self.start);
    }
}

/// Encodes a length, which is a signed 32-bit integer. No caller exceeds 16 MiB, so it is never
/// clamped.
#[inline]
fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_le_bytes()
}

#[inline]
fn end(out: &mut Vec<u8>, start: usize) {
    out.push(0);
    let total = length(out.len() - start);
    if let Some(head) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *head = total;
    }
}

#[cfg(test)]
mod tests;
