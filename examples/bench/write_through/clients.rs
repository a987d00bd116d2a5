//! Clients that each wait for the reply to one write before they send the next: tasks of one thread, each with its own
//! connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::load;
use crate::sample::quantile;

/// A client, which writes one key or document.
pub trait Client: Send + 'static {
    /// Writes, and waits for the reply.
    fn write(&mut self) -> impl Future<Output = ()> + Send;
}

/// The writes of all clients in a run.
pub struct Writes {
    pub count: usize,
    /// Writes a second.
    pub rate: f64,
    /// For how long the clients waited, milliseconds.
    times: Vec<f64>,
}

impl Writes {
    pub fn quantile(&self, share: f64) -> f64 {
        quantile(&self.times, share)
    }
}

/// Lets all clients write for this time.
pub fn run<C: Client>(runtime: &Runtime, clients: &mut Vec<C>, time: Duration) -> Writes {
    runtime.block_on(async {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for mut client in clients.drain(..) {
            tasks.spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < time {
                    let sent = Instant::now();
                    client.write().await;
                    times.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                (client, times)
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (client, times) = ended.expect("a client");
            clients.push(client);
            all.extend(times);
        }
        let rate = all.len() as f64 / start.elapsed().as_secs_f64();
        Writes { count: all.len(), rate, times: all }
    })
}

/// A value of 100 bytes, another one each time: an update that changes nothing would cost MongoDB less.
fn value() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:0100}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Sends SET of its key.
pub struct Setter {
    stream: TcpStream,
    key: String,
    buffer: Vec<u8>,
}

impl Setter {
    /// As many clients, with the keys `prefix` 0, 1, 2, ...
    pub fn connect(runtime: &Runtime, port: u16, prefix: &str, count: u64) -> Vec<Self> {
        let connect = async |number| {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connection");
            stream.set_nodelay(true).expect("option");
            let key = format!("{prefix}{number}");
            Setter { stream, key, buffer: Vec::new() }
        };
        (0..count).map(|number| runtime.block_on(connect(number))).collect()
    }

    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.key.starts_with(prefix)
    }

    async fn read_ok(&mut self) {
        let (mut reply, mut len) = ([0; 512], 0);
        while !reply[..len].ends_with(b"\n") {
            self.stream.readable().await.expect("reply");
            match self.stream.try_read(&mut reply[len..]) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(read) => len += read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(&reply[..len], b"+OK\r\n", "{}", String::from_utf8_lossy(&reply[..len]));
    }
}

impl Client for Setter {
    async fn write(&mut self) {
        self.buffer.clear();
        load::push(&mut self.buffer, &["SET", &self.key, &value()]);
        self.stream.writable().await.expect("connection");
        let sent = self.stream.try_write(&self.buffer).expect("command");
        assert_eq!(sent, self.buffer.len(), "a command is smaller than the socket's buffer");
        self.read_ok().await;
    }
}

/// Updates its document with the driver, as an application would.
pub struct Updater {
    collection: Collection<Document>,
    number: u64,
}

impl Updater {
    /// As many clients. The collection has the write concern.
    pub fn all(collection: &Collection<Document>, count: u64) -> Vec<Self> {
        let collection = || collection.clone();
        (0..count).map(|number| Updater { collection: collection(), number }).collect()
    }
}

impl Client for Updater {
    async fn write(&mut self) {
        let filter = doc! { "_id": self.number.to_string() };
        let update = doc! { "$set": { "value": value() } };
        let result = self.collection.update_one(filter, update).upsert(true).await.expect("reply");
        assert!(result.modified_count == 1 || result.upserted_id.is_some(), "{result:?}");
    }
}

/// Sends SET, and then updates the document itself.
pub struct Both(pub Setter, pub Updater);

impl Client for Both {
    async fn write(&mut self) {
        self.0.write().await;
        self.1.write().await;
    }
}
