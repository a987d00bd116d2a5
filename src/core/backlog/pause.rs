//! Pausing: changes are captured and not sent. Batches in flight end normally.

use super::Backlog;
use crate::core::ids::RegistrationId;
use crate::core::registration::printable::printable;

impl Backlog {
    /// Pauses the registration `id`, or with `None` all registrations.
    pub fn pause(&mut self, id: Option<RegistrationId>) {
        match id {
            None => self.paused = true,
            Some(id) => self.set_paused(id, true),
        }
        self.changed = true;
        self.unpark_paused();
    }

    /// Resumes the registration `id`, or with `None` all registrations.
    pub fn resume(&mut self, id: Option<RegistrationId>) {
        self.changed = true;
        self.dirty.release_held();
        if let Some(id) = id {
            return self.set_paused(id, false);
        }
        self.paused = false;
        self.registry.iter_mut().for_each(|active| active.paused = false);
        self.reschedule_all();
    }

    /// Pauses or resumes all registrations together; those that are paused by themselves stay so.
    pub fn set_all_paused(&mut self, paused: bool) {
        self.changed = true;
        self.paused = paused;
        if paused {
            self.unpark_paused();
        } else {
            self.dirty.release_held();
            self.reschedule_all();
        }
    }

    /// True if all registrations are paused together.
    pub fn all_paused(&self) -> bool {
        self.paused
    }

    /// True if `id` is paused, by itself or with all registrations.
    pub(super) fn is_paused(&self, id: RegistrationId) -> bool {
        self.paused || self.active(id).is_some_and(|active| active.paused)
    }

    /// Number of dirty keys that do not wait for WB.RESUME: all but those that wait in paused
    /// registrations, or with a group that does.
    pub fn dirty_unpaused(&self) -> usize {
        let unpaused: usize = self
            .registry
            .ids()
            .map(|id| {
                let queue = self.dirty.queue(id);
                if self.is_paused(id) { queue.in_flight } else { queue.dirty() }
            })
            .sum();
        unpaused - self.dirty.held_for_good().count()
    }

    /// A warning for the operator that names what is paused; `None` if nothing is.
    pub fn pause_warning(&self) -> Option<String> {
        if self.paused {
            return Some("writing is paused: WB.RESUME restarts it".to_owned());
        }
        let paused = self.registry.iter().filter(|active| active.paused);
        let prefixes: Vec<String> = paused
            .map(|active| {
                let prefix = printable(&active.registration.prefix);
                format!("'{prefix}' of database {}", active.registration.db)
            })
            .collect();
        let prefixes = (!prefixes.is_empty()).then(|| prefixes.join(", "))?;
        Some(format!("writing is paused for prefix {prefixes}: WB.RESUME"))
    }

    fn set_paused(&mut self, number: RegistrationId, paused: bool) {
        if let Some(active) = self.active_mut(number) {
            active.paused = paused;
            self.dirty.reschedule(number);
        }
    }
}
