//! The state of the servers as the driver's monitors report it, also between commands: they send
//! `hello` to each server continuously.

use std::sync::{Arc, Mutex, PoisonError};

use mongodb::ServerType;
use mongodb::error::{Error, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::event::sdam::{SdamEvent, TopologyDescription};
use tokio::sync::Notify;

use super::error;
use super::unknown_host::unknown_host;
use crate::sink::LinkError;

/// The last state that was reported, until it is read.
#[derive(Clone, Debug)]
pub struct ServerWatch(Arc<Observed>);

#[derive(Debug)]
struct Observed {
    /// The seed addresses of the connection string.
    seeds: Vec<String>,
    state: Mutex<Option<Result<(), LinkError>>>,
    changed: Notify,
}

impl ServerWatch {
    /// A watch without a report yet.
    pub fn new(seeds: Vec<String>) -> Self {
        ServerWatch(Arc::new(Observed { seeds, state: Mutex::default(), changed: Notify::new() }))
    }

    /// Why a command failed. After a failed server selection, a host whose name cannot be resolved
    /// is named, which the error alone does not do.
    pub fn broken(&self, error: &Error) -> LinkError {
        match &*error.kind {
            ErrorKind::ServerSelection { message, .. } => self.no_server(message),
            _ => error::broken(error),
        }
    }

    fn no_server(&self, topology: &str) -> LinkError {
        match unknown_host(topology, &self.0.seeds) {
            Some(why) => LinkError::transient(format!("MongoDB cannot be used: {why}")),
            None => error::no_server(topology),
        }
    }

    /// Waits until every server was tried and none accepts writes, and returns why.
    pub async fn no_server_left(&self) -> LinkError {
        loop {
            self.link_changed().await;
            if let Some(Err(broken)) = self.link_state() {
                return broken;
            }
        }
    }

    /// The handler of the driver's events.
    pub fn handler(&self) -> EventHandler<SdamEvent> {
        let watch = self.clone();
        EventHandler::callback(move |event| {
            if let SdamEvent::TopologyDescriptionChanged(event) = event
                && let Some(state) = watch.view(&event.new_description)
            {
                watch.report(state);
            }
        })
    }

    /// Whether a server accepts writes; nothing while no server does and one is still tried for the
    /// first time.
    fn view(&self, topology: &TopologyDescription) -> Option<Result<(), LinkError>> {
        if topology.has_writable_server() {
            return Some(Ok(()));
        }
        let mut servers = topology.servers().into_values();
        let all_tried = servers
            .all(|server| server.server_type() != ServerType::Unknown || server.error().is_some());
        all_tried.then(|| Err(self.no_server(&topology.to_string())))
    }

    fn report(&self, state: Result<(), LinkError>) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        self.0.changed.notify_one();
    }

    /// Ends when the state was reported since this was last awaited.
    pub async fn link_changed(&self) {
        self.0.changed.notified().await;
    }

    /// The last reported state, once.
    pub fn link_state(&self) -> Option<Result<(), LinkError>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
