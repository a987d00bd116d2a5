//! What goes wrong at the moment: a link that fails, a namespace that refuses, changes that became
//! dead letters. An error is shown as long as it holds anything up, and logged once a minute a
//! prefix at most.

use std::sync::Arc;

use super::{Backlog, FlushScope};
use crate::core::registration::Registration;

/// Each registration has a line in the log once in this time at most, microseconds.
const LOG_EVERY_US: u64 = 60_000_000;

/// The trouble of one registration.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Why its namespace rests, or why its keys cannot be read; empty when neither is so.
    rest: String,
    /// The key that was refused last.
    refused: Vec<u8>,
    /// Dead letters that the log does not have.
    unlogged_letters: u64,
    /// True when the log does not have that it rests, or that it rests no more.
    unlogged_rest: bool,
    /// True when the log has that it rests.
    logged_rest: bool,
    /// When its last line was logged.
    logged_us: Option<u64>,
    /// True while it waits for its next line.
    waits: bool,
}

/// What is to be logged of one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleLine {
    /// The registration.
    pub registration: Arc<Registration>,
    /// Dead letters since its last line.
    pub letters: u64,
    /// Why the last of them was refused.
    pub reason: String,
    /// That it rests, with the reason, or that it rests no more; nothing when that is known.
    pub rest: Option<Result<(), String>>,
}

impl Backlog {
    /// Nothing more of `slot` is sent for a while, because of `error`.
    pub fn rests(&mut self, slot: u16, error: &str) {
        let Some(bound) = self.slot_mut(slot) else { return };
        let trouble = &mut bound.trouble;
        error.clone_into(&mut trouble.rest);
        trouble.unlogged_rest = !trouble.logged_rest;
        if trouble.unlogged_rest {
            self.wants_line(slot);
        }
        self.resting.insert(slot);
        self.last_trouble = Some(slot);
    }

    /// A batch of `slot` was acknowledged.
    pub(super) fn rests_no_more(&mut self, slot: u16) {
        self.link_error.clear();
        self.resting.remove(&slot);
        let Some(bound) = self.slot_mut(slot) else { return };
        let trouble = &mut bound.trouble;
        trouble.rest.clear();
        trouble.unlogged_rest = trouble.logged_rest;
        if trouble.unlogged_rest {
            self.wants_line(slot);
        }
    }

    /// The registration in `slot` has new options: what was wrong with the old ones is over.
    pub(super) fn rests_anew(&mut self, slot: u16) {
        self.resting.remove(&slot);
        if let Some(bound) = self.slot_mut(slot) {
            bound.trouble.rest.clear();
        }
    }

    /// A change of `key`, which belongs to `slot`, is refused.
    pub(super) fn has_letter(&mut self, slot: u16, key: &[u8]) {
        let Some(bound) = self.slot_mut(slot) else { return };
        bound.trouble.refused.clear();
        bound.trouble.refused.extend_from_slice(key);
        bound.trouble.unlogged_letters += 1;
        self.last_trouble = Some(slot);
        self.wants_line(slot);
    }

    /// True when a line can be logged now.
    pub fn has_trouble_line(&self, now_us: u64) -> bool {
        self.trouble_lines.first().is_some_and(|(due_us, _)| *due_us <= now_us)
    }

    /// The next line to be logged now.
    pub fn trouble_line(&mut self, now_us: u64) -> Option<TroubleLine> {
        while self.has_trouble_line(now_us) {
            let (_, number) = self.trouble_lines.pop_first()?;
            let reason = self.letter_reason(number).to_owned();
            let Some(slot) = self.slot_mut(number).filter(|slot| slot.trouble.waits) else {
                continue;
            };
            let trouble = &mut slot.trouble;
            trouble.waits = false;
            let rests = !trouble.rest.is_empty();
            let rest = std::mem::take(&mut trouble.unlogged_rest).then(|| match rests {
                true => Err(trouble.rest.clone()),
                false => Ok(()),
            });
            // It may have begun and ended meanwhile.
            let rest = rest.filter(|_| rests != trouble.logged_rest);
            trouble.logged_rest = rests;
            let letters = std::mem::take(&mut trouble.unlogged_letters);
            if letters > 0 || rest.is_some() {
                trouble.logged_us = Some(now_us);
                let registration = Arc::clone(&slot.registration);
                return Some(TroubleLine { registration, letters, reason, rest });
            }
        }
        None
    }

