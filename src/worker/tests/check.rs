//! Checks: each one gets a result.

use super::*;
use crate::core::delivery::deployment::Checkup;
use crate::worker::CheckRequest;
use crate::worker::doubles::Behaviour;

fn request(id: u64, uri: &str) -> CheckRequest {
    CheckRequest { id, uri: UriSource::Text(uri.to_owned()), registrations: Vec::new() }
}

/// The results reported so far.
fn results(bench: &mut Bench) -> Vec<(u64, Checkup)> {
    let checked = bench.seen.extract_if(.., |report| matches!(report, Report::Checked { .. }));
    checked
        .map(|report| match report {
            Report::Checked { id, found } => (id, *found),
            _ => unreachable!(),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_check_connects_to_its_own_deployment_and_leaves_the_link_unchanged() {
    let idle = WorkerOptions { keeps_link: false, ..options("a", 2) };
    Bench::run(Doubles::default(), idle, async |bench| {
        bench.pass(0).await;
        assert!(bench.worker.check(request(7, "b")));
        bench.pass(1).await;
        let checked = results(bench);
        let [(7, Checkup { server, error, .. })] = checked.as_slice() else {
            panic!("{checked:?}")
        };
        assert_eq!((server.as_str(), error.as_str()), ("b", ""));
        assert_eq!(bench.links(), []);
        assert_eq!(bench.doubles.world().connects, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_gets_a_result_too() {
    for (behaviour, words) in
        [(Behaviour::HoldResponse, "does not answer"), (Behaviour::Panic, "bug")]
    {
        Bench::run(Doubles::new(behaviour), options("a", 2), async |bench| {
            bench.pass(0).await;
            bench.worker.check(request(1, "b"));
            bench.pass(21_000).await;
            let checked = results(bench);
            let [(1, Checkup { error, .. })] = checked.as_slice() else { panic!("{checked:?}") };
            assert!(error.contains(words), "{error}");
        })
        .await;
    }
}
