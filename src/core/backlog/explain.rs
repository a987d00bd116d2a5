//! Per-key diagnostics for WB.EXPLAIN: registration, state and what blocks it.

use std::sync::Arc;

use super::{Backlog, Missing};
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::table::{RetainedValue, Standing};
use crate::core::delivery::batch::{Batch, Item};
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, Span};
use crate::core::registration::Registration;

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It belongs to no registration.
    NotRegistered,
    /// MongoDB has its latest state, as far as this server knows.
    Clean,
    /// Only a scan can tell if it is dirty: of SYNC, or after changes were missed past
    /// `dirty-max-bytes`.
    Unscanned,
    /// It waits for its interval, or for its turn in the queue.
    Dirty,
    /// It was read and sent, and is not acknowledged.
    InFlight,
    /// It was read and sent, and has changed since then.
    InFlightChanged,
    /// It is dirty, and an obstacle delays it.
    Waiting(Obstacle),
    /// It is dirty, and its registration is paused or all are.
    Paused,
    /// It has a dead letter.
    DeadLetter,
}

/// What delays a dirty key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// MongoDB is unreachable.
    Link,
    /// The registration backs off, because the namespace refused a batch or its keys could not be
    /// read.
    BackOff,
    /// Its value is slow to read; it waits between two reads, or for another such key.
    SlowRead,
    /// A unique index refused it; it waits for other keys of the namespace that may free the value.
    Unique,
    /// Another node of the cluster has its slot, and has not taken it over yet.
    HandOver,
    /// It is blocked: its document cannot be written at the moment.
    Document,
    /// It is written together with other keys of its MULTI or script, which cannot be written now, or
    /// are in flight.
    Group,
}

impl KeyState {
    /// The name of the state.
    pub fn name(self) -> &'static str {
        match self {
            KeyState::NotRegistered => "not registered",
            KeyState::Clean => "clean",
            KeyState::Unscanned => "unscanned",
            KeyState::Dirty => "dirty",
            KeyState::InFlight => "in flight",
            KeyState::InFlightChanged => "in flight, changed since",
            KeyState::Waiting(_) => "waiting",
            KeyState::Paused => "paused",
            KeyState::DeadLetter => "dead letter",
        }
    }

    /// What the key waits for, in a few words; empty if it does not wait.
    pub fn waits_for(self) -> &'static str {
        match self {
            KeyState::Unscanned => "a scan of the prefix, which marks the key if it exists",
            KeyState::Dirty => "its interval, or its turn",
            KeyState::InFlight | KeyState::InFlightChanged => "MongoDB's acknowledgement",
            KeyState::Waiting(Obstacle::Link) => "MongoDB to be reached",
            KeyState::Waiting(Obstacle::BackOff) => "the end of a pause after an error",
            KeyState::Waiting(Obstacle::SlowRead) => "its turn to be read: its value is large",
            KeyState::Waiting(Obstacle::Unique) => {
                "other keys of its collection: one of them may free the value that a unique index \
                 refused"
            }
            KeyState::Waiting(Obstacle::HandOver) => {
                "the node of the cluster that has its hash slot now, to take it over"
            }
            KeyState::Waiting(Obstacle::Document) => "its document, which cannot be written now",
            KeyState::Waiting(Obstacle::Group) => {
                "the other keys of its MULTI or script, with which it is written"
            }
            KeyState::Paused => "WB.RESUME",
            KeyState::DeadLetter => "a newer write of the key, or WB.DEADLETTER RETRY",
            KeyState::NotRegistered | KeyState::Clean => "",
        }
    }
}

/// The diagnostics of one key.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its state.
    pub state: KeyState,
    /// Its registration and the id.
    pub registered: Option<(RegistrationId, Arc<Registration>)>,
    /// Since when it is in this state, milliseconds since 1970; 0 if unknown.
    pub since_unix_ms: u64,
    /// Number of failed attempts since it was last written: refused or blocked.
    pub attempts: u32,
    /// Why it was refused, or else what delays it.
    pub last_error: String,
    /// The last kind of change, if it is not clean.
    pub kind: ChangeKind,
    /// Its retained value, if there is one.
    pub retained: Option<RetainedValue>,
}

