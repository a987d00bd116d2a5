//! How many batches may be in flight at a time: the number is raised only while that increases the
//! throughput.

/// Initial number of batches in flight.
const INITIAL: u32 = 2;
/// One more batch in flight is kept if it raises the rate at least by this factor.
const GAIN: f64 = 1.05;
/// One batch fewer is kept if at least this share of the rate remains.
const LOSS: f64 = 0.97;
/// A measurement takes this many batches for each batch in flight.
const MEASURED: u32 = 4;
/// Number of measurements without a trial after a trial that was rolled back.
const COOLDOWN: u32 = 32;

/// The trial in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    None,
    Up,
    Down,
}

/// The number of batches that may be in flight, from 1 to the setting `max-in-flight-batches`.
///
/// Hill climbing: one more is tried, and kept if the rate of acknowledged keys rises. From time to
/// time one fewer is tried, and kept if the rate hardly falls. When the link fails, the number is
/// halved.
#[derive(Debug)]
pub struct Flow {
    allowed: u32,
    trial: Trial,
    /// Keys per microsecond before the trial.
    rate: f64,
    /// Measurements until the next trial.
    cooldown: u32,
    /// The direction of the trial after that.
    next: Trial,
    /// When this measurement began, and what was acknowledged in it.
    since_us: Option<u64>,
    keys: u64,
    batches: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Flow {
            allowed: INITIAL,
            trial: Trial::None,
            rate: 0.0,
            cooldown: 0,
            next: Trial::Up,
            since_us: None,
            keys: 0,
            batches: 0,
        }
    }
}

impl Flow {
    /// Number of batches that may be in flight, at most `most`.
    pub fn allowed(&self, most: u32) -> u32 {
        self.allowed.clamp(1, most.max(1))
    }

    /// Records that a batch of `keys` keys was acknowledged at `now_us`, and that `on_wire` batches,
    /// including it, were in flight.
    pub fn acknowledged(&mut self, keys: usize, now_us: u64, on_wire: u32, most: u32) {
        self.allowed = self.allowed(most);
        if on_wire < self.allowed {
            // Without enough batches the rate does not depend on the limit.
            self.restart_measurement(None);
            return;
        }
        let Some(since_us) = self.since_us else {
            return self.restart_measurement(Some(now_us));
        };
        self.keys += keys as u64;
        self.batches += 1;
        if self.batches >= MEASURED * self.allowed {
            let rate = self.keys as f64 / now_us.saturating_sub(since_us).max(1) as f64;
            self.step(rate, most);
            self.restart_measurement(Some(now_us));
        }
    }

    /// Halves the number: the link failed, or MongoDB was too slow.
    pub fn failed(&mut self) {
        *self = Flow { allowed: (self.allowed / 2).max(1), ..Flow::default() };
    }

    fn restart_measurement(&mut self, since_us: Option<u64>) {
        (self.since_us, self.keys, self.batches) = (since_us, 0, 0);
    }

    fn step(&mut self, rate: f64, most: u32) {
        let (is_kept, rollback) = match self.trial {
            Trial::None => return self.begin_trial(rate, most),
            Trial::Up => (rate >= self.rate * GAIN, -1),
            Trial::Down => (rate >= self.rate * LOSS, 1),
        };
        if is_kept {
            // The next trial goes in the same direction, without a cool-down.
            (self.next, self.cooldown) = (self.trial, 0);
        } else {
            self.allowed = self.allowed.saturating_add_signed(rollback).clamp(1, most);
            self.next = if self.trial == Trial::Up { Trial::Down } else { Trial::Up };
            self.cooldown = COOLDOWN;
        }
        self.trial = Trial::None;
    }

    fn begin_trial(&mut self, rate: f64, most: u32) {
        if self.cooldown > 0 {
            self.cooldown -= 1;
            return;
        }
        let allowed = match self.next {
            Trial::Down => self.allowed.saturating_sub(1).max(1),
            _ => (self.allowed + 1).min(most),
        };
        if allowed == self.allowed {
            self.next = if self.next == Trial::Up { Trial::Down } else { Trial::Up };
            self.cooldown = COOLDOWN;
            return;
        }
        (self.allowed, self.trial, self.rate) = (allowed, self.next, rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that processes `parallel` batches of 1,000 keys at a time, each in 10 ms.
    struct Server {
        parallel: f64,
        now_us: f64,
    }

    impl Server {
        /// Sends 4,000 batches, as many at a time as allowed, and returns the final number.
        fn settles(&mut self, flow: &mut Flow, most: u32) -> u32 {
            for _ in 0..4000 {
                let on_wire = flow.allowed(most);
                self.now_us += 10_000.0 / self.parallel.min(f64::from(on_wire));
                flow.acknowledged(1000, self.now_us as u64, on_wire, most);
            }
            flow.allowed(most)
        }
    }

    fn settles(flow: &mut Flow, parallel: f64, most: u32) -> u32 {
        Server { parallel, now_us: 0.0 }.settles(flow, most)
    }

    #[test]
    fn it_grows_to_the_parallelism_of_the_server() {
        assert!(settles(&mut Flow::default(), 64.0, 2) <= 2);
        assert!((15..=16).contains(&settles(&mut Flow::default(), 64.0, 16)));
        let four = settles(&mut Flow::default(), 4.0, 16);
        assert!((3..=5).contains(&four), "{four}");
    }

    #[test]
    fn it_begins_with_two_and_halves_when_the_link_fails() {
        let mut flow = Flow::default();
        assert_eq!((flow.allowed(8), flow.allowed(1)), (2, 1));
        let before = settles(&mut flow, 64.0, 8);
        flow.failed();
        assert_eq!(flow.allowed(8), before / 2);
        for _ in 0..5 {
            flow.failed();
        }
        assert_eq!(flow.allowed(8), 1);
    }

    #[test]
    fn it_shrinks_when_the_server_becomes_busy_and_grows_again_later() {
        let (mut flow, mut server) = (Flow::default(), Server { parallel: 8.0, now_us: 0.0 });
        let idle = server.settles(&mut flow, 16);
        assert!((7..=9).contains(&idle), "{idle}");
        server.parallel = 2.0;
        let busy = server.settles(&mut flow, 16);
        assert!((2..=4).contains(&busy), "{busy}");
        server.parallel = 8.0;
        let idle = server.settles(&mut flow, 16);
        assert!((7..=9).contains(&idle), "{idle}");
    }

    #[test]
    fn it_does_not_grow_without_enough_batches() {
        let mut flow = Flow::default();
        for batch in 0..100 {
            flow.acknowledged(1000, batch * 10_000, 1, 4);
        }
        assert_eq!(flow.allowed(4), INITIAL);
    }

    #[test]
    fn a_lowered_setting_applies_immediately() {
        let mut flow = Flow::default();
        settles(&mut flow, 64.0, 16);
        assert_eq!(flow.allowed(3), 3);
    }
}
