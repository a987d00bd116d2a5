//! Tests of the worker with sinks that misbehave. Most run the write loop and the handle on one
//! thread with paused time; those in `real_thread` run the real thread.

mod check;
mod in_flight;
mod lease;
mod link;
mod loads;
mod real_thread;
mod settings;
mod slow;

use std::time::Duration;

use tokio::task::LocalSet;

use super::doubles::Doubles;
use super::handle::Worker;
use super::options::{UriSource, WorkerOptions};
use super::write_loop::WriteLoop;
use crate::core::delivery::backoff::Backoff;
use crate::core::delivery::batch::{Batch, Link, Verdict};
use crate::core::delivery::report::Report;
use crate::core::settings::WriteForm;

/// For what happens on another thread.
const PATIENCE: Duration = Duration::from_secs(20);

fn options(uri: &str, max_in_flight: u32) -> WorkerOptions {
    let backoff = Backoff { min_ms: 50, max_ms: 10_000 };
    let write_timeout = std::time::Duration::from_secs(10);
    WorkerOptions {
        uri: UriSource::Text(uri.to_owned()),
        max_in_flight,
        backoff,
        write_timeout,
        write_form: WriteForm::default(),
        former_sessions: Vec::new(),
        keeps_link: true,
        claim: None,
    }
}

/// A write loop and its handle in the same runtime.
struct Bench {
    worker: Worker,
    doubles: Doubles,
    credits: u32,
    slow_credits: u32,
    seen: Vec<Report>,
}

impl Bench {
    /// Runs `test` concurrently with a write loop that writes to `doubles`.
    async fn run(doubles: Doubles, options: WorkerOptions, test: impl AsyncFnOnce(&mut Bench)) {
        let (worker, ends) = Worker::unattended(clock_us, Box::new(|| ())).unwrap();
        let mut write_loop = WriteLoop::new(doubles.clone(), options, ends);
        let mut bench = Bench { worker, doubles, credits: 0, slow_credits: 0, seen: Vec::new() };
        let local = LocalSet::new();
        local.spawn_local(async move { write_loop.run().await.unwrap() });
        local.run_until(test(&mut bench)).await;
    }

    /// Lets `ms` milliseconds pass, and collects the reports.
    async fn pass(&mut self, ms: u64) {
        // Time is paused while a task is ready, so that these yields take no time.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        self.worker.begin_drain();
        while let Some(report) = self.worker.report() {
            match report {
                Report::Credit(n) => self.credits += n,
                Report::SlowCredit(n) => self.slow_credits += n,
                _ => {}
            }
            self.seen.push(report);
        }
    }

    fn send(&mut self, batch: Batch) {
        self.credits = self.credits.checked_sub(1).expect("a batch needs a credit");
        self.worker.send(batch).expect("there is room for every credit");
    }

    /// Takes the verdicts seen so far, each with the first key of its batch.
    fn verdicts(&mut self) -> Vec<(String, Verdict)> {
        let done = self.seen.extract_if(.., |report| matches!(report, Report::Done { .. }));
        done.map(|report| {
            let Report::Done { batch, verdict } = report else { unreachable!() };
            (String::from_utf8_lossy(batch.key(&batch.items[0])).into_owned(), verdict)
        })
        .collect()
    }

    /// Takes the changes of the link seen so far.
    fn links(&mut self) -> Vec<Link> {
        let links = self.seen.extract_if(.., |report| matches!(report, Report::Link(_)));
        links
            .map(|report| match report {
                Report::Link(link) => link,
                _ => unreachable!(),
            })
            .collect()
    }
}

fn down(error: &str) -> Link {
    Link::Down { error: error.to_owned() }
}

/// Microseconds of tokio's clock, which the tests pause.
fn clock_us() -> u64 {
    thread_local!(static START: tokio::time::Instant = tokio::time::Instant::now());
    START.with(|start| start.elapsed().as_micros() as u64)
}
