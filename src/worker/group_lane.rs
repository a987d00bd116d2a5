//! The group batches of a write loop, and the credits for them.

use std::collections::VecDeque;
use std::rc::Rc;

use tokio::task::Id;
use tokio::time::Instant;

use super::connect_attempt::Linked;
use crate::core::delivery::group_batch::GroupBatch;

/// Group batches that the server thread may send: one is being written, and the next one waits.
pub const GROUP_CREDITS: u32 = 2;

/// A group batch in flight.
pub struct SentGroups<S> {
    pub(super) task: Id,
    pub(super) groups: Rc<GroupBatch>,
    pub(super) linked: Rc<Linked<S>>,
    pub(super) since: Instant,
}

/// The group batches of a write loop.
pub struct GroupLane<S> {
    pub(super) waiting: VecDeque<GroupBatch>,
    pub(super) flight: Option<SentGroups<S>>,
    /// Granted to the server thread, waiting or in flight.
    outstanding: u32,
}

impl<S> Default for GroupLane<S> {
    fn default() -> Self {
        GroupLane { waiting: VecDeque::new(), flight: None, outstanding: 0 }
    }
}

impl<S> GroupLane<S> {
    /// Credits to grant now.
    pub fn grant(&mut self) -> u32 {
        let more = GROUP_CREDITS.saturating_sub(self.outstanding);
        self.outstanding += more;
        more
    }

    /// Number of group batches in flight.
    pub fn in_flight(&self) -> usize {
        usize::from(self.flight.is_some())
    }

    /// True if the task writes the group batch in flight.
    pub fn is_task(&self, id: Id) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.task == id)
    }

    /// A group batch has ended, and its credit with it.
    pub fn ended(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }
}
