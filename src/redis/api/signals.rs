//! Blocks signals around the start of threads: the server handles signals, and the worker thread
//! must never run one of its handlers.

use std::mem::MaybeUninit;

/// Restores the signal mask when dropped.
pub struct BlockedSignals(libc::sigset_t);

/// Blocks every signal on this thread until the result is dropped; a thread started in between
/// inherits the mask for its whole life.
pub fn block_all() -> Option<BlockedSignals> {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigfillset fills the set it is given; pthread_sigmask reads it, and writes the
    // previous mask into the other.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let done = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        (done == 0).then(|| BlockedSignals(before.assume_init()))
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: sets the mask that was in force before `block_all`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}
