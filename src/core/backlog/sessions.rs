//! The sessions in which this server writes, or its master does: kept with the state, so that the
//! server that goes on can end what they hold.

use super::Backlog;
use crate::core::delivery::batch::SessionId;

/// Most sessions that are kept: a client has one for each batch on the wire.
const MOST: usize = 1024;

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct KnownSessions {
    present: Vec<SessionId>,
    former: Vec<SessionId>,
    untold: bool,
}

impl Backlog {
    /// These sessions are used from now on; `untold` when replicas and the AOF do not know it. Of
    /// more than any server uses the last ones count.
    pub fn set_sessions(&mut self, mut sessions: Vec<SessionId>, untold: bool) {
        sessions.drain(..sessions.len().saturating_sub(MOST));
        (self.sessions.present, self.sessions.untold) = (sessions, untold);
    }

    /// The sessions in use.
    pub fn sessions(&self) -> &[SessionId] {
        &self.sessions.present
    }

    /// The sessions in use, once after each change.
    pub fn take_pending_sessions(&mut self) -> Option<Vec<SessionId>> {
        std::mem::take(&mut self.sessions.untold).then(|| self.sessions.present.clone())
    }

    /// Sessions of an earlier life, or of the master before.
    pub fn former_sessions(&self) -> &[SessionId] {
        &self.sessions.former
    }

    /// From here on the sessions known so far are those of another process.
    pub(super) fn retire_sessions(&mut self) {
        self.sessions.former.clone_from(&self.sessions.present);
    }
}
