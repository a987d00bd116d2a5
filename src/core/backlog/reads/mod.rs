//! Read-through: keys that Redis does not have, and who waits for their documents. A key is asked for once,
//! however many clients wait.
//!
//! Redis is the newer side: what is dirty is written first, a deletion that is pending is the answer, and a
//! document that was read before the last change of its key is read again.

mod absent;
pub mod counts;
mod finds;
mod lane;
mod state;

use std::sync::Arc;

use self::lane::{Lane, State};
pub(super) use self::state::Standing;
pub use self::state::{Ended, Fate, Known, LoadEnd, Reads};
use super::{Backlog, FlushScope, KeyList, Missing};
use crate::core::ids::{Db, RegistrationId, WaitId};
use crate::core::mapping::value::Content;

/// Pause before a key that cannot be read now is looked at again, microseconds.
const AGAIN_US: u64 = 10_000;
/// The same for a key that waits for an acknowledgement.
const SAFETY_US: u64 = 1_000_000;
/// Held keys that are looked at in one turn.
const HELD_AT_ONCE: usize = 64;
/// A longer key has no document.
const LONGEST_KEY: usize = 1 << 20;

impl Backlog {
    /// The registration of a key, if missing keys of it are loaded.
    #[inline]
    pub fn reads_through(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let id = self.registry.route(db, key)?;
        self.active(id)?.registration.read_through.map(|_| id)
    }

    /// True if missing keys of this name are loaded in any database.
    pub fn reads_through_any(&self, key: &[u8]) -> bool {
        self.registry.reader_dbs().any(|db| self.reads_through(db, key).is_some())
    }

    /// Asks for a key of `id` that Redis does not have, for a client that waits, or for none.
    pub fn want(
        &mut self,
        id: RegistrationId,
        key: &[u8],
        wait: Option<WaitId>,
        now_us: u64,
    ) -> Known {
        let Some(active) = self.active(id) else { return Known::Absent };
        let db = active.registration.db;
        self.fold_logged(|| now_us);
        if let Some(wanted) = self.reads.lanes.get_mut(&id).and_then(|lane| lane.wanted(key)) {
            wanted.add(wait);
            self.count_wait(wait);
            return Known::Awaited;
        }
        let standing = self.read_standing(db, key);
        match standing {
            Standing::Removed => return Known::Absent,
            Standing::Refused(error) => return Known::Refused(error),
            Standing::Clean | Standing::Dirty => {}
        }
        let is_absent = |lane: &Lane| lane.absent.contains(key, now_us);
        if standing == Standing::Clean && self.reads.lanes.get(&id).is_some_and(is_absent) {
            self.count_reads(id, |counts| counts.absent += 1);
            return Known::Absent;
        }
        if key.len() > LONGEST_KEY {
            return Known::Absent;
        }
        if self.link.name() == "down" {
            let error = self.link.error();
            return Known::Refused(format!(
                "WBDOWN MongoDB is not reached, and Redis does not have the key: {error}"
            ));
        }
        let most = usize::try_from(self.settings.read_max_loads).unwrap_or(1);
        if wait.is_none() && self.reads.wanted >= most {
            // No client waits for it.
            return Known::Awaited;
        }
        self.reads.lanes.entry(id).or_default().add(key, wait, now_us);
        self.reads.wanted += 1;
        self.count_wait(wait);
        match standing {
            Standing::Dirty => self.hold_read(id, db, key, now_us),
            _ => self.reads.queue(id, key),
        }
        Known::Awaited
    }

    fn count_wait(&mut self, wait: Option<WaitId>) {
        if let Some(wait) = wait.and_then(|wait| self.reads.waits.get_mut(&wait)) {
            wait.left += 1;
        }
    }

    /// A key is removed that Redis does not have: clients want what MongoDB has now.
    pub fn forget_read(&mut self, id: RegistrationId, key: &[u8]) {
        self.reads.see_written(id, key);
    }

    /// Keys have become clean: what is read of them at present may be older.
    pub fn see_written(&mut self, keys: &KeyList) {
        self.loads_see_written(keys);
        self.verifies_see_written(keys);
        if self.reads.is_idle() {
            return;
        }
        for (db, key) in keys.iter() {
            let Some(id) = self.registry.route(db, key) else { continue };
            self.reads.see_written(id, key);
        }
    }

    /// The keys of a database, or of all, were removed without events.
    pub fn reads_see_flushed(&mut self) {
        self.reads.begin_epoch();
    }

