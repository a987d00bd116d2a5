//! `INFO writebehind`: the figures of WB.STATUS as numbers for monitoring systems; `link_up` and
//! `link_down` replace `link`. Histograms and the dead letters' codes are fields of the form
//! `name:label=number,…`.

use std::ffi::{CStr, CString, c_int};

use super::status::numbers;
use crate::core::delivery::buckets::Buckets;
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
    let section = Section(ctx);
    if is_broken() {
        section.begin();
        section.number(c"broken", 1);
    }
    guard((), || {
        let pipeline = &module().pipeline;
        let backlog = pipeline.backlog.borrow();
        let state = backlog.state(clock::now_us());
        section.begin();
        section.text(c"version", &CString::new(env!("CARGO_PKG_VERSION")).unwrap_or_default());
        for (name, value) in numbers(&state, pipeline) {
            section.number(name, value);
        }
        let codes = backlog.dead.codes();
        section.list(c"dead_letter_codes", codes.map(|(code, n)| (code.to_string(), n as u64)));
        section.histogram(c"lag_us", &backlog.times.lag);
        section.histogram(c"batch_us", &backlog.times.batch);
    });
}

/// The module's section of an INFO reply that is being written.
struct Section(*mut raw::RedisModuleInfoCtx);

impl Section {
    /// A section without a name is the module's own.
    fn begin(&self) {
        // SAFETY: the context is that of the running callback, here and below.
        unsafe { api!(RedisModule_InfoAddSection)(self.0, std::ptr::null()) };
    }

    fn number(&self, name: &CStr, value: u64) {
        // SAFETY: as above; the name is copied.
        unsafe { api!(RedisModule_InfoAddFieldULongLong)(self.0, name.as_ptr(), value) };
    }

    fn text(&self, name: &CStr, value: &CStr) {
        // SAFETY: as above; both are copied.
        unsafe { api!(RedisModule_InfoAddFieldCString)(self.0, name.as_ptr(), value.as_ptr()) };
    }

    /// `<name>:<label>=<number>,…`.
    fn list(&self, name: &CStr, fields: impl Iterator<Item = (String, u64)>) {
        // SAFETY: as above; the name is copied.
        unsafe { api!(RedisModule_InfoBeginDictField)(self.0, name.as_ptr()) };
        for (label, value) in fields {
            self.number(&CString::new(label).unwrap_or_default(), value);
        }
        // SAFETY: as above.
        unsafe { api!(RedisModule_InfoEndDictField)(self.0) };
    }

    /// Cumulative buckets by their bounds in microseconds, then sum and count.
    fn histogram(&self, name: &CStr, buckets: &Buckets) {
        let bounds =
            buckets.cumulative().map(|(bound_us, count)| (format!("le_{bound_us}"), count));
        let sums = [("sum".to_owned(), buckets.sum_us()), ("count".to_owned(), buckets.count())];
        self.list(name, bounds.chain(sums));
    }
}
