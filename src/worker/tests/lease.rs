//! The lease: what is queued is not written by a server that does not hold it.

use super::*;
use crate::core::delivery::lease::{Claim, Holder, LeaseState};
use crate::core::registration::Namespace;
use crate::sink::LinkError;
use crate::worker::doubles::{Behaviour, batch};

const HELD: LeaseState = LeaseState::Held { epoch: 1, holder: [1; 16] };

fn claiming() -> WorkerOptions {
    let namespace = Namespace { database: "d".to_owned(), collection: "leases".to_owned() };
    let claim = Claim {
        shard: [7; 16],
        epoch: 0,
        last_holder: [0; 16],
        promoted: false,
        namespace,
        holder: Holder::default(),
    };
    WorkerOptions { claim: Some(claim), ..options("a", 2) }
}

fn holding(behaviour: Behaviour) -> Doubles {
    let doubles = Doubles::new(behaviour);
    doubles.world().lease = HELD;
    doubles
}

#[tokio::test(start_paused = true)]
async fn what_a_former_master_has_queued_is_returned() {
    Bench::run(holding(Behaviour::HoldResponse), claiming(), async |bench| {
        bench.pass(10).await;
        for key in ["k1", "k2", "k3"] {
            bench.send(batch("good", &[key], 0));
        }
        bench.pass(10).await;
        let written = bench.doubles.world().written.len();
        let replica = WorkerOptions { claim: None, keeps_link: false, ..claiming() };
        bench.worker.configure(replica);
        bench.send(batch("good", &["k4"], 0));
        bench.pass(100).await;
        let returned = bench.verdicts();
        let returned = returned.iter().filter(|(_, v)| matches!(v, Verdict::Returned { .. }));
        assert_eq!(returned.count(), 4 - written);
        assert_eq!(bench.doubles.world().written.len(), written);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_the_link_is_up() {
    Bench::run(holding(Behaviour::Accept), claiming(), async |bench| {
        bench.pass(10).await;
        let pings = bench.doubles.world().pings;
        bench.pass(16_000).await;
        assert_eq!(bench.doubles.world().pings, pings + 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_batch_does_not_end_the_wait_for_the_lease() {
    Bench::run(holding(Behaviour::RespondSlowly(7_000)), claiming(), async |bench| {
        bench.pass(10).await;
        bench.send(batch("good", &["k1"], 0));
        bench.pass(10).await;
        {
            let mut world = bench.doubles.world();
            world.lease = LeaseState::Waiting;
            world.waits =
                Some(LinkError { waits: true, ..LinkError::transient("another one holds it") });
        }
        bench.links();
        // The lease is lost after five seconds, and the batch is answered two seconds later.
        bench.pass(8_000).await;
        assert_eq!(bench.links(), [down("another one holds it")]);
        bench.send(batch("good", &["k2"], 0));
        bench.pass(20_000).await;
        assert_eq!(bench.doubles.written(), ["k1".to_owned()].into());
        assert_eq!(bench.links(), []);
        {
            let mut world = bench.doubles.world();
            (world.lease, world.waits) = (HELD, None);
        }
        bench.pass(1_100).await;
        assert_eq!(bench.links(), [Link::Up]);
    })
    .await;
}
