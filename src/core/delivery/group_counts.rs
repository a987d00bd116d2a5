//! Numbers of groups that were written as a whole, or split.

use std::ffi::CStr;

/// Why keys that belong together were not written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// They are too many, or their values too large.
    TooLarge,
    /// The change of one was missed past `dirty-max-bytes`.
    Missed,
    /// MongoDB refuses one of the documents.
    Refused,
    /// One of the documents cannot be written at the moment.
    Blocked,
    /// The registration of one is paused.
    Paused,
    /// The registration of one backs off after an error.
    BacksOff,
    /// MongoDB has no transactions: a standalone server, or a router.
    NoTransactions,
}

impl Split {
    /// Every reason.
    pub const ALL: [Split; 7] = [
        Split::TooLarge,
        Split::Missed,
        Split::Refused,
        Split::Blocked,
        Split::Paused,
        Split::BacksOff,
        Split::NoTransactions,
    ];

    /// The name of the figure that counts the groups split for this reason.
    pub fn figure(self) -> &'static CStr {
        match self {
            Split::TooLarge => c"groups_too_large_total",
            Split::Missed => c"groups_missed_total",
            Split::Refused => c"groups_refused_total",
            Split::Blocked => c"groups_blocked_total",
            Split::Paused => c"groups_paused_total",
            Split::BacksOff => c"groups_resting_total",
            Split::NoTransactions => c"groups_without_transactions_total",
        }
    }
}

/// Numbers of groups since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Groups that were written in one transaction.
    pub whole: u64,
    split: [u64; Split::ALL.len()],
}

impl GroupCounts {
    /// Counts `groups` that were not written in one transaction.
    pub fn count_split(&mut self, why: Split, groups: u64) {
        self.split[why as usize] += groups;
    }

    /// Number of groups that were split for this reason.
    pub fn split(&self, why: Split) -> u64 {
        self.split[why as usize]
    }

    /// Number of groups that were split.
    pub fn split_total(&self) -> u64 {
        self.split.iter().sum()
    }

    /// Adds the numbers of other groups.
    pub fn add(&mut self, other: &GroupCounts) {
        self.whole += other.whole;
        for (count, more) in self.split.iter_mut().zip(other.split) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself() {
        let mut counts = GroupCounts { whole: 3, ..GroupCounts::default() };
        for (count, why) in (1..).zip(Split::ALL) {
            counts.count_split(why, count);
        }
        let mut sum = counts;
        sum.add(&counts);
        assert_eq!((sum.whole, sum.split_total()), (6, 56));
        assert_eq!(sum.split(Split::NoTransactions), 14);
        let names: std::collections::HashSet<_> = Split::ALL.map(Split::figure).into();
        assert_eq!(names.len(), Split::ALL.len());
    }
}
