//! Compares values with documents.

use std::collections::HashMap;

use mongodb::bson::Document;

use super::keys;
use crate::core::delivery::batch::{Batch, Item};
use crate::core::delivery::comparison::{CompareRequest, Compared, Difference};
use crate::core::mapping::bson;
use crate::core::mapping::compare::holds;
use crate::core::mapping::decode::append_key;
use crate::core::mapping::document::{self, Expiry, Identity, Read};
use crate::core::mapping::duplicate_names::Names;
use crate::core::mapping::error::MappingError;
use crate::core::mapping::rules::Rules;
use crate::core::mapping::value::Content;

/// Values that are compared with the documents that MongoDB returns.
pub struct Comparison {
    request: CompareRequest,
    /// The items by their keys, without those whose documents have come.
    left: HashMap<Vec<u8>, usize>,
    differences: Vec<(usize, Difference)>,
    uncomparable: u64,
    names: Names,
    /// Buffers.
    ours: Vec<u8>,
    key: Vec<u8>,
}

impl Comparison {
    /// Nothing is compared yet.
    pub fn new(request: CompareRequest) -> Self {
        let items = request.batch.items.iter().enumerate();
        let left = items.map(|(at, item)| (request.batch.key(item).to_vec(), at)).collect();
        Comparison {
            request,
            left,
            differences: Vec::new(),
            uncomparable: 0,
            names: Names::default(),
            ours: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Number of keys.
    pub fn len(&self) -> u32 {
        u32::try_from(self.request.batch.items.len()).unwrap_or(u32::MAX - 1)
    }

    /// The query for their documents; `None` if none of them can have one.
    pub fn filter(&self) -> Option<Document> {
        let batch = &self.request.batch;
        keys::filter(&batch.registration, batch.items.iter().map(|item| batch.key(item)))
    }

    /// Compares a document with the value of its key.
    pub fn add(&mut self, found: &[u8]) {
        let batch = &self.request.batch;
        self.key.clear();
        if append_key(found, &batch.registration, &mut self.key) != Ok(true) {
            return;
        }
        let Some(at) = self.left.remove(&self.key) else { return };
        let Some(item) = batch.items.get(at) else { return };
        if item.content == Content::Tombstone {
            return self.differences.push((at, Difference::Extra));
        }
        self.ours.clear();
        match write(batch, item, &mut self.names, &mut self.ours) {
            Ok(()) if holds(found, &self.ours, &batch.registration) == Ok(true) => {}
            Ok(()) => self.differences.push((at, Difference::Different)),
            Err(_) => self.uncomparable += 1,
        }
    }

    /// The result: the other keys have no documents.
    pub fn end(mut self) -> Compared {
        let batch = &self.request.batch;
        for at in self.left.into_values() {
            let Some(item) = batch.items.get(at) else { continue };
            if item.content == Content::Tombstone {
                continue;
            }
            self.ours.clear();
            match write(batch, item, &mut self.names, &mut self.ours) {
                Ok(()) => self.differences.push((at, Difference::Missing)),
                Err(_) => self.uncomparable += 1,
            }
        }
        let Comparison { request, differences, uncomparable, .. } = self;
        Compared { request, differences, uncomparable }
    }
}

/// Writes the document of an item.
fn write(
    batch: &Batch,
    item: &Item,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Result<(), MappingError> {
    let registration = &*batch.registration;
    let read = Read {
        identity: Identity::of(registration, batch.key(item))?,
        expiry: Expiry::of(registration, item.expire_ms)?,
        content: item.content,
        value: batch.value(item),
        rules: Rules::of(registration),
    };
    document::write(bson::Document::begin(out), &read, names).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mongodb::bson::doc;

    use super::*;
    use crate::core::ids::{Db, EntryId, RegistrationId, RunId, Version};
    use crate::core::mapping::value::{NO_EXPIRY, Span};
    use crate::core::registration::{Namespace, Registration};

    fn comparison(items: &[(&str, Content, &str)]) -> Comparison {
        let namespace = Namespace { database: "d".into(), collection: "c".into() };
        let registration = Arc::new(Registration::new(Db(0), b"k:", namespace));
        let mut batch = Batch {
            registration,
            registration_id: RegistrationId(0),
            epoch: 0,
            slow: false,
            retry: 0,
            items: Vec::new(),
            groups: Vec::new(),
            bytes: Vec::new(),
        };
        for (key, content, value) in items {
            let mut add = |text: &str| {
                let start = batch.bytes.len();
                batch.bytes.extend_from_slice(text.as_bytes());
                Span { start, end: batch.bytes.len() }
            };
            let (key, value) = (add(key), add(value));
            let (entry, version, since_us) = (EntryId(0), Version(0), 0);
            let (content, expire_ms) = (*content, NO_EXPIRY);
            batch.items.push(Item { entry, version, since_us, key, content, value, expire_ms });
        }
        Comparison::new(CompareRequest { run: RunId(1), is_again: false, batch })
    }

    #[test]
    fn each_kind_of_difference_is_found() {
        let mut comparison = comparison(&[
            ("k:same", Content::String, "x"),
            ("k:other", Content::String, "x"),
            ("k:none", Content::String, "x"),
            ("k:gone", Content::Tombstone, ""),
            ("k:extra", Content::Tombstone, ""),
            ("k:bad", Content::Unwritable, "a reason"),
        ]);
        for document in [
            doc! { "_id": "same", "value": "x" },
            doc! { "_id": "other", "value": "y" },
            doc! { "_id": "extra", "value": "x" },
            doc! { "_id": "foreign", "value": "x" },
            doc! { "_id": 7 },
        ] {
            let mut bytes = Vec::new();
            document.to_writer(&mut bytes).unwrap();
            comparison.add(&bytes);
        }
        let mut compared = comparison.end();
        compared.differences.sort_unstable_by_key(|(at, _)| *at);
        let expected =
            [(1, Difference::Different), (2, Difference::Missing), (4, Difference::Extra)];
        assert_eq!((compared.differences.as_slice(), compared.uncomparable), (&expected[..], 1));
    }
}
