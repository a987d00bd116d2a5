//! The MongoDB sessions of this server or its master. They are saved and replicated, so that a
//! restarted server or a promoted replica can end their transactions.

use crate::core::delivery::batch::SessionId;

/// Maximum number of sessions kept: the worker uses one for each batch in flight.
const MOST: usize = 1024;

/// The sessions.
#[derive(Debug, Default)]
pub struct KnownSessions {
    present: Vec<SessionId>,
    former: Vec<SessionId>,
    /// True if the present ones must still be propagated to replicas and the AOF.
    pending: bool,
}

impl KnownSessions {
    /// Sets the sessions in use; `pending` if they must still be propagated to replicas and the
    /// AOF. If there are more than [`MOST`], the last ones are kept.
    pub fn set(&mut self, mut sessions: Vec<SessionId>, pending: bool) {
        sessions.drain(..sessions.len().saturating_sub(MOST));
        (self.present, self.pending) = (sessions, pending);
    }

    /// The sessions in use.
    pub fn present(&self) -> &[SessionId] {
        &self.present
    }

    /// The sessions in use if they must be propagated; `None` until the next change.
    pub fn take_pending(&mut self) -> Option<Vec<SessionId>> {
        std::mem::take(&mut self.pending).then(|| self.present.clone())
    }

    /// Sessions of this server before its restart, or of the previous master.
    pub fn former(&self) -> &[SessionId] {
        &self.former
    }

    /// The sessions known so far belong to a predecessor from now on.
    pub(super) fn retire(&mut self) {
        self.former.clone_from(&self.present);
    }
}
