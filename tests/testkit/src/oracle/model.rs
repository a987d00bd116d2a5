//! The documents that MongoDB may have for a key, given the observed states of the key.

use std::collections::VecDeque;

use mongodb::bson::Document;

use super::observe::{Became, Seen};
use super::place::{OnRemoval, Place};

/// How many of a key's last commands a difference is reported with.
const LOGGED: usize = 12;

/// How a key was removed. Several are set if the observation cannot distinguish them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    pub deleted: bool,
    pub expired: bool,
    pub flushed: bool,
    /// Its last value was not observed.
    pub unseen: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Now {
    /// Unchanged since the last check.
    Settled,
    Exists(Document),
    Unwritable,
    Removed(Removal),
}

/// One key of a registration, since the last check.
#[derive(Debug)]
pub struct Key {
    /// The document in MongoDB at the last check.
    base: Option<Document>,
    /// Documents that it may have had since; `None` where it may have been deleted.
    possible: Vec<Option<Document>>,
    now: Now,
    /// The newest document of the key.
    last: Option<Document>,
    /// The last observation; `None` if the key never existed.
    seen: Option<Seen>,
    /// Its change may have become a dead letter, and no later value was written.
    pub refused: bool,
    /// SWAPDB may have put an unregistered key in its place, which expired there.
    may_be_deleted_by_swap: bool,
    log: VecDeque<String>,
}

impl Key {
    pub fn new() -> Self {
        Key {
            base: None,
            possible: Vec::new(),
            now: Now::Settled,
            last: None,
            seen: None,
            refused: false,
            may_be_deleted_by_swap: false,
            log: VecDeque::new(),
        }
    }

    /// Logs a command, to be reported with a difference.
    pub fn note(&mut self, what: &str) {
        if self.log.len() == LOGGED {
            self.log.pop_front();
        }
        self.log.push_back(what.to_owned());
    }

    pub fn log(&self) -> impl Iterator<Item = &String> {
        self.log.iter()
    }

    fn existed(&self) -> bool {
        self.seen.as_ref().is_some_and(Seen::exists)
    }

    /// The observation before a command: only expiry can have changed the key since the last one.
    pub fn before(&mut self, place: &Place, seen: Seen) {
        if self.existed() && !seen.exists() {
            // If it was the last field of a hash that expired, the key was deleted.
            let fields = self.seen.as_ref().is_some_and(|seen| seen.kind == "hash");
            self.remove(
                place,
                Removal { expired: true, deleted: fields, unseen: fields, ..Removal::default() },
            );
        } else if seen.exists() && self.seen.as_ref() != Some(&seen) {
            self.put(place, seen.became(place));
        }
        self.seen = Some(seen);
    }

    /// The observation after a command. `unseen`: a value may have been set and removed in between.
    pub fn after(&mut self, place: &Place, seen: Seen, past: bool, unseen: bool) {
        if seen.exists() {
            if self.seen.as_ref() != Some(&seen) || self.now != Now::Settled {
                self.put(place, seen.became(place));
            }
        } else if self.existed() {
            let expired = past || unseen;
            self.remove(place, Removal { deleted: true, expired, unseen, ..Removal::default() });
        } else if past || unseen {
            self.remove(
                place,
                Removal { deleted: true, expired: true, unseen: true, ..Removal::default() },
            );
        }
        self.seen = Some(seen);
    }

    /// The key existed, perhaps unobserved, and was deleted.
    pub fn emptied(&mut self, place: &Place) {
        self.remove(place, Removal { deleted: true, ..Removal::default() });
    }

    fn put(&mut self, place: &Place, became: Became) {
        match became {
            Became::Document(document) => {
                self.possible.push(Some(document.clone()));
                self.last = Some(document.clone());
                self.now = Now::Exists(document);
                self.refused = false;
            }
            Became::Unwritable => {
                self.now = Now::Unwritable;
                self.refused = true;
            }
            // A key of another type counts as deleted.
            Became::WrongType | Became::Nothing => {
                self.remove(place, Removal { deleted: true, ..Removal::default() });
            }
        }
    }

