//! Pausing: keys become dirty as ever and are not sent. What is in flight ends normally.

use super::Backlog;

impl Backlog {
    /// Sends nothing more of the registration in `slot`, or nothing at all.
    pub fn pause(&mut self, slot: Option<u16>) {
        match slot {
            None => self.paused = true,
            Some(slot) => self.set_paused(slot, true),
        }
        self.changed = true;
        self.unpark_paused();
    }

    /// Ends the pause of the registration in `slot`; without one every pause there is.
    pub fn resume(&mut self, slot: Option<u16>) {
        self.changed = true;
        if let Some(slot) = slot {
            return self.set_paused(slot, false);
        }
        self.paused = false;
        self.registry.iter_mut().for_each(|slot| slot.paused = false);
        self.stir_all();
    }

    /// True while nothing of `slot` is sent, because it or everything is paused.
    pub fn is_paused(&self, slot: u16) -> bool {
        self.paused || self.slot(slot).is_some_and(|slot| slot.paused)
    }

    /// Dirty keys that will be acknowledged without anybody ending a pause: all but those that
    /// wait in paused registrations.
    pub fn dirty_unpaused(&self) -> usize {
        self.registry
            .numbers()
            .map(|slot| {
                let queue = self.dirty.queue(slot);
                if self.is_paused(slot) { queue.in_flight } else { queue.dirty() }
            })
            .sum()
    }

    /// What an operator should know of pauses; nothing when there is none.
    pub fn pause_warning(&self) -> Option<String> {
        if self.paused {
            return Some("writing is paused: WB.RESUME restarts it".to_owned());
        }
        let paused = self.registry.iter().filter(|slot| slot.paused);
        let prefixes: Vec<String> = paused
            .map(|slot| {
                let prefix = String::from_utf8_lossy(&slot.registration.prefix);
                format!("'{prefix}' of database {}", slot.registration.db)
            })
            .collect();
        let prefixes = (!prefixes.is_empty()).then(|| prefixes.join(", "))?;
        Some(format!("writing is paused for prefix {prefixes}: WB.RESUME"))
    }

    fn set_paused(&mut self, number: u16, paused: bool) {
        if let Some(slot) = self.slot_mut(number) {
            slot.paused = paused;
            self.dirty.stir(number);
        }
    }
}
