//! The time to load data with the module, compared with the time without it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::report::{Goal, Report};
use crate::sample::{least, median, paired};
use crate::{cpu, documents, load, servers};
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};

pub fn run(report: &mut Report) {
    let keys = report.scaled(1_000_000, 100_000);
    let rounds = report.scaled(5, 2);
    let folder = tempfile::tempdir().expect("folder");
    let (rdb, aof) = (folder.path().join("dump.rdb"), folder.path().join("appendonly.aof"));
    write_rdb(&rdb, keys);
    write_aof(&aof, keys);
    let registrations = folder.path().join("registrations");
    std::fs::write(&registrations, "WB.REGISTER \"\" bench.keys\n").expect("registrations");

    let ours = Setup::new(&unreachable_uri())
        .setting("flush-interval-ms", "86400000")
        .setting("registrations-file", &registrations.display().to_string());
    let kinds = [("RDB", "dump.rdb", &rdb, "no"), ("AOF", "appendonly.aof", &aof, "yes")];
    for (what, name, file, append_only) in kinds {
        let config = format!("appendonly {append_only}");
        let setups = [Setup::without_module().config(&config), ours.clone().config(&config)];
        let (mut times, mut cpus): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
        for _ in 0..rounds {
            for (kind, setup) in setups.iter().enumerate() {
                let (seconds, cpu) = load_once(setup, name, file, keys);
                times[kind].push(seconds);
                cpus[kind].push(cpu);
            }
        }
        let note = format!(
            "medians, by the server's log; minimum CPU time {:.2} against {:.2} s, {:.2} ×",
            least(&cpus[1]),
            least(&cpus[0]),
            least(&cpus[1]) / least(&cpus[0])
        );
        let (ours, plain) = (median(&times[1]), median(&times[0]));
        let what = format!("loading an {what} of {keys} hashes");
        let ratio = paired(&times[1], &times[0]);
        report.value(&what, ours, plain, "s", ratio, Goal::AtMost(1.1), note);
    }
}

/// Starts a server that loads `file`; returns the loading time in its log, and the CPU time of its
/// main thread.
fn load_once(setup: &Setup, name: &str, file: &Path, keys: u64) -> (f64, f64) {
    let mut redis = setup.start();
    // The first start only created the folder; remove its AOF, which would take precedence.
    redis.kill();
    std::fs::remove_dir_all(redis.dir().join("appendonlydir")).ok();
    std::fs::copy(file, redis.dir().join(name)).expect("copy");
    redis.begin_restart(&[]);
    redis.wait_until_it_answers().unwrap_or_else(|log| panic!("{log}"));
    let size: u64 = redis.run(&["DBSIZE"]);
    assert_eq!(size, keys);
    let log = redis.log();
    let loaded = log.lines().rev().find(|line| line.contains("DB loaded from"));
    let seconds = loaded
        .and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no loading time in\n{log}"));
    (seconds, cpu::of_main_thread(redis.pid()).as_secs_f64())
}

fn write_rdb(file: &PathBuf, keys: u64) {
    let redis: Redis = servers::plain();
    load::fill_users(&redis, 0..keys, 0);
    redis.cmd(&["SAVE"]);
    std::fs::copy(redis.dir().join("dump.rdb"), file).expect("copy");
}

fn write_aof(file: &PathBuf, keys: u64) {
    let mut file = BufWriter::new(File::create(file).expect("file"));
    let mut buffer = Vec::new();
    for number in 0..keys {
        let (key, fields) = (documents::key(number), documents::fields(number, 0));
        let mut words = vec!["HSET", &key];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        load::push(&mut buffer, &words);
        file.write_all(&buffer).expect("file");
        buffer.clear();
    }
}
