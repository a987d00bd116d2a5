//! The driver's client: its options, and the limits that keep every call bounded.
//!
//! Facts about the driver (mongodb 3.9.1) as measured: `socketTimeoutMS` is ignored, raw commands
//! inherit no write concern and are never retried, and a frozen server is noticed after
//! `heartbeatFrequencyMS` + `connectTimeoutMS`.

use std::num::NonZeroU8;
use std::time::Duration;

use mongodb::Client;
use mongodb::options::{Acknowledgment, ClientOptions, ConnectionString};
use tokio::time::timeout;

use super::command::{Acknowledged, CommandOptions, WriteConcern};
use super::outcome;
use super::uri;

/// How long the server may work on one command.
const MAX_TIME_MS: u32 = 15_000;
/// How long it may wait for members unless the connection string says otherwise.
const WTIMEOUT_MS: u32 = 10_000;
/// The longest such wait a connection string can ask for.
const LONGEST_WTIMEOUT_MS: u32 = 60_000;
/// What the network and the search for a primary may take on top.
const SLACK: Duration = Duration::from_secs(5);
/// Longest look-up of a `mongodb+srv` name.
const DNS_WITHIN: Duration = Duration::from_secs(5);

/// Defaults of what a connection string leaves open.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEARTBEAT_FREQUENCY: Duration = Duration::from_secs(1);

/// A client and what goes with each of its commands.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The client. Making it contacts nobody.
    pub client: Client,
    /// Write concern and server-side limit of each command.
    pub command_options: CommandOptions,
    /// Last resort: a command that takes longer is given up.
    pub command_within: Duration,
}

/// Makes a client for `uri` with one connection for each of `max_in_flight` batches and one more
/// for pings. Looks up `mongodb+srv` names.
///
/// # Errors
/// One sentence without the URI: it is malformed, its name has no record, or a certificate file
/// cannot be read.
pub async fn connect(uri: &str, max_in_flight: u32) -> Result<Connected, String> {
    let parsed = uri::parse(uri)?;
    let command_options =
        CommandOptions { write_concern: write_concern(&parsed), max_time_ms: MAX_TIME_MS };
    let wait_ms = u64::from(MAX_TIME_MS + command_options.write_concern.timeout_ms);
    let command_within = Duration::from_millis(wait_ms) + SLACK;
    let mut options = timeout(DNS_WITHIN, ClientOptions::parse(parsed))
        .await
        .map_err(|_| "the name server does not answer for the mongodb+srv name".to_owned())?
        .map_err(|error| outcome::link_sentence(&error))?;
    fill(&mut options, max_in_flight);
    let client = Client::with_options(options).map_err(|error| outcome::link_sentence(&error))?;
    Ok(Connected { client, command_options, command_within })
}

fn fill(options: &mut ClientOptions, max_in_flight: u32) {
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT_FREQUENCY);
    options.max_pool_size.get_or_insert(max_in_flight.saturating_add(1));
    options.app_name.get_or_insert_with(|| "writebehind".to_owned());
}

/// The connection string's write concern, with `majority` and a limit where it has none.
fn write_concern(parsed: &ConnectionString) -> WriteConcern {
    let given = parsed.write_concern.as_ref();
    let w = match given.and_then(|given| given.w.as_ref()) {
        Some(Acknowledgment::Nodes(count)) => u8::try_from(*count)
            .ok()
            .and_then(NonZeroU8::new)
            .map_or(Acknowledged::Majority, Acknowledged::Members),
        Some(Acknowledgment::Custom(tag)) => Acknowledged::Tag(tag.clone()),
        _ => Acknowledged::Majority,
    };
    let given_ms = given
        .and_then(|given| given.w_timeout)
        .map(|limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX))
        .filter(|limit_ms| *limit_ms > 0);
    WriteConcern {
        w,
        journal: given.and_then(|given| given.journal).unwrap_or(false),
        timeout_ms: given_ms.unwrap_or(WTIMEOUT_MS).min(LONGEST_WTIMEOUT_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern(options: &str) -> WriteConcern {
        write_concern(&ConnectionString::parse(format!("mongodb://h/?{options}")).unwrap())
    }

    #[test]
    fn without_a_write_concern_a_majority_must_confirm_within_ten_seconds() {
        let expected =
            WriteConcern { w: Acknowledged::Majority, journal: false, timeout_ms: 10_000 };
        assert_eq!(concern("retryWrites=true"), expected);
        assert_eq!(concern("w=majority&journal=false"), expected);
        assert_eq!(concern("wtimeoutMS=0"), expected);
    }

    #[test]
    fn the_write_concern_of_the_connection_string_is_kept() {
        let two = Acknowledged::Members(NonZeroU8::new(2).unwrap());
        assert_eq!(
            concern("w=2&journal=true&wtimeoutMS=500"),
            WriteConcern { w: two, journal: true, timeout_ms: 500 }
        );
        assert_eq!(concern("w=twoRegions").w, Acknowledged::Tag("twoRegions".to_owned()));
    }

    #[test]
    fn no_wait_for_members_is_longer_than_a_minute() {
        assert_eq!(concern("wtimeoutMS=86400000").timeout_ms, 60_000);
    }

    #[tokio::test]
    async fn what_the_connection_string_leaves_open_is_bounded() {
        let mut options = ClientOptions::parse("mongodb://h/?maxPoolSize=7").await.unwrap();
        fill(&mut options, 2);
        assert_eq!(options.max_pool_size, Some(7));
        assert_eq!(options.server_selection_timeout, Some(Duration::from_secs(3)));
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(2)));
        assert_eq!(options.heartbeat_freq, Some(Duration::from_secs(1)));
        let mut options = ClientOptions::parse("mongodb://h/").await.unwrap();
        fill(&mut options, 2);
        assert_eq!(options.max_pool_size, Some(3));
    }
}
