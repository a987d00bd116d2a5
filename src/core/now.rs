//! A point in time on the two clocks. The core reads no clock; its callers pass the time.

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds of a monotonic clock, which was set to the time since 1970 at the server's start.
    pub us: u64,
    /// Milliseconds since 1970 by the wall clock.
    pub unix_ms: u64,
}
