//! Polling with a deadline: the only way that tests wait.

use std::time::{Duration, Instant};

/// A timeout for anything that should happen promptly, generous for a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// True if the condition became true in time.
pub fn became(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// Returns when the condition is true; panics when that takes longer than `within`.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, condition: impl FnMut() -> bool) {
    assert!(became(within, condition), "not within {within:?}: {what}");
}

/// Calls `each` repeatedly for `time` and returns the number of calls.
pub fn repeat_for(time: Duration, mut each: impl FnMut(u64)) -> u64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        each(count);
        count += 1;
    }
    count
}
