//! The time from change to acknowledgement: percentiles over the last one to two minutes.

use std::cell::RefCell;

use hdrhistogram::Histogram;

/// How long one histogram is filled, microseconds; the percentiles are of the last two.
pub const WINDOW_US: u64 = 60_000_000;
/// Longest lag recorded, 30 days in microseconds; a longer one counts as this.
const LONGEST_US: u64 = 30 * 86_400 * 1_000_000;

/// Recent lag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Median, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
}

/// Lag from change to acknowledgement, in microseconds, exact to 1 %.
#[derive(Debug)]
pub struct Lag {
    // `None` only if the bounds of the histograms were invalid, which they are not. Then nothing is
    // measured, which is better than a worker that cannot start.
    histograms: Option<Histograms>,
    rotated_at_us: u64,
}

#[derive(Debug)]
struct Histograms {
    current: Histogram<u32>,
    previous: Histogram<u32>,
    both: Histogram<u32>,
}

impl Lag {
    /// Starts measuring at `now_us`.
    pub fn new(now_us: u64) -> Self {
        let histograms = Histogram::new_with_bounds(1, LONGEST_US, 2).ok().map(|empty| {
            Histograms { current: empty.clone(), previous: empty.clone(), both: empty }
        });
        Lag { histograms, rotated_at_us: now_us }
    }

    /// Records a change that was acknowledged after `lag_us` microseconds.
    pub fn record(&mut self, lag_us: u64) {
        if let Some(histograms) = &mut self.histograms {
            histograms.current.saturating_record(lag_us);
        }
    }

    /// The percentiles at `now_us`; `None` if nothing was measured recently.
    pub fn percentiles(&mut self, now_us: u64) -> Option<Percentiles> {
        self.rotate(now_us);
        let Histograms { current, previous, both } = self.histograms.as_mut()?;
        both.reset();
        both.add(&*current).ok()?;
        both.add(&*previous).ok()?;
        (!both.is_empty()).then(|| Percentiles {
            p50_us: both.value_at_quantile(0.5),
            p99_us: both.value_at_quantile(0.99),
        })
    }

    /// Drops measurements older than two windows. Must also be called before recording.
    pub fn rotate(&mut self, now_us: u64) {
        let age_us = now_us.saturating_sub(self.rotated_at_us);
        let Some(Histograms { current, previous, .. }) = &mut self.histograms else {
            return;
        };
        if age_us < WINDOW_US {
            return;
        }
        std::mem::swap(current, previous);
        current.reset();
        if age_us >= 2 * WINDOW_US {
            previous.reset();
        }
        self.rotated_at_us = now_us;
    }
}

/// Times of which there may be none: measured from the first one on.
#[derive(Debug, Default)]
pub struct RecentTimes(Option<Box<RefCell<Lag>>>);

impl RecentTimes {
    /// Records a time, microseconds.
    pub fn record(&mut self, took_us: u64, now_us: u64) {
        let times = self.0.get_or_insert_with(|| Box::new(RefCell::new(Lag::new(now_us))));
        let times = times.get_mut();
        times.rotate(now_us);
        times.record(took_us);
    }

    /// The percentiles at `now_us`; 0 if nothing was measured recently.
    pub fn of(&self, now_us: u64) -> Percentiles {
        let times = self.0.as_ref().and_then(|times| times.borrow_mut().percentiles(now_us));
        times.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_gives_no_percentiles() {
        assert_eq!(Lag::new(0).percentiles(0), None);
    }

    #[test]
    fn percentiles_are_exact_to_one_percent() {
        let mut lag = Lag::new(0);
        (1..=1000).for_each(|n| lag.record(n * 1000));
        let Percentiles { p50_us, p99_us } = lag.percentiles(1).unwrap();
        assert!(p50_us.abs_diff(500_000) <= 5_000, "{p50_us}");
        assert!(p99_us.abs_diff(990_000) <= 9_900, "{p99_us}");
    }

    #[test]
    fn measurements_count_for_more_than_one_and_less_than_two_windows() {
        let mut lag = Lag::new(0);
        lag.record(7);
        let seven = Some(Percentiles { p50_us: 7, p99_us: 7 });
        assert_eq!(lag.percentiles(WINDOW_US), seven);
        assert_eq!(lag.percentiles(2 * WINDOW_US - 1), seven);
        assert_eq!(lag.percentiles(2 * WINDOW_US), None);
    }

    #[test]
    fn all_measurements_are_dropped_after_a_long_time() {
        let mut lag = Lag::new(0);
        lag.record(7);
        assert_eq!(lag.percentiles(5 * WINDOW_US), None);
    }

    #[test]
    fn a_lag_out_of_range_counts_as_the_longest_one() {
        let mut lag = Lag::new(0);
        lag.record(u64::MAX);
        let lag = lag.percentiles(0).unwrap();
        assert!(lag.p50_us >= LONGEST_US / 100 * 99);
    }
}
