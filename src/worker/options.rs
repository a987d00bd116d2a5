//! The settings that the worker needs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::delivery::backoff::Backoff;
use crate::core::delivery::batch::SessionId;
use crate::core::delivery::lease::Claim;
use crate::core::settings::{Settings, WriteForm};

/// Where the connection string comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum UriSource {
    /// The connection string itself.
    Text(String),
    /// A file that contains it, with credentials. The worker reads it at every connect attempt, so
    /// rotated credentials are picked up.
    File(PathBuf),
}

/// Shows no connection string: a text may contain credentials when it is from the environment.
impl fmt::Debug for UriSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UriSource::Text(_) => f.write_str("Text(…)"),
            UriSource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A snapshot of the settings that the worker needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerOptions {
    /// The connection string's source.
    pub uri: UriSource,
    /// Maximum number of batches in flight, 1–64.
    pub max_in_flight: u32,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// Maximum time limit of a command.
    pub write_timeout: Duration,
    /// How documents are replaced.
    pub write_form: WriteForm,
    /// MongoDB sessions of this server's previous process, or of the previous master.
    pub former_sessions: Vec<SessionId>,
    /// True if the link is kept up between batches: on a master with a registration.
    pub keeps_link: bool,
    /// The claim to the lease, if there is one.
    pub claim: Option<Claim>,
}

impl WorkerOptions {
    /// Extracts the options from `settings`; values out of range are clamped to the nearest allowed
    /// ones.
    pub fn new(
        uri: UriSource,
        settings: &Settings,
        former_sessions: Vec<SessionId>,
        keeps_link: bool,
        claim: Option<Claim>,
    ) -> Self {
        let ms = |value: i64| u64::try_from(value).unwrap_or(0);
        let max_in_flight = settings.max_in_flight_batches.clamp(1, i64::from(MAX_IN_FLIGHT));
        WorkerOptions {
            uri,
            max_in_flight: u32::try_from(max_in_flight).unwrap_or(1),
            backoff: Backoff {
                min_ms: ms(settings.retry_backoff_min_ms),
                max_ms: ms(settings.retry_backoff_max_ms),
            },
            write_timeout: Duration::from_millis(ms(settings.write_timeout_ms)),
            write_form: settings.write_form,
            former_sessions,
            keeps_link,
            claim,
        }
    }
}

impl WorkerOptions {
    /// True if a sink for `self` cannot be used with `other`: another deployment, or other sessions.
    pub fn needs_other_sink(&self, other: &WorkerOptions) -> bool {
        let of = |options: &WorkerOptions| {
            options.claim.as_ref().map(|claim| (claim.shard, claim.namespace.clone()))
        };
        self.uri != other.uri
            || self.former_sessions != other.former_sessions
            || of(self) != of(other)
    }
}

/// Greatest value of `max-in-flight-batches`, which bounds the channel of batches.
pub const MAX_IN_FLIGHT: u32 = crate::core::settings::MAX_IN_FLIGHT_BATCHES.max as u32;
