//! Wakes the server's event loop.

use super::raw;

/// Makes the server's event loop run one more iteration. Called on the worker thread, and on the
/// server thread when the loop is about to sleep.
///
/// The one-shot callback itself is empty: it may run in the middle of a script or of loading, where
/// the module must not touch keys. Scheduling it is enough; the work is done before the loop sleeps
/// again.
pub fn server() {
    extern "C" fn nothing(_: *mut std::ffi::c_void) {}
    // SAFETY: the function may be called from any thread; it takes a callback and its argument.
    unsafe { raw::api!(RedisModule_EventLoopAddOneShot)(Some(nothing), std::ptr::null_mut()) };
}
