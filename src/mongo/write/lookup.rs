//! The options with which operations find the document of their key.

use crate::core::mapping::bson::Document;

/// The `hint` and the `collation` of each operation. `index::Indexes` determines which ones a
/// collection needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The unique index of a key field other than `_id`. A server without it refuses the operation,
    /// so that no upsert or insert creates a second document for the key.
    pub index: Option<String>,
    /// True if strings must be compared as bytes although the collection may have another
    /// collation.
    pub simple: bool,
}

impl Lookup {
    /// Appends the options to `operation`, of an `update` or `delete` command.
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
