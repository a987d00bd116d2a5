//! Current errors: a failed link, a namespace that refuses writes, changes that became dead letters.
//! An error is reported as long as it delays any key, and logged at most once a minute for each
//! prefix.

use std::sync::Arc;

use super::trouble::TroubleLine;
use super::{Backlog, FlushScope};
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;

/// At most one line per registration is logged in this time, microseconds.
const LOG_EVERY_US: u64 = 60_000_000;

impl Backlog {
    /// Records that `id` backs off because of `error`.
    pub fn back_off(&mut self, id: RegistrationId, error: &str) {
        let Some(active) = self.active_mut(id) else { return };
        let trouble = &mut active.trouble;
        error.clone_into(&mut trouble.backoff);
        trouble.unlogged_backoff = !trouble.logged_backoff;
        if trouble.unlogged_backoff {
            self.wants_line(id);
        }
        self.backing_off.insert(id);
        self.last_trouble = Some(id);
    }

    /// Ends the back-off of `id`: a batch of it was acknowledged.
    pub(super) fn end_back_off(&mut self, id: RegistrationId) {
        self.link_error.clear();
        self.backing_off.remove(&id);
        let Some(active) = self.active_mut(id) else { return };
        let trouble = &mut active.trouble;
        trouble.backoff.clear();
        trouble.unlogged_backoff = trouble.logged_backoff;
        if trouble.unlogged_backoff {
            self.wants_line(id);
        }
    }

    /// Ends the back-off of `id`, which has new options: errors of the old ones no longer count.
    pub(super) fn reset_back_off(&mut self, id: RegistrationId) {
        self.backing_off.remove(&id);
        if let Some(active) = self.active_mut(id) {
            active.trouble.backoff.clear();
        }
    }

    /// Records that `key`, which belongs to `id`, became a dead letter.
    pub(super) fn has_letter(&mut self, id: RegistrationId, key: &[u8]) {
        let Some(active) = self.active_mut(id) else { return };
        active.trouble.refused.clear();
        active.trouble.refused.extend_from_slice(key);
        active.trouble.unlogged_letters += 1;
        self.last_trouble = Some(id);
        self.wants_line(id);
    }

    /// True if a line can be logged at `now_us`.
    pub(super) fn has_trouble_line(&self, now_us: u64) -> bool {
        self.trouble_lines.first().is_some_and(|(due_us, _)| *due_us <= now_us)
    }

    /// The next line to log at `now_us`.
    pub fn trouble_line(&mut self, now_us: u64) -> Option<TroubleLine> {
        while self.has_trouble_line(now_us) {
            let (_, number) = self.trouble_lines.pop_first()?;
            let reason = self.letter_reason(number).to_owned();
            let Some(active) = self.active_mut(number).filter(|active| active.trouble.waits) else {
                continue;
            };
            let trouble = &mut active.trouble;
            trouble.waits = false;
            let backs_off = !trouble.backoff.is_empty();
            let backoff = std::mem::take(&mut trouble.unlogged_backoff).then(|| match backs_off {
                true => Err(trouble.backoff.clone()),
                false => Ok(()),
            });
            // The back-off may have begun and ended meanwhile.
            let backoff = backoff.filter(|_| backs_off != trouble.logged_backoff);
            trouble.logged_backoff = backs_off;
            let letters = std::mem::take(&mut trouble.unlogged_letters);
            if letters > 0 || backoff.is_some() {
                trouble.logged_us = Some(now_us);
                let registration = Arc::clone(&active.registration);
                return Some(TroubleLine { registration, letters, reason, backoff });
            }
        }
        None
    }

    /// What delays the dirty keys of `id`; empty if nothing does.
    pub(super) fn obstacle(&self, id: RegistrationId) -> &str {
        if self.dirty.queue(id).dirty() == 0 {
            return "";
        }
        match (self.link_trouble(), self.active(id)) {
            ("", Some(active)) if active.trouble.backoff.is_empty() => {
                let held = || self.dirty.has_held(id).then(|| self.held_because());
                self.blocked.reason_of(id).or_else(held).unwrap_or_default()
            }
            ("", Some(active)) => &active.trouble.backoff,
            (why, _) => why,
        }
    }

