//! The backlog's state as saved in the RDB, and its transitions when data is loaded or the role
//! changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reads::LoadEnd;
use super::{ActiveRegistration, Backlog};
use crate::core::backlog::record::{Record, SavedKey};
use crate::core::backlog::table::{DirtyKey, Missed};
use crate::core::ids::{Db, RegistrationId};

/// The error of clients whose keys are not loaded any more.
const OTHER_DATA: &str =
    "WBDOWN the server has loaded other data or has another role: send the command again";

impl Backlog {
    /// True if there is nothing to save, so that the RDB can be loaded without the module. Without a
    /// registration no change is recorded.
    pub fn is_blank(&self) -> bool {
        !self.paused && self.registry.len() == 0 && self.dead.is_empty()
    }

    /// Passes every record to `save`: registrations before the records that refer to them.
    pub fn save(&mut self, now_us: u64, mut save: impl FnMut(Record<'_>)) {
        self.fold(now_us);
        if self.paused {
            save(Record::Paused);
        }
        if let Some(shard) = self.lease.shard() {
            save(Record::Lease(shard.clone()));
        }
        for number in self.registry.ids() {
            let Some(active) = self.active(number) else { continue };
            save(Record::Registration {
                registration_id: number,
                live: active.live,
                discards: active.discards,
                sync_pending: active.sync_pending,
                paused: active.paused,
                missed: self.dirty.missed(number),
                registration: active.registration.as_ref().clone(),
            });
        }
        for (of, stamp) in self.revisions.iter() {
            save(Record::Revision(of.clone(), *stamp));
        }
        for (id, load) in self.loads.pending() {
            save(Record::Load {
                registration_id: id,
                documents: load.figures.documents,
                after: load.after.clone(),
                options: load.options.clone(),
            });
        }
        for (registration_id, every_s) in self.verifies.every() {
            save(Record::Verify { registration_id, every_s });
        }
        for (id, stamps) in self.sharing.saved() {
            save(Record::Sharing { registration_id: id, stamps });
        }
        if !self.sessions.present().is_empty() {
            save(Record::Sessions(self.sessions.present().to_vec()));
        }
        for key in self.dirty.keys() {
            let saved = SavedKey {
                registration_id: key.registration_id,
                db: key.db,
                kind: key.kind,
                since_us: key.since_us,
                key: key.key,
                retained: key.retained.cloned(),
            };
            save(Record::Key(saved, key.group));
        }
        for (db, key, letter) in self.dead.iter() {
            save(Record::Dead { db, key, letter: letter.clone() });
        }
    }

    /// Clears all state that is saved with the data; registrations of the file are kept. Reports of
    /// batches in flight are ignored from now on.
    pub fn clear(&mut self) {
        self.log.clear();
        self.dirty.clear();
        self.begin_epoch();
        for id in self.rescans().collect::<Vec<RegistrationId>>() {
            self.dirty.set_missed(id, Missed::default());
        }
        self.dead = Default::default();
        self.watched_letters = Default::default();
        self.resume(None);
        self.announced = None;
        self.announced_left.clear();
        self.lease.clear();
        self.revisions = Default::default();
        self.loads.clear();
        self.verifies.clear();
        self.loaded_ids.clear();
        self.loaded_groups.clear();
        for id in self.registry.ever() {
            let Some(active) = self.active(id).filter(|active| !active.from_file) else {
                continue;
            };
            let registration = Arc::clone(&active.registration);
            self.registry.stop_routing(registration.db, &registration.prefix);
            self.sharing.leave(id);
            if let Some(active) = self.active_mut(id) {
                active.live = false;
            }
            self.changed_registration(id);
            self.retire_if_done(id);
        }
        self.sharing.begin_load();
    }

    /// Adds one saved record. Call [`clear`](Self::clear) before the first.
    ///
    /// Times after `now_us` are set to `now_us`: the clock of the server that saved them may have
    /// been ahead of this one, and a change in the future would become due, and end a flush, too
    /// late.
    pub fn load(&mut self, record: Record<'_>, now_us: u64) {
        match record {
            Record::Paused => self.pause(None),
            Record::Sessions(sessions) => self.sessions.set(sessions, false),
            Record::Lease(shard) => self.lease.load(shard),
            Record::Revision(of, stamp) => self.revisions.set(of, stamp),
            Record::Registration {
                registration_id: saved,
                live,
                discards,
                sync_pending,
                paused,
                missed,
                registration,
            } => {
                let (db, prefix) = (registration.db, registration.prefix.clone());
                let Some(id) = self.bind(registration) else { return };
                self.loaded_ids.insert(saved, id);
                self.dirty.set_missed(id, missed.until(now_us));
                if !live {
                    self.registry.stop_routing(db, &prefix);
                    self.sharing.leave(id);
                }
                if let Some(active) = self.active_mut(id) {
                    active.live = live;
                    active.discards = discards;
                    active.sync_pending = sync_pending;
                    active.paused = paused;
                }
                self.changed_registration(id);
            }
            Record::Load { registration_id: id, documents, after, options } => {
                if let Some(id) = self.loaded_ids.get(&id).copied() {
                    self.restore_load(id, options, documents, &after);
                }
            }
            Record::Verify { registration_id: id, every_s } => {
                if let Some(id) = self.loaded_ids.get(&id).copied() {
                    self.verifies.set_every(id, every_s);
                }
            }
            Record::Sharing { registration_id: id, stamps } => {
                if let Some(id) = self.loaded_ids.get(&id).copied() {
                    self.sharing.load(id, stamps);
                }
            }
            Record::Key(saved, group) => {
                let SavedKey { registration_id: id, db, kind, since_us, key, retained } = saved;
                if let Some(id) = self.loaded_ids.get(&id).copied() {
                    let (retained, since_us) = (retained.as_ref(), since_us.min(now_us));
                    let registration_id = id;
                    let key =
                        DirtyKey { db, registration_id, kind, since_us, key, retained, group };
                    let entry = self.dirty.load(key);
                    if let Some((group, entry)) = group.zip(entry) {
                        match self.loaded_groups.get(&group) {
                            Some(first) => self.dirty.join(*first, entry),
                            None => drop(self.loaded_groups.insert(group, entry)),
                        }
                    }
                }
            }
            Record::Dead { db, key, mut letter } => {
                if let Some(id) = self.loaded_ids.get(&letter.registration_id).copied() {
                    letter.registration_id = id;
                    letter.unix_ms = letter.unix_ms.min(now_us / 1000);
                    self.dead.replace(db, key, letter);
                    self.watch_letter(db, key);
                }
            }
        }
    }

    /// Begins an epoch after the role has changed or data was loaded: reports of batches in flight
    /// are ignored from now on.
    pub(super) fn begin_epoch(&mut self) {
        self.changed = true;
        self.waiters.abandon();
        self.dirty.end_flights();
        self.blocked.clear();
        self.indeterminate = Default::default();
        self.contested = Default::default();
        self.link_error.clear();
        self.handovers.begin_epoch();
        self.loads.begin_epoch();
        self.end_reads(None, &LoadEnd::Failed(OTHER_DATA.to_owned()), 0);
        self.reads.begin_epoch();
        self.writes_begin_epoch();
        self.verifies.begin_epoch();
        self.in_flight.begin_epoch();
    }

    /// A digest of the dirty keys: equal for two backlogs with the same dirty keys.
    pub fn digest(&mut self, now_us: u64) -> u64 {
        self.fold(now_us);
        self.dirty.digest()
    }

    /// The dirty keys of `db`, or of all databases, and the keys with dead letters, whose values
    /// exist only in Redis.
    pub fn unretained(&mut self, db: Option<Db>, now_us: u64) -> Vec<(Db, Vec<u8>)> {
        self.fold(now_us);
        let keys = self
            .dirty
            .keys()
            .filter(|key| key.retained.is_none() && db.is_none_or(|db| db == key.db))
            .map(|key| (key.db, key.key.to_vec()));
        let letters = self
            .dead
            .iter()
            .filter(|(of, key, _)| db.is_none_or(|db| db == *of) && self.is_refused(*of, key))
            .map(|(db, key, _)| (db, key.to_vec()));
        keys.chain(letters).collect()
    }

    /// The logical databases of the keys, dirty or with dead letters, whose values exist only in
    /// Redis.
    pub fn unretained_dbs(&mut self, now_us: u64) -> BTreeSet<Db> {
        self.fold(now_us);
        let keys = self.dirty.keys().filter(|key| key.retained.is_none()).map(|key| key.db);
        let letters = self.dead.iter().filter(|(db, key, _)| self.is_refused(*db, key));
        keys.chain(letters.map(|(db, ..)| db)).collect()
    }

    /// Sets whether existing keys are still to be marked as dirty.
    pub(super) fn set_sync_pending(&mut self, id: RegistrationId, pending: bool) {
        if let Some(active) = self.active_mut(id) {
            active.sync_pending = pending;
        }
        self.registry.changed(id);
    }

    /// Marks a registration as one of the file, which is kept when data is loaded.
    pub fn set_from_file(&mut self, id: RegistrationId) {
        if let Some(active) = self.active_mut(id) {
            active.from_file = true;
        }
    }

    /// The registration of a key that is dirty, may be dirty or has a dead letter, for retaining
    /// its value. Includes keys of draining registrations, which are no longer routed.
    pub fn active_of_key(
        &mut self,
        db: Db,
        key: &[u8],
        clock: impl FnOnce() -> u64,
    ) -> Option<&ActiveRegistration> {
        self.fold_logged(clock);
        let letter = || self.dead.find(db, key).map(|letter| letter.registration_id);
        let id = self.dirty.id_of(db, key).or_else(|| self.maybe_missed(db, key));
        self.active(id.or_else(letter)?)
    }
}
