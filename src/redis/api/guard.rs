//! The guard around every callback from the server: a panic must never take the server down.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use super::log;

/// What the module does last when it stops working after a panic.
static AT_BREAK: OnceLock<fn()> = OnceLock::new();

static BROKEN: AtomicBool = AtomicBool::new(false);

/// Where the last panic of our own code happened.
static PLACE: Mutex<String> = Mutex::new(String::new());

/// True after a panic: from then on every callback returns at once.
pub fn is_broken() -> bool {
    BROKEN.load(Ordering::Relaxed)
}

/// The error reply to every command once the module is broken.
pub fn broken_error() -> String {
    let place = PLACE.lock().map(|place| place.clone()).unwrap_or_default();
    format!(
        "writebehind stopped after an internal error at {place}: Redis goes on, MongoDB gets nothing \
         more. With appendonly yes run SHUTDOWN NOSAVE and start the server again; otherwise start it \
         again, register the prefixes and run WB.SYNC. Please report this"
    )
}

/// Records where a panic happened instead of printing it, which could block the server. `at_break`
/// is called once, on the server's thread, when the module breaks.
pub fn install(at_break: fn()) {
    AT_BREAK.get_or_init(|| at_break);
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if let Ok(mut last) = PLACE.lock() {
            *last = place;
        }
    }));
}

/// Runs `body` unless the module is broken, and breaks the module if it panics. `fallback` is
/// returned in both cases.
pub fn guard<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    if is_broken() {
        return fallback;
    }
    // The state may be half changed after a panic, and is never used again: see `is_broken`.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            BROKEN.store(true, Ordering::Relaxed);
            log::warning(&broken_error());
            if let Some(at_break) = AT_BREAK.get() {
                at_break();
            }
            fallback
        }
    }
}
