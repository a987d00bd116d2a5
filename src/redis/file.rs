//! Reads the files that settings name; the server thread waits for them a bounded time only.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::api::signals;
use crate::file;
use crate::worker::read_uri_within;

/// Maximum wait while the server serves clients.
const SERVING: Duration = Duration::from_millis(250);
/// Maximum wait while the module is loaded, which fails without the file.
const LOADING: Duration = Duration::from_secs(2);
/// Size limit of a registrations file, bytes; above what 65,535 registrations need.
const MOST_BYTES: u64 = 64 << 20;

/// The connection string in the file of `mongodb-uri-file`; `serving` is true when the server
/// serves clients already.
///
/// # Errors
/// As [`read_uri_within`].
pub fn uri(path: &Path, serving: bool) -> io::Result<String> {
    let _signals = signals::block_all();
    read_uri_within(path, if serving { SERVING } else { LOADING })
}

/// True if every user of the machine may read that file; false when its permissions cannot be read.
pub fn is_readable_by_all(path: &Path) -> bool {
    let _signals = signals::block_all();
    file::is_readable_by_all(path, SERVING).unwrap_or(false)
}

/// The lines in the file of `registrations-file`.
///
/// # Errors
/// As [`file::read_within`].
pub fn registrations(path: &Path) -> io::Result<Vec<u8>> {
    let _signals = signals::block_all();
    file::read_within(path, MOST_BYTES, LOADING)
}
