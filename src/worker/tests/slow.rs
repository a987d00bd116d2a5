//! One slow namespace, and the others.

use super::*;
use crate::worker::doubles::{Behaviour, batch};

/// The reports to the server thread that a registration is slow, or no longer.
fn slow_reports(bench: &mut Bench) -> Vec<bool> {
    let slow = bench.seen.extract_if(.., |report| matches!(report, Report::Slow { .. }));
    slow.filter_map(|report| match report {
        Report::Slow { slow, .. } => Some(slow),
        _ => None,
    })
    .collect()
}

/// Sends a batch with a credit for slow ones.
fn slow_batch(bench: &mut Bench, key: &str) {
    let mut batch = batch("bad", &[key], 0);
    batch.slow = true;
    bench.slow_credits = bench.slow_credits.checked_sub(1).expect("a slow batch needs a credit");
    bench.worker.send(batch).expect("there is room for every credit");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_hangs_uses_neither_limits_nor_credits_of_others() {
    for most in [1, 2, 8] {
        let doubles = Doubles::new(Behaviour::HangBadNamespace(10_000));
        Bench::run(doubles, options("a", most), async |bench| {
            bench.pass(0).await;
            let before = bench.credits;
            // Spends all credits that the server thread may spend on one registration.
            while bench.credits > 1 {
                bench.send(batch("bad", &["bad"], 0));
            }
            // Even now a batch of another namespace can be sent.
            bench.send(batch("good", &["first"], 0));
            bench.pass(5).await;
            assert!(bench.doubles.written().contains("first"), "{most}");
            bench.pass(200).await;
            assert_eq!(slow_reports(bench), [true]);
            assert_eq!(bench.credits, before, "{most}: all credits for others are back");
            for round in 0..100 {
                bench.send(batch("good", &[&format!("k{round}")], 0));
                bench.pass(1).await;
                assert!(bench.doubles.written().contains(&format!("k{round}")));
            }
            assert_eq!(bench.links(), [Link::Up]);
            let verdicts = bench.verdicts();
            assert_eq!(verdicts.len(), 101);
            bench.pass(20_000).await;
            let verdicts = bench.verdicts();
            assert_eq!(verdicts.len() as u32, before - 1);
            for (key, verdict) in verdicts {
                let error = match verdict {
                    Verdict::Written(written) => written.error,
                    Verdict::Returned { error, hold_ms, .. } => {
                        assert!(hold_ms > 0);
                        error
                    }
                };
                assert_eq!((key.as_str(), error.as_str()), ("bad", "too slow"));
            }
            assert_eq!(bench.links(), [], "the link is up all the time");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_namespace_is_tried_with_one_batch_and_is_usual_again_when_it_is_quick() {
    let doubles = Doubles::new(Behaviour::HangBadNamespace(1_000));
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(0).await;
        let before = (bench.credits, bench.slow_credits);
        bench.send(batch("bad", &["bad"], 0));
        bench.pass(1_500).await;
        assert_eq!((slow_reports(bench), bench.verdicts().len()), (vec![true], 1));
        for _ in 0..3 {
            slow_batch(bench, "bad");
        }
        bench.pass(500).await;
        assert_eq!(bench.doubles.world().in_flight, 1);
        bench.pass(2_000).await;
        assert_eq!(bench.verdicts().len(), 3);
        bench.doubles.world().behaviour = Behaviour::Accept;
        slow_batch(bench, "bad");
        bench.pass(50).await;
        assert_eq!(slow_reports(bench), [false]);
        bench.send(batch("bad", &["bad"], 0));
        bench.pass(50).await;
        assert_eq!((bench.verdicts().len(), slow_reports(bench).len()), (2, 0));
        assert_eq!((bench.credits, bench.slow_credits), before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_blocked_key_does_not_make_its_namespace_slow() {
    let doubles = Doubles::new(Behaviour::HangBadNamespace(5_000));
    Bench::run(doubles, options("a", 1), async |bench| {
        bench.pass(0).await;
        let before = (bench.credits, bench.slow_credits);
        let mut retry = batch("bad", &["blocked"], 0);
        (retry.slow, retry.retry) = (true, 3);
        bench.slow_credits -= 1;
        bench.worker.send(retry).unwrap();
        bench.pass(1_000).await;
        bench.send(batch("good", &["k"], 0));
        bench.pass(10).await;
        assert!(bench.doubles.written().contains("k"));
        bench.pass(5_000).await;
        assert!(slow_reports(bench).is_empty());
        assert_eq!(
            (bench.verdicts().len(), bench.credits, bench.slow_credits),
            (2, before.0, before.1)
        );
    })
    .await;
}
