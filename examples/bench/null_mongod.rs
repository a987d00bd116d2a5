//! A MongoDB stub that stores nothing: it accepts every write and replies after the time that a
//! real one on another machine would take. So all processors of this machine are available to
//! Redis.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mongodb::bson::{Document, RawDocument, doc};

/// The opcode of messages, and those of `hello` and its reply before OP_MSG is negotiated.
const OP_MSG: i32 = 2013;
const OP_QUERY: i32 = 2004;
const OP_REPLY: i32 = 1;
/// Length, two ids and the opcode.
const HEADER_BYTES: usize = 16;
/// The wire versions of MongoDB 6.0.
const WIRE_VERSIONS: (i32, i32) = (0, 17);

/// A server that runs until the process ends.
pub struct NullMongod {
    address: String,
    written: Arc<AtomicU64>,
}

impl NullMongod {
    /// Replies to a command after `each` for each of its documents.
    pub fn start(each: Duration) -> Self {
        Self::with_times(Duration::ZERO, each)
    }

    /// Replies to each command after this time, however many documents it has.
    pub fn far_away(command: Duration) -> Self {
        Self::with_times(command, Duration::ZERO)
    }

    fn with_times(command: Duration, each: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let written = Arc::new(AtomicU64::new(0));
        let (name, count) = (address.clone(), Arc::clone(&written));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (name, written) = (name.clone(), Arc::clone(&count));
                let client = Client { name, written, command, each };
                // An error ends the connection.
                thread::spawn(move || client.serve(stream));
            }
        });
        NullMongod { address, written }
    }

    /// Its connection string: the only member of a replica set.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/?replicaSet=mongod", self.address)
    }

    /// The number of accepted documents.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

struct Client {
    name: String,
    written: Arc<AtomicU64>,
    /// The time of each command, and that of each document that it writes.
    command: Duration,
    each: Duration,
}

impl Client {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut message = Vec::new();
        loop {
            let mut header = [0; HEADER_BYTES];
            stream.read_exact(&mut header)?;
            let number = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().expect("4"));
            let (len, id, kind) = (number(0) as usize, number(4), number(12));
            message.resize(len - HEADER_BYTES, 0);
            stream.read_exact(&mut message)?;
            let body = match kind {
                // Flags and the section kind.
                OP_MSG => &message[5..],
                // Flags, the collection's name, numberToSkip and numberToReturn.
                OP_QUERY => {
                    let name = message[4..].iter().position(|byte| *byte == 0).expect("a name");
                    &message[4 + name + 1 + 8..]
                }
                other => panic!("a message of opcode {other}"),
            };
            let len = i32::from_le_bytes(body[..4].try_into().expect("4")) as usize;
            let reply = self.answer(RawDocument::from_bytes(&body[..len]).expect("BSON"));
            stream.write_all(&framed(id, kind, &reply))?;
        }
    }

    fn answer(&self, command: &RawDocument) -> Document {
        let (name, _) = command.iter().next().expect("a command").expect("BSON");
        let operations = match name.as_str() {
            "insert" => "documents",
            "update" => "updates",
            "delete" => "deletes",
            "hello" | "isMaster" | "ismaster" => return self.hello(),
            // Among others the commit of a transaction.
            _ => {
                thread::sleep(self.command);
                return doc! { "ok": 1 };
            }
        };
        let count = command.get_array(operations).expect("operations").into_iter().count();
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        thread::sleep(self.command + self.each * count as u32);
        doc! { "ok": 1, "n": count as i32, "nModified": count as i32 }
    }

    fn hello(&self) -> Document {
        let (min, max) = WIRE_VERSIONS;
        doc! {
            "ok": 1, "helloOk": true, "ismaster": true, "isWritablePrimary": true,
            "setName": "mongod", "setVersion": 1, "hosts": [&self.name], "primary": &self.name,
            "me": &self.name, "secondary": false, "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
            "minWireVersion": min, "maxWireVersion": max,
            "logicalSessionTimeoutMinutes": 30,
        }
    }
}

/// The reply to message `id` of that opcode.
fn framed(id: i32, kind: i32, reply: &Document) -> Vec<u8> {
    let reply = reply.to_vec().expect("BSON");
    let (kind, between) = match kind {
        OP_MSG => (OP_MSG, vec![0; 5]),
        // Flags, cursor id, startingFrom and numberReturned.
        _ => (OP_REPLY, [&[0; 16][..], &1i32.to_le_bytes()].concat()),
    };
    let len = (HEADER_BYTES + between.len() + reply.len()) as i32;
    let mut bytes = Vec::with_capacity(len as usize);
    for number in [len, 0, id, kind] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(between);
    bytes.extend(reply);
    bytes
}
