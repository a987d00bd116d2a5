//! The worker's threads are batch work to the scheduler: when one wakes up, it does not push the
//! server's thread from its processor. A slice of reading wakes them in its midst.

use std::mem::zeroed;

/// Restores how this thread is scheduled when dropped.
pub struct BatchWork(libc::sched_param);

/// Makes this thread batch work until the result is dropped; a thread started meanwhile stays so.
/// Nothing where an operator has given the server a policy of its own.
pub fn begin() -> Option<BatchWork> {
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

impl Drop for BatchWork {
    fn drop(&mut self) {
        // SAFETY: gives the calling thread the policy that it had; nobody needs a privilege for
        // that.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const self.0) };
    }
}
