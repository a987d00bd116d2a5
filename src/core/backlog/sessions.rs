//! The sessions in which this server writes, or its master does: kept with the state, so that the
//! server that goes on can end what they hold.

use crate::core::delivery::batch::SessionId;

/// Most sessions that are kept: a client has one for each batch on the wire.
const MOST: usize = 1024;

/// The sessions.
#[derive(Debug, Default)]
pub struct KnownSessions {
    present: Vec<SessionId>,
    former: Vec<SessionId>,
    /// True when replicas and the AOF do not know of the present ones.
    pending: bool,
}

impl KnownSessions {
    /// These sessions are used from now on; `pending` when replicas and the AOF do not know it. Of
    /// more than any server uses the last ones count.
    pub fn set(&mut self, mut sessions: Vec<SessionId>, pending: bool) {
        sessions.drain(..sessions.len().saturating_sub(MOST));
        (self.present, self.pending) = (sessions, pending);
    }

    /// The sessions in use.
    pub fn present(&self) -> &[SessionId] {
        &self.present
    }

    /// The sessions in use, once after each change.
    pub fn take_pending(&mut self) -> Option<Vec<SessionId>> {
        std::mem::take(&mut self.pending).then(|| self.present.clone())
    }

    /// Sessions of an earlier life, or of the master before.
    pub fn former(&self) -> &[SessionId] {
        &self.former
    }

    /// From here on the sessions known so far are those of another process.
    pub(super) fn retire(&mut self) {
        self.former.clone_from(&self.present);
    }
}
