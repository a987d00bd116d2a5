//! Pausing: keys become dirty as ever and are not sent. What is in flight ends normally.

use super::Backlog;
use crate::core::ids::RegistrationId;

impl Backlog {
    /// Sends nothing more of the registration `id`, or nothing at all.
    pub fn pause(&mut self, id: Option<RegistrationId>) {
        match id {
            None => self.paused = true,
            Some(id) => self.set_paused(id, true),
        }
        self.changed = true;
        self.unpark_paused();
    }

    /// Ends the pause of the registration `id`; without one every pause there is.
    pub fn resume(&mut self, id: Option<RegistrationId>) {
        self.changed = true;
        if let Some(id) = id {
            return self.set_paused(id, false);
        }
        self.paused = false;
        self.registry.iter_mut().for_each(|active| active.paused = false);
        self.stir_all();
    }

    /// True while nothing of `id` is sent, because it or everything is paused.
    pub(super) fn is_paused(&self, id: RegistrationId) -> bool {
        self.paused || self.active(id).is_some_and(|active| active.paused)
    }

    /// Dirty keys that will be acknowledged without anybody ending a pause: all but those that
    /// wait in paused registrations.
    pub fn dirty_unpaused(&self) -> usize {
        self.registry
            .ids()
            .map(|id| {
                let queue = self.dirty.queue(id);
                if self.is_paused(id) { queue.in_flight } else { queue.dirty() }
            })
            .sum()
    }

    /// What an operator should know of pauses; nothing when there is none.
    pub fn pause_warning(&self) -> Option<String> {
        if self.paused {
            return Some("writing is paused: WB.RESUME restarts it".to_owned());
        }
        let paused = self.registry.iter().filter(|active| active.paused);
        let prefixes: Vec<String> = paused
            .map(|active| {
                let prefix = String::from_utf8_lossy(&active.registration.prefix);
                format!("'{prefix}' of database {}", active.registration.db)
            })
            .collect();
        let prefixes = (!prefixes.is_empty()).then(|| prefixes.join(", "))?;
        Some(format!("writing is paused for prefix {prefixes}: WB.RESUME"))
    }

    fn set_paused(&mut self, number: RegistrationId, paused: bool) {
        if let Some(active) = self.active_mut(number) {
            active.paused = paused;
            self.dirty.stir(number);
        }
    }
}
