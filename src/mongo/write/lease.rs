//! The lease of a shard as a document in MongoDB: taking, renewing and giving it back, and fencing off
//! what earlier holders have sent.
//!
//! All holders write in the same sessions, the *lanes*, whose ids follow from the shard's. A txnNumber
//! begins with the epoch, and MongoDB refuses a command whose number is below the last one of its
//! session. So a server that takes the lease writes once in each lane: after that no command of an earlier
//! epoch can be applied, whether it was sent before or is sent later. A number is kept over a restart of
//! MongoDB only if something was written under it, so it is a field of the lease itself.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use mongodb::bson::{Bson, DateTime, Document, Uuid, doc};
use mongodb::error::ErrorKind;
use mongodb::{Client, ClientSession};
use tokio::time::{Instant, timeout};

use super::lease_document::{self, number, read};
use super::lease_messages::{refused, waiting};
use super::numbers;
use crate::core::delivery::batch::SessionId;
use crate::core::delivery::lease::{Claim, Lease, LeaseState, Step, hex, session_id};
use crate::mongo::codes::{DUPLICATE_KEY, Meaning, meaning};
use crate::mongo::error::{broken, coded, failure_by};
use crate::sink::{Failure, LinkError};

/// The number of lanes at first.
const LANES: u32 = 8;
/// Time limit of each command, milliseconds.
const WITHIN_MS: i64 = 3_000;
/// Time for the network in addition.
const SLACK: Duration = Duration::from_secs(2);
/// How often another server may take the lease in between before this one waits.
const TRIES: u32 = 3;
/// MongoDB forgets a session, and the number in it, when it was not used for half an hour. So all lanes are
/// refreshed once in so many renewals.
const REFRESH_EVERY: u32 = 60;

/// The lease as this server has taken it.
#[derive(Clone, Debug)]
struct Held {
    claim: Claim,
    epoch: u64,
    /// Number of lanes that the next holder will fence off.
    lanes: u32,
}

/// Takes and renews the lease of one deployment.
#[derive(Debug)]
pub struct LeaseKeeper {
    client: Client,
    state: RefCell<LeaseState>,
    held: RefCell<Option<Held>>,
    /// The lease of another server, and since when it is as it is.
    seen: RefCell<Option<(Lease, Instant)>>,
    renewals: Cell<u32>,
}

/// Why the lease is not held.
#[derive(Debug)]
enum Unheld {
    /// MongoDB cannot be used, or another server holds it.
    Link(LinkError),
    /// MongoDB refuses to keep it.
    Refused(String),
}

impl From<LinkError> for Unheld {
    fn from(error: LinkError) -> Self {
        Unheld::Link(error)
    }
}

impl LeaseKeeper {
    /// No lease is held yet.
    pub fn new(client: Client) -> Self {
        LeaseKeeper {
            client,
            state: RefCell::default(),
            held: RefCell::default(),
            seen: RefCell::default(),
            renewals: Cell::new(0),
        }
    }

    /// What is known of the lease.
    pub fn state(&self) -> LeaseState {
        self.state.borrow().clone()
    }

    /// Takes the lease, or renews it.
    ///
    /// # Errors
    /// When MongoDB cannot be used, or another server holds the lease. It is no error if MongoDB refuses
    /// to keep it: see [`state`](Self::state).
    pub async fn keep(&self, claim: &Claim) -> Result<(), LinkError> {
        match self.try_keep(claim).await {
            Ok(epoch) => {
                self.seen.take();
                self.state.replace(LeaseState::Held { epoch, holder: claim.holder.id });
                Ok(())
            }
            Err(Unheld::Link(error)) => {
                if error.waits {
                    self.state.replace(LeaseState::Waiting);
                } else {
                    // The holder may be unable to renew it, too.
                    self.seen.take();
                }
                Err(error)
            }
            Err(Unheld::Refused(why)) => {
                self.held.take();
                self.state.replace(LeaseState::Refused { error: refused(claim, &why) });
                Ok(())
            }
        }
    }

    async fn try_keep(&self, claim: &Claim) -> Result<u64, Unheld> {
        if *self.state.borrow() == LeaseState::None {
            self.state.replace(LeaseState::Waiting);
        }
        let held = self.held.borrow().clone();
        if let Some(held) = held {
            if self.renew(&held).await? {
                return Ok(held.epoch);
            }
            self.held.take();
        }
        for _ in 0..TRIES {
            let lease = self.find(claim).await?;
            let epoch = match claim.step(lease.as_ref(), self.silent(lease.as_ref())) {
                // Above the numbers that this process has used for other data, too.
                Step::Take(epoch) => epoch.max(numbers::epoch() + 1),
                Step::Wait => break,
            };
            let lanes = lease.as_ref().map_or(0, |lease| lease.lanes).max(LANES);
            let taken = Held { claim: claim.clone(), epoch, lanes };
            if !self.put(&taken, lease.as_ref()).await? {
                continue;
            }
            numbers::begin_epoch(epoch);
            if lease.is_some_and(|lease| !lease.released) {
                self.end_commands(&taken).await?;
            }
            if self.fence_lanes(&taken, 0..lanes).await? {
                self.held.replace(Some(taken));
                return Ok(epoch);
            }
        }
        let address = self.seen.borrow().as_ref().map(|(lease, _)| lease.holder.address.clone());
        Err(Unheld::Link(waiting(&address.unwrap_or_default())))
    }

