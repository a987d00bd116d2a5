//! Finds field names that a document holds twice: the last one wins, where the last one stands. Takes
//! out fields that are to be left out, too.

use std::hash::BuildHasher;
use std::ops::Range;

use super::bson::Document;

/// Up to so many names comparing each with each is cheaper than sorting.
const FEW: usize = 24;

#[derive(Clone, Copy, Debug)]
struct NameEntry {
    hash: u64,
    start: usize,
}

/// The names of the documents that are open, innermost last. Reused from document to document,
/// so that nothing is allocated for it in the long run.
#[derive(Debug, Default)]
pub struct Names {
    entries: Vec<NameEntry>,
    /// Where elements stand that are to be left out, in ascending order.
    left_out: Vec<usize>,
    // Seeded at random: a client cannot choose names that all collide.
    hasher: foldhash::fast::RandomState,
}

/// Whether an element that was written stays in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a field that is left out has to be taken out again"]
pub enum Kept {
    /// It stays.
    Whole,
    /// It is taken out when its document ends.
    LeftOut,
}

/// Where the names of one document begin.
#[derive(Clone, Copy, Debug)]
pub struct OpenedObject(usize);

impl Names {
    /// Forgets everything, what a document that was given up has left included.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.left_out.clear();
    }

    /// Begins the names of a document, nested in those that are open.
    pub fn open(&self) -> OpenedObject {
        OpenedObject(self.entries.len())
    }

    /// Notes that an element `name` is appended to `document` next; returns where it will stand.
    #[inline]
    pub fn add(&mut self, document: &Document<'_>, name: &str) -> usize {
        let (hash, start) = (self.hasher.hash_one(name.as_bytes()), document.position());
        self.entries.push(NameEntry { hash, start });
        start
    }

    /// The element that stands at `start`, and was added last to its document, stays or not.
    #[inline]
    pub fn keep(&mut self, start: usize, kept: Kept) {
        if kept == Kept::LeftOut {
            self.left_out.push(start);
        }
    }

    /// Ends the names of `document`: of elements with the same name all but the last are removed,
    /// and the last, too, if it is to be left out.
    pub fn close(&mut self, opened: OpenedObject, document: &mut Document<'_>) {
        if let Some(entries) = self.entries.get_mut(opened.0..) {
            // What is left out of documents around this one stands before it.
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
    let mut gone = left_out.to_vec();
    for group in entries.chunk_by(|a, b| a.hash == b.hash).filter(|group| group.len() > 1) {
        // Nearly always one name; different names of one hash are a matter of chance.
        let mut kept: Vec<&[u8]> = Vec::new();
        for entry in group.iter().rev() {
            let name = document.name_at(entry.start);
            if kept.contains(&name) {
                gone.push(entry.start);
            } else {
                kept.push(name);
            }
        }
    }
    if gone.is_empty() {
        return;
    }
    gone.sort_unstable();
    entries.sort_unstable_by_key(|entry| entry.start);
    // An element ends where the next one begins.
    let ends = entries.iter().skip(1).map(|entry| entry.start).chain([document.position()]);
    let elements = entries.iter().zip(ends).map(|(entry, end)| entry.start..end);
    let ranges: Vec<Range<usize>> =
        elements.filter(|element| gone.binary_search(&element.start).is_ok()).collect();
    document.remove(&ranges);
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, rawdoc};

    use super::*;
    use crate::core::mapping::bson::FieldName;

    /// Writes the names in turn, each with its place as the value.
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
    fn different_names_all_stay() {
        assert_eq!(written(&["a", "", "b"]), rawdoc! { "a": 0, "": 1, "b": 2 });
        assert_eq!(written(&[]), rawdoc! {});
    }

    #[test]
    fn of_equal_names_the_last_stays_in_its_place() {
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
    fn a_million_times_the_same_name_takes_no_time() {
        assert_eq!(written(&vec!["a"; 1_000_000]), rawdoc! { "a": 999_999 });
    }

    #[test]
    fn what_is_left_out_takes_earlier_elements_of_its_name_along() {
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
    fn what_is_left_out_of_a_nested_document_stays_in_the_outer_one() {
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
    fn names_with_the_same_hash_are_told_apart() {
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
