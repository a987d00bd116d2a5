//! Held clients: by what they wait for, by their handles, and by the end of their timeouts.
//!
//! The module implements the timeouts itself: with a timeout of the server, a client that the module unblocks in the
//! same event-loop iteration would get no reply at all.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::core::ids::WaitId;
use crate::redis::api::held_client::HeldClient;
use crate::redis::api::raw;

/// Ends of clients that do not wait any more are removed beyond so many.
const SPARE: usize = 64;

/// A held client.
#[derive(Debug)]
pub struct Waiting<T> {
    /// The client.
    pub client: HeldClient,
    /// Its timeout, milliseconds.
    pub timeout_ms: u64,
    /// When that passes, microseconds.
    pub end_us: u64,
    /// What else is known of it.
    pub what: T,
}

/// The ends of timeouts of one length, which pass in the order in which clients came.
#[derive(Debug)]
struct Ends {
    timeout_ms: u64,
    /// With some clients that do not wait any more.
    by_end: VecDeque<(u64, WaitId)>,
}

/// All clients that wait.
#[derive(Debug)]
pub struct Clients<T> {
    by_wait: HashMap<WaitId, Waiting<T>, RandomState>,
    by_handle: HashMap<*mut raw::RedisModuleBlockedClient, WaitId, RandomState>,
    /// There are few lengths: of settings and registrations.
    ends: Vec<Ends>,
}

impl<T> Default for Clients<T> {
    fn default() -> Self {
        Clients { by_wait: HashMap::default(), by_handle: HashMap::default(), ends: Vec::new() }
    }
}

impl<T> Clients<T> {
    /// Adds a client.
    pub fn add(&mut self, wait: WaitId, waiting: Waiting<T>) {
        self.by_handle.insert(waiting.client.raw(), wait);
        let end = (waiting.end_us, wait);
        let timeout_ms = waiting.timeout_ms;
        match self.ends.iter_mut().find(|ends| ends.timeout_ms == timeout_ms) {
            Some(ends) => {
                // A client that waits once more has an earlier end.
                let at = ends.by_end.iter().rposition(|other| *other <= end);
                ends.by_end.insert(at.map_or(0, |at| at + 1), end);
                // One client that waits for long must not keep those that came after it.
                if ends.by_end.len() > 2 * self.by_wait.len() + SPARE {
                    ends.by_end.retain(|(_, of)| *of == wait || self.by_wait.contains_key(of));
                }
            }
            None => self.ends.push(Ends { timeout_ms, by_end: VecDeque::from([end]) }),
        }
        self.by_wait.insert(wait, waiting);
    }

    /// Removes a client.
    pub fn take(&mut self, wait: WaitId) -> Option<Waiting<T>> {
        let waiting = self.by_wait.remove(&wait)?;
        self.by_handle.remove(&waiting.client.raw());
        Some(waiting)
    }

    /// Removes a client by its handle.
    pub fn take_by_handle(
        &mut self,
        raw: *mut raw::RedisModuleBlockedClient,
    ) -> Option<(WaitId, Waiting<T>)> {
        let wait = self.by_handle.get(&raw).copied()?;
        Some((wait, self.take(wait)?))
    }

    /// What is known of a client.
    pub fn get_mut(&mut self, wait: WaitId) -> Option<&mut Waiting<T>> {
        self.by_wait.get_mut(&wait)
    }

    /// The client whose timeout passes first, and when, microseconds.
    pub fn first(&mut self) -> Option<(u64, WaitId)> {
        let by_wait = &self.by_wait;
        self.ends.retain_mut(|ends| {
            while ends.by_end.front().is_some_and(|(_, wait)| !by_wait.contains_key(wait)) {
                ends.by_end.pop_front();
            }
            !ends.by_end.is_empty()
        });
        self.ends.iter().filter_map(|ends| ends.by_end.front().copied()).min()
    }

    /// The client whose timeout passes first, if it has passed at `now_us`.
    pub fn overdue(&mut self, now_us: u64) -> Option<WaitId> {
        self.first().filter(|(end_us, _)| *end_us <= now_us).map(|(_, wait)| wait)
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.by_wait.len()
    }

    /// All clients.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting<T>> {
        self.by_wait.values()
    }

    /// Removes all clients.
    pub fn drain(&mut self) -> Vec<(WaitId, Waiting<T>)> {
        std::mem::take(self).by_wait.into_iter().collect()
    }
}
