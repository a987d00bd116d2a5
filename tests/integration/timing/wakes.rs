//! The worker wakes the server for each report, whatever the server does at that moment.

use std::time::{Duration, Instant};

use testkit::fixture::World;
use testkit::redis_server::raw::RawClient;
use testkit::wait::{SOON, wait_until};

const CLIENTS: usize = 50;
const TIME: Duration = Duration::from_secs(4);
/// Half of the time between two runs of the server's cron.
const LONGEST: Duration = Duration::from_millis(500);

/// A report for which the server is not woken is seen at its next cron, which is a second later here.
#[test]
fn no_reply_waits_for_the_servers_cron() {
    let world = World::with(|setup| setup.config("hz 1").config("dynamic-hz no"));
    world.register("k:", "keys", "MODE THROUGH");
    wait_until("MongoDB is reached", SOON, || world.redis.status().text("link") == "up");
    let port = world.redis.port();
    let threads: Vec<_> = (0..CLIENTS)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = RawClient::new(port, "2");
                let (began, mut longest) = (Instant::now(), Duration::ZERO);
                while began.elapsed() < TIME {
                    let sent = Instant::now();
                    assert_eq!(client.text(&["SET", &format!("k:{number}"), "x"]), "+OK\r\n");
                    longest = longest.max(sent.elapsed());
                }
                longest
            })
        })
        .collect();
    let longest = threads.into_iter().map(|thread| thread.join().expect("client")).max();
    assert!(longest.is_some_and(|longest| longest < LONGEST), "{longest:?}");
}
