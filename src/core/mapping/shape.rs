//! What the names in a document require of the command that writes it.

/// What the names of a document's top-level fields require of the command that writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// A name begins with `$`: MongoDB accepts such a document only as a `$literal` in a pipeline, not
    /// as a replacement.
    pub dollar: bool,
    /// A name is empty or contains a dot: an operator such as `$set` does not take it for the name of
    /// a field.
    pub path: bool,
}

impl Shape {
    /// Adds the name of a field.
    #[inline]
    pub fn add(&mut self, name: &str) {
        self.dollar |= name.starts_with('$');
        // A plain loop: names are short, and it beats the set-up of a vectorised search.
        self.path |= name.is_empty() || name.bytes().any(|byte| byte == b'.');
    }
}
