//! The password appears in no output: the tests search all replies, logs and files of a server for
//! it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use testkit::mongod::users::Guarded;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became, wait_until};

/// Its ends are alphanumeric, so that they are found in any encoding of it.
const PASSWORD: &str = "Zq7Vk2%40:/%s%n@%25Xw9Jd4";
const ENDS: [&str; 2] = ["Zq7Vk2", "Xw9Jd4"];

/// All outputs of a server, with their sources.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn add(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), bytes.into()));
    }

    /// Adds the replies of these commands, including errors.
    fn ask(&mut self, redis: &Redis, commands: &[&str]) {
        for line in commands {
            let words: Vec<&str> = line.split(' ').collect();
            let reply = command(&words).query::<redis::Value>(&mut redis.connection());
            self.add(line, format!("{reply:?}"));
        }
    }

    /// Adds every file in that folder.
    fn search(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                self.search(&path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                self.add(&path.display().to_string(), bytes);
            }
        }
    }

    /// Asserts that these sources were searched, and that no source contains the password.
    #[track_caller]
    fn contain_no_password(&self, places: &[&str]) {
        for place in places {
            let seen = self.0.iter().any(|(name, bytes)| name.contains(place) && bytes.len() > 1);
            assert!(seen, "no output of {place}");
        }
        for (place, bytes) in &self.0 {
            for end in ENDS {
                let at = bytes.windows(end.len()).position(|part| part == end.as_bytes());
                if let Some(at) = at {
                    let around = &bytes[at.saturating_sub(200)..(at + 60).min(bytes.len())];
                    panic!("{place}: {}", String::from_utf8_lossy(around));
                }
            }
        }
    }
}

const QUESTIONS: [&str; 24] = [
    "CONFIG GET *",
    "INFO everything",
    "WB.STATUS",
    "WB.STATUS k:",
    "WB.METRICS",
    "WB.HELP",
    "WB.LIST",
    "WB.FLUSH TIMEOUT 1",
    "WB.NOSUCH",
    "WB.REGISTER k: nodot",
    "COMMAND",
    "COMMAND DOCS",
    "MODULE LIST",
    "SLOWLOG GET -1",
    "ACL LOG",
    "CLIENT LIST",
    "LATENCY LATEST",
    "LATENCY DOCTOR",
    "MEMORY STATS",
    "MEMORY DOCTOR",
    "DEBUG DIGEST",
    "DEBUG CONFIG-REWRITE-FORCE-ALL",
    "DEBUG LOG done",
    "KEYS *",
];

/// The output of MONITOR, which grows.
fn monitor(redis: &Redis) -> Arc<Mutex<Vec<u8>>> {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).expect("connection");
    stream.write_all(b"MONITOR\r\n").expect("MONITOR");
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            shared.lock().expect("seen").extend(&buffer[..count]);
        }
    });
    wait_until("MONITOR replies", SOON, || !seen.lock().expect("seen").is_empty());
    seen
}

/// Enables all logs of a server.
fn verbose(setup: Setup) -> Setup {
    setup
        .durable()
        .config("loglevel debug")
        .config("slowlog-log-slower-than 0")
        .config("slowlog-max-len 100000")
        .config("latency-monitor-threshold 1")
        .config("repl-diskless-sync-delay 0")
        .setting("retry-backoff-max-ms", "100")
}

