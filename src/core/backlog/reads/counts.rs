//! The figures of a cache.

use crate::core::delivery::lag::{Percentiles, RecentTimes};

/// Keys that commands looked for, and what became of them, since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Keys that Redis had.
    pub hits: u64,
    /// Keys that it did not have.
    pub misses: u64,
    /// Keys that were loaded from MongoDB.
    pub loads: u64,
    /// Keys of which MongoDB had no document.
    pub absent: u64,
    /// Keys that could not be loaded.
    pub failed: u64,
    /// Missing keys that commands did not wait for: in MULTI, and where another module runs the command.
    pub unloaded: u64,
    /// Keys that Redis has evicted.
    pub evicted: u64,
}

impl ReadCounts {
    /// Keys that commands looked for.
    pub fn reads(&self) -> u64 {
        self.hits + self.misses
    }

    /// The share of keys that Redis had, percent; 0 without reads.
    pub fn hit_percent(&self) -> u64 {
        (self.hits * 100).checked_div(self.reads()).unwrap_or(0)
    }
}

/// The figures of one registration.
#[derive(Debug, Default)]
pub struct ReadFigures {
    /// Numbers of keys.
    pub counts: ReadCounts,
    /// The time from the first request of a key to its value; nothing before the first one.
    times: RecentTimes,
}

impl ReadFigures {
    /// A key was loaded.
    pub(super) fn loaded(&mut self, took_us: u64, now_us: u64) {
        self.counts.loads += 1;
        self.times.record(took_us, now_us);
    }

    /// The times of the loads of the last one to two minutes; 0 without any.
    pub fn times(&self, now_us: u64) -> Percentiles {
        self.times.of(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_is_that_of_all_reads() {
        assert_eq!(ReadCounts::default().hit_percent(), 0);
        let counts = ReadCounts { hits: 3, misses: 1, ..ReadCounts::default() };
        assert_eq!((counts.reads(), counts.hit_percent()), (4, 75));
    }

    #[test]
    fn recent_times_are_known() {
        let mut figures = ReadFigures::default();
        assert_eq!(figures.times(5), Percentiles::default());
        (1..=100).for_each(|ms| figures.loaded(ms * 1000, 10));
        let times = figures.times(20);
        assert!(times.p50_us.abs_diff(50_000) < 1_000 && times.p99_us.abs_diff(99_000) < 2_000);
        assert_eq!(figures.times(20 + 180_000_000), Percentiles::default());
    }
}
