//! A TCP proxy that stands between the module and mongod, and does to connections what networks do.
//!
//! Of our own: `noxious`, the only such crate, is five years old and can neither hold bytes back
//! to deliver them late nor refuse connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::process::free_port;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Each direction takes that long.
    Delay(Duration),
    /// Each connection breaks when the server has answered so many bytes more.
    CutReply(u64),
    /// Nothing gets through, and nobody hears of it. A connection that was used meanwhile stays
    /// dead for ever.
    Swallow,
    /// The same, but what was sent arrives when it is over: TCP sends it again and again, also
    /// when the sender has closed its end by then.
    Hold,
    /// As `Hold` for the connections that are there; new ones get through.
    Strand,
    /// Nobody listens; connections break.
    Refuse,
}

/// Which direction bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

/// How one direction of a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    /// Its sender closed it.
    Closed,
    /// It broke, and the other direction with it.
    Broken,
}

/// Chunks on the way in one direction, for the delay.
const CHUNKS: usize = 1024;

/// What connections go by.
#[derive(Clone, Copy, Debug)]
struct Orders {
    fault: Fault,
    /// How often a fault was set.
    sets: u64,
    /// How often all connections were cut.
    cuts: u64,
}

#[derive(Default)]
struct Counts {
    made: AtomicU64,
    open: AtomicU64,
}

/// A running proxy. Dropping it ends its connections.
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

    /// The same on a port that was chosen before.
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

    /// The connection string for the module, which asks no member for the set's other names.
    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// From now on, for new connections and those that are there.
    pub fn set(&self, fault: Fault) {
        self.orders.send_modify(|orders| {
            if let Some(orders) = orders {
                orders.fault = fault;
                orders.sets += 1;
            }
        });
    }

    /// Breaks the connections that are there.
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

/// Until the proxy is dropped.
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
                    tokio::spawn(connection(client, target, orders.clone(), Arc::clone(&counts)));
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

async fn connection(
    client: TcpStream,
    target: u16,
    mut orders: watch::Receiver<Option<Orders>>,
    counts: Arc<Counts>,
) {
    let Some(born) = *orders.borrow() else { return };
    counts.made.fetch_add(1, Ordering::Relaxed);
    counts.open.fetch_add(1, Ordering::Relaxed);
    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let request = pump(Way::Request, from_client, to_server, orders.clone());
        let answer = pump(Way::Answer, from_server, to_client, orders.clone());
        let broken = orders.wait_for(|orders| {
            orders.is_none_or(|now| now.fault == Fault::Refuse || now.cuts != born.cuts)
        });
        tokio::select! {
            _ = broken => {}
            _ = both(request, answer) => {}
        }
    }
    counts.open.fetch_sub(1, Ordering::Relaxed);
}

/// Until both directions are closed, or one is broken.
async fn both(request: impl Future<Output = End>, answer: impl Future<Output = End>) {
    tokio::pin!(request, answer);
    tokio::select! {
        end = &mut request => if end == End::Closed { answer.await; },
        end = &mut answer => if end == End::Closed { request.await; },
    }
}

/// Carries one direction. The receiver takes its chunks when the fault lets it.
async fn pump(
    way: Way,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    orders: watch::Receiver<Option<Orders>>,
) -> End {
    let (queue, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let reading = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if queue.send((Instant::now(), buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let born = orders.borrow().map_or(0, |orders| orders.sets);
    let mut gate = Gate { way, orders, born, dead: false, answered: (0, 0) };
    let writing = async {
        while let Some((at, mut chunk)) = chunks.recv().await {
            let passes = gate.passes(at, chunk.len()).await;
            let cut = passes.is_some_and(|count| count < chunk.len());
            chunk.truncate(passes.unwrap_or(0));
            if to.write_all(&chunk).await.is_err() || cut {
                return End::Broken;
            }
        }
        if gate.dead {
            return End::Broken;
        }
        to.shutdown().await.ok();
        End::Closed
    };
    tokio::join!(reading, writing).1
}

/// What one direction of a connection lets through.
struct Gate {
    way: Way,
    orders: watch::Receiver<Option<Orders>>,
    /// How often a fault had been set when it was made.
    born: u64,
    dead: bool,
    /// The limit of `CutReply`, and the bytes since it was set.
    answered: (u64, u64),
}

impl Gate {
    /// Waits as long as the fault says; how many of the bytes that were read at that time get
    /// through. Fewer than asked breaks the connection; none at all are swallowed.
    async fn passes(&mut self, at: Instant, bytes: usize) -> Option<usize> {
        let held = |orders: Orders| match orders.fault {
            Fault::Hold => true,
            Fault::Strand => self.born < orders.sets,
            _ => false,
        };
        let goes_on = |orders: &Option<Orders>| orders.is_none_or(|orders| !held(orders));
        let fault = match self.orders.wait_for(goes_on).await.map(|orders| *orders) {
            Ok(Some(orders)) => orders.fault,
            _ => return Some(0),
        };
        self.dead |= fault == Fault::Swallow;
        match fault {
            _ if self.dead => None,
            Fault::Delay(time) => {
                sleep_until(at + time).await;
                Some(bytes)
            }
            Fault::CutReply(limit) if self.way == Way::Answer => {
                if self.answered.0 != limit {
                    self.answered = (limit, 0);
                }
                let left = limit.saturating_sub(self.answered.1);
                self.answered.1 += bytes as u64;
                Some(usize::try_from(left).unwrap_or(bytes).min(bytes))
            }
            _ => Some(bytes),
        }
    }
}
