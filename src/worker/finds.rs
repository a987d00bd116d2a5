//! The documents of keys that clients wait for. Each request is a task of its own.

use tokio::task::Id;

use super::ends::PANIC;
use super::tasks::{BatchEnd, Tasks};
use super::write_loop::WriteLoop;
use crate::core::delivery::page::{FindRequest, Found, ReadFailure};
use crate::core::delivery::report::Report;
use crate::core::ids::FindId;
use crate::sink::Connector;
use crate::source::Source;

/// Why there is nothing to read from.
const NOT_LINKED: &str = "MongoDB is not reached";

impl<C: Connector> WriteLoop<C> {
    /// Begins to read what the server thread asks for.
    pub(super) fn find_documents(&mut self, tasks: &mut Tasks<C::Sink>) {
        while let Ok(request) = self.ends.finds.try_recv() {
            self.begin_find(request, tasks);
        }
    }

    fn begin_find(&mut self, request: FindRequest, tasks: &mut Tasks<C::Sink>) {
        let find = request.find;
        let Some(linked) = self.linked.clone().filter(|_| self.link.accepts_batches()) else {
            return self.report_found(find, Err(ReadFailure::transient(NOT_LINKED)));
        };
        let task =
            tasks.spawn_local(async move { BatchEnd::Found(linked.sink.find(&request).await) });
        self.finds.insert(task.id(), find);
    }

    /// Reports what was found; without `ended`, the task has panicked. False if it was none of a find.
    pub(super) fn find_ended(&mut self, task: Id, ended: &mut Option<BatchEnd<C::Sink>>) -> bool {
        let result = match ended.take_if(|ended| matches!(ended, BatchEnd::Found(..))) {
            Some(BatchEnd::Found(result)) => result,
            _ if self.finds.contains_key(&task) => Err(ReadFailure::permanent(PANIC)),
            _ => return false,
        };
        // Without an entry it came from a former deployment.
        if let Some(find) = self.finds.remove(&task) {
            self.report_found(find, result);
        }
        true
    }

    /// The settings have another deployment: what is read comes from the former one.
    pub(super) fn end_finds(&mut self) {
        let finds: Vec<FindId> = self.finds.drain().map(|(_, find)| find).collect();
        for find in finds {
            self.report_found(find, Err(ReadFailure::transient(NOT_LINKED)));
        }
    }

    fn report_found(&mut self, find: FindId, result: Result<Found, ReadFailure>) {
        self.outbox.push(Report::Found { find, result: result.map(Box::new) });
    }
}
