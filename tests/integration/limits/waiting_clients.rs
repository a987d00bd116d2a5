//! Clients that are blocked in WB.FLUSH: each gets one reply, and none leaks memory.

use redis::{Connection, Value};

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, command};
use testkit::wait::{SOON, wait_until};

/// Concurrently blocked clients, and their total for each way to end.
const AT_A_TIME: usize = 50;
const IN_ALL: usize = 400;
/// Flushes that race with their timeout.
const TURNS: u32 = 1_000;
/// A leaked handle of the server would take 34 KiB.
const MOST_BYTES_EACH: i64 = 4 * 1024;

/// How a client stops being blocked.
#[derive(Clone, Copy, Debug)]
enum End {
    Timeout,
    Disconnect,
    Killed,
    UnblockedAsByTimeout,
    UnblockedWithError,
    RoleChange,
}

/// A server with one dirty key and without MongoDB.
fn stuck() -> Redis {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "a"]);
    redis
}

fn number(redis: &Redis, section: &str, field: &str) -> i64 {
    redis.info(section, field).expect("field").parse().expect("number")
}

/// Blocks `AT_A_TIME` clients and unblocks them.
fn wait_and_end(redis: &Redis, end: End) {
    let mut clients: Vec<Connection> = (0..AT_A_TIME).map(|_| redis.connect()).collect();
    let ids: Vec<i64> = clients
        .iter_mut()
        .map(|client| command(&["CLIENT", "ID"]).query(client).expect("id"))
        .collect();
    let timeout = if matches!(end, End::Timeout) { "20" } else { "0" };
    for client in &mut clients {
        let flush = command(&["WB.FLUSH", "TIMEOUT", timeout]).get_packed_command();
        client.send_packed_command(&flush).expect("sent");
    }
    if !matches!(end, End::Timeout) {
        wait_until("all wait", SOON, || {
            number(redis, "clients", "blocked_clients") == AT_A_TIME as i64
        });
    }
    let each = |words: &[&str]| {
        for id in &ids {
            let id = id.to_string();
            let words: Vec<&str> =
                words.iter().map(|w| if *w == "id" { &*id } else { w }).collect();
            redis.cmd(&words);
        }
    };
    match end {
        End::Timeout => {}
        End::Disconnect => clients.clear(),
        End::Killed => each(&["CLIENT", "KILL", "ID", "id"]),
        End::UnblockedAsByTimeout => each(&["CLIENT", "UNBLOCK", "id"]),
        End::UnblockedWithError => each(&["CLIENT", "UNBLOCK", "id", "ERROR"]),
        End::RoleChange => {
            redis.cmd(&["REPLICAOF", "127.0.0.1", "1"]);
            redis.cmd(&["REPLICAOF", "NO", "ONE"]);
        }
    }
    for client in &mut clients {
        let reply = client.recv_response().and_then(Value::extract_error);
        match end {
            End::Timeout | End::UnblockedAsByTimeout => {
                let flushed: Flushed = redis::from_redis_value(reply.expect("reply")).expect("map");
                assert_eq!((flushed.persisted, flushed.pending), (0, 1));
            }
            _ => {
                reply.expect_err("an error, or no reply");
            }
        }
    }
    drop(clients);
    wait_until("all have disconnected", SOON, || {
        number(redis, "clients", "blocked_clients") == 0
            && number(redis, "clients", "connected_clients") == 1
    });
}

#[track_caller]
fn leaks_no_memory(end: End) {
    let redis = stuck();
    wait_and_end(&redis, end);
    let before = number(&redis, "memory", "used_memory");
    for _ in 0..IN_ALL / AT_A_TIME {
        wait_and_end(&redis, end);
    }
    let each = (number(&redis, "memory", "used_memory") - before) / IN_ALL as i64;
    assert!(each < MOST_BYTES_EACH, "{end:?}: {each} bytes are leaked for each client");
    assert_eq!(redis.status().int("dirty_keys"), 1);
}

#[test]
fn a_flush_that_ends_at_its_timeout_leaks_no_memory() {
    leaks_no_memory(End::Timeout);
}

#[test]
fn a_flush_that_ends_with_its_connection_leaks_no_memory() {
    leaks_no_memory(End::Disconnect);
    leaks_no_memory(End::Killed);
}

#[test]
fn a_flush_that_client_unblock_ends_leaks_no_memory() {
    leaks_no_memory(End::UnblockedAsByTimeout);
    leaks_no_memory(End::UnblockedWithError);
}

#[test]
fn a_flush_that_a_role_change_ends_leaks_no_memory() {
    leaks_no_memory(End::RoleChange);
}

#[test]
fn a_flush_that_ends_at_its_timeout_gets_one_reply() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    let mut client = world.redis.connect();
    client.set_read_timeout(Some(SOON)).expect("timeout");
    let mut ended = 0;
    // The write takes a few milliseconds, so the timeout falls before, during and after it.
    for turn in 0..TURNS {
        world.redis.cmd(&["SET", "k:1", &turn.to_string()]);
        let timeout = (1 + turn % 4).to_string();
        let reply = command(&["WB.FLUSH", "TIMEOUT", &timeout]).query::<Flushed>(&mut client);
        let flushed = reply.unwrap_or_else(|error| panic!("turn {turn}: {error}"));
        assert_eq!(flushed.persisted + flushed.pending, 1, "turn {turn}: {flushed:?}");
        ended += flushed.persisted;
        world.redis.flush();
    }
    println!("{ended} of {TURNS} were written in time");
}
