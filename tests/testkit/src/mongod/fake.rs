//! A fake MongoDB server: it answers `hello` like a replica set of one member, stores documents by
//! `_id`, and lets the test replace any reply.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mongodb::bson::{Bson, Document, doc};

use crate::process::free_port;

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;
/// The driver sends no longer message.
const MAX_MESSAGE: usize = 48_000_000;

/// The reply that a client gets.
pub enum Answer {
    /// The regular reply.
    Normal,
    /// This document.
    Document(Document),
    /// A header that fits these bytes, then these bytes.
    Payload(Vec<u8>),
    /// These bytes as the whole message.
    Message(Vec<u8>),
    /// The connection is closed.
    Close,
}

/// A received command, and its effect.
pub struct Request<'a> {
    /// The command's name.
    pub name: &'a str,
    /// The `_id` of each operation of an insert, an update or a delete.
    pub ids: &'a [String],
    /// The operations that are applied; a test may clear some.
    pub applied: &'a mut Vec<bool>,
    /// The regular reply, as if all operations were applied.
    pub reply: &'a Document,
}

type Script = dyn FnMut(&mut Request<'_>) -> Answer + Send;

#[derive(Default)]
struct Shared {
    /// The last operation on each existing document, as text.
    documents: BTreeMap<String, String>,
    script: Option<Box<Script>>,
}

/// The running server. Dropping it stops it.
pub struct FakeMongod {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeMongod {
    pub fn start() -> Self {
        let (listener, port) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                break (listener, port);
            }
        };
        let (shared, ends) = (Arc::<Mutex<Shared>>::default(), Arc::<AtomicBool>::default());
        let (serving, ended) = (Arc::clone(&shared), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&serving)) else { continue };
                // The thread ends when its client disconnects.
                std::thread::spawn(move || serve(stream, port, &shared));
            }
        });
        Self { port, shared, ends, thread: Some(thread) }
    }

    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet=fake", self.port)
    }

    /// From now on `script` chooses the reply to every command.
    pub fn answer(&self, script: impl FnMut(&mut Request<'_>) -> Answer + Send + 'static) {
        self.shared.lock().expect("lock").script = Some(Box::new(script));
    }

    /// From now on every command gets its regular reply.
    pub fn answer_normally(&self) {
        self.shared.lock().expect("lock").script = None;
    }

    /// The existing documents: the last operation on each, by `_id`.
    pub fn documents(&self) -> BTreeMap<String, String> {
        self.shared.lock().expect("lock").documents.clone()
    }
}

impl Drop for FakeMongod {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Serves one client until it disconnects.
fn serve(mut stream: TcpStream, port: u16, shared: &Mutex<Shared>) {
    while let Ok((request, code, command)) = receive(&mut stream) {
        let message = match answer(&command, port, shared) {
            Ok(Answer::Document(reply)) => message(request, code, &payload(code, &reply)),
            Ok(Answer::Payload(bytes)) => message(request, code, &bytes),
            Ok(Answer::Message(bytes)) => bytes,
            Ok(Answer::Normal | Answer::Close) | Err(_) => return,
        };
        if stream.write_all(&message).is_err() {
            return;
        }
    }
}

/// The request id, the opcode and the command.
fn receive(stream: &mut TcpStream) -> io::Result<(i32, i32, Document)> {
    let mut header = [0; 16];
    stream.read_exact(&mut header)?;
    let number = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
    let length = number(0) as usize;
    if !(16..MAX_MESSAGE).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length - 16];
    stream.read_exact(&mut body)?;
    let start = match number(12) {
        // Flags and the section kind.
        OP_MSG => 5,
        // Flags, the collection's name, numberToSkip and numberToReturn.
        OP_QUERY => 4 + body[4..].iter().position(|byte| *byte == 0).unwrap_or(0) + 1 + 8,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let command = Document::from_reader(&body[start..]).map_err(io::Error::other)?;
    Ok((number(4), number(12), command))
}

/// The body of a reply with that opcode.
fn payload(code: i32, reply: &Document) -> Vec<u8> {
    let mut bytes =
        if code == OP_MSG { vec![0; 5] } else { [&[0; 16][..], &[1, 0, 0, 0]].concat() };
    reply.to_writer(&mut bytes).expect("a reply of BSON");
    bytes
}

fn message(request: i32, code: i32, payload: &[u8]) -> Vec<u8> {
    let code = if code == OP_MSG { OP_MSG } else { OP_REPLY };
    let header = [16 + payload.len() as i32, 1, request, code];
    let mut bytes: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend_from_slice(payload);
    bytes
}

/// A complete OP_MSG with this payload.
pub fn op_msg(payload: &[u8]) -> Vec<u8> {
    message(0, OP_MSG, payload)
}

/// The payload of an OP_MSG that holds this document.
pub fn op_msg_payload(reply: &Document) -> Vec<u8> {
    payload(OP_MSG, reply)
}

fn answer(command: &Document, port: u16, shared: &Mutex<Shared>) -> Result<Answer, &'static str> {
    let name = command.keys().next().ok_or("an empty command")?.clone();
    let operations = ["documents", "updates", "deletes"];
    let operations = operations.iter().find_map(|field| command.get_array(field).ok());
    let operations: Vec<&Document> =
        operations.into_iter().flatten().filter_map(Bson::as_document).collect();
    let ids: Vec<String> = operations.iter().map(|operation| id(operation)).collect();
    let reply = match name.as_str() {
        "hello" | "isMaster" | "ismaster" => greeting(port),
        "insert" | "update" | "delete" => doc! { "ok": 1, "n": operations.len() as i32 },
        _ => doc! { "ok": 1 },
    };
    let mut shared = shared.lock().map_err(|_| "a script panicked")?;
    let mut applied = vec![true; ids.len()];
    let mut request = Request { name: &name, ids: &ids, applied: &mut applied, reply: &reply };
    let said = match shared.script.as_mut() {
        Some(script) => script(&mut request),
        None => Answer::Normal,
    };
    for ((operation, id), _) in operations.iter().zip(&ids).zip(&applied).filter(|(_, does)| **does)
    {
        if name == "delete" {
            shared.documents.remove(id);
        } else {
            shared.documents.insert(id.clone(), operation.to_string());
        }
    }
    Ok(if matches!(said, Answer::Normal) { Answer::Document(reply) } else { said })
}

fn id(operation: &Document) -> String {
    let document = operation.get_document("q").unwrap_or(operation);
    document.get_str("_id").unwrap_or_default().to_owned()
}

fn greeting(port: u16) -> Document {
    let host = format!("127.0.0.1:{port}");
    doc! {
        "ok": 1,
        "isWritablePrimary": true,
        "ismaster": true,
        "setName": "fake",
        "setVersion": 1,
        "me": &host,
        "primary": &host,
        "hosts": [&host],
        "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "minWireVersion": 0,
        "maxWireVersion": 17,
        "logicalSessionTimeoutMinutes": 30,
        "helloOk": true,
    }
}