impl Backlog {
    /// The diagnostics of `key` in `db` at `now_us`. Changes nothing.
    pub fn explain(&self, db: Db, key: &[u8], now_us: u64) -> Explained {
        let standing = self.dirty.standing(db, key);
        let letter = self.dead.find(db, key);
        let missed = self.maybe_missed(db, key);
        let id = standing.map(|standing| standing.registration_id).or(missed);
        let id = id
            .or_else(|| self.registry.route(db, key))
            .or(letter.map(|letter| letter.registration_id));
        let active = id.and_then(|id| Some((id, self.active(id)?)));
        let (state, since_ms) = match (standing, letter, active) {
            (Some(standing), ..) => match self.how_dirty(standing, now_us) {
                (KeyState::Waiting(Obstacle::SlowRead), since_ms)
                    if self.is_handed_over(db, key) =>
                {
                    (KeyState::Waiting(Obstacle::HandOver), since_ms)
                }
                other => other,
            },
            (None, Some(letter), _) => (KeyState::DeadLetter, letter.unix_ms),
            (None, None, Some((id, active))) => {
                let oldest_us = self.dirty.missed(id).oldest_us();
                let unscanned = missed.is_some() || active.sync_pending;
                let state = if unscanned { KeyState::Unscanned } else { KeyState::Clean };
                (state, missed.and(oldest_us).unwrap_or(0) / 1000)
            }
            (None, None, None) => (KeyState::NotRegistered, 0),
        };
        let blocked = standing.and_then(|standing| self.blocked.find(standing.entry));
        let reason = blocked.map(|blocked| blocked.reason.as_str());
        let reason = reason.or(letter.map(|letter| letter.reason.as_str()));
        let obstacle = standing.map(|standing| self.obstacle(standing.registration_id));
        let last_error = reason.or(obstacle);
        let retained = match standing {
            Some(standing) => standing.retained,
            None => letter.and_then(|letter| letter.retained.as_ref()),
        };
        let kind = standing.map(|standing| standing.kind).or(letter.map(|letter| letter.kind));
        Explained {
            state,
            registered: active.map(|(id, active)| (id, Arc::clone(&active.registration))),
            since_unix_ms: since_ms,
            attempts: letter.map_or(0, |letter| letter.attempts)
                + blocked.map_or(0, |blocked| blocked.attempts),
            last_error: last_error.unwrap_or_default().to_owned(),
            kind: kind.unwrap_or(ChangeKind::Changed),
            retained: retained.cloned(),
        }
    }

    /// A batch with only this key, as it would be sent. `bytes` contains the key, followed by the
    /// value from offset `value` on.
    pub fn explained_batch(
        &self,
        (id, registration): (RegistrationId, Arc<Registration>),
        bytes: Vec<u8>,
        value: usize,
        (content, expire_ms): (Content, i64),
    ) -> Batch {
        let item = Item {
            entry: EntryId(0),
            version: Version(0),
            since_us: 0,
            key: Span { start: 0, end: value },
            content,
            value: Span { start: value, end: bytes.len() },
            expire_ms,
        };
        let (epoch, items) = (self.in_flight.epoch, vec![item]);
        Batch {
            registration,
            registration_id: id,
            epoch,
            slow: false,
            retry: 0,
            items,
            groups: Vec::new(),
            bytes,
        }
    }

    fn how_dirty(&self, standing: Standing<'_>, now_us: u64) -> (KeyState, u64) {
        let Standing { entry, registration_id: id, in_flight, again, since_us, .. } = standing;
        let slow_read = self.slow_keys.waiting().find(|slow_read| {
            in_flight && slow_read.epoch == self.in_flight.epoch && slow_read.taken.entry == entry
        });
        // If the key changed meanwhile, the entry has only the time of the last change.
        let since_us =
            slow_read.map_or(since_us, |slow_read| slow_read.taken.since_us.min(since_us));
        let blocked = self.blocked.find(entry).filter(|blocked| blocked.waits() && in_flight);
        let since_us = blocked.map_or(since_us, |blocked| blocked.since_us.min(since_us));
        let parked = in_flight && self.contested.is_parked(id, entry);
        let held = self.active(id).is_some_and(|active| active.hold_us > now_us);
        let with_group = standing.parked;
        let waits = slow_read.is_some() || blocked.is_some() || parked || with_group;
        let state = match (waits, in_flight, again) {
            (false, true, true) => KeyState::InFlightChanged,
            (false, true, false) => KeyState::InFlight,
            _ if self.is_paused(id) => KeyState::Paused,
            _ if self.link.name() == "down" => KeyState::Waiting(Obstacle::Link),
            _ if held => KeyState::Waiting(Obstacle::BackOff),
            _ if blocked.is_some() => KeyState::Waiting(Obstacle::Document),
            _ if slow_read.is_some() => KeyState::Waiting(Obstacle::SlowRead),
            _ if parked => KeyState::Waiting(Obstacle::Unique),
            _ if with_group => KeyState::Waiting(Obstacle::Group),
            _ => KeyState::Dirty,
        };
        (state, since_us / 1000)
    }
}

/// What happens to the document of a key without a value.
impl Explained {
    /// True if its document is deleted when the key is missing, or if it exists with a type that the
    /// registration does not accept (`wrong_type`).
    pub fn deletes(&self, wrong_type: bool) -> bool {
        let kind = if wrong_type { ChangeKind::Deleted } else { self.kind };
        let registered = self.registered.as_ref();
        registered.is_some_and(|(_, of)| Backlog::on_missing(of, kind) == Missing::Delete)
    }
}
