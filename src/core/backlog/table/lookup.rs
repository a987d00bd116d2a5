//! The state of one key.

use super::entry::State;
use super::{Dirty, RetainedValue};
use crate::core::backlog::change_log::ChangeKind;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};

/// The state of a dirty key.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The key's entry.
    pub entry: EntryId,
    /// Id of its registration.
    pub registration_id: RegistrationId,
    /// The last kind of change.
    pub kind: ChangeKind,
    /// Time of the first change after it was last read, microseconds.
    pub since_us: u64,
    /// True if it is in flight.
    pub in_flight: bool,
    /// True if its group is due, and waits to be sent as a whole.
    pub parked: bool,
    /// True if it has changed since it was read.
    pub again: bool,
    /// Its retained value, if there is one.
    pub retained: Option<&'a RetainedValue>,
}

impl Dirty {
    /// The state of the key; `None` if it is clean.
    pub fn standing(&self, db: Db, key: &[u8]) -> Option<Standing<'_>> {
        let id = self.find(self.hash(db, key), db, key)?;
        let entry = self.entries.at(id);
        Some(Standing {
            entry: id,
            registration_id: entry.registration_id,
            kind: entry.kind,
            since_us: entry.since_us,
            in_flight: entry.state != State::Dirty,
            parked: entry.state == State::Parked,
            again: entry.state == State::InFlightAgain,
            retained: self.retained(id),
        })
    }

    /// The version of an entry in use.
    pub fn version(&self, id: EntryId) -> Version {
        self.entries.at(id).version
    }
}
