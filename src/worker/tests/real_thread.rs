//! The worker on its own thread, in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::*;
use crate::worker::doubles::{Behaviour, batch};

fn real_us() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// Drains reports until `done` returns true; fails when that takes too long.
fn drain_until(worker: &Worker, mut done: impl FnMut(Report) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        worker.begin_drain();
        while let Some(report) = worker.report() {
            if done(report) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "no report within {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A worker, and a counter of how often it has woken the server.
fn start(doubles: &Doubles, now_us: fn() -> u64) -> (Worker, Arc<AtomicU64>) {
    let wakes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wakes);
    let wake = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (Worker::start(doubles.clone(), options("a", 2), now_us, wake).unwrap(), wakes)
}

#[test]
fn no_wake_up_is_lost_in_either_direction() {
    const BATCHES: u64 = 20_000;
    let doubles = Doubles::default();
    let (mut worker, wakes) = start(&doubles, real_us);
    let (mut credits, mut sent, mut done, mut answered) = (0, 0, 0, 0);
    let deadline = Instant::now() + 3 * PATIENCE;
    while done < BATCHES {
        // Like the server, the test drains only when it was woken, so a lost wake-up stops it.
        let woken = wakes.load(Ordering::SeqCst);
        if woken > answered {
            answered = woken;
            worker.begin_drain();
            while let Some(report) = worker.report() {
                match report {
                    Report::Credit(n) => credits += n,
                    Report::Done { .. } => done += 1,
                    _ => {}
                }
            }
        }
        while credits > 0 && sent < BATCHES {
            worker.send(batch("good", &["k"], real_us())).unwrap();
            (credits, sent) = (credits - 1, sent + 1);
            // With different gaps the worker is awake, falling asleep, or asleep.
            for _ in 0..sent % 400 {
                std::hint::spin_loop();
            }
        }
        assert!(Instant::now() < deadline, "stuck at {done} of {BATCHES}");
        std::hint::spin_loop();
    }
    assert!(worker.stop(PATIENCE));
    assert_eq!(doubles.world().written.len() as u64, BATCHES);
}

#[test]
fn the_server_is_woken_once_until_it_drains() {
    let doubles = Doubles::default();
    let (mut worker, wakes) = start(&doubles, real_us);
    for _ in 0..4 {
        worker.send(batch("good", &["k"], 0)).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while doubles.world().written.len() < 4 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    // When the thread has ended, it has reported everything.
    assert!(worker.stop(PATIENCE));
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    let reports = std::iter::from_fn(|| worker.report());
    assert_eq!(reports.filter(|report| matches!(report, Report::Done { .. })).count(), 4);
}

#[test]
fn a_panic_of_the_write_loop_is_reported_as_a_broken_link_and_the_worker_continues() {
    static PANIC_ONCE: AtomicBool = AtomicBool::new(false);
    fn now_us() -> u64 {
        assert!(!PANIC_ONCE.swap(false, Ordering::SeqCst), "asked to panic");
        real_us()
    }
    let doubles = Doubles::new(Behaviour::RespondSlowly(20));
    let (mut worker, _) = start(&doubles, now_us);
    drain_until(&worker, |report| matches!(report, Report::Credit(5)));
    PANIC_ONCE.store(true, Ordering::SeqCst);
    for key in ["k1", "k2", "k3"] {
        worker.send(batch("good", &[key], 0)).unwrap();
    }
    let (mut returned, mut broken, mut up, mut credits) = (0, false, false, 0);
    drain_until(&worker, |report| {
        match report {
            Report::Done { verdict: Verdict::Returned { .. }, .. } => returned += 1,
            Report::Link(Link::Down { error }) => broken = error.contains("bug"),
            Report::Link(Link::Up) => up = broken,
            Report::Credit(n) => credits += n,
            _ => {}
        }
        up && credits == 1
    });
    assert_eq!((returned, broken), (3, true));
    worker.send(batch("good", &["k4"], 0)).unwrap();
    drain_until(&worker, |report| {
        matches!(report, Report::Done { verdict: Verdict::Written(_), .. })
    });
    assert!(worker.stop(PATIENCE));
}

#[test]
fn stop_abandons_batches_in_flight_and_reports_them() {
    let doubles = Doubles::new(Behaviour::HoldResponse);
    let (mut worker, _) = start(&doubles, real_us);
    for key in ["k1", "k2", "k3"] {
        worker.send(batch("good", &[key], 0)).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while doubles.world().in_flight < 2 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = Instant::now();
    assert!(worker.stop(PATIENCE));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let mut returned = 0;
    while let Some(report) = worker.report() {
        returned += u32::from(matches!(report, Report::Done { .. }));
    }
    assert_eq!(returned, 3);
    assert!(worker.send(batch("good", &["k4"], 0)).is_err(), "the worker has ended");
}

#[test]
fn stop_does_not_wait_for_a_thread_that_hangs() {
    let (hangs, is_hanging) = crossbeam_channel::bounded(1);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let hang = Box::new(move || {
        // It may be asked to wake the server more than once.
        let _ = hangs.try_send(());
        // Ends when the test does.
        let _ = released.recv();
    });
    let mut worker = Worker::start(Doubles::default(), options("a", 2), real_us, hang).unwrap();
    is_hanging.recv_timeout(PATIENCE).expect("the thread hangs");
    let asked = Instant::now();
    assert!(!worker.stop(Duration::from_millis(200)));
    assert!(asked.elapsed() < PATIENCE);
    drop(release);
}

#[test]
fn a_batch_beyond_the_capacity_of_the_channel_is_returned() {
    let (worker, _ends) = Worker::unattended(real_us, Box::new(|| ())).unwrap();
    for _ in 0..272 {
        worker.send(batch("good", &["k"], 0)).unwrap();
    }
    let returned = worker.send(batch("good", &["last"], 0)).unwrap_err();
    assert_eq!(returned.key(&returned.items[0]), b"last");
}
