//! How long a slice may be: `read-slice-us` while the server has no other work, and a
//! share of what others took in the last turn of its loop while they do.

use std::cell::Cell;

/// Others have the server at least so many times as long as a slice of ours.
const SHARE: u64 = 4;
/// But a slice need not be shorter than this, microseconds: others hardly notice.
const LEAST_US: u64 = 20;
/// A turn in which the server did less than this for others was one without them: to be woken by
/// the worker takes some time, too.
const ALONE_US: u64 = 4;
/// Others are expected to come again within this time, microseconds.
const AGAIN_US: u64 = 20_000;

/// What others had of the server.
#[derive(Debug, Default)]
pub struct Turn {
    /// When our part of this turn ended, microseconds.
    began_us: Cell<u64>,
    /// How long the last turn was in which others had something done, and when it ended.
    others_us: Cell<u64>,
    ended_us: Cell<u64>,
}

impl Turn {
    /// The commands of clients begin.
    pub fn begins(&self, now_us: u64) {
        self.began_us.set(now_us);
    }

    /// They are done.
    pub fn ends(&self, now_us: u64) {
        let others_us = now_us.saturating_sub(self.began_us.get());
        if others_us >= ALONE_US {
            self.others_us.set(others_us);
            self.ended_us.set(now_us);
        }
    }

    /// How long a slice may be that begins now, and is `longest_us` long at most; microseconds.
    pub fn slice_us(&self, longest_us: u64, now_us: u64) -> u64 {
        if now_us.saturating_sub(self.ended_us.get()) >= AGAIN_US {
            return longest_us;
        }
        (self.others_us.get() / SHARE).max(LEAST_US).min(longest_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slice after a turn in which others had that time.
    fn after(others_us: u64) -> u64 {
        let turn = Turn::default();
        turn.begins(1_000_000);
        turn.ends(1_000_000 + others_us);
        turn.slice_us(500, 1_000_100 + others_us)
    }

    #[test]
    fn a_slice_is_a_share_of_what_others_had() {
        assert_eq!([0, 3, 4, 100, 400, 10_000].map(after), [500, 500, 20, 25, 100, 500]);
    }

    #[test]
    fn others_are_expected_again_for_a_while() {
        let turn = Turn::default();
        turn.begins(1_000_000);
        turn.ends(1_000_010);
        turn.begins(1_010_000);
        turn.ends(1_010_001);
        assert_eq!(
            [1_010_001, 1_020_009, 1_020_010].map(|at| turn.slice_us(500, at)),
            [20, 20, 500]
        );
        assert_eq!(turn.slice_us(10, 1_010_001), 10);
    }
}
