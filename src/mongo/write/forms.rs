//! Which documents are updated in which form. Limits from measurements on MongoDB 4.4, 5.0 and 6.0.
//!
//! WRITE REPLACE: `u: [{ $replaceWith: { $literal: <document> } }]` leaves the same document as
//! `u: <document>`, but MongoDB compares it with the one before: oplog, journal and change events have
//! the changed fields only, and indexes on other fields are not looked at. Comparing costs, so it does
//! not pay for small documents, nor where one field holds everything.
//!
//! WRITE MERGE: `u: { $set: <fields> }` leaves the same document as a pipeline with `$mergeObjects`,
//! and compares in the same way. It does not copy the document, but looks each field up from the
//! document's beginning, so it pays for few fields. It adds new fields in the order of their names, and
//! where an embedded object has changed, it writes the whole object.

use crate::core::delivery::batch::{Batch, Item};
use crate::core::mapping::value::{Content, Strings};
use crate::core::registration::schema::{FieldType, Schema};
use crate::core::registration::{IdType, Registration, WriteMode};
use crate::core::settings::WriteForm;

/// Least size of a value whose difference pays in a transaction, bytes.
const LEAST_IN_TRANSACTION: usize = 200;
/// The same outside of a transaction, where each operation has an oplog entry of its own.
const LEAST_ALONE: usize = 512;

/// Most fields of a hash that is merged by `$set`. With 20 it costs a quarter less than the pipeline,
/// with 50 as much.
const MOST_SET_FIELDS: usize = 32;

/// The form of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A replacement document; no top-level name may begin with `$`.
    Replacement,
    /// A pipeline that replaces the document; any name is allowed. The server compares the document
    /// with the one before.
    Literal,
    /// A pipeline that sets the document's fields and keeps all others, except the TTL field of an
    /// expiry that no longer exists; any name is allowed, and a dot in it is no path.
    Merge,
    /// The same by `$set` and `$unset`; no name may begin with `$`, be empty or have a dot.
    Set,
}

/// The forms of the updates of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forms {
    /// `Form::Replacement` and `Form::Merge`, by WRITE.
    #[default]
    Plain,
    /// `Form::Literal` for values of at least so many bytes that may have several fields.
    Differences {
        /// Least size of a value, bytes.
        least_bytes: usize,
    },
    /// `Form::Set` for values of few fields.
    Sets,
}

impl Forms {
    /// The forms for a batch of WRITE REPLACE.
    pub fn replacing(form: WriteForm, in_transaction: bool) -> Self {
        match (form, in_transaction) {
            (WriteForm::Document, _) => Forms::Plain,
            (WriteForm::Difference, true) => {
                Forms::Differences { least_bytes: LEAST_IN_TRANSACTION }
            }
            (WriteForm::Difference, false) => Forms::Differences { least_bytes: LEAST_ALONE },
        }
    }

    /// The forms for a batch of WRITE MERGE.
    pub fn merging(registration: &Registration) -> Self {
        // The document's number may have another type, which a pipeline changes and `$set` refuses.
        let has_numeric_id =
            registration.key_field == "_id" && registration.key_as == IdType::Int64;
        let has_objects = registration.schema.as_deref().is_some_and(has_objects);
        if has_numeric_id || has_objects { Forms::Plain } else { Forms::Sets }
    }

    /// The form for the document of `item`.
    pub fn of(self, batch: &Batch, item: &Item) -> Form {
        match (batch.registration.write, self) {
            (WriteMode::Replace, Forms::Differences { least_bytes })
                if pays_as_difference(batch, item, least_bytes) =>
            {
                Form::Literal
            }
            (WriteMode::Replace, _) => Form::Replacement,
            (WriteMode::Merge, Forms::Sets) if pays_as_set(batch, item) => Form::Set,
            (WriteMode::Merge, _) => Form::Merge,
        }
    }
}

fn pays_as_difference(batch: &Batch, item: &Item, least_bytes: usize) -> bool {
    let value = batch.value(item);
    value.len() >= least_bytes
        && match item.content {
            Content::Hash => has_fields(value, 2),
            // An append leaves the items before it as they are.
            Content::Json | Content::List | Content::Stream => true,
            // With UNWRAP it may be a JSON object.
            Content::String => batch.registration.unwraps && value.starts_with(b"{"),
            // One more member moves the others.
            Content::Set | Content::Zset => false,
            Content::Tombstone | Content::Unwritable => false,
        }
}

