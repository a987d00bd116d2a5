//! State shared by all values of one JSON text.

use serde::de::Error;

use crate::core::mapping::duplicate_names::{Kept, Names};
use crate::core::mapping::error::{MAX_LEVELS, MappingError};
use crate::core::mapping::shape::Shape;
use crate::core::registration::OnError;

/// State shared by all values of one JSON text.
pub struct Run<'r> {
    pub names: &'r mut Names,
    /// Position in the buffer beyond which no element of the document may extend.
    pub end_limit: usize,
    /// What the names of the root object require.
    pub shape: Shape,
    /// The error of the mapping that stopped the parser; `None` for errors of the parser itself.
    pub mapping_error: Option<MappingError>,
    /// What happens to a value that cannot be converted to its type.
    pub on_error: OnError,
    /// Whether the innermost open field is kept or omitted.
    pub kept: Kept,
}

impl<'r> Run<'r> {
    pub fn new(names: &'r mut Names, end_limit: usize) -> Self {
        let (on_error, kept) = (OnError::DeadLetter, Kept::Whole);
        Run { names, end_limit, shape: Shape::default(), mapping_error: None, on_error, kept }
    }

    /// Ends the field at `start`, whose value was written; it is kept or omitted.
    #[inline]
    pub fn keep(&mut self, start: usize) {
        let kept = std::mem::replace(&mut self.kept, Kept::Whole);
        self.names.keep(start, kept);
    }

    #[cold]
    pub fn stop<E: Error>(&mut self, why: MappingError) -> E {
        self.mapping_error = Some(why);
        E::custom("cannot be held")
    }

    /// Checks that an element may be written at `position`, in a document at `level`.
    #[inline]
    pub fn check<E: Error>(&mut self, position: usize, level: u32) -> Result<(), E> {
        if level > MAX_LEVELS {
            return Err(self.stop(MappingError::TooDeep));
        }
        if position > self.end_limit {
            return Err(self.stop(MappingError::TooLarge));
        }
        Ok(())
    }
}
