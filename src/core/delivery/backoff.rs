//! Pauses between attempts: exponential, with full jitter, indefinitely.

/// Bounds of the pause, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest pause after the first failure; 0 counts as 1.
    pub min_ms: u64,
    /// Longest pause ever. Below `min_ms` it wins.
    pub max_ms: u64,
}

impl Backoff {
    /// The longest pause after `failures` failures in a row: it doubles with each of them.
    pub fn ceiling_ms(self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(63);
        let ceiling = self.min_ms.max(1).saturating_mul(1 << doublings);
        ceiling.min(self.max_ms).max(1)
    }

    /// The pause after `failures` failures in a row: 1 to [`ceiling_ms`](Self::ceiling_ms)
    /// milliseconds, evenly spread over `random`, so that many clients that failed together do
    /// not come back together. Never 0, which would mean no pause.
    pub fn delay_ms(self, failures: u32, random: u64) -> u64 {
        1 + random % self.ceiling_ms(failures)
    }

    /// The pause after a failure that does not pass by itself: the upper half of the longest pause.
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
    fn the_ceiling_doubles_from_the_least_to_the_greatest_pause() {
        let ceilings: Vec<_> = (1..=10).map(|n| BACKOFF.ceiling_ms(n)).collect();
        assert_eq!(ceilings, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn the_ceiling_survives_any_number_of_failures() {
        assert_eq!(BACKOFF.ceiling_ms(u32::MAX), 10_000);
        assert_eq!(BACKOFF.ceiling_ms(0), 50);
    }

    #[test]
    fn what_does_not_pass_by_itself_is_tried_seldom() {
        let pauses: Vec<_> = (0..20_000).map(|r| BACKOFF.slow_delay_ms(r)).collect();
        assert_eq!((pauses.iter().min(), pauses.iter().max()), (Some(&5_000), Some(&10_000)));
        assert!(Backoff { min_ms: 1, max_ms: 1 }.slow_delay_ms(7) >= 1);
    }

    #[test]
    fn the_pause_lies_between_one_and_the_ceiling() {
        for random in [0, 1, 49, 50, 51, u64::MAX] {
            let pause = BACKOFF.delay_ms(1, random);
            assert!((1..=50).contains(&pause), "{pause} from {random}");
        }
        let pauses: std::collections::HashSet<_> =
            (0..50).map(|r| BACKOFF.delay_ms(1, r)).collect();
        assert_eq!(pauses.len(), 50);
    }

    #[test]
    fn a_greatest_pause_below_the_least_wins() {
        let odd = Backoff { min_ms: 500, max_ms: 100 };
        assert_eq!(odd.ceiling_ms(1), 100);
        assert_eq!(Backoff { min_ms: 0, max_ms: 0 }.delay_ms(3, 7), 1);
    }
}
