//! Load on a Redis server: redis-benchmark for measurements, and a simple pipeline to fill a
//! server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::cpu;
use crate::documents;
use testkit::redis_server::Redis;

/// The result of one run of redis-benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// CPU time of the server thread, in microseconds per request.
    pub cpu_us: f64,
    /// Requests per second.
    pub rate: f64,
    /// 99th percentile of the latency.
    pub p99_ms: f64,
}

/// Runs redis-benchmark with these options and command, `requests` times.
pub fn benchmark(redis: &Redis, requests: u64, options: &str, command: &[&str]) -> Run {
    let before = cpu::of_main_thread(redis.pid());
    let output = Command::new("redis-benchmark")
        .args(["-p", &redis.port().to_string(), "-n", &requests.to_string(), "--csv"])
        .args(options.split(' '))
        .args(command)
        .stderr(Stdio::inherit())
        .output()
        .expect("redis-benchmark, which Debian has in redis-tools");
    let cpu = cpu::of_main_thread(redis.pid()) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    // The name of the test may contain commas; six numbers follow it.
    let fields: Vec<f64> =
        line.rsplit(',').filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    assert!(fields.len() >= 7, "redis-benchmark printed {text:?}");
    Run { cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64, rate: fields[6], p99_ms: fields[1] }
}

/// Writes the users with these numbers, hashes of 8 fields.
pub fn fill_users(redis: &Redis, numbers: std::ops::Range<u64>, turn: u64) {
    pipeline(redis, numbers, |number, buffer| {
        let (key, fields) = (documents::key(number), documents::fields(number, turn));
        let mut words = vec!["HSET", &key];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        push(buffer, &words);
    });
}

/// Writes strings of 20 bytes to `name:000000000000`, with 12 digits as in redis-benchmark's keys.
pub fn fill_strings(redis: &Redis, name: &str, numbers: std::ops::Range<u64>) {
    pipeline(redis, numbers, |number, buffer| {
        push(buffer, &["SET", &format!("{name}:{number:012}"), &format!("{number:020}")]);
    });
}

/// Sends a command for each number, in pipelines of 1,000.
pub fn pipeline(redis: &Redis, numbers: std::ops::Range<u64>, command: impl Fn(u64, &mut Vec<u8>)) {
    pipeline_of(redis, numbers, 1, command);
}

/// The same with commands whose replies have `lines` lines for each number.
pub fn pipeline_of(
    redis: &Redis,
    numbers: std::ops::Range<u64>,
    lines: usize,
    commands: impl Fn(u64, &mut Vec<u8>),
) {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).expect("connection");
    let (mut buffer, mut replies) = (Vec::new(), vec![0; 1 << 16]);
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let mut waiting = 0;
        for number in numbers.by_ref().take(1000) {
            commands(number, &mut buffer);
            waiting += lines;
        }
        stream.write_all(&buffer).expect("commands");
        buffer.clear();
        while waiting > 0 {
            let read = stream.read(&mut replies).expect("replies");
            assert!(read > 0, "the server closed the connection");
            assert!(!replies[..read].contains(&b'-'), "an error among the replies");
            waiting -= replies[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    }
}

/// Appends a command in the protocol of clients.
pub fn push(buffer: &mut Vec<u8>, words: &[&str]) {
    write!(buffer, "*{}\r\n", words.len()).expect("memory");
    for word in words {
        write!(buffer, "${}\r\n{word}\r\n", word.len()).expect("memory");
    }
}
