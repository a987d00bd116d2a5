//! What all values of one JSON text share.

use serde::de::Error;

use crate::core::mapping::duplicate_names::{Kept, Names};
use crate::core::mapping::error::{MAX_LEVELS, MappingError};
use crate::core::registration::OnError;

/// What all values of one text share.
pub struct Run<'r> {
    pub names: &'r mut Names,
    /// Position that the document's last element must not pass.
    pub end_limit: usize,
    pub dollar: bool,
    /// Why we, and not the parser, stopped.
    pub unfit: Option<MappingError>,
    /// What becomes of a value that cannot have its type.
    pub on_error: OnError,
    /// Whether the field that was begun last, of those that are not ended, stays.
    pub kept: Kept,
}

impl<'r> Run<'r> {
    pub fn new(names: &'r mut Names, end_limit: usize) -> Self {
        let (on_error, kept) = (OnError::DeadLetter, Kept::Whole);
        Run { names, end_limit, dollar: false, unfit: None, on_error, kept }
    }

    /// The field that stands at `start` has got its value, and stays or is left out.
    #[inline]
    pub fn keep(&mut self, start: usize) {
        let kept = std::mem::replace(&mut self.kept, Kept::Whole);
        self.names.keep(start, kept);
    }

    #[cold]
    pub fn stop<E: Error>(&mut self, why: MappingError) -> E {
        self.unfit = Some(why);
        E::custom("cannot be held")
    }

    /// Checks that an element may be written at `position`, in a document of that level.
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
