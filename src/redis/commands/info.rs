//! `INFO writebehind`: the figures of WB.STATUS as numbers for monitoring systems; `link_up` and
//! `link_down` replace `link`.

use std::ffi::c_int;

use super::status::figures;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::{guard, is_broken};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::state::module;

/// Registers the INFO section.
pub fn register(ctx: Ctx<'_>) {
    // SAFETY: called in RedisModule_OnLoad with its context; the callback is the module's.
    unsafe { api!(RedisModule_RegisterInfoFunc)(ctx.raw(), Some(info)) };
}

unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    // A crash may have happened anywhere, on any thread: the module's state must not be read.
    if for_crash_report != 0 {
        return;
    }
    if is_broken() {
        // SAFETY: as below.
        unsafe {
            api!(RedisModule_InfoAddSection)(ctx, std::ptr::null());
            api!(RedisModule_InfoAddFieldULongLong)(ctx, c"broken".as_ptr(), 1);
        }
    }
    guard((), || {
        let backlog = module().pipeline.backlog.borrow();
        let state = backlog.state(clock::now_us());
        // SAFETY: the context is the server's; a section without a name is the module's own.
        unsafe { api!(RedisModule_InfoAddSection)(ctx, std::ptr::null()) };
        let state = [
            (c"link_up", u64::from(state.link == "up")),
            (c"link_down", u64::from(state.link == "down")),
        ]
        .into_iter()
        .chain(figures(&state, &module().pipeline.opener))
        .chain([(c"broken", 0)]);
        for (name, value) in state {
            // SAFETY: as above; the name is copied.
            unsafe { api!(RedisModule_InfoAddFieldULongLong)(ctx, name.as_ptr(), value) };
        }
    });
}
