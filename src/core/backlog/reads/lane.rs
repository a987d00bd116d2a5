//! The keys of one registration that are asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::absent::AbsentKeys;
use crate::core::ids::{FindId, WaitId};

/// The keys of a find have about so many bytes at most.
const FIND_BYTES: usize = 1 << 20;

/// Memory of a key that is asked for, of typical length, bytes.
const KEY_BYTES: usize = 256;

/// Where a key is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last state is written first.
    Held,
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
    /// True if it is loaded for one that does not wait, too.
    pub is_behind: bool,
    state: State,
}

impl Wanted {
    /// One more client waits for it.
    pub fn add(&mut self, wait: Option<WaitId>) {
        self.is_behind |= wait.is_none();
        match self.wait {
            None => self.wait = wait,
            Some(_) => self.more.extend(wait),
        }
    }

    /// True if a client still waits for it, or it is loaded for one that does not wait.
    pub fn is_awaited(&self, still_waits: impl Fn(&WaitId) -> bool) -> bool {
        self.is_behind || self.waits().any(|wait| still_waits(&wait))
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
        let (more, is_behind) = (Vec::new(), wait.is_none());
        let wanted = Wanted { since_us, wait, more, is_behind, state: State::Queued };
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

    /// The keys for the next find, at most `most`, of so many bytes. Those for which no client waits any more are
    /// dropped; their number is the second result.
    pub fn take_queued(
        &mut self,
        most: usize,
        find: FindId,
        is_awaited: impl Fn(&Wanted) -> bool,
    ) -> (Vec<Arc<[u8]>>, usize) {
        let (mut keys, mut bytes, mut dropped) = (Vec::new(), 0, 0);
        while keys.len() < most
            && bytes < FIND_BYTES
            && let Some(key) = self.queued.pop_front()
        {
            // Its load may have ended meanwhile.
            let Some(wanted) = self.wanted.get_mut(&key) else { continue };
            if wanted.state != State::Queued {
                continue;
            }
            if !is_awaited(wanted) {
                self.wanted.remove(&key);
                dropped += 1;
                continue;
            }
            wanted.state = State::Asked { find, is_stale: false };
            bytes += key.len();
            keys.push(key);
        }
        self.is_asking = !keys.is_empty();
        (keys, dropped)
    }

    /// A key that is asked for.
    pub fn get(&self, key: &[u8]) -> Option<&Wanted> {
        self.wanted.get(key)
    }

    /// A key is not asked for any more.
    pub fn remove(&mut self, key: &[u8]) -> Option<(Arc<[u8]>, Wanted)> {
        self.wanted.remove_entry(key)
    }

    /// All keys that are asked for.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.wanted.keys().map(|key| &**key)
    }

    /// A key has another value than its document had. Returns the key if it was held for that.
    pub fn see_written(&mut self, key: &[u8]) -> Option<Arc<[u8]>> {
        self.absent.remove(key);
        match self.wanted.get_mut(key).map(|wanted| &mut wanted.state)? {
            State::Asked { is_stale, .. } => {
                *is_stale = true;
                None
            }
            State::Held => self.wanted.get_key_value(key).map(|(key, _)| Arc::clone(key)),
            State::Queued => None,
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

    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.absent.memory_bytes() + self.wanted.len() * KEY_BYTES
    }
}
