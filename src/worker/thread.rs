//! The thread's body: runs the write_loop, and starts it again should it fail.

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

/// Pause before the write_loop is started again after it failed.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Runs until `stopping` is set.
pub fn run<C: Connector>(connector: C, options: WorkerOptions, ends: Ends) {
    let stopping = Arc::clone(&ends.stopping);
    let mut write_loop = WriteLoop::new(connector, options, ends);
    loop {
        let error = match catch_unwind(AssertUnwindSafe(|| turn(&mut write_loop))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("the module's thread cannot run: {error}"),
            Err(_) => PANIC.to_owned(),
        };
        // A second panic ends the thread: the handle notices, and the server goes on.
        let recovered = catch_unwind(AssertUnwindSafe(|| write_loop.recover(&error)));
        if recovered.is_err() || stopping.load(Ordering::SeqCst) {
            return;
        }
        std::thread::sleep(RESTART_PAUSE);
    }
}

fn turn<C: Connector>(write_loop: &mut WriteLoop<C>) -> io::Result<()> {
    let runtime = Impatient(Some(Builder::new_current_thread().enable_all().build()?));
    let tasks = LocalSet::new();
    match &runtime.0 {
        Some(runtime) => runtime.block_on(tasks.run_until(write_loop.run())),
        None => Ok(()),
    }
}

/// A runtime that on drop, also by a panic, does not wait for its blocking threads: a look-up of
/// a name or a read of a file may hang in them.
struct Impatient(Option<Runtime>);

impl Drop for Impatient {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
