//! Sinks that misbehave on purpose, and the little world they live in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::core::delivery::batch::{Batch, Item, Refusal, SessionId, Written};
use crate::core::delivery::deployment::{Checkup, Need};
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::registration::{Namespace, Registration};
use crate::sink::{Connector, Failure, LinkError, Sink};

/// How a double treats the batches it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Writes and answers at once.
    #[default]
    Accept,
    /// Refuses the first item of each batch for good.
    Reject,
    /// Writes, and then the link breaks before the answer.
    FailAfterWrite,
    /// Writes, and never answers.
    HoldResponse,
    /// Writes, and answers after so many milliseconds.
    RespondSlowly(u64),
    /// Refuses the namespace `shop.bad`.
    RefuseBadNamespace,
    /// Takes so many milliseconds for a batch of the namespace `shop.bad`, and then writes none of
    /// it.
    HangBadNamespace(u64),
    /// Panics while writing.
    Panic,
    /// Panics while building.
    PanicInBuild,
}

/// What all doubles of one test share.
#[derive(Debug, Default)]
pub struct World {
    pub behaviour: Behaviour,
    /// `Some` while no server can be reached.
    pub away: Option<String>,
    pub hang_in_ping: bool,
    /// What the sink learns by itself.
    pub news: Option<Result<(), LinkError>>,
    /// Whether what is given up can never be applied late.
    pub fenced: bool,
    pub sessions: Vec<SessionId>,
    /// What the last connect was told of earlier sessions.
    pub former: Vec<SessionId>,
    /// Keys in the order they were written, with the URI they were written to.
    pub written: Vec<(String, String)>,
    pub built: usize,
    pub on_wire: usize,
    pub most_on_wire: usize,
    pub connects: usize,
    pub pings: usize,
    pub closed: Vec<String>,
}

/// Makes [`Double`]s that share one [`World`].
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

    /// The sink learns this by itself.
    pub fn learn(&self, news: Result<(), LinkError>) {
        self.world().news = Some(news);
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

/// A sink that behaves as its world says.
#[derive(Debug)]
pub struct Double {
    uri: String,
    doubles: Doubles,
}

/// Counts a batch on the wire, also when its future is dropped.
struct OnWire<'d>(&'d Doubles);

impl<'d> OnWire<'d> {
    fn new(doubles: &'d Doubles) -> Self {
        let mut world = doubles.world();
        world.on_wire += 1;
        world.most_on_wire = world.most_on_wire.max(world.on_wire);
        OnWire(doubles)
    }
}

impl Drop for OnWire<'_> {
    fn drop(&mut self) {
        self.0.world().on_wire -= 1;
    }
}

impl Sink for Double {
    type Commands = String;

    fn build(&self, _batch: &Batch) -> String {
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
        let _on_wire = OnWire::new(&self.doubles);
        let away = self.doubles.world().away.clone();
        if let Some(error) = away {
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

    fn places(&self) -> usize {
        usize::MAX
    }

    async fn ping(&self) -> Result<(), LinkError> {
        let hang = {
            let mut world = self.doubles.world();
            world.pings += 1;
            world.hang_in_ping
        };
        if hang {
            std::future::pending().await
        }
        self.doubles.world().away.clone().map_or(Ok(()), |error| Err(LinkError::transient(error)))
    }

    async fn has_news(&self) {
        self.doubles.1.notified().await;
    }

    fn news(&self) -> Option<Result<(), LinkError>> {
        self.doubles.world().news.take()
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.doubles.world().sessions.clone()
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
        items,
        bytes,
    }
}
