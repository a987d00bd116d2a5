//! A TCP proxy between the module and mongod that simulates faults of the network.
//!
//! Not the crate `noxious`: its dependencies are from 2021, and it can neither deliver bytes late
//! nor refuse connections.

mod connection;
mod fault;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::watch;

use self::connection::forward;
pub use self::fault::Fault;
use self::fault::{Counts, Orders};
use crate::process::free_port;

/// A running proxy. Dropping it closes its connections.
pub struct Proxy {
    port: u16,
    orders: watch::Sender<Option<Orders>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy to a port of this machine, without a fault.
    pub fn to(target: u16) -> Self {
        Self::at(free_port(), target)
    }

    /// The same on a given port.
    pub fn at(port: u16, target: u16) -> Self {
        let (orders, received) =
            watch::channel(Some(Orders { fault: Fault::None, sets: 0, cuts: 0 }));
        let counts = Arc::<Counts>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("runtime");
        let serving = serve(port, target, received, Arc::clone(&counts));
        let thread = std::thread::spawn(move || runtime.block_on(serving));
        Self { port, orders, counts, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The connection string for the module, with `directConnection`: the driver connects to no
    /// address but the proxy's.
    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Sets the fault for existing and new connections.
    pub fn set(&self, fault: Fault) {
        self.orders.send_modify(|orders| {
            if let Some(orders) = orders {
                orders.fault = fault;
                orders.sets += 1;
            }
        });
    }

    /// Breaks the existing connections.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| {
            if let Some(orders) = orders {
                orders.cuts += 1;
            }
        });
    }

    /// Connections made so far.
    pub fn made(&self) -> u64 {
        self.counts.made.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.send_replace(None);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Accepts connections until the proxy is dropped.
async fn serve(
    port: u16,
    target: u16,
    mut orders: watch::Receiver<Option<Orders>>,
    counts: Arc<Counts>,
) {
    loop {
        let now = *orders.borrow_and_update();
        let Some(now) = now else { break };
        if now.fault == Fault::Refuse {
            orders.changed().await.ok();
            continue;
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the proxy's port");
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { continue };
                    tokio::spawn(forward(client, target, orders.clone(), Arc::clone(&counts)));
                }
                _ = orders.changed() => {
                    let now = *orders.borrow_and_update();
                    if now.is_none_or(|orders| orders.fault == Fault::Refuse) {
                        break;
                    }
                }
            }
        }
    }
}
