//! The driver's runtime, for synchronous callers.

use std::sync::LazyLock;

use tokio::runtime::Handle;

/// Runs a future of the driver to completion.
pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("runtime");
        let handle = runtime.handle().clone();
        // This thread drives the sockets and timers of all callers' futures.
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    });
    RUNTIME.block_on(future)
}
