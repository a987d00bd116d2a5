//! The operation that would be sent for one key, in a readable form.

use mongodb::bson::{RawBsonRef, RawDocument};

use super::extended_json;
use super::write::command;
use super::write::command::Kind;
use super::write::forms::Forms;
use super::write::lookup::Lookup;
use crate::core::delivery::batch::Batch;

/// The operation of a batch with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The document is replaced by this one, or with WRITE MERGE gets these fields; canonical
    /// Extended JSON.
    Write(String),
    /// The document is deleted.
    Delete,
    /// Nothing can be written; the reason, one sentence.
    Refused(String),
}

/// The operation of `batch`, which has one item. The command is built as if it were sent, and the
/// document is read from it.
pub fn explain(batch: &Batch) -> Operation {
    let built = command::build(batch, Kind::Update, &Lookup::default(), Forms::default());
    if let Some(refusal) = built.refused.into_iter().next() {
        return Operation::Refused(refusal.reason);
    }
    let Some(command) = built.commands.first() else {
        return Operation::Refused("there is nothing to be written".to_owned());
    };
    if command.kind == Kind::Delete {
        return Operation::Delete;
    }
    let mut json = String::with_capacity(command.bytes.len());
    let appended = match document(&command.bytes) {
        Some(document) => extended_json::append(document, &mut json),
        None => Err("the document cannot be shown".to_owned()),
    };
    match appended {
        Ok(()) => Operation::Write(json),
        Err(error) => Operation::Refused(error),
    }
}

/// The document in an `update` command of one operation: a replacement or a pipeline.
fn document(command: &[u8]) -> Option<&RawDocument> {
    let command = RawDocument::from_bytes(command).ok()?;
    let update = first(RawBsonRef::Array(command.get_array("updates").ok()?))?;
    let stages = match update.as_document()?.get("u").ok()?? {
        RawBsonRef::Document(replacement) => return Some(replacement),
        stages => stages.as_array()?,
    };
    // A stage before it, if there is one, removes the TTL field.
    let stage = stages.into_iter().last()?.ok()?;
    let expression = stage.as_document()?.get_document("$replaceWith").ok()?;
    match expression.get_array("$mergeObjects") {
        Ok(merged) => merged.into_iter().last()?.ok()?.as_document()?.get_document("$literal").ok(),
        Err(_) => expression.get_document("$literal").ok(),
    }
}

fn first(array: RawBsonRef<'_>) -> Option<RawBsonRef<'_>> {
    array.as_array()?.into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::delivery::batch::Item;
    use crate::core::ids::{Db, EntryId, RegistrationId, Version};
    use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
    use crate::core::registration::{IdType, Namespace, Registration, WriteMode};

    fn explained(
        change: impl FnOnce(&mut Registration),
        content: Content,
        value: &str,
    ) -> Operation {
        let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
        let mut registration = Registration::new(Db(0), b"k:", namespace);
        change(&mut registration);
        let bytes = format!("k:1{value}").into_bytes();
        let item = Item {
            entry: EntryId(0),
            version: Version(0),
            since_us: 0,
            key: Span { start: 0, end: 3 },
            content,
            value: Span { start: 3, end: bytes.len() },
            expire_ms: NO_EXPIRY,
        };
        let registration = Arc::new(registration);
        explain(&Batch {
            registration,
            registration_id: RegistrationId(0),
            epoch: 0,
            slow: false,
            retry: 0,
            groups: Vec::new(),
            items: vec![item],
            bytes,
        })
    }

    fn merging(registration: &mut Registration) {
        registration.write = WriteMode::Merge;
        registration.ttl_field = Some("until".to_owned());
    }

    #[test]
    fn the_document_is_found_in_every_form() {
        let written = |document: &str| Operation::Write(document.to_owned());
        let plain = r#"{"_id":"1","a":{"$numberLong":"1"}}"#;
        assert_eq!(explained(|_| (), Content::Json, r#"{"a":1}"#), written(plain));
        assert_eq!(explained(merging, Content::Json, r#"{"a":1}"#), written(plain));
        let dollar = r#"{"_id":"1","$a":"b"}"#;
        assert_eq!(explained(|_| (), Content::Json, r#"{"$a":"b"}"#), written(dollar));
    }

    #[test]
    fn deletions_and_refusals_are_explained() {
        assert_eq!(explained(|_| (), Content::Tombstone, ""), Operation::Delete);
        let refused = explained(|of| of.key_as = IdType::Uuid, Content::String, "x");
        assert!(
            matches!(&refused, Operation::Refused(why) if why.contains("suffix")),
            "{refused:?}"
        );
        let refused = explained(|_| (), Content::Unwritable, "too large");
        assert_eq!(refused, Operation::Refused("too large".to_owned()));
    }
}