fn pays_as_set(batch: &Batch, item: &Item) -> bool {
    let value = batch.value(item);
    match item.content {
        Content::Hash => !has_fields(value, MOST_SET_FIELDS + 1),
        // With UNWRAP it may be a JSON object, whose fields keep their order.
        Content::String => !(batch.registration.unwraps && value.starts_with(b"{")),
        // A pipeline writes only what has changed in an array or an embedded object.
        Content::Json | Content::List | Content::Set | Content::Zset | Content::Stream => false,
        Content::Tombstone | Content::Unwritable => false,
    }
}

/// True if `hash` has at least `count` fields.
fn has_fields(hash: &[u8], count: usize) -> bool {
    Strings::new(hash).nth(2 * count - 2).is_some()
}

/// True if a field of a hash may be written as an object or an array.
fn has_objects(schema: &Schema) -> bool {
    let mut types = schema.rules().iter().map(|rule| rule.to).chain(schema.star());
    types.any(|to| to == FieldType::Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mapping::value::push_bytes;
    use crate::core::registration::schema::Rule;
    use crate::mongo::write::command::tests::{batch, registration};

    fn hash(fields: &[(&str, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, len) in fields {
            push_bytes(&mut bytes, name.as_bytes());
            push_bytes(&mut bytes, &vec![b'x'; *len]);
        }
        bytes
    }

    fn form(forms: Forms, registration: Registration, content: Content, value: &[u8]) -> Form {
        let batch = batch(registration, &[(b"k:1", content, value)]);
        forms.of(&batch, &batch.items[0])
    }

    fn is_difference(registration: Registration, content: Content, value: &[u8]) -> bool {
        let forms = Forms::replacing(WriteForm::Difference, true);
        form(forms, registration, content, value) == Form::Literal
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
        let of = |forms| form(forms, registration(), Content::Json, &[b'{'; 511]);
        assert_eq!(of(Forms::replacing(WriteForm::Difference, true)), Form::Literal);
        assert_eq!(of(Forms::replacing(WriteForm::Difference, false)), Form::Replacement);
        assert_eq!(of(Forms::replacing(WriteForm::Document, true)), Form::Replacement);
        assert_eq!(of(Forms::default()), Form::Replacement);
        assert_eq!(of(Forms::Sets), Form::Replacement, "not for WRITE REPLACE");
    }

    fn merging() -> Registration {
        Registration { write: WriteMode::Merge, ..registration() }
    }

    fn is_set(registration: Registration, content: Content, value: &[u8]) -> bool {
        let forms = Forms::merging(&registration);
        let form = form(forms, registration, content, value);
        assert!(matches!(form, Form::Set | Form::Merge), "{form:?}");
        form == Form::Set
    }

    #[test]
    fn hashes_of_few_fields_and_strings_are_merged_by_set() {
        let of_fields = |count| hash(&vec![("f", 300); count]);
        for (count, expected) in [(0, true), (1, true), (32, true), (33, false), (300, false)] {
            assert_eq!(is_set(merging(), Content::Hash, &of_fields(count)), expected, "{count}");
        }
        assert!(is_set(merging(), Content::String, b"{"));
        let unwraps = Registration { unwraps: true, ..merging() };
        assert!(is_set(unwraps.clone(), Content::String, b"x"));
        assert!(!is_set(unwraps, Content::String, b"{"), "an object keeps its order");
        for content in [Content::Json, Content::List, Content::Set, Content::Zset, Content::Stream]
        {
            assert!(!is_set(merging(), content, b"{}"), "{content:?}");
        }
        let plain = form(Forms::default(), merging(), Content::String, b"x");
        assert_eq!(plain, Form::Merge);
    }

    #[test]
    fn numbers_as_id_and_objects_in_fields_are_merged_by_a_pipeline() {
        let of = |registration| is_set(registration, Content::String, b"x");
        let by = |key_field: &str, key_as| {
            of(Registration { key_field: key_field.to_owned(), key_as, ..merging() })
        };
        assert!(by("_id", IdType::String) && by("_id", IdType::Uuid));
        assert!(!by("_id", IdType::Int64) && by("number", IdType::Int64));
        let rule = |to| Rule { field: "a".to_owned(), to, name: None };
        let with = |rules: Vec<Rule>, star| {
            of(Registration { schema: Some(Schema::new(rules, star).into()), ..merging() })
        };
        assert!(with(vec![rule(FieldType::Date)], Some(FieldType::Auto)));
        assert!(!with(vec![rule(FieldType::Json)], None));
        assert!(!with(vec![rule(FieldType::Date)], Some(FieldType::Json)));
    }
}
