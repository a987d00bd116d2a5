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

/// The load of clients is measured over this time, microseconds.
const WINDOW_US: u64 = 10_000;
/// It is heavy from this share on.
const HEAVY_PERCENT: u64 = 10;

/// Time that clients used in recent event-loop iterations.
#[derive(Debug, Default)]
pub struct ClientTime {
    /// When the module's work in this iteration ended, microseconds.
    began_us: Cell<u64>,
    /// Time that clients used in the last iteration with commands of theirs, and when it ended,
    /// microseconds.
    clients_us: Cell<u64>,
    ended_us: Cell<u64>,
    /// Time between the module's work in the last iteration, microseconds; 0 if it was without clients.
    last_us: Cell<u64>,
    /// When the current window began, and the time that clients have used in it, microseconds.
    window_us: Cell<(u64, u64)>,
    /// True if clients have used much of the last window.
    is_heavy: Cell<bool>,
}

impl ClientTime {
    /// The module's work after the sleep is done; the server now runs the commands of clients.
    pub fn begins(&self, now_us: u64) {
        self.began_us.set(now_us);
    }

    /// The commands of clients are done; the loop is about to sleep.
    pub fn ends(&self, now_us: u64) {
        let clients_us = now_us.saturating_sub(self.began_us.get());
        self.last_us.set(if clients_us >= IDLE_US { clients_us } else { 0 });
        let (began_us, used_us) = self.window_us.get();
        let used_us = used_us + self.last_us.get();
        let elapsed_us = now_us.saturating_sub(began_us);
        if elapsed_us >= WINDOW_US {
            self.is_heavy.set(used_us * 100 >= elapsed_us * HEAVY_PERCENT);
            self.window_us.set((now_us, 0));
        } else {
            self.window_us.set((began_us, used_us));
        }
        if clients_us >= IDLE_US {
            self.clients_us.set(clients_us);
            self.ended_us.set(now_us);
        }
    }

    /// Pays from `owed_us`, the time that clients shall have before another slice of work that has no end of
    /// its own. True if nothing is owed any more: also after an iteration without clients.
    pub fn pays(&self, owed_us: &Cell<u64>) -> bool {
        let left_us = match self.last_us.get() {
            0 => 0,
            last_us => owed_us.get().saturating_sub(last_us),
        };
        owed_us.set(left_us);
        left_us == 0
    }

    /// True if clients use so much of the server thread that another thread which never sleeps would cost them
    /// processor time.
    pub fn is_heavy(&self) -> bool {
        self.is_heavy.get()
    }

    /// Clients shall have so much time after a slice that took `took_us`, microseconds.
    pub fn owed_us(took_us: u64) -> u64 {
        took_us * SHARE
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
    fn clients_get_their_share_between_two_slices_unless_there_are_none() {
        let client_time = ClientTime::default();
        let iteration = |clients_us: u64, owed_us: &Cell<u64>| {
            client_time.begins(1_000_000);
            client_time.ends(1_000_000 + clients_us);
            client_time.pays(owed_us)
        };
        let owed_us = Cell::new(ClientTime::owed_us(20));
        assert_eq!([30, 30, 30].map(|us| iteration(us, &owed_us)), [false, false, true]);
        owed_us.set(ClientTime::owed_us(20));
        assert_eq!([30, 3].map(|us| iteration(us, &owed_us)), [false, true]);
    }

    #[test]
    fn the_load_of_clients_is_heavy_if_they_use_much_of_ten_milliseconds() {
        let client_time = ClientTime::default();
        let mut now_us = 1_000_000;
        let mut window = |clients_us: u64| {
            for _ in 0..21 {
                client_time.begins(now_us);
                client_time.ends(now_us + clients_us);
                now_us += 500;
            }
            client_time.is_heavy()
        };
        assert_eq!([0, 40, 100, 40].map(&mut window), [false, false, true, false]);
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
