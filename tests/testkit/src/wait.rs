//! Polling with a deadline: the only way in which tests wait.

use std::time::{Duration, Instant};

/// Long enough for anything that should happen at all, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// Whether the condition came true in time.
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

/// Runs `each` again and again for the time given and returns how often.
pub fn keep_on_for(time: Duration, mut each: impl FnMut(u64)) -> u64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        each(count);
        count += 1;
    }
    count
}
