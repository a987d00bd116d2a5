//! A connect attempt: reads the connection string, creates a sink if the connection string has
//! changed, and checks the link with a ping.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::options::{UriSource, WorkerOptions};
use crate::file;
use crate::sink::{Connector, LinkError, Sink};

/// Time limit for a connect attempt that hangs; its steps have shorter limits of their own.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Time limit for reading the file.
const FILE_WITHIN: Duration = Duration::from_secs(2);
/// Maximum size of the file, bytes; more than any connection string needs.
const MAX_BYTES: u64 = 64 << 10;

/// A sink and its connection string.
#[derive(Debug)]
pub struct Linked<S> {
    /// The sink.
    pub sink: S,
    uri: String,
}

/// The result of a connect attempt.
#[derive(Debug)]
pub struct Attempt<S> {
    /// The sink to use from now on, also when the link does not work: it continues to look for
    /// servers. `None` when none could be created.
    pub linked: Option<Rc<Linked<S>>>,
    /// Whether the link works.
    pub link: Result<(), LinkError>,
}

/// Connects to MongoDB with `last`, or with a new sink when the options have another connection
/// string.
pub async fn attempt<C: Connector>(
    connector: Rc<C>,
    last: Option<Rc<Linked<C::Sink>>>,
    options: WorkerOptions,
) -> Attempt<C::Sink> {
    let linked = match link(&*connector, last.clone(), &options).await {
        Ok(linked) => linked,
        Err(error) => {
            return Attempt { linked: None, link: Err(error) };
        }
    };
    let is_new = last.is_none_or(|last| !Rc::ptr_eq(&last, &linked));
    let link = tokio::select! {
        link = linked.sink.ping(options.claim.as_ref()) => link,
        // A ping waits for a server that accepts writes. A new sink's link state is as recent as
        // the ping, so when it has tried every server in vain there is no need to wait.
        error = no_server(&linked.sink), if is_new => Err(error),
    };
    Attempt { linked: Some(linked), link }
}

/// Renews the lease on a link that works.
pub async fn renew<S: Sink>(linked: Rc<Linked<S>>, options: WorkerOptions) -> Attempt<S> {
    let link = linked.sink.ping(options.claim.as_ref()).await;
    Attempt { linked: Some(linked), link }
}

/// Waits until the sink reports that no server accepts writes, and returns why.
async fn no_server<S: Sink>(sink: &S) -> LinkError {
    loop {
        sink.link_changed().await;
        if let Some(Err(error)) = sink.link_state() {
            return error;
        }
    }
}

async fn link<C: Connector>(
    connector: &C,
    last: Option<Rc<Linked<C::Sink>>>,
    options: &WorkerOptions,
) -> Result<Rc<Linked<C::Sink>>, LinkError> {
    let uri = uri(&options.uri).await?;
    if let Some(last) = last.filter(|last| last.uri == uri) {
        return Ok(last);
    }
    let sink = connector.connect(&uri, options.former_sessions.clone()).await?;
    Ok(Rc::new(Linked { sink, uri }))
}

/// The connection string itself.
pub async fn uri(source: &UriSource) -> Result<String, LinkError> {
    match source {
        UriSource::Text(uri) => Ok(uri.clone()),
        UriSource::File(path) => read(path.clone()).await.map_err(LinkError::transient),
    }
}

/// Reads the file on a thread of its own: a file system may hang.
async fn read(path: PathBuf) -> Result<String, String> {
    let name = path.display().to_string();
    let reading = tokio::task::spawn_blocking(move || read_uri(&path));
    let why = match timeout(FILE_WITHIN, reading).await {
        Ok(Ok(Ok(uri))) => return Ok(uri),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) | Err(_) => "the file system does not answer".to_owned(),
    };
    Err(format!("the file of mongodb-uri-file, {name}, cannot be used: {why}"))
}

/// Reads the trimmed connection string in `path`. It may hang with the file system.
fn read_uri(path: &Path) -> io::Result<String> {
    uri_in(file::read(path, MAX_BYTES)?)
}

/// The same for the server thread, which it blocks for at most `limit`.
///
/// # Errors
/// When the file cannot be read in time, is not a regular file, empty, not UTF-8, or longer than 64
/// KiB. No error repeats its content.
pub fn read_uri_within(path: &Path, limit: Duration) -> io::Result<String> {
    uri_in(file::read_within(path, MAX_BYTES, limit)?)
}

fn uri_in(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    match text.trim() {
        "" => Err(io::Error::other("it is empty")),
        uri => Ok(uri.to_owned()),
    }
}
