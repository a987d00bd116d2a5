//! Runs the worker's threads under SCHED_BATCH: when the kernel wakes one, it does not preempt the
//! server's thread. Sending a batch in the middle of a read slice wakes them.
//!
//! Under a seccomp filter the policy is left unchanged. The filter of Debian's
//! `redis-server.service` kills the process for such a call, and a process cannot ask what its
//! filter does with a call.

use std::mem::zeroed;

/// Restores the scheduling policy of this thread when dropped.
pub struct BatchWork(libc::sched_param);

/// Sets this thread's policy to SCHED_BATCH until the result is dropped; a thread started in
/// between keeps it. Does nothing where an operator has set another policy for the server, or a
/// seccomp filter is active.
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

/// True unless the kernel reports that no seccomp filter is active for this thread.
fn is_filtered() -> bool {
    // The kernel generates this file in memory, so the read never waits for a disk.
    std::fs::read_to_string("/proc/thread-self/status").map_or(true, |status| has_filter(&status))
}

fn has_filter(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.map(str::trim) != Some("0")
}

impl Drop for BatchWork {
    fn drop(&mut self) {
        // SAFETY: restores the policy that the calling thread had; no privilege is needed for that.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::has_filter;

    #[test]
    fn calls_count_as_filtered_unless_the_kernel_reports_no_filter() {
        assert!(!has_filter("Name:\tredis\nSeccomp:\t0\nSeccomp_filters:\t0\n"));
        assert!(has_filter("Name:\tredis\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(has_filter("Name:\tredis\nSeccomp_filters:\t0\n"));
        assert!(has_filter(""));
    }
}
