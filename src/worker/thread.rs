//! The thread's body: runs the write loop, and restarts it after a failure.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::ends::{Ends, PANIC};
use super::options::WorkerOptions;
use super::write_loop::WriteLoop;
use crate::sink::Connector;

/// Pause before the write loop is restarted after a failure.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Runs until `stopping` is set.
pub fn run<C: Connector>(connector: C, options: WorkerOptions, ends: Ends) {
    let stopping = Arc::clone(&ends.stopping);
    let mut write_loop = WriteLoop::new(connector, options, ends);
    loop {
        let error = match catch_unwind(AssertUnwindSafe(|| run_loop(&mut write_loop))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("the module's thread cannot run: {error}"),
            Err(_) => PANIC.to_owned(),
        };
        // A second panic ends the thread: the handle detects that, and the server continues.
        let recovered = catch_unwind(AssertUnwindSafe(|| write_loop.recover(&error)));
        if recovered.is_err() || stopping.load(Ordering::SeqCst) {
            return;
        }
        std::thread::sleep(RESTART_PAUSE);
    }
}

fn run_loop<C: Connector>(write_loop: &mut WriteLoop<C>) -> io::Result<()> {
    let runtime = BackgroundShutdown(Some(Builder::new_current_thread().enable_all().build()?));
    let tasks = LocalSet::new();
    match &runtime.0 {
        Some(runtime) => runtime.block_on(tasks.run_until(write_loop.run())),
        None => Ok(()),
    }
}

/// A runtime that does not wait for its blocking threads when it is dropped, also by a panic: a DNS
/// lookup or a file read may hang in them.
struct BackgroundShutdown(Option<Runtime>);

impl Drop for BackgroundShutdown {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
