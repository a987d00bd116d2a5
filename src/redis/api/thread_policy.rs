//! The worker's threads are batch work to the scheduler: when one wakes up, it does not push the
//! server's thread from its processor. A slice of reading wakes them in its midst.
//!
//! Under a seccomp filter they stay as they are. The filter of Debian's `redis-server.service` ends
//! the process for such a call, and no process can ask what a filter does with one.

use std::mem::zeroed;

/// Restores how this thread is scheduled when dropped.
pub struct BatchWork(libc::sched_param);

/// Makes this thread batch work until the result is dropped; a thread started meanwhile stays so.
/// Nothing where an operator has given the server a policy of its own, or calls are filtered.
pub fn begin() -> Option<BatchWork> {
    if is_filtered() {
        return None;
    }
    // SAFETY: 0 is the calling thread, and only that; the parameter is plain numbers, written by
    // sched_getparam before it is read.
    unsafe {
        let mut parameter: libc::sched_param = zeroed();
        let usual = libc::sched_getscheduler(0) == libc::SCHED_OTHER
            && libc::sched_getparam(0, &raw mut parameter) == 0
            && libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter) == 0;
        usual.then_some(BatchWork(parameter))
    }
}

/// True unless the kernel says that no seccomp filter is in force for this thread.
fn is_filtered() -> bool {
    // The kernel answers from memory, so this never waits for a disk.
    std::fs::read_to_string("/proc/thread-self/status").map_or(true, |status| has_filter(&status))
}

fn has_filter(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.map(str::trim) != Some("0")
}

impl Drop for BatchWork {
    fn drop(&mut self) {
        // SAFETY: gives the calling thread the policy that it had; no privilege is needed for
        // that.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::has_filter;

    #[test]
    fn calls_count_as_filtered_unless_the_kernel_denies_it() {
        assert!(!has_filter("Name:\tredis\nSeccomp:\t0\nSeccomp_filters:\t0\n"));
        assert!(has_filter("Name:\tredis\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(has_filter("Name:\tredis\nSeccomp_filters:\t0\n"));
        assert!(has_filter(""));
    }
}