    pub(super) fn read_standing(&self, db: Db, key: &[u8]) -> Standing {
        if let Some(standing) = self.dirty.standing(db, key) {
            let is_removed = match (standing.retained, self.active(standing.registration_id)) {
                (Some(retained), _) => retained.content == Content::Tombstone,
                (None, Some(active)) => {
                    Backlog::on_missing(&active.registration, standing.kind) == Missing::Delete
                }
                (None, None) => false,
            };
            return if is_removed { Standing::Removed } else { Standing::Dirty };
        }
        if let Some(letter) = self.dead.find(db, key) {
            let reason = &letter.reason;
            return Standing::Refused(format!(
                "WBREFUSED MongoDB has refused the last change of this key, which Redis does not have any more; see \
                 WB.DEADLETTER: {reason}"
            ));
        }
        if self.is_deleted_again(db, key) {
            return Standing::Removed;
        }
        if self.handovers.has(db, key) || self.is_indeterminate(db, key) {
            return Standing::Dirty;
        }
        Standing::Clean
    }

    /// Has the last state of a key written, and the key asked for after that.
    fn hold_read(&mut self, id: RegistrationId, db: Db, key: &[u8], now_us: u64) {
        if self.dirty.kind_of(db, key).is_none() {
            return self.reads.hold(id, key, (0, now_us + AGAIN_US));
        }
        // As WB.FLUSH, without a client.
        let flush = self.flush(FlushScope::Keys(db, &[key]), now_us);
        self.end_flush(flush);
        self.reads.hold(id, key, (1, now_us + SAFETY_US));
    }

    /// A key has got a dead letter: clients wait no longer until it is written.
    pub(super) fn read_refused(&mut self, db: Db, key: &[u8]) {
        if self.reads.is_idle() {
            return;
        }
        if let Some(id) = self.registry.route(db, key) {
            self.reads.see_written(id, key);
        }
    }

    /// Asks for keys that were held until MongoDB had their last state.
    pub fn release_reads(&mut self, now_us: u64) {
        for (id, key) in std::mem::take(&mut self.reads.released) {
            self.release_read(id, &key, now_us);
        }
        for list in 0..self.reads.held.len() {
            for _ in 0..HELD_AT_ONCE {
                let Some(held) = self.reads.held.get_mut(list) else { break };
                if held.front().is_none_or(|(at_us, ..)| *at_us > now_us) {
                    break;
                }
                let Some((_, id, key)) = held.pop_front() else { break };
                self.release_read(id, &key, now_us);
            }
        }
    }

    fn release_read(&mut self, id: RegistrationId, key: &[u8], now_us: u64) {
        let state = self.reads.lanes.get(&id).and_then(|lane| lane.state(key));
        if state != Some(State::Held) {
            return;
        }
        match self.reads.is_awaited(id, key) {
            true => self.read_again(id, key, now_us),
            false => self.end_read(id, key, LoadEnd::Unknown, now_us),
        }
    }

    /// When [`release_reads`](Self::release_reads) has something to do, microseconds; `u64::MAX` for never.
    pub fn reads_due_us(&self) -> u64 {
        if !self.reads.released.is_empty() {
            return 0;
        }
        let first = self.reads.held.iter().filter_map(|held| held.front());
        first.map(|(at_us, ..)| *at_us).min().unwrap_or(u64::MAX)
    }

    /// True if keys wait to be asked for.
    pub fn has_reads(&self) -> bool {
        !self.reads.ready.is_empty()
    }

    /// The next key that could not be loaded behind a command that did not wait: the client must not keep that it does
    /// not exist.
    pub fn take_unloaded(&mut self) -> Option<(Db, Arc<[u8]>)> {
        let (id, key) = self.reads.unloaded.pop()?;
        Some((self.active(id)?.registration.db, key))
    }

    /// Asks for a key once more.
    pub(super) fn read_again(&mut self, id: RegistrationId, key: &[u8], now_us: u64) {
        let Some(active) = self.active(id) else {
            return self.end_read(id, key, LoadEnd::Unknown, now_us);
        };
        let db = active.registration.db;
        if self.reads_through(db, key) != Some(id) {
            return self.end_read(id, key, LoadEnd::Unknown, now_us);
        }
        match self.read_standing(db, key) {
            Standing::Clean => self.reads.queue(id, key),
            Standing::Dirty => self.hold_read(id, db, key, now_us),
            Standing::Removed => self.end_read(id, key, LoadEnd::Unknown, now_us),
            Standing::Refused(error) => self.end_read(id, key, LoadEnd::Failed(error), now_us),
        }
    }
}
