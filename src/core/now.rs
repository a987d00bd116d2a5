//! A moment on the two clocks that the edges read: the core has none.

/// When something is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since 1970 at the server's start, and from then on of a clock that is never set.
    pub us: u64,
    /// Milliseconds since 1970 by the wall clock.
    pub unix_ms: u64,
}
