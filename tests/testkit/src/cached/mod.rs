//! A bounded cache under stress: each client sends every command also to a server of the same program without the
//! module, which loses nothing, and both must give the same reply. Meanwhile keys are evicted, expire and are flushed,
//! and clients are killed, unblocked and disconnected.
//!
//! - `commands`: random commands on the keys of one client, and replies that can be compared
//! - `stage`: the plan, the ports, and what the threads share
//! - `client`: one client and its model
//! - `disturber`: what happens meanwhile

mod client;
mod commands;
mod disturber;
mod stage;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use self::client::Client;
use self::commands::KINDS;
pub use self::stage::Plan;
use self::stage::{Ports, Shared};
use crate::mongod::Mongod;
use crate::redis_server::Setup;
use crate::wait::{SOON, became, wait_until};

/// Lines of the server's log that are shown with a fault.
const LOGGED: usize = 30;

/// What was seen.
#[derive(Debug)]
pub struct Outcome {
    /// Replies that were equal.
    pub equal: u64,
    /// Keys that were evicted.
    pub evicted: u64,
    /// Figures for people.
    pub summary: String,
    /// What was wrong.
    pub faults: Vec<String>,
}

/// Plays the plan.
pub fn play(plan: Plan, program: Option<&Path>) -> Outcome {
    let mongod = Mongod::shared();
    let database = mongod.database();
    let with = |setup: Setup| program.into_iter().fold(setup, |setup, path| setup.program(path));
    let redis = with(Setup::new(&mongod.uri()).config("maxmemory-policy allkeys-random")).start();
    let plain = with(Setup::without_module()).start();
    for (prefix, kind) in KINDS {
        let namespace = database.namespace(kind);
        let options = ["TYPE", kind, "READTHROUGH", "ABSENT", "50", "INTERVAL", "5"];
        redis.cmd(&[&["WB.REGISTER", prefix, &namespace], &options[..]].concat());
    }
    wait_until("MongoDB is reached", SOON, || redis.status().text("link") == "up");

    let shared = Shared::default();
    let ports = Ports { cached: redis.port(), plain: plain.port() };
    let began = Instant::now();
    let (mut clients, mut faults) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.clients)
            .map(|number| {
                let mut client = Client::new(number, plan.seed, ports, &shared);
                scope.spawn(move || {
                    let result = client.run();
                    (client, result)
                })
            })
            .collect();
        for number in 0..8 {
            let shared = &shared;
            scope.spawn(move || disturber::noise(ports.cached, plan, number, shared));
        }
        disturber::disturb(&redis, plan, &shared, || threads.iter().any(|of| of.is_finished()));
        let (mut clients, mut faults) = (Vec::new(), Vec::new());
        for thread in threads {
            let (client, result) = thread.join().expect("client");
            faults.extend(result.err());
            clients.push(client);
        }
        (clients, faults)
    });
    let took = began.elapsed();
    let evicted = redis.info("stats", "evicted_keys").and_then(|keys| keys.parse().ok());
    let evicted: u64 = evicted.unwrap_or_default();
    let is_quiet = || {
        redis.status().int("readers_waiting") == 0
            && redis.info("clients", "blocked_clients").as_deref() == Some("0")
    };
    if !became(SOON, is_quiet) {
        faults.push(format!("clients are blocked: {:?}", redis.status()));
    }
    if faults.is_empty() {
        redis.flush();
        faults.extend(clients.iter_mut().filter_map(|client| client.compare_all().err()));
        faults
            .extend(KINDS.iter().filter_map(|(prefix, _)| redis.verify_faults(prefix, &["FULL"])));
    }
    faults.extend(std::mem::take(&mut *shared.errors.lock().expect("errors")));
    let status = redis.status();
    for figure in ["lost_total", "dead_letters"] {
        if status.int(figure) != 0 {
            faults.push(format!("{figure} {}", status.int(figure)));
        }
    }
    if !faults.is_empty() {
        let log = redis.log();
        // Not of the limits that are set here.
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains("new maxmemory value")).collect();
        faults.push(lines[lines.len().saturating_sub(LOGGED)..].join("\n"));
    }
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let figure = |name: &str| status.int(name);
    let summary = format!(
        "{} replies equal, {} keys missed, {} loaded, {} absent, {evicted} evicted, {} reads of others, {} \
         connections killed, {} writes refused for memory, {:.0} s",
        count(&shared.equal),
        figure("read_misses_total"),
        figure("read_loads_total"),
        figure("read_absent_total"),
        count(&shared.noise),
        count(&shared.killed),
        count(&shared.refused),
        took.as_secs_f64()
    );
    Outcome { equal: count(&shared.equal), evicted, summary, faults }
}