    /// Why the link is down, or failed last: on some links pings succeed and every write fails.
    fn link_trouble(&self) -> &str {
        if self.link.name() == "down" { self.link.error() } else { &self.link_error }
    }

    /// The current error of `id`: what delays it, or the reason of its last dead letter.
    pub fn error_of(&self, id: RegistrationId) -> &str {
        let obstacle = self.obstacle(id);
        if obstacle.is_empty() { self.letter_reason(id) } else { obstacle }
    }

    /// The current error; empty if there is none.
    pub fn last_error(&self) -> &str {
        if self.link.name() == "down" || !self.dirty.is_empty() && !self.link_error.is_empty() {
            return self.link_trouble();
        }
        let ids = self.last_trouble.into_iter().chain(self.registry.ids());
        ids.map(|id| self.error_of(id)).find(|error| !error.is_empty()).unwrap_or_default()
    }

    /// Registrations with dirty keys that back off, each with the reason.
    pub fn backing_off(&self) -> impl Iterator<Item = (&Registration, &str)> {
        let waits = |number: &&RegistrationId| self.dirty.queue(**number).dirty() > 0;
        let ids = self.backing_off.iter().filter(waits).filter_map(|number| self.active(*number));
        ids.filter(|active| !active.trouble.backoff.is_empty())
            .map(|active| (&*active.registration, active.trouble.backoff.as_str()))
    }

    /// Registrations with dead letters: their number, and the reason of the last one.
    pub fn refused(&self) -> impl Iterator<Item = (&Registration, usize, &str)> {
        let ids = self.registry.ids().filter(|id| self.dead.count(*id) > 0);
        ids.filter_map(|number| {
            let registration = &*self.active(number)?.registration;
            Some((registration, self.dead.count(number), self.letter_reason(number)))
        })
    }

    /// Why keys of `scope` are still dirty, in one sentence.
    pub fn why_pending(&self, scope: FlushScope<'_>) -> String {
        let ids: Vec<RegistrationId> = match scope {
            FlushScope::All => self.registry.ids().collect(),
            FlushScope::Registration(id) => vec![id],
            FlushScope::Keys(db, keys) => {
                keys.iter().filter_map(|key| self.dirty.id_of(db, key)).collect()
            }
        };
        let dirty = |id: &&RegistrationId| self.dirty.queue(**id).dirty() > 0;
        let (mut paused, mut others) = (0, 0);
        for id in ids.iter().filter(dirty) {
            match self.is_paused(*id) {
                true => paused += 1,
                false => others += 1,
            }
        }
        const PAUSED: &str = "writing is paused: WB.RESUME restarts it";
        if paused > 0 && others == 0 {
            return PAUSED.to_owned();
        }
        let obstacles = ids.iter().filter(|id| !self.is_paused(**id));
        let obstacle = obstacles.map(|id| self.obstacle(*id)).find(|why| !why.is_empty());
        match obstacle {
            Some(why) => why.to_owned(),
            None if paused > 0 => PAUSED.to_owned(),
            None if ids.iter().any(|id| self.dirty.has_missed(*id)) => {
                "changes were missed past dirty-max-bytes: a scan must find them first".to_owned()
            }
            None if !self.handovers.is_empty() => {
                "another node of the cluster has the hash slots of these keys, and has not taken them over yet"
                    .to_owned()
            }
            None => "MongoDB has not acknowledged them yet".to_owned(),
        }
    }

    /// The reason of the last dead letter of `id`; empty if it has none.
    fn letter_reason(&self, number: RegistrationId) -> &str {
        let Some(active) = self.active(number).filter(|_| self.dead.count(number) > 0) else {
            return "";
        };
        let Registration { db, prefix, .. } = &*active.registration;
        let last = self
            .dead
            .find(*db, &active.trouble.refused)
            .filter(|last| last.registration_id == number);
        let letter = last.or_else(|| self.dead.first_of(number, *db, prefix));
        letter.map_or("", |letter| &letter.reason)
    }

    fn wants_line(&mut self, number: RegistrationId) {
        let Some(active) = self.active_mut(number).filter(|active| !active.trouble.waits) else {
            return;
        };
        active.trouble.waits = true;
        let due_us = active.trouble.logged_us.map_or(0, |logged_us| logged_us + LOG_EVERY_US);
        self.trouble_lines.insert((due_us, number));
    }
}
