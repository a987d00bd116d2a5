//! A contact: reads the connection string, makes a sink when the last one does not fit any more,
//! and asks it whether the link works.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::options::{UriSource, WorkerOptions};
use crate::file;
use crate::sink::{Connector, LinkError, Sink};

/// Last resort against a contact that hangs; its steps have shorter limits of their own.
pub const CONTACT_WITHIN: Duration = Duration::from_secs(20);
/// Longest wait for the file system.
const FILE_WITHIN: Duration = Duration::from_secs(2);
/// More than any connection string has.
const MOST_BYTES: u64 = 64 << 10;

/// A sink and what it was made from.
#[derive(Debug)]
pub struct Linked<S> {
    /// The sink.
    pub sink: S,
    uri: String,
}

/// How a contact ended.
#[derive(Debug)]
pub struct Contact<S> {
    /// The sink to use from now on, also when the link does not work: it goes on looking for
    /// servers. `None` when none could be made.
    pub linked: Option<Rc<Linked<S>>>,
    /// Whether the link works.
    pub link: Result<(), LinkError>,
}

/// Contacts MongoDB through `last`, or through a new sink when the options name another.
pub async fn contact<C: Connector>(
    connector: Rc<C>,
    last: Option<Rc<Linked<C::Sink>>>,
    options: WorkerOptions,
) -> Contact<C::Sink> {
    let linked = match link(&*connector, last.clone(), &options).await {
        Ok(linked) => linked,
        Err(error) => {
            return Contact { linked: None, link: Err(error) };
        }
    };
    let is_new = last.is_none_or(|last| !Rc::ptr_eq(&last, &linked));
    let link = tokio::select! {
        link = linked.sink.ping() => link,
        // A ping waits for a server that takes writes. What a new sink learns is as new as the ping,
        // so when it has asked every server in vain there is no need to wait.
        error = no_server(&linked.sink), if is_new => Err(error),
    };
    Contact { linked: Some(linked), link }
}

/// Why no server takes writes, as soon as the sink knows.
async fn no_server<S: Sink>(sink: &S) -> LinkError {
    loop {
        sink.has_news().await;
        if let Some(Err(error)) = sink.news() {
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

/// Reads on a thread of its own: a file system may hang.
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

/// Reads the connection string that `path` holds, without the space around it. It may hang with
/// the file system.
fn read_uri(path: &Path) -> io::Result<String> {
    uri_in(file::read(path, MOST_BYTES)?)
}

/// The same for the server's thread, which it holds up for `limit` at most.
///
/// # Errors
/// When the file cannot be read in time, is no regular one, empty, not text, or longer than 64 KiB.
/// No error repeats what it holds.
pub fn read_uri_within(path: &Path, limit: Duration) -> io::Result<String> {
    uri_in(file::read_within(path, MOST_BYTES, limit)?)
}

fn uri_in(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    match text.trim() {
        "" => Err(io::Error::other("it is empty")),
        uri => Ok(uri.to_owned()),
    }
}
