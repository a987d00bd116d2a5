//! Removes duplicate field names from a document: of each name the last field is kept, in its
//! position. Also removes fields that are marked as omitted.

use std::hash::BuildHasher;
use std::ops::Range;

use super::bson::Document;

/// Up to this many names, comparing all pairs is faster than sorting.
const FEW: usize = 24;

#[derive(Clone, Copy, Debug)]
struct NameEntry {
    hash: u64,
    start: usize,
}

/// The names of the open documents, innermost last. Reused for all documents, so that in the steady
/// state nothing is allocated.
#[derive(Debug, Default)]
pub struct Names {
    entries: Vec<NameEntry>,
    /// Positions of elements to be removed, in ascending order.
    left_out: Vec<usize>,
    // Randomly seeded: a client cannot choose names that all collide.
    hasher: foldhash::fast::RandomState,
}

/// Whether a written element is kept in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a field that is left out has to be taken out again"]
pub enum Kept {
    /// It is kept.
    Whole,
    /// It is removed when its document ends.
    LeftOut,
}

/// The index of the first name of one document.
#[derive(Clone, Copy, Debug)]
pub struct OpenedObject(usize);

impl Names {
    /// Removes all names, also those that an abandoned document has left.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.left_out.clear();
    }

    /// Begins the names of a document that is nested in the open ones.
    pub fn open(&self) -> OpenedObject {
        OpenedObject(self.entries.len())
    }

    /// Records that an element `name` is appended to `document` next; returns its position.
    #[inline]
    pub fn add(&mut self, document: &Document<'_>, name: &str) -> usize {
        let (hash, start) = (self.hasher.hash_one(name.as_bytes()), document.position());
        self.entries.push(NameEntry { hash, start });
        start
    }

    /// Sets whether the element at `start`, the last one of its document, is kept.
    #[inline]
    pub fn keep(&mut self, start: usize, kept: Kept) {
        if kept == Kept::LeftOut {
            self.left_out.push(start);
        }
    }

    /// Ends the names of `document`: of elements with the same name all but the last are removed, and
    /// also the last if it is marked as omitted.
    pub fn close(&mut self, opened: OpenedObject, document: &mut Document<'_>) {
        if let Some(entries) = self.entries.get_mut(opened.0..) {
            // Omitted elements of enclosing documents have lower positions.
            let first = entries.first().map_or(usize::MAX, |entry| entry.start);
            let own = self.left_out.partition_point(|start| *start < first);
            let left_out = self.left_out.get(own..).unwrap_or_default();
            let clean = entries.len() <= FEW && all_differ(entries) && left_out.is_empty();
            if !clean {
                remove(entries, left_out, document);
            }
            self.left_out.truncate(own);
        }
        self.entries.truncate(opened.0);
    }
}

#[inline]
fn all_differ(mut entries: &[NameEntry]) -> bool {
    while let [first, rest @ ..] = entries {
        if rest.iter().any(|entry| entry.hash == first.hash) {
            return false;
        }
        entries = rest;
    }
    true
}

