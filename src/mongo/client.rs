//! The driver's client: its options, and the timeouts that bound every call.
//!
//! Facts about the driver (mongodb 3.9.1) as measured: `socketTimeoutMS` is ignored, raw commands
//! inherit no write concern and are never retried, and a frozen server is detected after
//! `heartbeatFrequencyMS` + `connectTimeoutMS`.

use std::num::NonZeroU8;
use std::time::Duration;

use mongodb::Client;
use mongodb::options::{Acknowledgment, ClientOptions, ConnectionString, Tls};
use tokio::time::timeout;

use super::error;
use super::monitor::ServerWatch;
use super::uri;
use super::write_concern::{AcknowledgedBy, WriteConcern};
use crate::core::settings::MAX_IN_FLIGHT_BATCHES;
use crate::file;
use crate::sink::LinkError;

/// Default of `maxPoolSize`, connections to a server: one for each batch that can be in flight, as
/// many for batches of slow namespaces, and a few more. They are opened on demand.
const MAX_POOL_SIZE: u32 = 2 * MAX_IN_FLIGHT_BATCHES.max as u32 + 4;
/// Time limit for the DNS lookup of a `mongodb+srv` name.
const DNS_WITHIN: Duration = Duration::from_secs(5);
/// Time limit for reading a certificate file, and its maximum size, bytes.
const FILE_WITHIN: Duration = Duration::from_secs(2);
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Defaults of options that a connection string does not set.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEARTBEAT_FREQUENCY: Duration = Duration::from_secs(1);

/// A client, its write concern, and the state of its servers.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The client. Creating it contacts no server.
    pub client: Client,
    /// The write concern of each command.
    pub write_concern: WriteConcern,
    /// The state of the servers as the driver's monitors report it.
    pub watch: ServerWatch,
    /// Maximum number of connections to a server.
    pub connections: u32,
}

/// Creates a client for `uri`. Resolves `mongodb+srv` names.
///
/// # Errors
/// Without the URI: it is malformed, its name has no record, or a certificate file cannot be read.
pub async fn connect(uri: &str) -> Result<Connected, LinkError> {
    let parsed = uri::parse(uri).map_err(LinkError::permanent)?;
    let write_concern = write_concern(&parsed);
    let mut options = timeout(DNS_WITHIN, ClientOptions::parse(parsed))
        .await
        .map_err(|_| {
            LinkError::transient("the name server does not answer for the mongodb+srv name")
        })?
        .map_err(|error| error::broken(&error))?;
    set_defaults(&mut options);
    check_files(&options).await?;
    let watch = ServerWatch::new(options.hosts.iter().map(ToString::to_string).collect());
    options.sdam_event_handler = Some(watch.handler());
    // 0 means no limit.
    let connections = options.max_pool_size.filter(|max| *max > 0).unwrap_or(u32::MAX);
    let client = Client::with_options(options).map_err(|error| error::broken(&error))?;
    Ok(Connected { client, write_concern, watch, connections })
}

/// Checks that the TLS files can be read. The driver reads them on this thread, and its error does
/// not name the file.
async fn check_files(options: &ClientOptions) -> Result<(), LinkError> {
    let Some(Tls::Enabled(tls)) = &options.tls else { return Ok(()) };
    let named = [
        ("tlsCAFile", tls.ca_file_path.clone()),
        ("tlsCertificateKeyFile", tls.cert_key_file_path.clone()),
    ];
    for (option, path) in named {
        let Some(path) = path else { continue };
        let reading = tokio::task::spawn_blocking(move || file::read(&path, MAX_FILE_BYTES));
        let why = match timeout(FILE_WITHIN, reading).await {
            Ok(Ok(Ok(_))) => continue,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) | Err(_) => "the file system does not answer".to_owned(),
        };
        return Err(LinkError::permanent(format!(
            "the TLS file that the connection string's option {option} names cannot be read: {why}"
        )));
    }
    Ok(())
}

fn set_defaults(options: &mut ClientOptions) {
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT_FREQUENCY);
    options.max_pool_size.get_or_insert(MAX_POOL_SIZE);
    options.app_name.get_or_insert_with(|| "writebehind".to_owned());
}

/// The connection string's write concern; `majority` where it sets none.
fn write_concern(parsed: &ConnectionString) -> WriteConcern {
    let given = parsed.write_concern.as_ref();
    let w = match given.and_then(|given| given.w.as_ref()) {
        Some(Acknowledgment::Nodes(count)) => u8::try_from(*count)
            .ok()
            .and_then(NonZeroU8::new)
            .map_or(AcknowledgedBy::Majority, AcknowledgedBy::Members),
        Some(Acknowledgment::Custom(tag)) => AcknowledgedBy::Tag(tag.clone()),
        _ => AcknowledgedBy::Majority,
    };
    let given_ms = given
        .and_then(|given| given.w_timeout)
        .map(|limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX))
        .filter(|limit_ms| *limit_ms > 0);
    WriteConcern {
        w,
        journal: given.and_then(|given| given.journal).unwrap_or(false),
        timeout_ms: given_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern(options: &str) -> WriteConcern {
        write_concern(&ConnectionString::parse(format!("mongodb://h/?{options}")).unwrap())
    }

    #[test]
    fn the_default_write_concern_is_majority() {
        let expected =
            WriteConcern { w: AcknowledgedBy::Majority, journal: false, timeout_ms: None };
        assert_eq!(concern("retryWrites=true"), expected);
        assert_eq!(concern("w=majority&journal=false"), expected);
        assert_eq!(concern("wtimeoutMS=0"), expected);
    }

    #[test]
    fn the_write_concern_of_the_connection_string_is_kept() {
        let two = AcknowledgedBy::Members(NonZeroU8::new(2).unwrap());
        assert_eq!(
            concern("w=2&journal=true&wtimeoutMS=500"),
            WriteConcern { w: two, journal: true, timeout_ms: Some(500) }
        );
        assert_eq!(concern("w=twoRegions").w, AcknowledgedBy::Tag("twoRegions".to_owned()));
    }

    #[tokio::test]
    async fn options_that_the_connection_string_does_not_set_get_bounded_defaults() {
        let mut options = ClientOptions::parse("mongodb://h/?maxPoolSize=7").await.unwrap();
        set_defaults(&mut options);
        assert_eq!(options.max_pool_size, Some(7));
        assert_eq!(options.server_selection_timeout, Some(Duration::from_secs(3)));
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(2)));
        assert_eq!(options.heartbeat_freq, Some(Duration::from_secs(1)));
        let mut options = ClientOptions::parse("mongodb://h/").await.unwrap();
        set_defaults(&mut options);
        assert_eq!(options.max_pool_size, Some(132));
    }
}
