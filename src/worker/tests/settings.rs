//! Settings that change while the worker runs.

use super::*;
use crate::worker::doubles::{Behaviour, batch};

#[tokio::test(start_paused = true)]
async fn a_new_uri_is_used_from_the_next_batch_and_the_old_sink_is_closed_after_its_last_batch() {
    Bench::run(Doubles::new(Behaviour::RespondSlowly(100)), options("old", 2), async |bench| {
        bench.pass(0).await;
        for key in ["k1", "k2", "k3"] {
            bench.send(batch("good", &[key], 0));
        }
        bench.pass(10).await;
        bench.worker.configure(options("new", 2));
        bench.pass(50).await;
        assert_eq!(bench.doubles.world().closed.len(), 0, "batches are still in flight");
        bench.pass(300).await;
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.len(), 3);
        for (_, verdict) in verdicts {
            assert!(matches!(verdict, Verdict::Written(_)), "{verdict:?}");
        }
        let world = bench.doubles.world();
        let uris: Vec<_> = world.written.iter().map(|(uri, _)| uri.as_str()).collect();
        assert_eq!(uris, ["old", "old", "new"]);
        assert_eq!(world.closed, ["old"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_corrected_uri_is_tried_at_once() {
    let doubles = Doubles::default();
    doubles.world().unreachable = Some("away".to_owned());
    Bench::run(doubles, options("old", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(300_000).await;
        bench.doubles.world().unreachable = None;
        bench.links();
        bench.worker.configure(options("new", 2));
        bench.pass(1).await;
        assert_eq!(bench.links(), [Link::Up]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_corrected_uri_does_not_wait_for_a_connect_attempt_that_hangs() {
    let doubles = Doubles::default();
    doubles.world().hang_in_ping = true;
    Bench::run(doubles, options("old", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(100).await;
        bench.doubles.world().hang_in_ping = false;
        bench.worker.configure(options("new", 2));
        bench.pass(10).await;
        assert!(matches!(bench.verdicts().as_slice(), [(_, Verdict::Written(_))]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_batches_in_flight_are_granted_at_once_and_fewer_as_batches_end() {
    Bench::run(Doubles::new(Behaviour::RespondSlowly(100)), options("a", 1), async |bench| {
        bench.pass(0).await;
        assert_eq!(bench.credits, 3);
        bench.worker.configure(options("a", 2));
        bench.pass(0).await;
        assert_eq!(bench.credits, 5);
        for _ in 0..4 {
            bench.send(batch("good", &["k"], 0));
        }
        bench.pass(50).await;
        assert_eq!(bench.doubles.world().in_flight, 2);
        bench.worker.configure(options("a", 1));
        bench.pass(1000).await;
        assert_eq!(bench.verdicts().len(), 4);
        assert_eq!(bench.credits, 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn settings_that_do_not_affect_the_link_keep_it() {
    Bench::run(Doubles::default(), options("a", 1), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k"], 0));
        bench.pass(10).await;
        let mut changed = options("a", 1);
        changed.backoff.max_ms = 99;
        bench.worker.configure(changed);
        bench.pass(10).await;
        bench.send(batch("good", &["k"], 0));
        bench.pass(10).await;
        assert_eq!(bench.doubles.world().connects, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn new_settings_do_not_make_an_idle_worker_connect() {
    let idle =
        |uri, max_in_flight| WorkerOptions { keeps_link: false, ..options(uri, max_in_flight) };
    Bench::run(Doubles::default(), idle("a", 1), async |bench| {
        bench.pass(0).await;
        bench.worker.configure(idle("b", 2));
        bench.pass(1000).await;
        assert_eq!(bench.doubles.world().connects, 0);
        assert_eq!(bench.links(), []);
        assert_eq!(bench.credits, 5);
    })
    .await;
}

#[tokio::test]
async fn the_uri_file_is_read_again_when_the_link_fails() {
    let path = std::env::temp_dir().join(format!("wb-uri-{}", std::process::id()));
    std::fs::write(&path, " old \n").unwrap();
    let doubles = Doubles::default();
    doubles.world().unreachable = Some("authentication failed".to_owned());
    let mut options = options("unused", 1);
    options.uri = UriSource::File(path.clone());
    options.backoff.max_ms = 5;
    Bench::run(doubles, options, async |bench| {
        bench.pass(20).await;
        bench.send(batch("good", &["k"], 0));
        bench.pass(100).await;
        assert_eq!(bench.doubles.world().connects, 1, "the same content keeps the sink");
        std::fs::write(&path, "new").unwrap();
        // Another thread reads the file: it may have the old content for one more attempt.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while bench.doubles.world().connects < 2 {
            assert!(tokio::time::Instant::now() < deadline, "the new content makes a new sink");
            bench.pass(5).await;
        }
        bench.doubles.world().unreachable = None;
        bench.pass(300).await;
        bench.send(batch("good", &["k"], 0));
        bench.pass(100).await;
        assert_eq!(bench.doubles.world().written, [("new".to_owned(), "k".to_owned())]);
        std::fs::remove_file(&path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_missing_uri_file_is_reported_by_its_name() {
    let mut options = options("unused", 1);
    options.uri = UriSource::File("/nonexistent/uri".into());
    Bench::run(Doubles::default(), options, async |bench| {
        bench.pass(20).await;
        bench.send(batch("good", &["k"], 0));
        bench.pass(200).await;
        let links = bench.links();
        let Some(Link::Down { error }) = links.first() else { panic!("{links:?}") };
        assert!(error.contains("mongodb-uri-file, /nonexistent/uri,"), "{error}");
    })
    .await;
}
