//! Checks, which every one gets an answer.

use super::*;
use crate::core::delivery::deployment::Checkup;
use crate::worker::CheckRequest;
use crate::worker::doubles::Behaviour;

fn request(id: u64, uri: &str) -> CheckRequest {
    CheckRequest { id, uri: UriSource::Text(uri.to_owned()), registrations: Vec::new() }
}

/// The answers seen so far.
fn answers(bench: &mut Bench) -> Vec<(u64, Checkup)> {
    let checked = bench.seen.extract_if(.., |report| matches!(report, Report::Checked { .. }));
    checked
        .map(|report| match report {
            Report::Checked { id, found } => (id, *found),
            _ => unreachable!(),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_check_goes_to_its_own_place_and_leaves_the_link_alone() {
    let idle = WorkerOptions { keeps_link: false, ..options("a", 2) };
    Bench::run(Doubles::default(), idle, async |bench| {
        bench.pass(0).await;
        assert!(bench.worker.check(request(7, "b")));
        bench.pass(1).await;
        let found = answers(bench);
        let [(7, Checkup { server, error, .. })] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((server.as_str(), error.as_str()), ("b", ""));
        assert_eq!(bench.links(), []);
        assert_eq!(bench.doubles.world().connects, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_is_answered_too() {
    for (behaviour, words) in
        [(Behaviour::HoldResponse, "does not answer"), (Behaviour::Panic, "bug")]
    {
        Bench::run(Doubles::new(behaviour), options("a", 2), async |bench| {
            bench.pass(0).await;
            bench.worker.check(request(1, "b"));
            bench.pass(21_000).await;
            let found = answers(bench);
            let [(1, Checkup { error, .. })] = found.as_slice() else { panic!("{found:?}") };
            assert!(error.contains(words), "{error}");
        })
        .await;
    }
}
