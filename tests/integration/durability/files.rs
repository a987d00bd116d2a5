//! Files that the settings name and that are none: the server never waits for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use testkit::mongod::{Mongod, nowhere};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Longest that one command may hold the server up.
const AT_ONCE: Duration = Duration::from_secs(2);

fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    path
}

/// A FIFO that nobody writes to, a link to it, a folder, a device without an end.
fn no_files(folder: &TempDir) -> Vec<String> {
    let fifo = fifo(folder.path());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&fifo, &link).expect("link");
    let paths = [&fifo, &link, folder.path(), Path::new("/dev/zero")];
    paths.map(|path| path.to_str().expect("path").to_owned()).to_vec()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("path")
}

#[track_caller]
fn writes(redis: &Redis, key: &str) {
    redis.cmd(&["SET", key, "x"]);
    let flushed = redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!(flushed.pending, 0, "{}", redis.status().text("link_error"));
}

#[test]
fn config_set_refuses_at_once_what_is_no_regular_file() {
    let folder = tempfile::tempdir().expect("folder");
    let redis = Redis::start(&Mongod::shared().uri());
    for path in no_files(&folder) {
        let start = Instant::now();
        let error = redis.error(&["CONFIG", "SET", "writebehind.mongodb-uri-file", &path]);
        assert!(start.elapsed() < AT_ONCE, "{path}: {:?}", start.elapsed());
        assert!(error.contains("mongodb-uri-file cannot be read"), "{error}");
        assert!(error.contains("not a regular file"), "{error}");
    }
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    writes(&redis, "k:1");
}

#[test]
fn a_server_that_is_started_with_such_a_file_says_so_and_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let paths = no_files(&folder);
    for name in ["mongodb-uri-file", "registrations-file"] {
        for path in &paths {
            let start = Instant::now();
            let setup = Setup::new(&nowhere()).setting(name, path);
            let Err(log) = setup.try_start() else { panic!("{name} {path} was taken") };
            assert!(log.contains(name) && log.contains("not a regular file"), "{log}");
            assert!(start.elapsed() < SOON / 2, "{name} {path}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn a_file_that_becomes_a_fifo_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, nowhere()).expect("file");
    let mut redis = Setup::default()
        .setting("mongodb-uri-file", text(&file))
        .setting("retry-backoff-max-ms", "100")
        .start();
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    redis.cmd(&["SET", "k:1", "x"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    std::fs::rename(fifo(folder.path()), &file).expect("renamed");
    wait_until("the worker has looked", SOON, || {
        redis.status().text("link_error").contains("not a regular file")
    });
    std::fs::remove_file(&file).expect("removed");
    std::fs::write(&file, Mongod::shared().uri()).expect("file");
    writes(&redis, "k:2");
    let start = Instant::now();
    assert!(redis.shutdown(&["NOSAVE"]).success());
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
}

#[test]
fn a_certificate_file_that_is_a_fifo_does_not_hold_the_worker() {
    let folder = tempfile::tempdir().expect("folder");
    let fifo = fifo(folder.path());
    let database = Mongod::shared().database();
    for option in ["tlsCAFile", "tlsCertificateKeyFile"] {
        let uri = format!("{}&tls=true&{option}={}", Mongod::shared().uri(), text(&fifo));
        let redis = Setup::new(&uri).setting("retry-backoff-max-ms", "100").start();
        redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
        redis.cmd(&["SET", "k:1", "x"]);
        wait_until("it is told", SOON, || {
            let error = redis.status().text("link_error");
            error.contains(option) && error.contains("not a regular file")
        });
        let uri = Mongod::shared().uri();
        redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &uri]);
        writes(&redis, "k:2");
    }
}
