//! The time budget of a slice: `read-slice-us` while no client uses the server, and under client
//! load a quarter of the time that clients used in the last event-loop iteration.

use std::cell::Cell;

/// Clients get at least this many times the server time that one slice takes.
const SHARE: u64 = 4;
/// Minimum slice under client load, microseconds: too short for clients to notice.
const LEAST_US: u64 = 20;
/// An iteration in which clients used less than this, microseconds, counts as one without clients:
/// being woken by the worker takes some time, too.
const IDLE_US: u64 = 4;
/// Clients are expected to send commands again within this time, microseconds.
const AGAIN_US: u64 = 20_000;

/// Time that clients used in recent event-loop iterations.
#[derive(Debug, Default)]
pub struct ClientTime {
    /// When the module's work in this iteration ended, microseconds.
    began_us: Cell<u64>,
    /// Time that clients used in the last iteration with commands of theirs, and when it ended,
    /// microseconds.
    clients_us: Cell<u64>,
    ended_us: Cell<u64>,
}

impl ClientTime {
    /// The module's work after the sleep is done; the server now runs the commands of clients.
    pub fn begins(&self, now_us: u64) {
        self.began_us.set(now_us);
    }

    /// The commands of clients are done; the loop is about to sleep.
    pub fn ends(&self, now_us: u64) {
        let clients_us = now_us.saturating_sub(self.began_us.get());
        if clients_us >= IDLE_US {
            self.clients_us.set(clients_us);
            self.ended_us.set(now_us);
        }
    }

    /// The time budget of a slice that begins now, at most `longest_us`; microseconds.
    pub fn slice_us(&self, longest_us: u64, now_us: u64) -> u64 {
        if now_us.saturating_sub(self.ended_us.get()) >= AGAIN_US {
            return longest_us;
        }
        (self.clients_us.get() / SHARE).max(LEAST_US).min(longest_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slice after an iteration in which clients used that time.
    fn after(clients_us: u64) -> u64 {
        let client_time = ClientTime::default();
        client_time.begins(1_000_000);
        client_time.ends(1_000_000 + clients_us);
        client_time.slice_us(500, 1_000_100 + clients_us)
    }

    #[test]
    fn a_slice_is_a_share_of_the_time_that_clients_used() {
        assert_eq!([0, 3, 4, 100, 400, 10_000].map(after), [500, 500, 20, 25, 100, 500]);
    }

    #[test]
    fn clients_are_expected_again_within_20_ms() {
        let client_time = ClientTime::default();
        client_time.begins(1_000_000);
        client_time.ends(1_000_010);
        client_time.begins(1_010_000);
        client_time.ends(1_010_001);
        assert_eq!(
            [1_010_001, 1_020_009, 1_020_010].map(|at| client_time.slice_us(500, at)),
            [20, 20, 500]
        );
        assert_eq!(client_time.slice_us(10, 1_010_001), 10);
    }
}
