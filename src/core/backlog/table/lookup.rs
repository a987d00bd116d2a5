//! How one key stands, for those who ask.

use super::entry::State;
use super::{Dirty, RetainedValue};
use crate::core::backlog::change_log::ChangeKind;
use crate::core::ids::{Db, EntryId, RegistrationId};

/// What the set knows of a dirty key.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The key's entry.
    pub entry: EntryId,
    /// ActiveRegistration of its registration.
    pub registration_id: RegistrationId,
    /// How it was touched last.
    pub kind: ChangeKind,
    /// Since when it is dirty after it was last read, microseconds.
    pub since_us: u64,
    /// True if it was taken to be read and sent, and that has not ended.
    pub in_flight: bool,
    /// True if it changed since then.
    pub again: bool,
    /// Its value, if that was captured.
    pub retained: Option<&'a RetainedValue>,
}

impl Dirty {
    /// How the key stands; nothing when it is clean.
    pub fn standing(&self, db: Db, key: &[u8]) -> Option<Standing<'_>> {
        let id = self.find(self.hash(db, key), db, key)?;
        let entry = self.entries.at(id);
        Some(Standing {
            entry: id,
            registration_id: entry.registration_id,
            kind: entry.kind,
            since_us: entry.since_us,
            in_flight: entry.state != State::Dirty,
            again: entry.state == State::InFlightAgain,
            retained: self.retained(id),
        })
    }
}
