//! The module's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lazy_static::lazy_static;

use crate::core::now::Now;

lazy_static! {
    static ref START: (Instant, u64) = (Instant::now(), unix_ms() * 1000);
}

/// Microseconds since 1970, taken once when the module is loaded and monotonic from then on: the
/// clock never goes back, and times saved by an earlier process stay comparable.
pub fn now_us() -> u64 {
    let (start, start_us) = *START;
    start_us + u64::try_from(start.elapsed().as_micros()).unwrap_or(0)
}

/// The current time on both clocks.
pub fn now() -> Now {
    Now { us: now_us(), unix_ms: unix_ms() }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}
