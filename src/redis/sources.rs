//! Where the connection string and the registrations come from: the settings that are texts, and the
//! environment.

use std::ffi::{CStr, OsString};
use std::path::PathBuf;

use super::api::context::Text;
use crate::core::settings::DEFAULT_URI;
use crate::mongo::uri;
use crate::worker::UriSource;

/// Names an environment variable with a connection string that may hold credentials.
const URI_VARIABLE: &str = "WRITEBEHIND_MONGODB_URI";

/// The warning of a password that every user can read.
pub const EXPOSED: &str = "every user of this machine can read the password in mongodb-uri-file: chmod \
     600 it; this warning ends with the next start, or when another file is set";

/// Names of the text settings, in the order of [`Sources::texts`].
pub const TEXTS: [(&CStr, &CStr); 3] =
    [(c"mongodb-uri", URI_DEFAULT), (c"mongodb-uri-file", c""), (c"registrations-file", c"")];
/// The index of `mongodb-uri` in them.
pub const URI: usize = 0;
/// The index of `mongodb-uri-file`.
pub const URI_FILE: usize = 1;
/// The index of `registrations-file`.
pub const REGISTRATIONS_FILE: usize = 2;
const URI_DEFAULT: &CStr = c"mongodb://127.0.0.1:27017";

/// Where things come from: the settings that are texts.
#[derive(Debug)]
pub struct Sources {
    /// By [`URI`], [`URI_FILE`] and [`REGISTRATIONS_FILE`].
    pub texts: [String; 3],
    /// What CONFIG GET is given; the server copies it and leaves it to us.
    pub given: [Option<Text>; 3],
    /// What the environment holds, without the space around it; an error when that is no text.
    from_environment: Option<Result<String, String>>,
    /// True when `mongodb-uri-file` holds a password and every user of the machine could read it
    /// when it was set.
    pub is_exposed: bool,
}

impl Default for Sources {
    fn default() -> Self {
        Sources {
            texts: [DEFAULT_URI.to_owned(), String::new(), String::new()],
            given: [None, None, None],
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

    /// The file of registrations; empty for none.
    pub fn registrations_file(&self) -> &str {
        &self.texts[REGISTRATIONS_FILE]
    }

    /// What an operator should know of the sources.
    pub fn warning(&self) -> Option<&'static str> {
        self.is_exposed.then_some(EXPOSED)
    }

    /// What has no effect in the environment's connection string.
    ///
    /// # Errors
    /// One sentence when the environment's connection string is of no use.
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
