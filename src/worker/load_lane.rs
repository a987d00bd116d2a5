//! Where the loads are that the worker reads.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::task::Id;

use super::connect_attempt::Linked;
use crate::core::delivery::page::{LoadRequest, Page, ReadFailure};
use crate::core::ids::LoadId;
use crate::source::Source;

/// A load that is being read.
pub struct LoadLane<S: Source> {
    pub(super) linked: Rc<Linked<S>>,
    /// What to read, until the first page is asked for.
    pub(super) request: Option<LoadRequest>,
    /// Where to go on; nothing while a task reads.
    pub(super) cursor: Option<S::Cursor>,
    /// Pages that may be read.
    pub(super) pages: u32,
    pub(super) task: Option<Id>,
}

/// All loads that are being read.
pub type LoadLanes<S> = HashMap<LoadId, LoadLane<S>>;

/// The end of a task: the load, where to go on, and what was read.
pub struct PageEnd<S: Source> {
    pub(super) load: LoadId,
    pub(super) cursor: Option<S::Cursor>,
    pub(super) result: Result<Page, ReadFailure>,
}
