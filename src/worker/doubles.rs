//! Test doubles of sinks that misbehave on purpose, and their shared state.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::core::delivery::batch::{Batch, Item, Refusal, SessionId, Written};
use crate::core::delivery::comparison::{CompareRequest, Compared};
use crate::core::delivery::deployment::{Checkup, Need};
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::lease::{Claim, LeaseState};
use crate::core::delivery::page::{FindRequest, Found, LoadRequest, Page, ReadFailure};
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::registration::{Namespace, Registration};
use crate::core::settings::WriteForm;
use crate::sink::{Connector, Failure, GroupResults, LinkError, Sink};
use crate::source::Source;

/// How a double handles batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Writes and replies at once.
    #[default]
    Accept,
    /// Refuses the first item of each batch permanently.
    Reject,
    /// Writes, and then the link breaks before the reply.
    FailAfterWrite,
    /// Writes, and never replies.
    HoldResponse,
    /// Writes, and replies after this many milliseconds.
    RespondSlowly(u64),
    /// Refuses the namespace `shop.bad`.
    RefuseBadNamespace,
    /// Takes this many milliseconds for a batch of the namespace `shop.bad`, and then writes none
    /// of it.
    HangBadNamespace(u64),
    /// Panics while writing.
    Panic,
    /// Panics while building.
    PanicInBuild,
}

/// The state shared by all doubles of a test.
#[derive(Debug, Default)]
pub struct World {
    pub behaviour: Behaviour,
    /// The error while no server is reachable.
    pub unreachable: Option<String>,
    pub hang_in_ping: bool,
    /// The link state that the sink reports by itself.
    pub state: Option<Result<(), LinkError>>,
    /// True if an unanswered command can never be applied late.
    pub fenced: bool,
    pub sessions: Vec<SessionId>,
    pub lease: LeaseState,
    /// The error of a ping while another server holds the lease.
    pub waits: Option<LinkError>,
    /// The former sessions that were passed to the last connect.
    pub former: Vec<SessionId>,
    /// Keys in the order they were written, with the URI they were written to.
    pub written: Vec<(String, String)>,
    pub built: usize,
    pub in_flight: usize,
    pub max_in_flight: usize,
    pub connects: usize,
    pub pings: usize,
    pub closed: Vec<String>,
    /// The pages that are read; the last one after them.
    pub pages: VecDeque<Result<Page, ReadFailure>>,
}

/// Creates [`Double`]s that share one [`World`].
#[derive(Clone, Debug, Default)]
pub struct Doubles(Arc<Mutex<World>>, Arc<Notify>);

impl Doubles {
    pub fn new(behaviour: Behaviour) -> Self {
        let doubles = Doubles::default();
        doubles.world().behaviour = behaviour;
        doubles
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets the link state that the sink reports by itself.
    pub fn learn(&self, state: Result<(), LinkError>) {
        self.world().state = Some(state);
        self.1.notify_one();
    }

    pub fn written(&self) -> BTreeSet<String> {
        self.world().written.iter().map(|(_, key)| key.clone()).collect()
    }
}

impl Connector for Doubles {
    type Sink = Double;

    async fn connect(&self, uri: &str, former: Vec<SessionId>) -> Result<Double, LinkError> {
        self.world().former = former;
        self.world().connects += 1;
        Ok(Double { uri: uri.to_owned(), doubles: self.clone() })
    }

    async fn check(&self, uri: &str, _: &[Need]) -> Checkup {
        assert_ne!(self.world().behaviour, Behaviour::Panic, "asked to panic");
        if self.world().behaviour == Behaviour::HoldResponse {
            std::future::pending().await
        }
        Checkup { server: uri.to_owned(), ..Checkup::default() }
    }
}

/// A sink that behaves as set in its world.
#[derive(Debug)]
pub struct Double {
    uri: String,
    doubles: Doubles,
}

/// Counts a batch in flight, until its future is dropped.
struct InFlight<'d>(&'d Doubles);

impl<'d> InFlight<'d> {
    fn new(doubles: &'d Doubles) -> Self {
        let mut world = doubles.world();
        world.in_flight += 1;
        world.max_in_flight = world.max_in_flight.max(world.in_flight);
        InFlight(doubles)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.world().in_flight -= 1;
    }
}

impl Sink for Double {
    type Commands = String;

    fn build(&self, _batch: &Batch, _form: WriteForm) -> String {
        let mut world = self.doubles.world();
        world.built += 1;
        assert_ne!(world.behaviour, Behaviour::PanicInBuild, "asked to panic");
        self.uri.clone()
    }