    fn remove(&mut self, place: &Place, removal: Removal) {
        let deletes = (removal.deleted && place.on_delete == OnRemoval::Delete)
            || (removal.expired && place.on_expire == OnRemoval::Delete);
        if deletes {
            self.possible.push(None);
        }
        let removal = match self.now {
            // Its document was deleted before.
            Now::Removed(before) if before.deleted && !removal.deleted => before,
            _ => removal,
        };
        self.now = Now::Removed(removal);
    }

    /// FLUSHDB, FLUSHALL.
    pub fn flushed(&mut self, place: &Place) {
        let Some(seen) = self.seen.take() else { return };
        if matches!(self.now, Now::Exists(_) | Now::Unwritable) {
            // It may have expired just before.
            let expired = place.timed && seen.expire_ms >= 0;
            let unseen = place.timed && seen.kind == "hash";
            self.remove(place, Removal { flushed: true, expired, unseen, ..Removal::default() });
        }
    }

    /// SWAPDB: another key may now have this name, and be written to this key's document where a
    /// deletion keeps the document. If that key expires, it may delete the document. `misreports`:
    /// the server may have reported this key for one that was copied between other databases.
    pub fn swapped(&mut self, place: &Place, misreports: bool) {
        self.may_be_deleted_by_swap |= place.timed && place.on_expire == OnRemoval::Delete;
        let exists = self.existed();
        match &mut self.now {
            Now::Removed(removal) => {
                removal.unseen |= place.on_delete == OnRemoval::Keep || !removal.deleted
            }
            Now::Settled if misreports && !exists => {
                self.now = Now::Removed(Removal { unseen: true, ..Removal::default() });
            }
            _ => {}
        }
    }

    /// True if MongoDB may have this document (without its key field) now. `lossy`: `lost_total`
    /// grew, so last values may be missing.
    pub fn allows(&self, place: &Place, found: Option<&Document>, lossy: bool) -> bool {
        match &self.now {
            _ if self.may_be_deleted_by_swap && found.is_none() => true,
            Now::Settled => found == self.base.as_ref(),
            Now::Exists(document) => self.holds(place, document, found),
            Now::Unwritable => true,
            Now::Removed(removal) => {
                let of = |applies: bool, how: OnRemoval, kept: &dyn Fn() -> bool| {
                    applies
                        && match how {
                            OnRemoval::Delete => found.is_none(),
                            OnRemoval::Keep => kept(),
                        }
                };
                let any = || self.was_possible(found);
                let last = || match &self.last {
                    Some(last) => self.holds(place, last, found) || (lossy && any()),
                    None if lossy => any(),
                    None => found == self.base.as_ref(),
                };
                self.refused
                    || removal.unseen
                    || of(removal.deleted, place.on_delete, &any)
                    || of(removal.expired, place.on_expire, &last)
                    || of(removal.flushed, OnRemoval::Keep, &last)
            }
        }
    }

    fn was_possible(&self, found: Option<&Document>) -> bool {
        found == self.base.as_ref() || self.possible.iter().any(|one| one.as_ref() == found)
    }

    /// True if `found` is the document, or with MERGE the document with fields of earlier values.
    fn holds(&self, place: &Place, document: &Document, found: Option<&Document>) -> bool {
        let Some(found) = found else { return false };
        if !place.merge {
            return found == document;
        }
        let had = |one: &Document, name: &str| one.get(name) == found.get(name);
        let was = |name: &str| {
            self.base.as_ref().is_some_and(|base| had(base, name))
                || self.possible.iter().flatten().any(|one| had(one, name))
        };
        let deleted = self.possible.contains(&None);
        let base = self.base.iter().flat_map(|base| base.keys());
        document.keys().all(|name| had(document, name))
            && found.keys().all(|name| document.contains_key(name) || was(name))
            && (deleted || base.into_iter().all(|name| found.contains_key(name)))
    }

    /// A description of the expected document.
    pub fn expected(&self) -> String {
        format!("{:?}; at the last check {:?}", self.now, self.base)
    }

    /// Takes the document in MongoDB as the base of the next check.
    pub fn settle(&mut self, found: Option<Document>) {
        let deleted = self.may_be_deleted_by_swap && found.is_none();
        self.may_be_deleted_by_swap = false;
        self.base = found;
        self.possible.clear();
        if deleted || matches!(self.now, Now::Removed(_)) {
            self.now = Now::Settled;
        }
    }
}
