//! The txnNumbers of this process.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::core::delivery::lease;

static LAST: AtomicI64 = AtomicI64::new(0);

/// The next txnNumber, for all sessions of this process: every earlier command has a lower one.
pub fn next_number() -> i64 {
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The epoch of the last number.
pub fn epoch() -> u64 {
    lease::epoch_of(LAST.load(Ordering::Relaxed))
}

/// From now on numbers are those of this epoch, or of a later one that has begun before.
pub fn begin_epoch(epoch: u64) {
    LAST.fetch_max(lease::first_number(epoch), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_higher_than_the_last_and_those_of_an_earlier_epoch() {
        let first = next_number();
        assert!(next_number() > first);
        begin_epoch(3);
        let third = next_number();
        assert!(third > lease::first_number(3));
        assert_eq!(epoch(), 3);
        begin_epoch(2);
        assert!(next_number() > third);
    }
}