    async fn write(
        &self,
        batch: &Batch,
        commands: String,
        _: Duration,
    ) -> Result<Written, Failure> {
        assert_eq!(commands, self.uri, "commands must be built by the sink that sends them");
        let _in_flight = InFlight::new(&self.doubles);
        let unreachable = self.doubles.world().unreachable.clone();
        if let Some(error) = unreachable {
            return Err(Failure::Link(LinkError::transient(error)));
        }
        let behaviour = self.doubles.world().behaviour;
        if behaviour == Behaviour::RefuseBadNamespace
            && batch.registration.namespace.collection == "bad"
        {
            return Err(Failure::Namespace("shop.bad refuses".to_owned()));
        }
        if let Behaviour::HangBadNamespace(ms) = behaviour
            && batch.registration.namespace.collection == "bad"
        {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            let returned = (0..batch.items.len()).collect();
            return Ok(Written { returned, error: "too slow".to_owned(), ..Written::default() });
        }
        assert_ne!(behaviour, Behaviour::Panic, "asked to panic");
        for item in &batch.items {
            let key = String::from_utf8_lossy(batch.key(item)).into_owned();
            self.doubles.world().written.push((self.uri.clone(), key));
        }
        let mut written = Written::default();
        match behaviour {
            Behaviour::FailAfterWrite => return Err(Failure::Link(LinkError::unanswered("cut"))),
            Behaviour::HoldResponse => std::future::pending().await,
            Behaviour::RespondSlowly(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Behaviour::Reject => {
                written.refused.push(Refusal { index: 0, code: 121, reason: "no".to_owned() });
            }
            _ => tokio::task::yield_now().await,
        }
        Ok(written)
    }

    async fn write_groups(
        &self,
        batch: &GroupBatch,
        _: WriteForm,
        within: Duration,
    ) -> GroupResults {
        let mut results = GroupResults::default();
        for part in &batch.batches {
            results.batches.push(self.write(part, self.uri.clone(), within).await);
        }
        results.counts.whole = batch.groups.len() as u64;
        results
    }

    fn max_in_flight(&self) -> usize {
        usize::MAX
    }

    async fn ping(&self, _: Option<&Claim>) -> Result<(), LinkError> {
        let hang = {
            let mut world = self.doubles.world();
            world.pings += 1;
            world.hang_in_ping
        };
        if hang {
            std::future::pending().await
        }
        if let Some(error) = self.doubles.world().waits.clone() {
            return Err(error);
        }
        self.doubles
            .world()
            .unreachable
            .clone()
            .map_or(Ok(()), |error| Err(LinkError::transient(error)))
    }

    async fn link_changed(&self) {
        self.doubles.1.notified().await;
    }

    fn link_state(&self) -> Option<Result<(), LinkError>> {
        self.doubles.world().state.take()
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.doubles.world().sessions.clone()
    }

    fn lease(&self) -> LeaseState {
        self.doubles.world().lease.clone()
    }

    fn is_fenced(&self) -> bool {
        self.doubles.world().fenced
    }

    async fn close(&self) {
        self.doubles.world().closed.push(self.uri.clone());
    }
}

/// A batch of these keys for `shop.<collection>`, dirty since `since_us`.
pub fn batch(collection: &str, keys: &[&str], since_us: u64) -> Batch {
    let namespace = Namespace { database: "shop".to_owned(), collection: collection.to_owned() };
    let mut bytes = Vec::new();
    let items = keys.iter().map(|key| {
        let start = bytes.len();
        bytes.extend_from_slice(key.as_bytes());
        let span = Span { start, end: bytes.len() };
        let (content, expire_ms) = (Content::String, NO_EXPIRY);
        Item {
            entry: EntryId(0),
            version: Version(1),
            since_us,
            key: span,
            content,
            value: span,
            expire_ms,
        }
    });
    let items = items.collect();
    Batch {
        registration: Arc::new(Registration::new(Db(0), b"", namespace)),
        registration_id: RegistrationId(0),
        epoch: 0,
        slow: false,
        retry: 0,
        groups: Vec::new(),
        items,
        bytes,
    }
}

impl Source for Double {
    type Cursor = ();

    async fn open(&self, _: &LoadRequest) -> Result<(), ReadFailure> {
        Ok(())
    }

    async fn next_page(&self, (): &mut ()) -> Result<Page, ReadFailure> {
        assert_ne!(self.doubles.world().behaviour, Behaviour::Panic, "asked to panic");
        self.doubles
            .world()
            .pages
            .pop_front()
            .unwrap_or_else(|| Ok(Page { is_last: true, ..Page::default() }))
    }

    async fn find(&self, request: &FindRequest) -> Result<Found, ReadFailure> {
        assert_ne!(self.doubles.world().behaviour, Behaviour::Panic, "asked to panic");
        let documents = request.keys.len() as u64;
        let page = Page { documents, is_last: true, ..Page::default() };
        Ok(Found { page, ..Found::default() })
    }

    async fn compare(&self, request: CompareRequest) -> Result<Compared, ReadFailure> {
        assert_ne!(self.doubles.world().behaviour, Behaviour::Panic, "asked to panic");
        Ok(Compared { request, differences: Vec::new(), uncomparable: 0 })
    }
}
