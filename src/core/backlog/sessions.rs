//! The sessions in which this server writes, or its master does: kept with the state, so that the
//! server that goes on can end what they hold.

use super::Backlog;
use crate::core::delivery::batch::LaneId;

/// Most sessions that are kept: a client has one for each batch on the wire.
const MOST: usize = 1024;

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    present: Vec<LaneId>,
    former: Vec<LaneId>,
    untold: bool,
}

impl Backlog {
    /// These sessions are used from now on; `untold` when replicas and the AOF do not know it. Of
    /// more than any server uses the last ones count.
    pub fn set_lanes(&mut self, mut lanes: Vec<LaneId>, untold: bool) {
        lanes.drain(..lanes.len().saturating_sub(MOST));
        (self.lanes.present, self.lanes.untold) = (lanes, untold);
    }

    /// The sessions in use.
    pub fn lanes(&self) -> &[LaneId] {
        &self.lanes.present
    }

    /// The sessions in use, once after each change.
    pub fn take_untold_lanes(&mut self) -> Option<Vec<LaneId>> {
        std::mem::take(&mut self.lanes.untold).then(|| self.lanes.present.clone())
    }

    /// Sessions of an earlier life, or of the master before.
    pub fn former_lanes(&self) -> &[LaneId] {
        &self.lanes.former
    }

    /// From here on the sessions known so far are those of another process.
    pub(super) fn retire_lanes(&mut self) {
        self.lanes.former.clone_from(&self.lanes.present);
    }
}
