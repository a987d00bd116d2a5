//! Which documents are replaced in a form that lets the server work out the difference.
//!
//! `u: [{ $replaceWith: { $literal: <document> } }]` leaves the same document as `u: <document>`, but
//! MongoDB compares it with the one before: oplog, journal and change events have the changed fields
//! only, and indexes on other fields are not looked at. Comparing costs, so it does not pay for small
//! documents, nor where one field holds everything. Limits from measurements on MongoDB 5.0 and 6.0.

use crate::core::delivery::batch::{Batch, Item};
use crate::core::mapping::value::{Content, Strings};
use crate::core::settings::WriteForm;

/// Least size of a value whose difference pays in a transaction, bytes.
const LEAST_IN_TRANSACTION: usize = 200;
/// The same outside of a transaction, where each operation has an oplog entry of its own.
const LEAST_ALONE: usize = 512;

/// How WRITE REPLACE is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replacements {
    /// As whole documents.
    #[default]
    Documents,
    /// As pipelines, for values of at least so many bytes that may have several fields.
    Differences {
        /// Least size of a value, bytes.
        least_bytes: usize,
    },
}

impl Replacements {
    /// The form for a batch.
    pub fn new(form: WriteForm, in_transaction: bool) -> Self {
        match (form, in_transaction) {
            (WriteForm::Document, _) => Replacements::Documents,
            (WriteForm::Difference, true) => {
                Replacements::Differences { least_bytes: LEAST_IN_TRANSACTION }
            }
            (WriteForm::Difference, false) => {
                Replacements::Differences { least_bytes: LEAST_ALONE }
            }
        }
    }

    /// True if the document of `item` is sent as a pipeline.
    pub fn is_difference(self, batch: &Batch, item: &Item) -> bool {
        let Replacements::Differences { least_bytes } = self else { return false };
        let value = batch.value(item);
        value.len() >= least_bytes
            && match item.content {
                Content::Hash => has_two_fields(value),
                // An append leaves the items before it as they are.
                Content::Json | Content::List | Content::Stream => true,
                // With UNWRAP it may be a JSON object.
                Content::String => batch.registration.unwraps && value.starts_with(b"{"),
                // One more member moves the others.
                Content::Set | Content::Zset => false,
                Content::Tombstone | Content::Unwritable => false,
            }
    }
}

fn has_two_fields(hash: &[u8]) -> bool {
    Strings::new(hash).nth(2).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mapping::value::push_bytes;
    use crate::core::registration::Registration;
    use crate::mongo::write::command::tests::{batch, registration};

    fn hash(fields: &[(&str, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, len) in fields {
            push_bytes(&mut bytes, name.as_bytes());
            push_bytes(&mut bytes, &vec![b'x'; *len]);
        }
        bytes
    }

    fn is_difference(registration: Registration, content: Content, value: &[u8]) -> bool {
        let batch = batch(registration, &[(b"k:1", content, value)]);
        Replacements::new(WriteForm::Difference, true).is_difference(&batch, &batch.items[0])
    }

    #[test]
    fn large_values_with_several_fields_are_differences() {
        let large = |content| is_difference(registration(), content, &[b'{'; 200]);
        assert!(is_difference(registration(), Content::Hash, &hash(&[("a", 100), ("b", 100)])));
        assert!(!is_difference(registration(), Content::Hash, &hash(&[("a", 90), ("b", 90)])));
        assert!(!is_difference(registration(), Content::Hash, &hash(&[("a", 300)])), "one field");
        assert!(large(Content::Json) && large(Content::List) && large(Content::Stream));
        assert!(!large(Content::Set) && !large(Content::Zset) && !large(Content::String));
        let unwraps = Registration { unwraps: true, ..registration() };
        assert!(is_difference(unwraps.clone(), Content::String, &[b'{'; 200]));
        assert!(!is_difference(unwraps, Content::String, &[b'x'; 200]));
    }

    #[test]
    fn alone_a_value_must_be_larger_and_the_setting_allow_it() {
        let value = [b'{'; 511];
        let batch = batch(registration(), &[(b"k:1", Content::Json, &value)]);
        let of = |form, in_transaction| {
            Replacements::new(form, in_transaction).is_difference(&batch, &batch.items[0])
        };
        assert!(of(WriteForm::Difference, true));
        assert!(!of(WriteForm::Difference, false));
        assert!(!of(WriteForm::Document, true));
        assert!(!Replacements::default().is_difference(&batch, &batch.items[0]));
    }
}
