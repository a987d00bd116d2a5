//! The link: down, up, and its changes.

use super::*;
use crate::sink::LinkError;
use crate::worker::doubles::{Behaviour, batch};

#[tokio::test(start_paused = true)]
async fn while_mongodb_is_unreachable_the_first_batch_is_returned_and_no_credits_are_granted() {
    let doubles = Doubles::default();
    doubles.world().unreachable = Some("away".to_owned());
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(1).await;
        assert_eq!(bench.links(), [down("away")]);
        let verdicts = bench.verdicts();
        let [(_, Verdict::Returned { error, hold_ms: 0, .. })] = verdicts.as_slice() else {
            panic!("{verdicts:?}");
        };
        assert_eq!(error, "away");
        assert_eq!(bench.credits, 4, "no credit while the link is down");

        bench.doubles.world().unreachable = None;
        bench.pass(10_000).await;
        assert_eq!(bench.links(), [Link::Up]);
        bench.send(batch("good", &["k1"], 0));
        bench.pass(10).await;
        assert!(matches!(bench.verdicts().as_slice(), [(_, Verdict::Written(_))]));
        assert_eq!(bench.credits, 3, "half as many are in flight after a failure");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_link_returns_batches_in_flight_and_queued_and_later_ones() {
    Bench::run(Doubles::new(Behaviour::FailAfterWrite), options("a", 1), async |bench| {
        bench.pass(0).await;
        bench.doubles.world().hang_in_ping = false;
        bench.send(batch("good", &["k1"], 0));
        bench.send(batch("good", &["k2"], 0));
        bench.pass(0).await;
        bench.doubles.world().unreachable = Some("away".to_owned());
        bench.pass(100).await;
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.len(), 2);
        for (_, verdict) in &verdicts {
            assert!(matches!(verdict, Verdict::Returned { hold_ms: 0, .. }), "{verdict:?}");
        }
        assert_eq!(bench.links(), [Link::Up, down("cut"), down("away")]);
        assert_eq!(bench.doubles.written().len(), 1, "k1 is applied although it is returned");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_arrives_while_the_link_is_down_is_returned_at_once() {
    let doubles = Doubles::default();
    doubles.world().unreachable = Some("away".to_owned());
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(1).await;
        bench.verdicts();
        // The first pause may be one millisecond, and its ping still running.
        bench.pass(0).await;
        let pings = bench.doubles.world().pings;
        bench.send(batch("good", &["k2"], 0));
        bench.pass(0).await;
        assert_eq!(bench.verdicts().len(), 1);
        assert_eq!(bench.doubles.world().pings, pings, "it is no reason to hurry");
        assert_eq!(bench.credits, 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_become_rare_but_never_stop() {
    let doubles = Doubles::default();
    doubles.world().unreachable = Some("away".to_owned());
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(60_000).await;
        let first = bench.doubles.world().pings;
        assert!((8..=60).contains(&first), "{first} pings in the first minute");
        bench.pass(600_000).await;
        let later = bench.doubles.world().pings - first;
        assert!((70..=250).contains(&later), "{later} pings in ten minutes, 5 s apart on average");
        assert_eq!(bench.links(), [down("away")], "told once");
    })
    .await;
}

/// Asserts that attempts become rare in a minute in which there is always a batch to send; `each`
/// is called ten times a second.
async fn assert_attempts_become_rare(bench: &mut Bench, each: impl Fn(&Doubles)) {
    for _ in 0..600 {
        if bench.credits > 0 {
            bench.send(batch("good", &["k1"], 0));
        }
        bench.pass(100).await;
        each(&bench.doubles);
    }
    let attempts = bench.doubles.world().written.len();
    assert!((8..=60).contains(&attempts), "{attempts} attempts in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_link_with_successful_pings_and_failed_writes_is_tried_less_and_less() {
    Bench::run(Doubles::new(Behaviour::FailAfterWrite), options("a", 1), async |bench| {
        bench.pass(0).await;
        assert_attempts_become_rare(bench, |_| {}).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_hangs_is_aborted() {
    let doubles = Doubles::default();
    doubles.world().hang_in_ping = true;
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(21_000).await;
        assert_eq!(bench.verdicts().len(), 1);
        assert!(matches!(bench.links().as_slice(), [Link::Down { .. }]));
        bench.doubles.world().hang_in_ping = false;
        bench.pass(60_000).await;
        assert_eq!(bench.links(), [Link::Up]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_of_batches_in_flight_count_once() {
    Bench::run(Doubles::new(Behaviour::RespondSlowly(100)), options("a", 8), async |bench| {
        bench.pass(0).await;
        bench.send(batch("good", &["k0"], 0));
        bench.pass(200).await;
        bench.doubles.world().unreachable = Some("away".to_owned());
        for _ in 0..4 {
            bench.send(batch("good", &["k1"], 0));
        }
        bench.pass(1).await;
        assert_eq!(bench.links(), [Link::Up, down("away")]);
        bench.doubles.world().unreachable = None;
        bench.pass(50).await;
        assert_eq!(bench.links(), [Link::Up], "the first pause is the shortest");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_link_is_up_before_the_first_batch_and_closed_when_it_is_no_longer_needed() {
    Bench::run(Doubles::new(Behaviour::RespondSlowly(100)), options("a", 2), async |bench| {
        bench.pass(0).await;
        assert_eq!(bench.links(), [Link::Up]);
        bench.send(batch("good", &["k1"], 0));
        bench.pass(10).await;
        bench.worker.configure(WorkerOptions { keeps_link: false, ..options("a", 2) });
        bench.pass(10).await;
        assert_eq!(bench.links(), [], "a batch is in flight");
        bench.pass(200).await;
        assert_eq!(bench.links(), [Link::Idle]);
        assert_eq!(bench.doubles.world().closed, ["a"]);
        bench.worker.configure(options("a", 2));
        bench.pass(10).await;
        assert_eq!(bench.links(), [Link::Up]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_down_and_no_longer_needed_is_idle_and_not_tried() {
    let doubles = Doubles::default();
    doubles.world().unreachable = Some("away".to_owned());
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(1000).await;
        bench.worker.configure(WorkerOptions { keeps_link: false, ..options("a", 2) });
        bench.pass(10).await;
        assert_eq!(bench.links(), [down("away"), Link::Idle]);
        let pings = bench.doubles.world().pings;
        bench.pass(60_000).await;
        assert_eq!(bench.doubles.world().pings, pings);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_link_follows_the_state_that_the_sink_reports_between_batches() {
    Bench::run(Doubles::default(), options("a", 2), async |bench| {
        bench.pass(0).await;
        bench.links();
        let refused = || LinkError::transient("refused");
        bench.doubles.learn(Err(refused()));
        bench.pass(100).await;
        bench.doubles.learn(Ok(()));
        bench.pass(1000).await;
        assert_eq!(bench.links(), [], "a connection that is made anew is no failure");

        bench.doubles.world().unreachable = Some("refused".to_owned());
        bench.doubles.learn(Err(refused()));
        bench.pass(300).await;
        assert_eq!(bench.links(), [down("refused")]);
        // After this time the pauses are long.
        bench.pass(60_000).await;
        bench.doubles.world().unreachable = None;
        bench.doubles.learn(Ok(()));
        bench.pass(1).await;
        assert_eq!(bench.links(), [Link::Up]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_connect_attempt_ends_when_every_server_was_tried() {
    let doubles = Doubles::default();
    doubles.world().hang_in_ping = true;
    Bench::run(doubles, options("a", 2), async |bench| {
        bench.pass(10).await;
        bench.doubles.learn(Err(LinkError::transient("refused")));
        bench.pass(1).await;
        assert_eq!(bench.links(), [down("refused")]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_writes_and_fails_them_is_tried_less_and_less() {
    Bench::run(Doubles::new(Behaviour::FailAfterWrite), options("a", 1), async |bench| {
        bench.pass(0).await;
        assert_attempts_become_rare(bench, |doubles| doubles.learn(Ok(()))).await;
    })
    .await;
}
