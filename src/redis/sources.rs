//! The sources of the connection string and of the registrations: the text settings and the
//! environment.

use std::ffi::{CStr, OsString};
use std::path::PathBuf;

use super::api::context::Text;
use crate::core::registration::{Namespace, args};
use crate::core::settings::DEFAULT_URI;
use crate::mongo::uri;
use crate::worker::UriSource;

/// The environment variable with a connection string, which may hold credentials.
const URI_VARIABLE: &str = "WRITEBEHIND_MONGODB_URI";

/// The warning about a password that every user of the machine can read.
pub const EXPOSED: &str = "every user of this machine can read the password in mongodb-uri-file: chmod \
     600 it; this warning ends with the next start, or when another file is set";

/// Names and defaults of the text settings, in the order of [`Sources::texts`].
pub const TEXTS: [(&CStr, &CStr); 4] = [
    (c"mongodb-uri", URI_DEFAULT),
    (c"mongodb-uri-file", c""),
    (c"registrations-file", c""),
    (c"lease-namespace", c""),
];
/// The index of `mongodb-uri` in [`TEXTS`].
pub const URI: usize = 0;
/// The index of `mongodb-uri-file`.
pub const URI_FILE: usize = 1;
/// The index of `registrations-file`.
pub const REGISTRATIONS_FILE: usize = 2;
/// The index of `lease-namespace`.
pub const LEASE_NAMESPACE: usize = 3;
const URI_DEFAULT: &CStr = c"mongodb://127.0.0.1:27017";

/// The text settings, and the connection string of the environment.
#[derive(Debug)]
pub struct Sources {
    /// By [`URI`], [`URI_FILE`], [`REGISTRATIONS_FILE`] and [`LEASE_NAMESPACE`].
    pub texts: [String; 4],
    /// The strings returned to CONFIG GET: the server copies them, and the module has to free them.
    pub given: [Option<Text>; 4],
    /// The trimmed value of the environment variable; an error when it is not UTF-8.
    from_environment: Option<Result<String, String>>,
    /// True when `mongodb-uri-file` holds a password and every user of the machine could read the
    /// file when the setting was set.
    pub is_exposed: bool,
}

impl Default for Sources {
    fn default() -> Self {
        Sources {
            texts: [DEFAULT_URI.to_owned(), String::new(), String::new(), String::new()],
            given: [None, None, None, None],
            from_environment: std::env::var_os(URI_VARIABLE).and_then(from_environment),
            is_exposed: false,
        }
    }
}

impl Sources {
    /// The connection string's source: the file, else the environment, else the setting.
    pub fn uri_source(&self) -> UriSource {
        if !self.texts[URI_FILE].is_empty() {
            return UriSource::File(PathBuf::from(&self.texts[URI_FILE]));
        }
        match &self.from_environment {
            Some(Ok(uri)) => UriSource::Text(uri.clone()),
            _ => UriSource::Text(self.texts[URI].clone()),
        }
    }

    /// The path in `registrations-file`; empty for none.
    pub fn registrations_file(&self) -> &str {
        &self.texts[REGISTRATIONS_FILE]
    }

    /// Where `lease-namespace` puts the lease; `None` for its default.
    pub fn lease_namespace(&self) -> Option<Namespace> {
        args::parse_namespace(self.texts[LEASE_NAMESPACE].as_bytes()).ok()
    }

    /// A warning for the operator about the sources, if there is one.
    pub fn warning(&self) -> Option<&'static str> {
        self.is_exposed.then_some(EXPOSED)
    }

    /// The parts of the environment's connection string that have no effect.
    ///
    /// # Errors
    /// One sentence when the environment's connection string is invalid.
    pub fn check_environment(&self) -> Result<Vec<String>, String> {
        let Some(uri) = &self.from_environment else { return Ok(Vec::new()) };
        let checked = uri.clone().and_then(|uri| uri::validate_secret(&uri));
        checked.map_err(|error| format!("environment variable {URI_VARIABLE}: {error}"))
    }
}

/// The connection string in the value of the environment variable; nothing when it is blank. A
/// value that was read from a mounted secret ends with a newline.
fn from_environment(value: OsString) -> Option<Result<String, String>> {
    match value.into_string() {
        Ok(text) if text.trim().is_empty() => None,
        Ok(text) => Some(Ok(text.trim().to_owned())),
        Err(_) => Some(Err("the connection string must be UTF-8".to_owned())),
    }
}
