//! The link as the sink reports it.

use tokio::time::Instant;

use crate::sink::LinkError;

/// The link as the sink reports it.
#[derive(Debug, Default)]
pub struct View {
    /// True if a server accepts writes.
    pub accepts_writes: bool,
    /// When no server does: the time from which the link counts as broken, and why.
    pub fails: Option<(Instant, LinkError)>,
}

impl View {
    /// When the link counts as broken, unless a server accepts writes before.
    pub fn fails_at(&self) -> Option<Instant> {
        self.fails.as_ref().map(|(at, _)| *at)
    }

    /// True if a server accepts writes, as far as the sink knows.
    pub fn accepts_writes(&self) -> bool {
        self.accepts_writes
    }
}
