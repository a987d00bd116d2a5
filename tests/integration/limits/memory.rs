//! The memory of a dirty key, by `memory_bytes` and by the size of the process.

use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};

const KEYS: usize = 1_000_000;
/// Bytes that a dirty key may take in addition to its length.
const MAX_OVERHEAD: usize = 64;
/// `k:` and eight digits.
const KEY_LENGTH: usize = 10;

fn fill(redis: &Redis) {
    for start in (0..KEYS).step_by(10_000) {
        let script = "for i = ARGV[1], ARGV[1] + 9999 do \
                      redis.call('SET', string.format('k:%08d', i), i) end";
        redis.cmd(&["EVAL", script, "0", &start.to_string()]);
    }
}

/// Resident memory of the process, in bytes.
fn resident(redis: &Redis) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", redis.pid())).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("kB").parse::<usize>().expect("kB") * 1024
}

#[test]
fn a_dirty_key_takes_at_most_its_length_and_sixty_four_bytes() {
    takes_at_most("NONE", MAX_OVERHEAD);
}

#[test]
fn a_dirty_key_in_a_group_takes_at_most_twenty_bytes_more() {
    takes_at_most("SPLIT", MAX_OVERHEAD + 20);
}

/// Scripts write the keys, so all of them are in groups unless `ATOMIC NONE` says otherwise.
fn takes_at_most(atomic: &str, most: usize) {
    let with = Setup::new(&unreachable_uri()).start();
    with.cmd(&["WB.REGISTER", "k:", "db.keys", "ATOMIC", atomic]);
    let without = Setup::new(&unreachable_uri()).start();
    for redis in [&with, &without] {
        fill(redis);
    }
    let status = with.status();
    assert_eq!(status.int("dirty_keys"), KEYS as i64);
    let ours = status.int("memory_bytes") as usize;
    let resident = resident(&with).saturating_sub(resident(&without));
    println!(
        "a dirty key of {KEY_LENGTH} bytes takes {} bytes by WB.STATUS, {} bytes of the process",
        ours / KEYS,
        resident / KEYS
    );
    let most = KEYS * (KEY_LENGTH + most);
    assert!(ours <= most, "memory_bytes: {ours}, more than {most}");
    // The server's own memory differs by some MiB from run to run, with the other load of the machine.
    let honest = ours + ours / 8;
    assert!(resident <= honest, "of the process: {resident}, of which WB.STATUS reports {ours}");
}
