//! The keys of one registration that are asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::absent::AbsentKeys;
use crate::core::ids::{FindId, WaitId};

/// Where a key is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last state is written first.
    Held {
        /// The flush that does so.
        flush: u64,
        /// When it is looked at again although nothing was written, microseconds.
        again_us: u64,
    },
    /// It waits for the next find.
    Queued,
    /// It is asked for.
    Asked {
        /// The find.
        find: FindId,
        /// True if the key has changed since.
        is_stale: bool,
    },
}

impl State {
    /// True if the key is asked for by `find`.
    pub fn is_of(&self, find: FindId) -> bool {
        matches!(self, State::Asked { find: of, .. } if *of == find)
    }
}

/// A key that is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// Since when, microseconds.
    pub since_us: u64,
    /// The client that waits for it.
    wait: Option<WaitId>,
    /// More of them.
    more: Vec<WaitId>,
    state: State,
}

impl Wanted {
    /// One more client waits for it.
    pub fn add(&mut self, wait: Option<WaitId>) {
        match self.wait {
            None => self.wait = wait,
            Some(_) => self.more.extend(wait),
        }
    }

    /// The clients that wait for it.
    pub fn waits(&self) -> impl Iterator<Item = WaitId> {
        self.wait.into_iter().chain(self.more.iter().copied())
    }
}

/// The keys of a registration.
#[derive(Debug, Default)]
pub struct Lane {
    wanted: HashMap<Arc<[u8]>, Wanted, RandomState>,
    queued: VecDeque<Arc<[u8]>>,
    /// True while a find is under way.
    pub is_asking: bool,
    /// Keys that have no document.
    pub absent: AbsentKeys,
}

impl Lane {
    /// Adds a key; its state must be set after that.
    pub fn add(&mut self, key: &[u8], wait: Option<WaitId>, since_us: u64) {
        let wanted = Wanted { since_us, wait, more: Vec::new(), state: State::Queued };
        self.wanted.insert(key.into(), wanted);
    }

    /// A key that is asked for.
    pub fn wanted(&mut self, key: &[u8]) -> Option<&mut Wanted> {
        self.wanted.get_mut(key)
    }

    /// Where a key is.
    pub fn state(&self, key: &[u8]) -> Option<State> {
        self.wanted.get(key).map(|wanted| wanted.state)
    }

    /// Changes where a key is. False if it is not asked for.
    pub fn set(&mut self, key: &[u8], state: State) -> bool {
        self.wanted.get_mut(key).map(|wanted| wanted.state = state).is_some()
    }

    /// A key waits for the next find. False if it is not asked for.
    pub fn queue(&mut self, key: &[u8]) -> bool {
        if !self.set(key, State::Queued) {
            return false;
        }
        self.queued.extend(self.wanted.get_key_value(key).map(|(key, _)| Arc::clone(key)));
        true
    }

    /// True if keys wait for the next find.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// The keys for the next find, at most `most`.
    pub fn take_queued(&mut self, most: usize, find: FindId) -> Vec<Arc<[u8]>> {
        let mut keys = Vec::new();
        while keys.len() < most
            && let Some(key) = self.queued.pop_front()
        {
            // Its load may have ended meanwhile.
            if self.state(&key) == Some(State::Queued) {
                self.set(&key, State::Asked { find, is_stale: false });
                keys.push(key);
            }
        }
        self.is_asking = !keys.is_empty();
        keys
    }

    /// A key is not asked for any more.
    pub fn remove(&mut self, key: &[u8]) -> Option<Wanted> {
        self.wanted.remove(key)
    }

    /// All keys that are asked for.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.wanted.keys().map(|key| &**key)
    }

    /// A key has another value than its document had.
    pub fn see_written(&mut self, key: &[u8]) {
        self.absent.remove(key);
        if let Some(Wanted { state: State::Asked { is_stale, .. }, .. }) = self.wanted.get_mut(key)
        {
            *is_stale = true;
        }
    }

    /// All keys may have other values than their documents had.
    pub fn begin_epoch(&mut self) {
        self.absent.clear();
        for wanted in self.wanted.values_mut() {
            if let State::Asked { is_stale, .. } = &mut wanted.state {
                *is_stale = true;
            }
        }
    }

    /// True if it holds nothing.
    pub fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.absent.is_empty() && !self.is_asking
    }

    /// Memory of the keys without documents, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.absent.memory_bytes()
    }
}
