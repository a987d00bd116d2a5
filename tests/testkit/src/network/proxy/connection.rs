//! One connection through the proxy: its two directions, and what the fault does to each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::fault::{Counts, Fault, Orders};

/// The direction of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// How one direction of a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    /// Its sender closed it.
    Closed,
    /// It broke, and so must the other direction.
    Broken,
}

/// The maximum number of delayed chunks in one direction.
const CHUNKS: usize = 1024;

/// Forwards one connection until it closes or breaks.
pub(super) async fn forward(
    client: TcpStream,
    target: u16,
    mut orders: watch::Receiver<Option<Orders>>,
    counts: Arc<Counts>,
) {
    let Some(initial) = *orders.borrow() else { return };
    counts.made.fetch_add(1, Ordering::Relaxed);
    counts.open.fetch_add(1, Ordering::Relaxed);
    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let request = pump(Direction::Request, from_client, to_server, orders.clone());
        let answer = pump(Direction::Answer, from_server, to_client, orders.clone());
        let broken = orders.wait_for(|orders| {
            orders.is_none_or(|now| now.fault == Fault::Refuse || now.cuts != initial.cuts)
        });
        tokio::select! {
            _ = broken => {}
            _ = both(request, answer) => {}
        }
    }
    counts.open.fetch_sub(1, Ordering::Relaxed);
}

/// Returns when both directions are closed or one is broken.
async fn both(request: impl Future<Output = End>, answer: impl Future<Output = End>) {
    tokio::pin!(request, answer);
    tokio::select! {
        end = &mut request => if end == End::Closed { answer.await; },
        end = &mut answer => if end == End::Closed { request.await; },
    }
}

/// Forwards one direction. The receiver gets each chunk when the fault permits it.
async fn pump(
    direction: Direction,
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
    let created = orders.borrow().map_or(0, |orders| orders.sets);
    let mut gate = Gate { direction, orders, created, dead: false, answered: (0, 0) };
    let writing = async {
        while let Some((at, mut chunk)) = chunks.recv().await {
            let allowed = gate.allowed(at, chunk.len()).await;
            let cut = allowed.is_some_and(|count| count < chunk.len());
            chunk.truncate(allowed.unwrap_or(0));
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

/// Applies the fault to one direction of a connection.
struct Gate {
    direction: Direction,
    orders: watch::Receiver<Option<Orders>>,
    /// How many times a fault had been set when the connection was made.
    created: u64,
    dead: bool,
    /// The limit of `CutReply`, and the bytes forwarded since it was set.
    answered: (u64, u64),
}

impl Gate {
    /// Waits as long as the fault requires, then returns how many of the bytes read at `at` are
    /// forwarded. Fewer than `bytes` break the connection; `None` drops them silently.
    async fn allowed(&mut self, at: Instant, bytes: usize) -> Option<usize> {
        let held = |orders: Orders| match orders.fault {
            Fault::Hold => true,
            Fault::HoldExisting => self.created < orders.sets,
            _ => false,
        };
        let is_open = |orders: &Option<Orders>| orders.is_none_or(|orders| !held(orders));
        let fault = match self.orders.wait_for(is_open).await.map(|orders| *orders) {
            Ok(Some(orders)) => orders.fault,
            _ => return Some(0),
        };
        self.dead |= fault == Fault::BlackHole;
        match fault {
            _ if self.dead => None,
            Fault::Delay(time) => {
                sleep_until(at + time).await;
                Some(bytes)
            }
            Fault::CutReply(limit) if self.direction == Direction::Answer => {
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
