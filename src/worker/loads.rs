//! Loads on the worker: the next pages are read while the server thread stores the last ones. Each page is
//! a task of its own.

use std::rc::Rc;

use tokio::task::Id;

use super::ends::PANIC;
use super::load_lane::{LoadLane, PageEnd};
use super::tasks::{BatchEnd, Tasks};
use super::write_loop::WriteLoop;
use crate::core::delivery::page::{LoadMessage, LoadRequest, PAGES, Page, ReadFailure};
use crate::core::delivery::report::Report;
use crate::core::ids::LoadId;
use crate::sink::{Connector, Sink};
use crate::source::Source;

/// Why there is nothing to read from.
const NOT_LINKED: &str = "MongoDB is not reached";

impl<C: Connector> WriteLoop<C> {
    /// Follows what the server thread says of loads, and begins to read.
    pub(super) fn read_pages(&mut self, tasks: &mut Tasks<C::Sink>) {
        while let Ok(message) = self.ends.loads.try_recv() {
            match message {
                LoadMessage::Begin(request) => self.begin_load(request),
                LoadMessage::More(load) => {
                    if let Some(lane) = self.loads.get_mut(&load) {
                        lane.pages += 1;
                    }
                }
                LoadMessage::End(load) => drop(self.loads.remove(&load)),
            }
        }
        for (load, lane) in &mut self.loads {
            if lane.pages > 0 && lane.task.is_none() {
                lane.pages -= 1;
                lane.task = Some(read(*load, lane, tasks));
            }
        }
    }

    /// The settings have another deployment: what is read comes from the former one.
    pub(super) fn end_loads(&mut self) {
        let loads: Vec<LoadId> = self.loads.drain().map(|(load, _)| load).collect();
        for load in loads {
            self.report_page(load, Err(ReadFailure::transient(NOT_LINKED)));
        }
    }

    fn begin_load(&mut self, request: LoadRequest) {
        let load = request.load;
        let Some(linked) = self.linked.clone().filter(|_| self.link.accepts_batches()) else {
            return self.report_page(load, Err(ReadFailure::transient(NOT_LINKED)));
        };
        let request = Some(request);
        let lane = LoadLane { linked, request, cursor: None, pages: PAGES, task: None };
        self.loads.insert(load, lane);
    }

    /// Reports a page; without `ended`, its task has panicked. False if the task was none of a load.
    pub(super) fn page_ended(&mut self, task: Id, ended: &mut Option<BatchEnd<C::Sink>>) -> bool {
        if let Some(BatchEnd::Page(end)) = ended.take_if(|end| matches!(end, BatchEnd::Page(_))) {
            // Without a lane the load has ended meanwhile.
            let Some(lane) = self.loads.get_mut(&end.load) else { return true };
            lane.task = None;
            lane.cursor = end.cursor;
            if end.result.as_ref().map_or(true, |page| page.is_last) {
                self.loads.remove(&end.load);
            }
            self.report_page(end.load, end.result);
            return true;
        }
        let Some(load) =
            self.loads.iter().find(|(_, lane)| lane.task == Some(task)).map(|(load, _)| *load)
        else {
            return false;
        };
        self.loads.remove(&load);
        self.report_page(load, Err(ReadFailure::permanent(PANIC)));
        true
    }

    fn report_page(&mut self, load: LoadId, result: Result<Page, ReadFailure>) {
        self.outbox.push(Report::Page { load, result: result.map(Box::new) });
    }
}

/// Begins a task that reads the next page.
fn read<S: Sink + Source>(load: LoadId, lane: &mut LoadLane<S>, tasks: &mut Tasks<S>) -> Id {
    let (linked, request, cursor) =
        (Rc::clone(&lane.linked), lane.request.take(), lane.cursor.take());
    let task = tasks.spawn_local(async move {
        let cursor = match (cursor, request) {
            (Some(cursor), _) => Ok(cursor),
            (None, Some(request)) => linked.sink.open(&request).await,
            (None, None) => Err(ReadFailure::transient(NOT_LINKED)),
        };
        BatchEnd::Page(match cursor {
            Ok(mut cursor) => {
                let result = linked.sink.next_page(&mut cursor).await;
                PageEnd { load, cursor: Some(cursor), result }
            }
            Err(failure) => PageEnd { load, cursor: None, result: Err(failure) },
        })
    });
    task.id()
}
