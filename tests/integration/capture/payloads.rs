//! RESTORE payloads that only a malicious client sends: values of the data type in which the module
//! keeps its state, which no key can have.

use redis::Value;

use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became};

/// The module's type and its encoding version, as an RDB file has them.
const TYPE: &str = "writebehd";
const VERSION: u64 = 1;
/// A value of a module's type (RDB_TYPE_MODULE_2), and the code from before Redis 4.0.
const MODULE: u8 = 7;
const MODULE_PRE_GA: u8 = 6;
/// Opcodes in such a value: its end, an unsigned number, a string.
const END: u8 = 0;
const UNSIGNED: u8 = 2;
const STRING: u8 = 5;
/// Every server reads this version of the RDB.
const RDB_VERSION: u16 = 10;

/// The CRC-64 of Redis (Jones), reflected.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8)
            .fold(crc ^ u64::from(*byte), |crc, _| (crc >> 1) ^ (0x95ac_9329_ac4b_c9b5 * (crc & 1)))
    })
}

/// The type's name, six bits a character, and the version, encoded as a 64-bit length.
fn type_id(version: u64) -> Vec<u8> {
    const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = |name: u8| CHARACTERS.iter().position(|c| *c == name).expect("character") as u64;
    let id = TYPE.bytes().fold(0, |id, name| id << 6 | place(name)) << 10 | version;
    [&[0x81], id.to_be_bytes().as_slice()].concat()
}

/// The reply of DUMP for a value of that type code with that body.
fn payload(kind: u8, version: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(type_id(version));
    bytes.extend(body);
    bytes.extend(RDB_VERSION.to_le_bytes());
    bytes.extend(crc64(&bytes).to_le_bytes());
    bytes
}

fn payloads() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 7] = [
        &[END],
        &[],
        &[UNSIGNED, 5, END],
        &[STRING, 3, b'a', b'b', b'c', END],
        // A string longer than the payload, and one longer than any memory.
        &[STRING, 60, b'a', END],
        &[STRING, 0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xff; 40],
    ];
    let mut payloads: Vec<Vec<u8>> =
        bodies.iter().map(|body| payload(MODULE, VERSION, body)).collect();
    payloads.push(payload(MODULE, 0, &[END]));
    payloads.push(payload(MODULE, 1023, &[END]));
    payloads.push(payload(MODULE_PRE_GA, VERSION, &[END]));
    payloads
}

fn start() -> Redis {
    let redis = Setup::new(&unreachable_uri()).durable().start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "x"]);
    redis
}

#[test]
fn the_checksum_is_that_of_the_server() {
    assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    let redis = start();
    let dump: Vec<u8> = redis.run(&["DUMP", "k:1"]);
    let (bytes, checksum) = dump.split_at(dump.len() - 8);
    assert_eq!(crc64(bytes).to_le_bytes(), checksum);
}

#[test]
fn restore_of_a_value_that_no_key_can_have_is_an_error() {
    let mut redis = start();
    redis.cmd(&["ACL", "SETUSER", "guest", "on", "nopass", "~*", "resetchannels", "+restore"]);
    let mut guest = redis.connect();
    command(&["AUTH", "guest", ""]).query::<Value>(&mut guest).expect("guest");
    let script = "return redis.pcall('RESTORE', KEYS[1], 0, ARGV[1], 'REPLACE')";
    for bytes in payloads() {
        for key in ["k:1", "k:2", "other"] {
            let words: [&[u8]; 5] = [b"RESTORE", key.as_bytes(), b"0", &bytes, b"REPLACE"];
            command(&words).query::<Value>(&mut guest).expect_err("refused");
            let mut transaction = redis::pipe();
            transaction.atomic().add_command(command(&words));
            assert!(transaction.query::<Value>(&mut redis.connection()).is_err());
            let words: [&[u8]; 5] = [b"EVAL", script.as_bytes(), b"1", key.as_bytes(), &bytes];
            command(&words).query::<Value>(&mut redis.connection()).expect_err("refused");
        }
    }
    assert!(redis.ended().is_none(), "{}", redis.log());
    assert_eq!(redis.run::<String>(&["GET", "k:1"]), "x");
    assert_eq!(redis.run::<i64>(&["DBSIZE"]), 1);
    let status = redis.status();
    assert_eq!((status.int("dirty_keys"), status.int("captured_total")), (1, 1));
    // The AOF can still be loaded.
    redis.restart();
    assert_eq!(redis.status().int("dirty_keys"), 1);
}

#[test]
fn an_rdb_with_a_key_of_the_modules_type_is_not_loaded_and_the_log_says_why() {
    let mut redis = Setup::new(&unreachable_uri()).start();
    let mut rdb = format!("REDIS{RDB_VERSION:04}").into_bytes();
    // Database 0, the key `k:1`, the end, and no checksum.
    rdb.extend([0xfe, 0, MODULE, 3, b'k', b':', b'1']);
    rdb.extend(type_id(VERSION));
    rdb.extend([END, 0xff]);
    rdb.extend([0; 8]);
    redis.kill();
    std::fs::write(redis.dir().join("dump.rdb"), rdb).expect("RDB");
    redis.begin_restart(&[]);
    assert!(became(SOON, || redis.ended().is_some()), "{}", redis.log());
    let status = redis.ended().expect("ended");
    // It exited by itself, not by a signal, whatever the server's check of the file did then.
    assert!(status.code().is_some(), "{status}: {}", redis.log());
    let log = redis.log();
    assert!(log.contains("in which writebehind keeps its state"), "{log}");
}

#[test]
fn a_command_that_only_has_subcommands_is_an_error_wherever_it_is_called() {
    let mut redis = start();
    let calls: [&[&str]; 5] = [
        &["WB.DEADLETTER"],
        &["WB.DEADLETTER", "NOTHING"],
        &["EVAL", "return redis.call('WB.DEADLETTER')", "0"],
        &["COMMAND", "GETKEYS", "WB.DEADLETTER"],
        &["COMMAND", "GETKEYSANDFLAGS", "WB.DEADLETTER", "LIST", "k:"],
    ];
    for words in calls {
        redis.error(words);
        assert!(redis.ended().is_none(), "{words:?}: {}", redis.log());
    }
    redis.cmd(&["MULTI"]);
    command(&["WB.DEADLETTER"]).query::<Value>(&mut redis.connection()).expect_err("refused");
    redis.error(&["EXEC"]);
    assert_eq!(redis.run::<String>(&["PING"]), "PONG");
}
