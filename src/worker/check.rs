//! WB.CHECK on the worker: each check is a task of its own, independent of the link and the
//! batches.

use std::rc::Rc;

use tokio::task::Id;
use tokio::time::{Duration, timeout};

use super::connect_attempt;
use super::ends::{CheckRequest, PANIC};
use super::tasks::{BatchEnd, Tasks};
use super::write_loop::{SILENT, WriteLoop};
use crate::core::delivery::deployment::{Checkup, needs};
use crate::core::delivery::report::Report;
use crate::sink::Connector;

/// Time limit for a check that hangs; its steps have shorter limits of their own.
const CHECK_WITHIN: Duration = Duration::from_secs(20);

impl<C: Connector> WriteLoop<C> {
    /// Starts the requested checks.
    pub(super) fn begin_checks(&mut self, tasks: &mut Tasks<C::Sink>) {
        while let Ok(CheckRequest { id, uri, registrations }) = self.ends.checks.try_recv() {
            let connector = Rc::clone(&self.connector);
            let task = tasks.spawn_local(async move {
                let needs = needs(registrations.iter().map(|registration| &**registration));
                let check = async {
                    match connect_attempt::uri(&uri).await {
                        Ok(uri) => connector.check(&uri, &needs).await,
                        Err(broken) => Checkup::failed(broken.error),
                    }
                };
                let checkup = timeout(CHECK_WITHIN, check).await;
                BatchEnd::Checked(checkup.unwrap_or_else(|_| Checkup::failed(SILENT)))
            });
            self.checks.insert(task.id(), id);
        }
    }

    /// Reports the result of a check; without `ended`, the task has panicked.
    pub(super) fn checked(&mut self, task: Id, ended: Option<BatchEnd<C::Sink>>) {
        let Some(id) = self.checks.remove(&task) else { return };
        let found = match ended {
            Some(BatchEnd::Checked(found)) => found,
            _ => Checkup::failed(PANIC),
        };
        self.outbox.push(Report::Checked { id, found: Box::new(found) });
    }

    /// Reports a failure for every check that has not ended. No task of this write loop may be
    /// alive.
    pub(super) fn fail_checks(&mut self, error: &str) {
        let running: Vec<u64> = self.checks.drain().map(|(_, id)| id).collect();
        let requested: Vec<u64> = self.ends.checks.try_iter().map(|check| check.id).collect();
        for id in running.into_iter().chain(requested) {
            self.outbox.push(Report::Checked { id, found: Box::new(Checkup::failed(error)) });
        }
    }
}
