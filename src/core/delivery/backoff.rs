//! Retry delays: exponential back-off with full jitter; retries continue indefinitely.

/// Bounds of the retry delay, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest delay after the first failure; 0 counts as 1.
    pub min_ms: u64,
    /// Longest delay after any number of failures. If it is below `min_ms`, it takes precedence.
    pub max_ms: u64,
}

impl Backoff {
    /// The longest delay after `failures` consecutive failures: it doubles with each one.
    pub fn ceiling_ms(self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(63);
        let ceiling = self.min_ms.max(1).saturating_mul(1 << doublings);
        ceiling.min(self.max_ms).max(1)
    }

    /// The delay after `failures` consecutive failures: 1 to [`ceiling_ms`](Self::ceiling_ms)
    /// milliseconds, uniformly distributed over `random`, so that clients that failed at the same
    /// time do not retry at the same time. Never 0, which would mean no delay.
    pub fn delay_ms(self, failures: u32, random: u64) -> u64 {
        1 + random % self.ceiling_ms(failures)
    }

    /// The delay after a permanent failure: between half of the longest delay and the longest delay.
    pub fn slow_delay_ms(self, random: u64) -> u64 {
        let half_ms = self.max_ms.max(2) / 2;
        half_ms + random % (self.max_ms.max(2) - half_ms + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min_ms: 50, max_ms: 10_000 };

    #[test]
    fn the_ceiling_doubles_from_the_minimum_to_the_maximum() {
        let ceilings: Vec<_> = (1..=10).map(|n| BACKOFF.ceiling_ms(n)).collect();
        assert_eq!(ceilings, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn the_ceiling_does_not_overflow() {
        assert_eq!(BACKOFF.ceiling_ms(u32::MAX), 10_000);
        assert_eq!(BACKOFF.ceiling_ms(0), 50);
    }

    #[test]
    fn a_permanent_failure_is_retried_rarely() {
        let pauses: Vec<_> = (0..20_000).map(|r| BACKOFF.slow_delay_ms(r)).collect();
        assert_eq!((pauses.iter().min(), pauses.iter().max()), (Some(&5_000), Some(&10_000)));
        assert!(Backoff { min_ms: 1, max_ms: 1 }.slow_delay_ms(7) >= 1);
    }

    #[test]
    fn the_delay_is_between_one_and_the_ceiling() {
        for random in [0, 1, 49, 50, 51, u64::MAX] {
            let pause = BACKOFF.delay_ms(1, random);
            assert!((1..=50).contains(&pause), "{pause} from {random}");
        }
        let pauses: std::collections::HashSet<_> =
            (0..50).map(|r| BACKOFF.delay_ms(1, r)).collect();
        assert_eq!(pauses.len(), 50);
    }

    #[test]
    fn a_maximum_below_the_minimum_takes_precedence() {
        let odd = Backoff { min_ms: 500, max_ms: 100 };
        assert_eq!(odd.ceiling_ms(1), 100);
        assert_eq!(Backoff { min_ms: 0, max_ms: 0 }.delay_ms(3, 7), 1);
    }
}