fn remove(entries: &mut [NameEntry], left_out: &[usize], document: &mut Document<'_>) {
    entries.sort_unstable_by_key(|entry| (entry.hash, entry.start));
    let mut removed = left_out.to_vec();
    for group in entries.chunk_by(|a, b| a.hash == b.hash).filter(|group| group.len() > 1) {
        // Nearly always a single name; different names rarely have the same hash.
        let mut kept: Vec<&[u8]> = Vec::new();
        for entry in group.iter().rev() {
            let name = document.name_at(entry.start);
            if kept.contains(&name) {
                removed.push(entry.start);
            } else {
                kept.push(name);
            }
        }
    }
    if removed.is_empty() {
        return;
    }
    removed.sort_unstable();
    entries.sort_unstable_by_key(|entry| entry.start);
    // An element ends where the next one begins.
    let ends = entries.iter().skip(1).map(|entry| entry.start).chain([document.position()]);
    let elements = entries.iter().zip(ends).map(|(entry, end)| entry.start..end);
    let ranges: Vec<Range<usize>> =
        elements.filter(|element| removed.binary_search(&element.start).is_ok()).collect();
    document.remove(&ranges);
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, rawdoc};

    use super::*;
    use crate::core::mapping::bson::FieldName;

    /// Writes a document with these names; the value of each field is its index.
    fn written(names: &[&str]) -> RawDocumentBuf {
        let mut out = b"before".to_vec();
        let mut seen = Names::default();
        let mut document = Document::begin(&mut out);
        let opened = seen.open();
        for (place, name) in names.iter().enumerate() {
            seen.add(&document, name);
            document.element(FieldName::new(name).unwrap()).int32(place as i32);
        }
        seen.close(opened, &mut document);
        document.end();
        assert!(seen.entries.is_empty());
        RawDocumentBuf::from_bytes(out.split_off(6)).unwrap()
    }

    #[test]
    fn different_names_are_all_kept() {
        assert_eq!(written(&["a", "", "b"]), rawdoc! { "a": 0, "": 1, "b": 2 });
        assert_eq!(written(&[]), rawdoc! {});
    }

    #[test]
    fn of_equal_names_the_last_is_kept_in_its_position() {
        assert_eq!(written(&["a", "b", "a", "c"]), rawdoc! { "b": 1, "a": 2, "c": 3 });
        assert_eq!(written(&["a", "a", "a"]), rawdoc! { "a": 2 });
        assert_eq!(written(&["", "x", ""]), rawdoc! { "x": 1, "": 2 });
    }

    #[test]
    fn equal_names_are_found_among_many() {
        let many: Vec<String> = (0..1000).map(|n| format!("f{}", n % 700)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let kept: Vec<i32> =
            written(&many).iter().map(|field| field.unwrap().1.as_i32().unwrap()).collect();
        assert_eq!(kept, (300..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_million_equal_names_are_removed_quickly() {
        assert_eq!(written(&vec!["a"; 1_000_000]), rawdoc! { "a": 999_999 });
    }

    #[test]
    fn an_omitted_element_removes_earlier_ones_of_its_name() {
        let mut out = Vec::new();
        let mut seen = Names::default();
        let mut document = Document::begin(&mut out);
        let opened = seen.open();
        for (name, kept) in [
            ("a", Kept::Whole),
            ("b", Kept::LeftOut),
            ("a", Kept::LeftOut),
            ("c", Kept::Whole),
            ("b", Kept::Whole),
        ] {
            let start = seen.add(&document, name);
            document.element(FieldName::new(name).unwrap()).string(name);
            seen.keep(start, kept);
        }
        seen.close(opened, &mut document);
        document.end();
        assert!(seen.entries.is_empty() && seen.left_out.is_empty());
        let document = RawDocumentBuf::from_bytes(out).unwrap();
        assert_eq!(document, rawdoc! { "c": "c", "b": "b" });
    }

    #[test]
    fn omitted_elements_of_nested_and_outer_documents_are_independent() {
        let mut out = Vec::new();
        let mut seen = Names::default();
        let mut document = Document::begin(&mut out);
        let opened = seen.open();
        let start = seen.add(&document, "a");
        document.element(c"a").null();
        seen.keep(start, Kept::LeftOut);
        seen.add(&document, "b");
        let mut nested = document.element(c"b").document();
        let inner = seen.open();
        let start = seen.add(&nested, "c");
        nested.element(c"c").null();
        seen.keep(start, Kept::LeftOut);
        seen.close(inner, &mut nested);
        nested.end();
        seen.close(opened, &mut document);
        document.end();
        assert_eq!(RawDocumentBuf::from_bytes(out).unwrap(), rawdoc! { "b": {} });
    }

    #[test]
    fn names_with_the_same_hash_are_distinguished() {
        let mut out = Vec::new();
        let mut document = Document::begin(&mut out);
        let mut entries = Vec::new();
        for name in [c"a", c"b", c"a"] {
            entries.push(NameEntry { hash: 7, start: document.position() });
            document.element(name).null();
        }
        remove(&mut entries, &[], &mut document);
        document.end();
        let names = RawDocumentBuf::from_bytes(out).unwrap();
        let names: Vec<_> = names.iter().map(|field| field.unwrap().0.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
