//! The numbers by which databases, registrations and dirty keys are known.

use std::fmt;

/// A logical database of the server, as SELECT takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Db(pub u16);

/// A registration at work, 0 to 65,534: the place that it has in the registry until it is gone. A later
/// registration may have the same one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RegistrationId(pub u16);

/// An entry of the dirty table. Given to another key when its own has left the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EntryId(pub u32);

/// How often an entry was changed, by which a report that comes late is told from one of the entry as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Version(pub u32);

impl RegistrationId {
    /// The one behind it, and behind the last number the first.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How far it is from `start` to this one, round the numbers.
    pub fn distance_from(self, start: Self) -> u16 {
        self.0.wrapping_sub(start.0)
    }
}

impl Version {
    /// The one after the next change, and after the last number the first.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Display for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RegistrationId> for usize {
    fn from(id: RegistrationId) -> Self {
        Self::from(id.0)
    }
}

impl From<EntryId> for usize {
    fn from(id: EntryId) -> Self {
        // At least 32 bits.
        id.0 as Self
    }
}
