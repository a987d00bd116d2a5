//! Threads that write until they are stopped or the server is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fastrand::Rng;
use redis::{Connection, Value};

use super::model::{Key, PREFIXES};
use super::operation::{Chooser, Operation, Part};

/// Writers of a round; two cores sustain no more.
const WRITERS: usize = 3;
/// Keys of each prefix that belong to one writer.
const KEYS: usize = 25;

/// The result of one writer: its keys, and the number of acknowledged commands.
pub struct Written {
    pub keys: Vec<Key>,
    pub acknowledged: u64,
}

/// The keys of a round, before any write.
pub fn new_keys() -> Vec<Vec<Key>> {
    let of_writer = |writer: usize| {
        (0..PREFIXES.len())
            .flat_map(|prefix| (0..KEYS).map(move |i| Key::new(prefix, &format!("{writer}-{i}"))))
            .collect()
    };
    (0..WRITERS).map(of_writer).collect()
}

/// Running writers.
pub struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Written>>,
}

impl Writers {
    /// Starts a thread with a connection for each writer's keys; `phase` makes their values unique.
    pub fn start(
        keys: Vec<Vec<Key>>,
        connect: impl Fn() -> Connection,
        seed: u64,
        phase: usize,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = keys
            .into_iter()
            .enumerate()
            .map(|(writer, keys)| {
                let writer = writer + phase * 100;
                let rng = Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(writer as u64));
                let chooser = Chooser { rng, writer, count: 0 };
                let (connection, stop) = (connect(), Arc::clone(&stop));
                std::thread::spawn(move || write(keys, connection, chooser, &stop))
            })
            .collect();
        Writers { stop, threads }
    }

    /// Stops them after their current command.
    pub fn stop(self) -> Vec<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("writer")).collect()
    }
}

fn write(
    mut keys: Vec<Key>,
    mut connection: Connection,
    mut chooser: Chooser,
    stop: &AtomicBool,
) -> Written {
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let operation = chooser.next(&keys);
        for (key, state) in operation.parts.iter().flat_map(|part| &part.effects) {
            keys[*key].sent(state.clone());
        }
        let sent = send(&mut connection, &operation);
        if sent.is_err() || !receive(&mut connection, &operation, &mut keys, &mut acknowledged) {
            break;
        }
    }
    Written { keys, acknowledged }
}

fn send(connection: &mut Connection, operation: &Operation) -> redis::RedisResult<()> {
    let mut bytes = Vec::new();
    if operation.atomic {
        redis::cmd("MULTI").write_packed_command(&mut bytes);
    }
    for part in &operation.parts {
        part.command.write_packed_command(&mut bytes);
    }
    if operation.atomic {
        redis::cmd("EXEC").write_packed_command(&mut bytes);
    }
    connection.send_packed_command(&bytes)
}

/// Processes the replies; false if one is missing. Of a transaction, only the reply of EXEC counts.
fn receive(
    connection: &mut Connection,
    operation: &Operation,
    keys: &mut [Key],
    acknowledged: &mut u64,
) -> bool {
    if operation.atomic {
        for _ in 0..=operation.parts.len() {
            if connection.recv_response().is_err() {
                return false;
            }
        }
        let Ok(Value::Array(replies)) = connection.recv_response() else {
            return false;
        };
        assert_eq!(replies.len(), operation.parts.len());
        for (part, reply) in operation.parts.iter().zip(replies) {
            take(part, Ok(reply), keys, acknowledged);
        }
        return true;
    }
    operation.parts.iter().all(|part| take(part, connection.recv_response(), keys, acknowledged))
}

fn take(
    part: &Part,
    reply: redis::RedisResult<Value>,
    keys: &mut [Key],
    acknowledged: &mut u64,
) -> bool {
    let changed = match reply {
        // HSET also replies 0 when it overwrites a field.
        Ok(Value::Int(0)) => part.command.args_iter().next().is_some_and(is_hset),
        Ok(Value::ServerError(error)) => return refused(part, keys, error.details()),
        // An error without a code comes from the connection, not from the server.
        Err(error) if error.code().is_none() => return false,
        Err(error) => return refused(part, keys, error.detail()),
        Ok(_) => true,
    };
    for (key, _) in &part.effects {
        if changed { keys[*key].acknowledged() } else { keys[*key].refused() }
    }
    *acknowledged += 1;
    true
}

fn is_hset(word: redis::Arg<&[u8]>) -> bool {
    matches!(word, redis::Arg::Simple(b"HSET"))
}

/// Handles an error reply; the only permitted one is that the key to rename does not exist.
fn refused(part: &Part, keys: &mut [Key], error: Option<&str>) -> bool {
    let error = error.unwrap_or_default();
    assert!(error.contains("no such key"), "{error}: {:?}", part.command);
    part.effects.iter().for_each(|(key, _)| keys[*key].refused());
    true
}
