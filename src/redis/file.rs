//! Reading files that the settings name, for which the server's thread waits a short time only.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::api::signals;
use crate::file;
use crate::worker::read_uri_within;

/// Longest wait while the server serves clients.
const SERVING: Duration = Duration::from_millis(250);
/// Longest wait at load, which the file decides on.
const LOADING: Duration = Duration::from_secs(2);
/// More than 65,535 registrations take.
const MOST_BYTES: u64 = 64 << 20;

/// The connection string in the file of `mongodb-uri-file`; `serving` when clients are served already.
///
/// # Errors
/// As [`read_uri_within`].
pub fn uri(path: &Path, serving: bool) -> io::Result<String> {
    let _signals = signals::block_all();
    read_uri_within(path, if serving { SERVING } else { LOADING })
}

/// Whether every user of the machine may read that file; false when that cannot be found out.
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