    /// What holds up the dirty keys of `slot`; empty when nothing does.
    pub fn obstacle(&self, slot: u16) -> &str {
        if self.dirty.queue(slot).dirty() == 0 {
            return "";
        }
        match (self.link_trouble(), self.slot(slot)) {
            ("", Some(bound)) if bound.trouble.rest.is_empty() => {
                self.blocked.reason_of(slot).unwrap_or_default()
            }
            ("", Some(bound)) => &bound.trouble.rest,
            (why, _) => why,
        }
    }

    /// Why the link is down, or failed last: some links answer pings and fail every write.
    fn link_trouble(&self) -> &str {
        if self.link.name() == "down" { self.link.error() } else { &self.link_error }
    }

    /// What is wrong with `slot` now: what holds it up, or why its last change was refused.
    pub fn error_of(&self, slot: u16) -> &str {
        let obstacle = self.obstacle(slot);
        if obstacle.is_empty() { self.letter_reason(slot) } else { obstacle }
    }

    /// What is wrong now; empty when nothing is.
    pub fn last_error(&self) -> &str {
        if self.link.name() == "down" || !self.dirty.is_empty() && !self.link_error.is_empty() {
            return self.link_trouble();
        }
        let slots = self.last_trouble.into_iter().chain(self.registry.numbers());
        slots.map(|slot| self.error_of(slot)).find(|error| !error.is_empty()).unwrap_or_default()
    }

    /// Registrations whose keys wait because the namespace refuses, each with the reason.
    pub fn resting(&self) -> impl Iterator<Item = (&Registration, &str)> {
        let waits = |number: &&u16| self.dirty.queue(**number).dirty() > 0;
        let slots = self.resting.iter().filter(waits).filter_map(|number| self.slot(*number));
        slots
            .filter(|slot| !slot.trouble.rest.is_empty())
            .map(|slot| (&*slot.registration, slot.trouble.rest.as_str()))
    }

    /// Registrations with dead letters: how many each has, and why the last one was refused.
    pub fn refused(&self) -> impl Iterator<Item = (&Registration, usize, &str)> {
        let slots = self.registry.numbers().filter(|slot| self.dead.count(*slot) > 0);
        slots.filter_map(|number| {
            let registration = &*self.slot(number)?.registration;
            Some((registration, self.dead.count(number), self.letter_reason(number)))
        })
    }

    /// Why keys of `scope` are still dirty, in one sentence.
    pub fn why_pending(&self, scope: FlushScope<'_>) -> String {
        let slots: Vec<u16> = match scope {
            FlushScope::All => self.registry.numbers().collect(),
            FlushScope::Slot(slot) => vec![slot],
            FlushScope::Keys(db, keys) => {
                keys.iter().filter_map(|key| self.dirty.slot_of(db, key)).collect()
            }
        };
        let dirty = |slot: &&u16| self.dirty.queue(**slot).dirty() > 0;
        let (mut paused, mut others) = (0, 0);
        for slot in slots.iter().filter(dirty) {
            match self.is_paused(*slot) {
                true => paused += 1,
                false => others += 1,
            }
        }
        const PAUSED: &str = "writing is paused: WB.RESUME restarts it";
        if paused > 0 && others == 0 {
            return PAUSED.to_owned();
        }
        let obstacles = slots.iter().filter(|slot| !self.is_paused(**slot));
        let obstacle = obstacles.map(|slot| self.obstacle(*slot)).find(|why| !why.is_empty());
        match obstacle {
            Some(why) => why.to_owned(),
            None if paused > 0 => PAUSED.to_owned(),
            None if slots.iter().any(|slot| self.dirty.has_missed(*slot)) => {
                "changes were missed past dirty-max-bytes: a scan must find them first".to_owned()
            }
            None => "MongoDB has not acknowledged them yet".to_owned(),
        }
    }

    /// Why the last of the changes of `slot` that are dead letters now was refused.
    fn letter_reason(&self, number: u16) -> &str {
        let Some(slot) = self.slot(number).filter(|_| self.dead.count(number) > 0) else {
            return "";
        };
        let Registration { db, prefix, .. } = &*slot.registration;
        let last = self.dead.find(*db, &slot.trouble.refused).filter(|last| last.slot == number);
        let letter = last.or_else(|| self.dead.first_of(number, *db, prefix));
        letter.map_or("", |letter| &letter.reason)
    }

    fn wants_line(&mut self, number: u16) {
        let Some(slot) = self.slot_mut(number).filter(|slot| !slot.trouble.waits) else { return };
        slot.trouble.waits = true;
        let due_us = slot.trouble.logged_us.map_or(0, |logged_us| logged_us + LOG_EVERY_US);
        self.trouble_lines.insert((due_us, number));
    }
}