/// A server uses the password, fails to authenticate with it and crashes, and never shows it.
fn is_never_shown(
    setup: Setup,
    guarded: &mut Guarded,
    meanwhile: impl FnOnce(&Redis, &mut Outputs),
) {
    let mut redis = verbose(setup.clone()).start();
    let monitored = monitor(&redis);
    let replica = verbose(setup).start();
    replica.follow(&redis);
    let mut outputs = Outputs::default();
    let namespace = guarded.mongod.database().namespace("keys");
    redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "0"]);
    redis.cmd(&["SET", "k:1", "x"]);
    let flushed = redis.flush_with(&["TIMEOUT", "15000"]);
    assert_eq!(flushed.persisted, 1, "{}", redis.status().text("link_error"));

    // From now on each new connection fails to authenticate.
    guarded.set_password("ann", "another");
    guarded.mongod.stop();
    guarded.mongod.restart();
    redis.cmd(&["SET", "k:2", "x"]);
    meanwhile(&redis, &mut outputs);
    outputs.ask(&redis, &QUESTIONS);
    outputs.ask(&replica, &QUESTIONS);
    outputs.ask(&redis, &["CONFIG REWRITE", "SAVE", "BGREWRITEAOF", "GET k:1"]);
    wait_until("the AOF is rewritten", SOON, || {
        redis.info("persistence", "aof_rewrite_in_progress").as_deref() == Some("0")
            && redis.info("persistence", "aof_rewrite_scheduled").as_deref() == Some("0")
    });
    replica.wait_until_in_sync_with(&redis);
    outputs.ask(&replica, &["SAVE", "CONFIG REWRITE"]);
    for server in [&redis, &replica] {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", server.pid()));
        outputs.add("command line", arguments.expect("command line"));
    }
    outputs.add("MONITOR", monitored.lock().expect("seen").clone());
    command(&["DEBUG", "SEGFAULT"]).query::<()>(&mut redis.connection()).ok();
    assert!(became(SOON, || redis.ended().is_some()), "it did not crash");
    outputs.search(redis.dir());
    outputs.search(replica.dir());
    outputs.add("crash report", redis.log().split("BUG REPORT").nth(1).unwrap_or_default());
    outputs.contain_no_password(&[
        "MONITOR",
        "crash report",
        "CONFIG GET",
        "redis.conf",
        "appendonly",
        ".rdb",
        "/log",
        "command line",
    ]);
}

fn guarded() -> Guarded {
    let guarded = Guarded::start();
    guarded.add_user("ann", PASSWORD);
    guarded
}

#[test]
fn a_password_from_a_file_is_never_shown() {
    let mut guarded = guarded();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    let uri = guarded.uri("ann", PASSWORD);
    std::fs::write(&file, &uri).expect("file");
    let path = file.to_str().expect("path").to_owned();
    let setup = Setup::default().setting("mongodb-uri-file", &path);
    is_never_shown(setup, &mut guarded, |redis, outputs| {
        let set = format!("CONFIG SET writebehind.mongodb-uri-file {path}");
        outputs.ask(redis, &[&set]);
        // The contents of an invalid file are not repeated, neither when it is set nor when it is
        // read again.
        let raw = uri.replace("Zq7Vk2%25", "Zq7Vk2%");
        for wrong in [
            format!("mongodb://ann:{PASSWORD}@127.0.0.1/?replicaSet=rs"),
            PASSWORD.to_owned(),
            format!("http://ann:{PASSWORD}@127.0.0.1"),
            "mongodb+srv://ann:Zq7Vk2Xw9Jd4@127.0.0.1:27017".to_owned(),
            format!("mongodb://ann:x@127.0.0.1/?nonsense={PASSWORD}"),
            "mongodb://127.0.0.1/?tlsCertificateKeyFilePassword=Zq7Vk2&w=Xw9Jd4".to_owned(),
            raw,
        ] {
            std::fs::write(&file, wrong).expect("file");
            outputs.ask(redis, &[&set, "SET k:3 x", "WB.FLUSH TIMEOUT 200", "WB.STATUS"]);
        }
        std::fs::write(&file, &uri).expect("file");
        wait_until("it is refused", SOON, || redis.status().text("link") == "down");
    });
}

#[test]
fn a_password_from_the_environment_is_never_shown() {
    let mut guarded = guarded();
    let uri = guarded.uri("ann", PASSWORD);
    let setup = Setup::default().environment("WRITEBEHIND_MONGODB_URI", &uri);
    is_never_shown(setup, &mut guarded, |redis, outputs| {
        wait_until("it is refused", SOON, || {
            outputs.ask(redis, &["WB.STATUS"]);
            !redis.status().text("last_error").is_empty()
        });
    });
}

#[test]
fn a_malformed_uri_in_the_environment_stops_the_load_and_is_not_repeated() {
    let setup = Setup::default()
        .environment("WRITEBEHIND_MONGODB_URI", format!("mongodb://ann:{PASSWORD}@127.0.0.1"));
    let log = setup.try_start().err().expect("no server");
    assert!(log.contains("WRITEBEHIND_MONGODB_URI"), "{log}");
    let mut outputs = Outputs::default();
    outputs.add("log", log);
    outputs.contain_no_password(&["log"]);
}
