//! The numbers that identify databases, registrations and dirty keys.

use std::fmt;

/// A logical database of the server, as SELECT takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Db(pub u16);

/// The id of an active registration, 0 to 65,534: its position in the registry. The id is reused
/// after the registration was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RegistrationId(pub u16);

/// An entry of the dirty table. The number is reused after its key was removed from the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EntryId(pub u32);

/// A group of dirty keys that are written together. The number is reused after the group has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct GroupId(pub u32);

/// A load of documents into Redis. Never reused while the module is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct LoadId(pub u64);

/// A read of the documents of missing keys. Never reused while the module is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct FindId(pub u64);

/// A run of WB.VERIFY. Never reused while the module is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RunId(pub u64);

/// A client that waits for keys to be loaded. Never reused while the module is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct WaitId(pub u64);

/// The version of an entry, which every change increments: it distinguishes a late report from one
/// for the entry's current state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Version(pub u32);

impl RegistrationId {
    /// The next id; wraps around after the last number.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The distance from `start` to this id, with wrap-around.
    pub fn distance_from(self, start: Self) -> u16 {
        self.0.wrapping_sub(start.0)
    }
}

impl Version {
    /// The version after the next change; wraps around after the last number.
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

impl From<GroupId> for usize {
    fn from(id: GroupId) -> Self {
        // At least 32 bits.
        id.0 as Self
    }
}