    /// For how long the lease of another server has not changed.
    fn silent(&self, lease: Option<&Lease>) -> Duration {
        let mut seen = self.seen.borrow_mut();
        match (&*seen, lease) {
            (Some((last, since)), Some(lease)) if last == lease => since.elapsed(),
            (_, lease) => {
                *seen = lease.map(|lease| (lease.clone(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    async fn find(&self, claim: &Claim) -> Result<Option<Lease>, Unheld> {
        let command = doc! {
            "find": &claim.namespace.collection, "filter": { "_id": hex(&claim.shard) },
            "limit": 1, "singleBatch": true, "maxTimeMS": WITHIN_MS,
        };
        let reply = self.run(claim, command, None).await?;
        let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let found = batch.ok().and_then(|batch| batch.first()).and_then(Bson::as_document);
        Ok(found.map(read))
    }

    /// Writes the lease if it is still as `before`. False if it is not.
    async fn put(&self, taken: &Held, before: Option<&Lease>) -> Result<bool, Unheld> {
        let Claim { holder, namespace, shard, .. } = &taken.claim;
        let lease = lease_document::taken(holder, taken.epoch, taken.lanes);
        let command = match before {
            Some(before) => doc! { "update": &namespace.collection, "updates": [{
                "q": {
                    "_id": hex(shard), "epoch": number(before.epoch),
                    "holder": hex(&before.holder.id),
                },
                "u": { "$set": lease, "$currentDate": { "renewed": true, "taken": true } },
            }] },
            None => {
                let mut document = doc! { "_id": hex(shard) };
                document.extend(lease);
                document.insert("renewed", DateTime::now());
                document.insert("taken", DateTime::now());
                doc! { "insert": &namespace.collection, "documents": [document] }
            }
        };
        self.write(&taken.claim, command, "majority".into(), None).await
    }

    /// Interrupts commands of earlier holders that are being executed: a lane takes one command at a time.
    /// If the server refuses, they end by their own time limits.
    async fn end_commands(&self, taken: &Held) -> Result<(), Unheld> {
        let command = doc! { "killSessions": ids(taken), "maxTimeMS": WITHIN_MS };
        self.run_on("admin", command, None).await.map(drop).or_else(|unheld| match unheld {
            Unheld::Refused(_) => Ok(()),
            link => Err(link),
        })
    }

    /// Writes once in each of these lanes. False if the lease was taken meanwhile.
    async fn fence_lanes(&self, taken: &Held, lanes: std::ops::Range<u32>) -> Result<bool, Unheld> {
        let last = lanes.end.saturating_sub(1);
        for lane in lanes {
            let id = session_id(taken.claim.shard, lane);
            let mut session = self.client.start_session_with_id(id).await;
            let number = numbers::next_number();
            let mut command = update(taken, doc! { "$set": { "fence": number } });
            command.insert("txnNumber", number);
            // The last acknowledgement includes those before it.
            let w = if lane == last { Bson::from("majority") } else { Bson::from(1) };
            if !self.write(&taken.claim, command, w, Some(&mut session)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False if the lease was taken meanwhile.
    async fn renew(&self, held: &Held) -> Result<bool, Unheld> {
        let command = update(held, doc! { "$currentDate": { "renewed": true } });
        let renewed = self.write(&held.claim, command, 1.into(), None).await?;
        self.renewals.set(self.renewals.get().wrapping_add(1));
        if renewed && self.renewals.get().is_multiple_of(REFRESH_EVERY) {
            let command = doc! { "refreshSessions": ids(held), "maxTimeMS": WITHIN_MS };
            // Without it the sessions end later.
            let _ = self.run_on("admin", command, None).await;
        }
        Ok(renewed)
    }

    /// True while this server holds the lease, as far as it knows.
    pub fn is_held(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// False if this server must hold the lease to write, and does not.
    pub fn permits_writes(&self) -> bool {
        self.is_held()
            || matches!(*self.state.borrow(), LeaseState::None | LeaseState::Refused { .. })
    }

    /// A session for this lane.
    ///
    /// # Errors
    /// When MongoDB cannot be used, or the lease is not held any more.
    pub async fn lane(&self, lane: u32) -> Result<ClientSession, Failure> {
        let held = self.held.borrow().clone();
        let held = held.ok_or_else(|| Failure::Link(waiting("")))?;
        if lane >= held.lanes {
            self.add_lanes(&held).await?;
        }
        let id = session_id(held.claim.shard, lane);
        Ok(self.client.start_session_with_id(id).await)
    }

    /// Doubles the number of lanes, before the new ones are used.
    async fn add_lanes(&self, held: &Held) -> Result<(), Failure> {
        let more = Held { lanes: held.lanes.saturating_mul(2), ..held.clone() };
        let command = update(held, doc! { "$max": { "lanes": more.lanes } });
        match self.write(&held.claim, command, "majority".into(), None).await {
            Ok(true) => {
                // It may be another lease by now.
                let mut now = self.held.borrow_mut();
                if let Some(now) = now.as_mut().filter(|now| now.epoch == held.epoch) {
                    now.lanes = now.lanes.max(more.lanes);
                }
                Ok(())
            }
            Ok(false) => Err(Failure::Link(waiting(""))),
            Err(Unheld::Link(error)) => Err(Failure::Link(error)),
            Err(Unheld::Refused(why)) => {
                Err(Failure::Link(LinkError::transient(refused(&held.claim, &why))))
            }
        }
    }

    /// Gives the lease back, so that another server need not wait.
    pub async fn release(&self) {
        let Some(held) = self.held.take() else { return };
        let command = update(&held, doc! { "$set": { "released": true } });
        // Without it, another server waits for silence.
        let _ = self.write(&held.claim, command, 1.into(), None).await;
    }

    /// True if the write matched the lease, or created it.
    async fn write(
        &self,
        claim: &Claim,
        mut command: Document,
        w: Bson,
        session: Option<&mut ClientSession>,
    ) -> Result<bool, Unheld> {
        command.insert("writeConcern", doc! { "w": w, "wtimeout": WITHIN_MS });
        command.insert("maxTimeMS", WITHIN_MS);
        let reply = self.run(claim, command, session).await?;
        let failed = |error: &Document| error.get_i32("code").unwrap_or(0);
        if let Ok(error) = reply.get_document("writeConcernError") {
            return Err(unheld(failed(error)));
        }
        let errors = reply.get_array("writeErrors").ok();
        if let Some(error) = errors.and_then(|errors| errors.first()).and_then(Bson::as_document) {
            let code = failed(error);
            return if code == DUPLICATE_KEY { Ok(false) } else { Err(unheld(code)) };
        }
        Ok(reply.get_i32("n").ok() == Some(1))
    }

    async fn run(
        &self,
        claim: &Claim,
        command: Document,
        session: Option<&mut ClientSession>,
    ) -> Result<Document, Unheld> {
        self.run_on(&claim.namespace.database, command, session).await
    }

    async fn run_on(
        &self,
        database: &str,
        command: Document,
        session: Option<&mut ClientSession>,
    ) -> Result<Document, Unheld> {
        let database = self.client.database(database);
        let run = database.run_command(command);
        let run = match session {
            Some(session) => run.session(session),
            None => run,
        };
        let within = Duration::from_millis(WITHIN_MS.unsigned_abs()) + SLACK;
        match timeout(within, run).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(match &*error.kind {
                ErrorKind::Command(error) => unheld(error.code),
                _ => Unheld::Link(broken(&error)),
            }),
            Err(_) => {
                Err(Unheld::Link(LinkError::transient("MongoDB does not answer for the lease")))
            }
        }
    }
}

/// A command that updates the lease if it is still held.
fn update(held: &Held, change: Document) -> Document {
    let Claim { holder, namespace, shard, .. } = &held.claim;
    let filter = doc! { "_id": hex(shard), "epoch": number(held.epoch), "holder": hex(&holder.id) };
    doc! { "update": &namespace.collection, "updates": [{ "q": filter, "u": change }] }
}

fn ids(held: &Held) -> Vec<Document> {
    let ids = (0..held.lanes).map(|lane| session_id(held.claim.shard, lane));
    ids.map(|id: SessionId| doc! { "id": Uuid::from_bytes(id) }).collect()
}

fn unheld(code: i32) -> Unheld {
    if let Some(Failure::Link(error) | Failure::Part(error)) = failure_by(code) {
        return Unheld::Link(error);
    }
    match meaning(code) {
        Meaning::Namespace(_) | Meaning::Refused(_) | Meaning::Collection(_) => {
            Unheld::Refused(coded("MongoDB refuses it", code))
        }
        // Too slow, interrupted, in conflict: whether the lease is held is not known.
        _ => Unheld::Link(LinkError::transient(coded(
            "MongoDB does not take the lease at the moment",
            code,
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_right_to_write_is_no_failure_of_the_link() {
        assert!(matches!(unheld(13), Unheld::Refused(_)));
        for code in [10_107, 50, 112, 11_601, 91, 999_999] {
            assert!(matches!(unheld(code), Unheld::Link(_)), "{code}");
        }
    }
}
