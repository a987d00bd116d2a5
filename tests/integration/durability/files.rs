//! Settings that name a FIFO, a folder or a device instead of a file: the server never blocks on
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// The longest time that one command may take.
const MAX_LATENCY: Duration = Duration::from_secs(2);

fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    path
}

/// A FIFO without a writer, a symbolic link to it, a folder, an endless device.
fn special_files(folder: &TempDir) -> Vec<String> {
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
fn config_set_refuses_special_files_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let redis = Redis::start(&Mongod::shared().uri());
    for path in special_files(&folder) {
        let start = Instant::now();
        let error = redis.error(&["CONFIG", "SET", "writebehind.mongodb-uri-file", &path]);
        assert!(start.elapsed() < MAX_LATENCY, "{path}: {:?}", start.elapsed());
        assert!(error.contains("mongodb-uri-file cannot be read"), "{error}");
        assert!(error.contains("not a regular file"), "{error}");
    }
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    writes(&redis, "k:1");
}

#[test]
fn a_server_that_is_started_with_a_special_file_reports_it_and_exits() {
    let folder = tempfile::tempdir().expect("folder");
    let paths = special_files(&folder);
    for name in ["mongodb-uri-file", "registrations-file"] {
        for path in &paths {
            let start = Instant::now();
            let setup = Setup::new(&unreachable_uri()).setting(name, path);
            let Err(log) = setup.try_start() else { panic!("{name} {path} was accepted") };
            assert!(log.contains(name) && log.contains("not a regular file"), "{log}");
            assert!(start.elapsed() < SOON / 2, "{name} {path}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn a_file_that_is_replaced_by_a_fifo_blocks_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, unreachable_uri()).expect("file");
    let mut redis = Setup::default()
        .setting("mongodb-uri-file", text(&file))
        .setting("retry-backoff-max-ms", "100")
        .start();
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    redis.cmd(&["SET", "k:1", "x"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    std::fs::rename(fifo(folder.path()), &file).expect("renamed");
    wait_until("the worker has tried to read it", SOON, || {
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
fn a_certificate_file_that_is_a_fifo_does_not_block_the_worker() {
    let folder = tempfile::tempdir().expect("folder");
    let fifo = fifo(folder.path());
    let database = Mongod::shared().database();
    for option in ["tlsCAFile", "tlsCertificateKeyFile"] {
        let uri = format!("{}&tls=true&{option}={}", Mongod::shared().uri(), text(&fifo));
        let redis = Setup::new(&uri).setting("retry-backoff-max-ms", "100").start();
        redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
        redis.cmd(&["SET", "k:1", "x"]);
        wait_until("the error is reported", SOON, || {
            let error = redis.status().text("link_error");
            error.contains(option) && error.contains("not a regular file")
        });
        let uri = Mongod::shared().uri();
        redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &uri]);
        writes(&redis, "k:2");
    }
}
