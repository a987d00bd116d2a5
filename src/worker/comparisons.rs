//! Keys that are compared with their documents for WB.VERIFY. Each request is a task of its own.

use tokio::task::Id;

use super::ends::PANIC;
use super::tasks::{BatchEnd, Tasks};
use super::write_loop::WriteLoop;
use crate::core::delivery::comparison::{CompareRequest, Compared};
use crate::core::delivery::page::ReadFailure;
use crate::core::delivery::report::Report;
use crate::core::ids::RunId;
use crate::sink::Connector;
use crate::source::Source;

/// Why there is nothing to compare with.
const NOT_LINKED: &str = "MongoDB is not reached";

impl<C: Connector> WriteLoop<C> {
    /// Begins to compare what the server thread has read.
    pub(super) fn compare(&mut self, tasks: &mut Tasks<C::Sink>) {
        while let Ok(request) = self.ends.comparisons.try_recv() {
            self.begin_comparison(request, tasks);
        }
    }

    fn begin_comparison(&mut self, request: CompareRequest, tasks: &mut Tasks<C::Sink>) {
        let run = request.run;
        let Some(linked) = self.linked.clone().filter(|_| self.link.accepts_batches()) else {
            return self.report_compared(run, Err(ReadFailure::transient(NOT_LINKED)));
        };
        let task = tasks.spawn_local(async move {
            BatchEnd::Compared(linked.sink.compare(request).await.map(Box::new))
        });
        self.comparisons.insert(task.id(), run);
    }

    /// Reports the result; without `ended`, the task has panicked. False if it was none of a comparison.
    pub(super) fn comparison_ended(
        &mut self,
        task: Id,
        ended: &mut Option<BatchEnd<C::Sink>>,
    ) -> bool {
        let result = match ended.take_if(|ended| matches!(ended, BatchEnd::Compared(_))) {
            Some(BatchEnd::Compared(result)) => result,
            _ if self.comparisons.contains_key(&task) => Err(ReadFailure::permanent(PANIC)),
            _ => return false,
        };
        // Without an entry it came from a former deployment.
        if let Some(run) = self.comparisons.remove(&task) {
            self.report_compared(run, result);
        }
        true
    }

    /// The settings have another deployment: what is compared is of the former one.
    pub(super) fn end_comparisons(&mut self) {
        let runs: Vec<RunId> = self.comparisons.drain().map(|(_, run)| run).collect();
        for run in runs {
            self.report_compared(run, Err(ReadFailure::transient(NOT_LINKED)));
        }
    }

    fn report_compared(&mut self, run: RunId, result: Result<Box<Compared>, ReadFailure>) {
        self.outbox.push(Report::Compared(run, result));
    }
}
