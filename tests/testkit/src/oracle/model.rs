//! What MongoDB may hold of a key, by what was seen of it.

use std::collections::VecDeque;

use mongodb::bson::Document;

use super::observe::{Became, Seen};
use super::place::{Gone, Place};

/// Commands of a key that are told with a difference.
const TOLD: usize = 12;

/// How a key went. More than one holds when nobody can know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    pub deleted: bool,
    pub expired: bool,
    pub flushed: bool,
    /// With a value that nobody saw.
    pub unseen: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Now {
    /// As it was at the last check.
    Settled,
    There(Document),
    Unwritable,
    Gone(Ways),
}

/// One key of a registration, since the last check.
#[derive(Debug)]
pub struct Key {
    /// What MongoDB held at the last check.
    base: Option<Document>,
    /// Documents that it could have held since; nothing where it could have been deleted.
    possible: Vec<Option<Document>>,
    now: Now,
    /// The newest document that the key made.
    last: Option<Document>,
    /// What was seen last; nothing for a key that was never there.
    seen: Option<Seen>,
    /// Its change became a dead letter, perhaps, and nothing better was written since.
    pub refused: bool,
    /// A key that is not ours may have had the name, and expired under our registration.
    borrowed: bool,
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
            borrowed: false,
            log: VecDeque::new(),
        }
    }

    /// Remembers what happened, for whoever looks for the cause of a difference.
    pub fn note(&mut self, what: &str) {
        if self.log.len() == TOLD {
            self.log.pop_front();
        }
        self.log.push_back(what.to_owned());
    }

    pub fn told(&self) -> impl Iterator<Item = &String> {
        self.log.iter()
    }

    fn existed(&self) -> bool {
        self.seen.as_ref().is_some_and(Seen::exists)
    }

    /// What time alone made of the key: it is looked at before a command.
    pub fn before(&mut self, place: &Place, seen: Seen) {
        if self.existed() && !seen.exists() {
            // The last field of a hash may have been over: that deletes the key.
            let fields = self.seen.as_ref().is_some_and(|seen| seen.kind == "hash");
            self.gone(
                place,
                Ways { expired: true, deleted: fields, unseen: fields, ..Ways::default() },
            );
        } else if seen.exists() && self.seen.as_ref() != Some(&seen) {
            self.there(place, seen.became(place));
        }
        self.seen = Some(seen);
    }

    /// What a command made of it. `unseen` is set when a value may have come and gone in between.
    pub fn after(&mut self, place: &Place, seen: Seen, past: bool, unseen: bool) {
        if seen.exists() {
            if self.seen.as_ref() != Some(&seen) || self.now != Now::Settled {
                self.there(place, seen.became(place));
            }
        } else if self.existed() {
            let expired = past || unseen;
            self.gone(place, Ways { deleted: true, expired, unseen, ..Ways::default() });
        } else if past || unseen {
            self.gone(
                place,
                Ways { deleted: true, expired: true, unseen: true, ..Ways::default() },
            );
        }
        self.seen = Some(seen);
    }

    /// It was there, perhaps unseen, and is deleted.
    pub fn emptied(&mut self, place: &Place) {
        self.gone(place, Ways { deleted: true, ..Ways::default() });
    }

    fn there(&mut self, place: &Place, became: Became) {
        match became {
            Became::Document(document) => {
                self.possible.push(Some(document.clone()));
                self.last = Some(document.clone());
                self.now = Now::There(document);
                self.refused = false;
            }
            Became::Unwritable => {
                self.now = Now::Unwritable;
                self.refused = true;
            }
            // A key of another type counts as deleted.
            Became::Foreign | Became::Nothing => {
                self.gone(place, Ways { deleted: true, ..Ways::default() });
            }
        }
    }

    fn gone(&mut self, place: &Place, ways: Ways) {
        let deletes = (ways.deleted && place.on_delete == Gone::Delete)
            || (ways.expired && place.on_expire == Gone::Delete);
        if deletes {
            self.possible.push(None);
        }
        let ways = match self.now {
            // It was deleted before, as far as its document goes.
            Now::Gone(before) if before.deleted && !ways.deleted => before,
            _ => ways,
        };
        self.now = Now::Gone(ways);
    }

    /// FLUSHDB, FLUSHALL.
    pub fn flushed(&mut self, place: &Place) {
        let Some(seen) = self.seen.take() else { return };
        if matches!(self.now, Now::There(_) | Now::Unwritable) {
            // Its time may have been over just before.
            let expired = place.timed && seen.expire_ms >= 0;
            let unseen = place.timed && seen.kind == "hash";
            self.gone(place, Ways { flushed: true, expired, unseen, ..Ways::default() });
        }
    }

    /// SWAPDB: another key may have the name now, and be taken for this one when its deletion was
    /// to leave the document. If it is a copy whose time runs out, it takes the document along.
    /// `misnames` when the server may have named this key for one that moved between others.
    pub fn swapped(&mut self, place: &Place, misnames: bool) {
        self.borrowed |= place.timed && place.on_expire == Gone::Delete;
        let is_there = self.existed();
        match &mut self.now {
            Now::Gone(ways) => ways.unseen |= place.on_delete == Gone::Keep || !ways.deleted,
            Now::Settled if misnames && !is_there => {
                self.now = Now::Gone(Ways { unseen: true, ..Ways::default() });
            }
            _ => {}
        }
    }

    /// Whether that document, without its key, is one that MongoDB may hold now. `lossy` when the
    /// server may not have told of an expiry in time.
    pub fn allows(&self, place: &Place, found: Option<&Document>, lossy: bool) -> bool {
        match &self.now {
            _ if self.borrowed && found.is_none() => true,
            Now::Settled => found == self.base.as_ref(),
            Now::There(document) => self.holds(place, document, found),
            Now::Unwritable => true,
            Now::Gone(ways) => {
                let of = |gone: bool, how: Gone, kept: &dyn Fn() -> bool| {
                    gone && match how {
                        Gone::Delete => found.is_none(),
                        Gone::Keep => kept(),
                    }
                };
                let any = || self.was_possible(found);
                let last = || match &self.last {
                    Some(last) => self.holds(place, last, found) || (lossy && any()),
                    None if lossy => any(),
                    None => found == self.base.as_ref(),
                };
                self.refused
                    || ways.unseen
                    || of(ways.deleted, place.on_delete, &any)
                    || of(ways.expired, place.on_expire, &last)
                    || of(ways.flushed, Gone::Keep, &last)
            }
        }
    }

    fn was_possible(&self, found: Option<&Document>) -> bool {
        found == self.base.as_ref() || self.possible.iter().any(|one| one.as_ref() == found)
    }

    /// The document of that value: the same, or with fields of earlier values.
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

    /// What it should be, in words.
    pub fn expected(&self) -> String {
        format!("{:?}; at the last check {:?}", self.now, self.base)
    }

    /// MongoDB was right: from here on.
    pub fn settle(&mut self, found: Option<Document>) {
        let deleted = self.borrowed && found.is_none();
        self.borrowed = false;
        self.base = found;
        self.possible.clear();
        if deleted || matches!(self.now, Now::Gone(_)) {
            self.now = Now::Settled;
        }
    }
}
