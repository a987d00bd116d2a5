//! Settings of the server itself, read with CONFIG GET.

use std::ffi::CStr;
use std::ptr;

use super::context::{Ctx, raw_bytes};
use super::raw::api;

/// The value of a setting of the server; nothing when the server does not have it.
pub fn value(ctx: Ctx<'_>, name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: the words of the call are NUL-terminated strings; the reply and its second element
    // are valid until the reply is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(
            ctx.raw(),
            c"CONFIG".as_ptr(),
            c"cc".as_ptr(),
            c"GET".as_ptr(),
            name.as_ptr(),
        );
        if reply.is_null() {
            return None;
        }
        let value = api!(RedisModule_CallReplyArrayElement)(reply, 1);
        let mut len = 0;
        let start = if value.is_null() {
            ptr::null()
        } else {
            api!(RedisModule_CallReplyStringPtr)(value, &raw mut len)
        };
        let text = (!start.is_null()).then(|| raw_bytes(start, len).to_vec());
        api!(RedisModule_FreeCallReply)(reply);
        text
    }
}

/// The number of logical databases that the server has; `u32::MAX` when it does not report it.
pub fn databases(ctx: Ctx<'_>) -> u32 {
    let value = value(ctx, c"databases").unwrap_or_default();
    std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok()).unwrap_or(u32::MAX)
}
