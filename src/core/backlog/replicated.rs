//! Applies internal commands of the replication stream and the AOF.

use super::{Backlog, Refused, Scanned};
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::stream_words::StreamCommand;
use crate::core::ids::Db;
use crate::core::now::Now;

impl Backlog {
    /// Applies a command of the stream about keys in `db`. [`StreamCommand::Gone`] changes nothing
    /// here: it needs the key's value, so the caller handles it with [`removed`](Backlog::removed).
    pub fn apply(&mut self, db: Db, command: StreamCommand<'_>, now: Now) {
        // Changes that precede the command in the stream are applied first.
        self.fold(now.us);
        // One DEL follows all of its keys.
        if !matches!(command, StreamCommand::Left(_)) {
            self.announced_left.clear();
        }
        match command {
            StreamCommand::Clean(keys) => keys.iter().for_each(|key| self.forget(db, key)),
            StreamCommand::Dead { key, prefix, mut letter, again } => {
                // The master's clock may be ahead of this one.
                letter.unix_ms = letter.unix_ms.min(now.unix_ms);
                let (key, prefix) = (key.to_vec(), prefix.to_vec());
                self.apply_dead_letter(Refused { db, key, prefix, letter, again });
            }
            StreamCommand::Gone { .. } => {}
            StreamCommand::Left(key) => {
                self.left((db, key), now.us);
                self.announced_left.insert((db, key.to_vec()));
            }
            StreamCommand::Sessions(sessions) => self.sessions.set(sessions, false),
            StreamCommand::Lease(shard) => self.lease.load(shard),
            StreamCommand::Revision(prefix, stamp) => self.replicated_stamp(db, prefix, stamp),
            // The caller stores them.
            StreamCommand::Loaded(_) => {}
            StreamCommand::Loading { prefix, documents, after } => {
                if let Some(id) = self.registry.find(db, prefix) {
                    self.load_progress(id, documents, after);
                }
            }
            StreamCommand::Scan(prefix) => {
                if let Some(id) = self.registry.find(db, prefix) {
                    self.begin_scan(id);
                }
            }
            // Marked as changes, not as found: a key without room counts as missed after the begin of
            // the scan, and so is not considered found at its end.
            StreamCommand::Mark { prefix, keys } => {
                if let Some(id) = self.registry.find(db, prefix) {
                    for key in keys {
                        self.found(id, key, ChangeKind::Changed, now.us);
                    }
                    self.fold(now.us);
                    self.scanned(id, Scanned { visited: 0, marked: keys.len() as u64 });
                }
            }
            StreamCommand::Synced(prefix) => {
                if let Some(id) = self.registry.find(db, prefix) {
                    self.end_scan(id, now.us);
                }
            }
        }
    }
}
