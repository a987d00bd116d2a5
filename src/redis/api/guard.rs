//! The guard around every entry from the server: a panic must never take the server down.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::log;
use crate::redis::commands::check;
use crate::redis::state::module;

static BROKEN: AtomicBool = AtomicBool::new(false);

/// Where the last panic of our own code happened.
static PLACE: Mutex<String> = Mutex::new(String::new());

/// True after a panic: the module does nothing any more.
pub fn is_broken() -> bool {
    BROKEN.load(Ordering::Relaxed)
}

/// What a client is told when the module is broken.
pub fn broken_error() -> String {
    let place = PLACE.lock().map(|place| place.clone()).unwrap_or_default();
    format!(
        "writebehind stopped after an internal error at {place}: Redis goes on, MongoDB gets \
         nothing more; save and restart the server, and report this"
    )
}

/// Keeps where a panic happened instead of printing it, which could block the server.
pub fn install() {
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
    // The state may be half changed after a panic, and nobody looks at it again: see `is_broken`.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            BROKEN.store(true, Ordering::Relaxed);
            log::warning(&broken_error());
            release_clients();
            fallback
        }
    }
}

/// Lets the clients go that wait for a flush or a check: from here on nothing else would.
fn release_clients() {
    let module = module();
    check::release(module);
    if let Ok(mut blocked) = module.blocked.try_borrow_mut() {
        blocked.release();
    }
}
