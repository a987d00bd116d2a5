//! A MongoDB that keeps nothing: it takes every write and answers after the time that a real one
//! would take, which runs on another machine. So the processors here are Redis's alone.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mongodb::bson::{Document, RawDocument, doc};

/// The only kind of message (`OP_MSG`), and what `hello` comes in before that is agreed on.
const OP_MSG: i32 = 2013;
const OP_QUERY: i32 = 2004;
const OP_REPLY: i32 = 1;
/// Length, two ids and the kind.
const HEADER_BYTES: usize = 16;
/// The versions of MongoDB 6.0.
const WIRE_VERSIONS: (i32, i32) = (0, 17);

/// A server that runs until the process ends.
pub struct Hollow {
    address: String,
    written: Arc<AtomicU64>,
}

impl Hollow {
    /// Answers a command after `each` for each of its documents.
    pub fn start(each: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let written = Arc::new(AtomicU64::new(0));
        let (name, count) = (address.clone(), Arc::clone(&written));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let client = Client { name: name.clone(), written: Arc::clone(&count), each };
                // An error is the end of the connection.
                thread::spawn(move || client.serve(stream));
            }
        });
        Hollow { address, written }
    }

    /// Its connection string: the only member of a replica set.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/?replicaSet=hollow", self.address)
    }

    /// Documents that it took.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

struct Client {
    name: String,
    written: Arc<AtomicU64>,
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
                // Flags, and the kind of the section.
                OP_MSG => &message[5..],
                // Flags, a name, two numbers.
                OP_QUERY => {
                    let name = message[4..].iter().position(|byte| *byte == 0).expect("a name");
                    &message[4 + name + 1 + 8..]
                }
                other => panic!("a message of kind {other}"),
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
            _ => return doc! { "ok": 1 },
        };
        let count = command.get_array(operations).expect("operations").into_iter().count();
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        thread::sleep(self.each * count as u32);
        doc! { "ok": 1, "n": count as i32, "nModified": count as i32 }
    }

    fn hello(&self) -> Document {
        let (least, most) = WIRE_VERSIONS;
        doc! {
            "ok": 1, "helloOk": true, "ismaster": true, "isWritablePrimary": true,
            "setName": "hollow", "setVersion": 1, "hosts": [&self.name], "primary": &self.name,
            "me": &self.name, "secondary": false, "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
            "minWireVersion": least, "maxWireVersion": most,
            "logicalSessionTimeoutMinutes": 30,
        }
    }
}

/// The answer to message `id` of that kind.
fn framed(id: i32, kind: i32, reply: &Document) -> Vec<u8> {
    let reply = reply.to_vec().expect("BSON");
    let (kind, between) = match kind {
        OP_MSG => (OP_MSG, vec![0; 5]),
        // Flags, a cursor, the first of one documents.
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
