//! How operations find the document of their key.

use crate::core::mapping::bson::Document;

/// What each operation says besides its filter. `index::Indexes` knows what a
/// collection needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The unique index of a key field other than `_id`. A server that does not have it refuses
    /// the operation, so that no upsert or insert makes a second document of the key.
    pub index: Option<String>,
    /// Whether strings must be compared as bytes although the collection may compare them
    /// otherwise.
    pub simple: bool,
}

impl Lookup {
    /// Appends it to `operation`, of an `update` or `delete` command.
    pub fn append_to(&self, operation: &mut Document<'_>) {
        if let Some(index) = &self.index {
            operation.element(c"hint").string(index);
        }
        if self.simple {
            let mut collation = operation.element(c"collation").document();
            collation.element(c"locale").string("simple");
            collation.end();
        }
    }
}
