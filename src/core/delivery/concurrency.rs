//! How many batches may be on the wire at a time: as many as MongoDB makes more of, and no more.

/// Batches on the wire at first.
const INITIAL: u32 = 2;
/// One more on the wire must raise the rate by this factor to stay.
const GAIN: f64 = 1.05;
/// One fewer must keep this share of the rate to stay.
const LOSS: f64 = 0.97;
/// Batches of a measurement for each that is on the wire.
const MEASURED: u32 = 4;
/// Measurements between two trials that changed nothing.
const COOLDOWN: u32 = 32;

/// What is tried at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    None,
    Up,
    Down,
}

/// The number of batches that may be on the wire, from 1 to the setting `max-in-flight-batches`.
///
/// It climbs: one more is tried, and stays if more keys are acknowledged in the same time. Now and
/// then one fewer is tried, and stays if hardly less is. When the link fails, it is halved.
#[derive(Debug)]
pub struct Flow {
    allowed: u32,
    trial: Trial,
    /// Keys a microsecond before the trial.
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
    /// Batches that may be on the wire.
    pub fn allowed(&self, most: u32) -> u32 {
        self.allowed.clamp(1, most.max(1))
    }

    /// A batch of `keys` keys was acknowledged at `now_us`; `on_wire` were on the wire with it.
    pub fn acknowledged(&mut self, keys: usize, now_us: u64, on_wire: u32, most: u32) {
        self.allowed = self.allowed(most);
        if on_wire < self.allowed {
            // With less to do, nothing can be said.
            self.measure_anew(None);
            return;
        }
        let Some(since_us) = self.since_us else {
            return self.measure_anew(Some(now_us));
        };
        self.keys += keys as u64;
        self.batches += 1;
        if self.batches >= MEASURED * self.allowed {
            let rate = self.keys as f64 / now_us.saturating_sub(since_us).max(1) as f64;
            self.step(rate, most);
            self.measure_anew(Some(now_us));
        }
    }

    /// The link failed, or the server was too slow: half as many.
    pub fn failed(&mut self) {
        *self = Flow { allowed: (self.allowed / 2).max(1), ..Flow::default() };
    }

    fn measure_anew(&mut self, since_us: Option<u64>) {
        (self.since_us, self.keys, self.batches) = (since_us, 0, 0);
    }

    fn step(&mut self, rate: f64, most: u32) {
        let (stays, back) = match self.trial {
            Trial::None => return self.begin_trial(rate, most),
            Trial::Up => (rate >= self.rate * GAIN, -1),
            Trial::Down => (rate >= self.rate * LOSS, 1),
        };
        if stays {
            // What helped once may help again.
            (self.next, self.cooldown) = (self.trial, 0);
        } else {
            self.allowed = self.allowed.saturating_add_signed(back).clamp(1, most);
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

    /// A server that works on so many batches of 1,000 keys at a time, each for 10 ms.
    struct Server {
        lanes: f64,
        now_us: f64,
    }

    impl Server {
        /// Keeps the wire full for 4,000 batches and returns what was allowed in the end.
        fn settles(&mut self, flow: &mut Flow, most: u32) -> u32 {
            for _ in 0..4000 {
                let on_wire = flow.allowed(most);
                self.now_us += 10_000.0 / self.lanes.min(f64::from(on_wire));
                flow.acknowledged(1000, self.now_us as u64, on_wire, most);
            }
            flow.allowed(most)
        }
    }

    fn settles(flow: &mut Flow, lanes: f64, most: u32) -> u32 {
        Server { lanes, now_us: 0.0 }.settles(flow, most)
    }

    #[test]
    fn it_grows_as_far_as_the_server_works_in_parallel() {
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
        let (mut flow, mut server) = (Flow::default(), Server { lanes: 8.0, now_us: 0.0 });
        let idle = server.settles(&mut flow, 16);
        assert!((7..=9).contains(&idle), "{idle}");
        server.lanes = 2.0;
        let busy = server.settles(&mut flow, 16);
        assert!((2..=4).contains(&busy), "{busy}");
        server.lanes = 8.0;
        let idle = server.settles(&mut flow, 16);
        assert!((7..=9).contains(&idle), "{idle}");
    }

    #[test]
    fn an_idle_wire_is_no_reason_to_grow() {
        let mut flow = Flow::default();
        for batch in 0..100 {
            flow.acknowledged(1000, batch * 10_000, 1, 4);
        }
        assert_eq!(flow.allowed(4), INITIAL);
    }

    #[test]
    fn a_lowered_setting_counts_at_once() {
        let mut flow = Flow::default();
        settles(&mut flow, 64.0, 16);
        assert_eq!(flow.allowed(3), 3);
    }
}
