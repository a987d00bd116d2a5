//! A histogram of durations with fixed buckets, as Prometheus reads it: counted since the module was
//! loaded.

/// Upper bounds of the buckets, microseconds, inclusive: from 1 ms to one hour. They are closest
/// around the default `flush-interval-ms`, which is most of the lag in normal operation.
pub const BOUNDS_US: [u64; 17] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    150_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];

/// Durations of the module's writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteTimes {
    /// From change to acknowledgement, of each key.
    pub lag: Buckets,
    /// From sending to acknowledgement, of each batch.
    pub batch: Buckets,
}

/// Counts of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Number of durations in each bucket alone; longer ones are in none.
    counts: [u64; BOUNDS_US.len()],
    /// Number of all durations.
    count: u64,
    /// Sum of all durations, microseconds.
    sum_us: u64,
}

impl Buckets {
    /// Records one duration.
    pub fn record(&mut self, duration_us: u64) {
        let at = BOUNDS_US.partition_point(|bound| *bound < duration_us);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(duration_us);
    }

    /// Each bound in microseconds, ascending, and the number of durations that are not longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        BOUNDS_US.into_iter().zip(self.counts).scan(0, |below, (bound_us, count)| {
            *below += count;
            Some((bound_us, *below))
        })
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the durations, microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_all_larger_ones() {
        let mut buckets = Buckets::default();
        [0, 1_000, 1_001, 250_000].iter().for_each(|us| buckets.record(*us));
        let all: Vec<(u64, u64)> = buckets.cumulative().collect();
        assert_eq!(all[..2], [(1_000, 2), (2_500, 3)]);
        assert_eq!(all[8..10], [(250_000, 4), (500_000, 4)]);
        assert_eq!((buckets.count(), buckets.sum_us()), (4, 252_001));
    }

    #[test]
    fn a_duration_longer_than_all_bounds_is_counted_in_no_bucket() {
        let mut buckets = Buckets::default();
        buckets.record(u64::MAX);
        buckets.record(u64::MAX);
        assert!(buckets.cumulative().all(|(_, count)| count == 0));
        assert_eq!((buckets.count(), buckets.sum_us()), (2, u64::MAX));
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(BOUNDS_US.is_sorted());
    }
}
