//! Batches in flight, credits and lag.

use std::time::Duration;

use super::*;
use crate::worker::doubles::{Behaviour, batch};
use crate::worker::write_loop::WRITE_WITHIN;

#[tokio::test(start_paused = true)]
async fn without_a_link_to_keep_credits_are_granted_before_connecting_and_the_link_is_closed_after_each_batch()
 {
    let options = WorkerOptions { keeps_link: false, ..options("a", 2) };
    Bench::run(Doubles::default(), options, async |bench| {
        bench.pass(0).await;
        assert_eq!(bench.credits, 5);
        assert_eq!(bench.doubles.world().connects, 0);
        bench.send(batch("good", &["k1"], 0));
        bench.pass(10).await;
        assert_eq!(bench.links(), [Link::Up, Link::Idle]);
        assert!(matches!(bench.verdicts().as_slice(), [(_, Verdict::Written(_))]));
        assert_eq!(bench.credits, 5);
        assert!(bench.doubles.written().contains("k1"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_batches_are_built_while_the_limit_of_batches_in_flight_is_reached() {
    Bench::run(Doubles::new(Behaviour::RespondSlowly(100)), options("a", 2), async |bench| {
        bench.pass(0).await;
        for key in ["k1", "k2", "k3", "k4"] {
            bench.send(batch("good", &[key], 0));
        }
        bench.pass(50).await;
        {
            let world = bench.doubles.world();
            assert_eq!((world.in_flight, world.built, world.written.len()), (2, 4, 2));
        }
        bench.pass(100).await;
        assert_eq!(bench.doubles.world().in_flight, 2);
        bench.pass(100).await;
        assert_eq!(bench.verdicts().len(), 4);
        assert_eq!(bench.doubles.world().max_in_flight, 2);
        assert_eq!(bench.credits, 5);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_part_of_a_written_batch() {
    Bench::run(Doubles::new(Behaviour::Reject), options("a", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1", "k2"], 0));
        bench.pass(10).await;
        let verdicts = bench.verdicts();
        let [(_, Verdict::Written(written))] = verdicts.as_slice() else { panic!("{verdicts:?}") };
        assert_eq!(written.refused.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusing_namespace_backs_off_longer_each_time_and_others_are_written() {
    let doubles = Doubles::new(Behaviour::RefuseBadNamespace);
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(0).await;
        let mut holds = Vec::new();
        for _ in 0..12 {
            bench.send(batch("bad", &["bad"], 0));
            bench.send(batch("good", &["good"], 0));
            bench.pass(10).await;
            for (key, verdict) in bench.verdicts() {
                match verdict {
                    Verdict::Returned { hold_ms, error, .. } => {
                        assert_eq!((key.as_str(), error.as_str()), ("bad", "shop.bad refuses"));
                        holds.push(hold_ms);
                    }
                    Verdict::Written(_) => assert_eq!(key, "good"),
                }
            }
        }
        assert_eq!(holds.len(), 12);
        assert!(holds.iter().all(|hold_ms| (1..=10_000).contains(hold_ms)), "{holds:?}");
        assert!(holds[0] <= 50 && holds.iter().max() > Some(&50), "{holds:?}");
        assert_eq!(bench.links(), [Link::Up]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_batch_gets_a_verdict_although_the_server_never_replies() {
    Bench::run(Doubles::new(Behaviour::HoldResponse), options("a", 1), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.send(batch("good", &["k2"], 0));
        bench.pass(WRITE_WITHIN.as_millis() as u64 - 1000).await;
        assert_eq!(bench.verdicts().len(), 0);
        bench.pass(2000).await;
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.len(), 2, "{verdicts:?}");
        let returned = |v: &Verdict| matches!(v, Verdict::Returned { hold_ms: 0, .. });
        assert!(verdicts.iter().all(|(_, verdict)| returned(verdict)));
        assert_eq!(bench.doubles.world().in_flight, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_batch_is_indeterminate_unless_the_sink_fences_it_off() {
    for fenced in [false, true] {
        let doubles = Doubles::new(Behaviour::FailAfterWrite);
        doubles.world().fenced = fenced;
        Bench::run(doubles, options("a", 1), async |bench| {
            bench.pass(0).await;
            bench.send(batch("good", &["k1"], 0));
            bench.send(batch("good", &["k2"], 0));
            bench.pass(10).await;
            let verdicts = bench.verdicts();
            let indeterminate = verdicts.iter().map(|(key, verdict)| {
                (key.as_str(), matches!(verdict, Verdict::Returned { indeterminate: true, .. }))
            });
            // The second one was queued and never sent.
            assert_eq!(indeterminate.collect::<Vec<_>>(), [("k2", false), ("k1", !fenced)]);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_writing_or_building_returns_that_batch_and_lets_its_namespace_back_off() {
    for behaviour in [Behaviour::Panic, Behaviour::PanicInBuild] {
        Bench::run(Doubles::new(behaviour), options("a", 2), async |bench| {
            bench.pass(0).await;
            bench.send(batch("good", &["k1"], 0));
            bench.pass(10).await;
            let verdicts = bench.verdicts();
            let [(_, Verdict::Returned { error, hold_ms, .. })] = verdicts.as_slice() else {
                panic!("{verdicts:?}");
            };
            assert!(*hold_ms > 0 && error.contains("bug"), "{error}");
            bench.doubles.world().behaviour = Behaviour::Accept;
            bench.send(batch("good", &["k1"], 0));
            bench.pass(10).await;
            assert!(matches!(bench.verdicts().as_slice(), [(_, Verdict::Written(_))]));
            assert_eq!(bench.credits, 5);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_reported_at_most_every_100_ms_and_never_forgotten() {
    Bench::run(Doubles::default(), options("a", 2), async |bench| {
        bench.pass(1000).await;
        let start = tokio::time::Instant::now();
        while start.elapsed() < Duration::from_millis(1000) {
            let since_us = clock_us().saturating_sub(7_000);
            bench.send(batch("good", &["k1"], since_us));
            bench.pass(10).await;
        }
        bench.pass(200).await;
        let lags = bench.seen.iter().filter_map(|report| match report {
            Report::Lag { of: Some((_, registration)), lag } => {
                assert_eq!(registration.prefix, b"");
                Some(lag.p50_us)
            }
            _ => None,
        });
        let lags = lags.collect::<Vec<_>>();
        assert!((8..=12).contains(&lags.len()), "{lags:?}");
        assert!(lags.iter().all(|lag_us| (6_900..=19_000).contains(lag_us)), "{lags:?}");
    })
    .await;
}
