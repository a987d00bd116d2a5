//! What the sink knows of the link by itself.

use tokio::time::Instant;

use crate::sink::LinkError;

/// What the sink knows of the link by itself.
#[derive(Debug, Default)]
pub struct View {
    /// A server takes writes.
    pub takes_writes: bool,
    /// No server does, and why; the link counts as broken when this time has come.
    pub fails: Option<(Instant, LinkError)>,
}

impl View {
    /// When the link counts as broken, if nothing better is heard.
    pub fn fails_at(&self) -> Option<Instant> {
        self.fails.as_ref().map(|(at, _)| *at)
    }

    /// Whether a server takes writes, as far as the sink knows.
    pub fn takes_writes(&self) -> bool {
        self.takes_writes
    }
}
