//! When the module's next work is due, and the server's timer that wakes the event loop for it.

use std::cell::Cell;
use std::ffi::c_void;

use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::raw::api;

/// Times in microseconds; `u64::MAX` for never.
#[derive(Debug)]
pub struct Schedule {
    /// When the next batch can be sent, as far as known.
    pub next_due_us: Cell<u64>,
    /// When the current timer fires.
    timer_us: Cell<u64>,
    /// The id of the current timer.
    timer: Cell<u64>,
}

impl Default for Schedule {
    fn default() -> Self {
        let never = || Cell::new(u64::MAX);
        Schedule { next_due_us: never(), timer_us: never(), timer: Cell::new(0) }
    }
}

impl Schedule {
    /// Sets a timer that wakes the event loop at `due_us`, so that the work after its sleep is done
    /// in time. False when the current timer fires before that anyway.
    pub fn set_timer(&'static self, ctx: Ctx<'_>, due_us: u64) -> bool {
        if due_us >= self.timer_us.get() {
            return false;
        }
        let wait_us = due_us.saturating_sub(clock::now_us());
        // At most a day, so that the sum inside the server cannot overflow.
        let wait_ms = wait_us.div_ceil(1000).min(86_400_000);
        // SAFETY: the context is that of a running callback; the timer's callback is the module's
        // and takes the cell, which lives as long as the process. Stopping a timer that has fired
        // already has no effect.
        let timer = unsafe {
            if self.timer_us.get() != u64::MAX {
                api!(RedisModule_StopTimer)(ctx.raw(), self.timer.get(), std::ptr::null_mut());
            }
            api!(RedisModule_CreateTimer)(
                ctx.raw(),
                wait_ms as raw::mstime_t,
                Some(on_timer),
                (&raw const self.timer_us).cast_mut().cast(),
            )
        };
        self.timer.set(timer);
        self.timer_us.set(due_us);
        true
    }
}

unsafe extern "C" fn on_timer(_: *mut raw::RedisModuleCtx, timer_us: *mut c_void) {
    guard((), || {
        // SAFETY: `set_timer` passed the cell of a schedule that lives as long as the process.
        unsafe { &*timer_us.cast::<Cell<u64>>() }.set(u64::MAX);
    });
}
