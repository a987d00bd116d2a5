//! Wakes the server's event loop.

use super::raw;

/// Makes the server's event loop turn once more. Called on the worker thread, and on the server's
/// when the loop is about to sleep.
///
/// The one-shot itself does nothing: it may run in the middle of a script or of loading, where
/// nothing may be touched. What it is for happens before the loop sleeps again.
pub fn server() {
    extern "C" fn nothing(_: *mut std::ffi::c_void) {}
    // SAFETY: the function may be called from any thread; it takes a callback and its argument.
    unsafe { raw::api!(RedisModule_EventLoopAddOneShot)(Some(nothing), std::ptr::null_mut()) };
}
