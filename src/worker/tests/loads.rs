//! Loads: pages are read ahead, and each load gets an end.

use std::sync::Arc;

use super::*;
use crate::core::delivery::page::{LoadMessage, LoadRequest, Page, ReadFailure};
use crate::core::ids::{Db, LoadId};
use crate::core::registration::{Namespace, Registration};
use crate::worker::doubles::Behaviour;

fn begin(load: u64) -> LoadMessage {
    let namespace = Namespace { database: "shop".to_owned(), collection: "good".to_owned() };
    LoadMessage::Begin(LoadRequest {
        load: LoadId(load),
        registration: Arc::new(Registration::new(Db(0), b"k:", namespace)),
        filter: Vec::new(),
        sort: Vec::new(),
        limit: 0,
        after: Vec::new(),
        keys_only: false,
    })
}

fn page(documents: u64, is_last: bool) -> Page {
    Page { documents, is_last, ..Page::default() }
}

fn world(
    behaviour: Behaviour,
    pages: impl IntoIterator<Item = Result<Page, ReadFailure>>,
) -> Doubles {
    let doubles = Doubles::new(behaviour);
    doubles.world().pages.extend(pages);
    doubles
}

/// The loads reported so far, each with the documents of its page, or an error.
fn results(bench: &mut Bench) -> Vec<(u64, Result<u64, ReadFailure>)> {
    let pages = bench.seen.extract_if(.., |report| matches!(report, Report::Page { .. }));
    pages
        .map(|report| match report {
            Report::Page { load, result } => (load.0, result.map(|page| page.documents)),
            _ => unreachable!(),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn two_pages_are_read_ahead_and_one_more_for_each_that_is_stored() {
    let pages = (1..=4).map(|number| Ok(page(number, number == 4)));
    Bench::run(world(Behaviour::Accept, pages), options("a", 2), async |bench| {
        bench.pass(1).await;
        bench.worker.load(begin(7));
        bench.pass(10).await;
        assert_eq!(results(bench), [(7, Ok(1)), (7, Ok(2))]);
        bench.worker.load(LoadMessage::More(LoadId(7)));
        bench.pass(10).await;
        assert_eq!(results(bench), [(7, Ok(3))]);
        for _ in 0..3 {
            bench.worker.load(LoadMessage::More(LoadId(7)));
        }
        bench.pass(10).await;
        assert_eq!(results(bench), [(7, Ok(4))], "it was the last");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_load_that_was_ended_is_read_no_more() {
    let pages = (1..=4).map(|number| Ok(page(number, false)));
    Bench::run(world(Behaviour::Accept, pages), options("a", 2), async |bench| {
        bench.pass(1).await;
        bench.worker.load(begin(7));
        bench.pass(10).await;
        assert_eq!(results(bench).len(), 2);
        bench.worker.load(LoadMessage::End(LoadId(7)));
        bench.worker.load(LoadMessage::More(LoadId(7)));
        bench.pass(10).await;
        assert_eq!(results(bench), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_the_reading_and_is_reported_once() {
    let failure = ReadFailure::transient("away");
    let pages = [Ok(page(1, false)), Err(failure.clone()), Ok(page(3, false))];
    Bench::run(world(Behaviour::Accept, pages), options("a", 2), async |bench| {
        bench.pass(1).await;
        bench.worker.load(begin(7));
        bench.worker.load(LoadMessage::More(LoadId(7)));
        bench.pass(10).await;
        assert_eq!(results(bench), [(7, Ok(1)), (7, Err(failure.clone()))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_load_without_a_link_and_one_that_panics_get_an_end_too() {
    let idle = WorkerOptions { keeps_link: false, ..options("a", 2) };
    Bench::run(Doubles::default(), idle, async |bench| {
        bench.worker.load(begin(7));
        bench.pass(10).await;
        assert_eq!(results(bench), [(7, Err(ReadFailure::transient("MongoDB is not reached")))]);
    })
    .await;
    Bench::run(world(Behaviour::Panic, []), options("a", 2), async |bench| {
        bench.pass(1).await;
        bench.worker.load(begin(7));
        bench.pass(10).await;
        let results = results(bench);
        let [(7, Err(failure))] = results.as_slice() else { panic!("{results:?}") };
        assert!(failure.is_permanent && failure.error.contains("bug"), "{failure:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_load_from_a_former_deployment_ends() {
    let pages = (1..=9).map(|number| Ok(page(number, false)));
    Bench::run(world(Behaviour::Accept, pages), options("a", 2), async |bench| {
        bench.pass(1).await;
        bench.worker.load(begin(7));
        bench.pass(10).await;
        results(bench);
        bench.worker.configure(options("b", 2));
        bench.pass(10).await;
        assert_eq!(results(bench), [(7, Err(ReadFailure::transient("MongoDB is not reached")))]);
        bench.worker.load(LoadMessage::More(LoadId(7)));
        bench.pass(10).await;
        assert_eq!(results(bench), []);
    })
    .await;
}
