//! A client of the cluster that follows MOVED and ASK, and tries again after TRYAGAIN.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use redis::{Cmd, Connection, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use super::plan::Traffic;
use super::slots::{SLOTS, slot};
use crate::redis_server::command;
use crate::wait::became;

/// A reply that takes longer counts as a broken connection.
const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// A command that no node executes for so long is a failure: longer than any failover.
const GIVE_UP: Duration = Duration::from_secs(60);

/// A write and the slot of its keys.
pub struct Write {
    pub slot: usize,
    pub command: Cmd,
}

impl Write {
    /// A command whose first key is its second word.
    pub fn new(words: &[&str]) -> Self {
        Self { slot: slot(words[1].as_bytes()), command: command(words) }
    }
}

/// Where a command has to be sent next.
enum Next {
    Nowhere,
    Home,
    Ask(u16),
}

/// A client with a connection to each node.
pub struct Router {
    /// Nodes that may know who has a slot.
    ports: Vec<u16>,
    /// The port of the node of each slot, as far as known.
    homes: Vec<u16>,
    connections: HashMap<u16, Connection>,
    pub traffic: Traffic,
}

impl Router {
    pub fn new(ports: Vec<u16>) -> Self {
        let homes = vec![ports[0]; SLOTS];
        Self { ports, homes, connections: HashMap::new(), traffic: Traffic::default() }
    }

    /// Executes the writes: all that go to one node in one pipeline, then those that were redirected.
    pub fn run(&mut self, writes: &[Write]) {
        let mut nodes: HashMap<u16, Vec<&Write>> = HashMap::new();
        for write in writes {
            nodes.entry(self.homes[write.slot]).or_default().push(write);
        }
        let mut left = Vec::new();
        for (port, writes) in nodes {
            for (write, reply) in writes.iter().zip(self.pipeline(port, &writes)) {
                match self.next(write.slot, port, reply) {
                    Next::Nowhere => {}
                    next => left.push((*write, next)),
                }
            }
        }
        for (write, mut next) in left {
            let done = became(GIVE_UP, || {
                next = self.follow(write, &next);
                matches!(next, Next::Nowhere)
            });
            assert!(done, "no node executes {:?}", write.command);
        }
        self.traffic.writes += writes.len() as u64;
    }

    /// Sends one write again; a redirection is followed at once.
    fn follow(&mut self, write: &Write, next: &Next) -> Next {
        let (port, asking) = match next {
            Next::Ask(port) => (*port, true),
            _ => (self.homes[write.slot], false),
        };
        let asks = Write { slot: write.slot, command: command(&["ASKING"]) };
        let writes: &[&Write] = if asking { &[&asks, write] } else { &[write] };
        let reply = self.pipeline(port, writes).pop().expect("a reply");
        self.next(write.slot, port, reply)
    }

    /// One reply for each write: an error of the connection for those whose reply is lost.
    fn pipeline(&mut self, port: u16, writes: &[&Write]) -> Vec<RedisResult<Value>> {
        let mut bytes = Vec::new();
        writes.iter().for_each(|write| write.command.write_packed_command(&mut bytes));
        let sent = self.connection(port).and_then(|connection| {
            connection.send_packed_command(&bytes)?;
            Ok(connection)
        });
        let connection = match sent {
            Ok(connection) => connection,
            Err(error) => return writes.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut receive = |_: &&Write| connection.recv_response().and_then(Value::extract_error);
        writes.iter().map(&mut receive).collect()
    }

    fn connection(&mut self, port: u16) -> RedisResult<&mut Connection> {
        match self.connections.entry(port) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
                let connection = client.get_connection_with_timeout(REPLY_LIMIT)?;
                connection.set_read_timeout(Some(REPLY_LIMIT))?;
                Ok(place.insert(connection))
            }
        }
    }

    /// What a reply of the node at `port` means.
    fn next(&mut self, slot: usize, port: u16, reply: RedisResult<Value>) -> Next {
        let Err(error) = reply else { return Next::Nowhere };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                self.traffic.moved += 1;
                self.homes[slot] = redirection(&error);
                return Next::Home;
            }
            ErrorKind::Server(ServerErrorKind::Ask) => {
                self.traffic.asked += 1;
                return Next::Ask(redirection(&error));
            }
            ErrorKind::Server(ServerErrorKind::TryAgain) => {}
            ErrorKind::Server(
                ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
            ) => self.homes[slot] = self.other(port),
            // Without a code the error is one of the connection.
            _ if error.code().is_none() => {
                self.connections.remove(&port);
                self.homes[slot] = self.other(port);
            }
            _ => panic!("{error}"),
        }
        self.traffic.again += 1;
        Next::Home
    }

    /// The node after this one: it may know better.
    fn other(&self, port: u16) -> u16 {
        let at = self.ports.iter().position(|own| *own == port);
        self.ports[at.map_or(0, |at| (at + 1) % self.ports.len())]
    }
}

/// The port that MOVED or ASK names.
fn redirection(error: &RedisError) -> u16 {
    let address = error.redirect_node().expect("an address").0;
    let (_, port) = address.rsplit_once(':').expect("a port");
    port.parse().expect("a port")
}
