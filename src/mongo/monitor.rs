//! What the driver's monitors see of MongoDB between commands: they greet each server all the time.

use std::sync::{Arc, Mutex, PoisonError};

use mongodb::ServerType;
use mongodb::error::{Error, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::event::sdam::{SdamEvent, TopologyDescription};
use tokio::sync::Notify;

use super::error;
use super::unknown_host::unknown_host;
use crate::sink::LinkError;

/// The last thing that was seen, until it is taken.
#[derive(Clone, Debug)]
pub struct ServerWatch(Arc<Observed>);

#[derive(Debug)]
struct Observed {
    /// The addresses that the connection string names.
    seeds: Vec<String>,
    news: Mutex<Option<Result<(), LinkError>>>,
    changed: Notify,
}

impl ServerWatch {
    /// Nothing is seen yet.
    pub fn new(seeds: Vec<String>) -> Self {
        ServerWatch(Arc::new(Observed { seeds, news: Mutex::default(), changed: Notify::new() }))
    }

    /// Why a command failed, where the topology is to blame with more than the error says by itself.
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

    /// Why no server takes writes, as soon as every one was asked in vain.
    pub async fn no_server_left(&self) -> LinkError {
        loop {
            self.has_news().await;
            if let Some(Err(broken)) = self.news() {
                return broken;
            }
        }
    }

    /// Takes in the driver's events.
    pub fn handler(&self) -> EventHandler<SdamEvent> {
        let watch = self.clone();
        EventHandler::callback(move |event| {
            if let SdamEvent::TopologyDescriptionChanged(event) = event
                && let Some(news) = watch.view(&event.new_description)
            {
                watch.put(news);
            }
        })
    }

    /// Whether a server takes writes; nothing while one is asked for the first time and none does.
    fn view(&self, topology: &TopologyDescription) -> Option<Result<(), LinkError>> {
        if topology.has_writable_server() {
            return Some(Ok(()));
        }
        let mut servers = topology.servers().into_values();
        let asked = servers
            .all(|server| server.server_type() != ServerType::Unknown || server.error().is_some());
        asked.then(|| Err(self.no_server(&topology.to_string())))
    }

    fn put(&self, news: Result<(), LinkError>) {
        *self.0.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
        self.0.changed.notify_one();
    }

    /// Ends when something was seen since this was last awaited.
    pub async fn has_news(&self) {
        self.0.changed.notified().await;
    }

    /// What was seen last, once.
    pub fn news(&self) -> Option<Result<(), LinkError>> {
        self.0.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
