//! Writes to the server's log.
//!
//! The text goes through "%s", never as the format itself: a percent sign in a connection string
//! would crash the server.

use std::ffi::{CStr, CString};
use std::ptr;

use super::raw::api;

/// Logs an event that may interest an operator.
pub fn notice(text: &str) {
    write(c"notice", text);
}

/// Logs an event that an operator must act on.
pub fn warning(text: &str) {
    write(c"warning", text);
}

fn write(level: &CStr, text: &str) {
    // A NUL would end the line early, a line feed forge another one, an escape speak to the terminal.
    let text = CString::new(text.replace(char::is_control, " ")).unwrap_or_default();
    // SAFETY: without a context the line is logged under "module"; both strings are NUL-terminated
    // and live until after the call. RM_Log may be called on any thread.
    unsafe {
        api!(RedisModule_Log)(
            ptr::null_mut(),
            level.as_ptr(),
            c"writebehind: %s".as_ptr(),
            text.as_ptr(),
        );
    }
}
