//! The settings `writebehind.*`: CONFIG GET / SET / REWRITE, and `loadmodule ... <name> <value>`.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsString, c_char, c_int, c_longlong, c_void};
use std::path::{Path, PathBuf};

use super::api::context::{Ctx, Text, bytes};
use super::api::guard::{broken_error, guard};
use super::api::log;
use super::api::raw;
use super::api::raw::api;
use super::file;
use super::state::module;
use crate::core::settings::{self, DEFAULT_URI, Limits, Settings};
use crate::mongo::uri;
use crate::worker::UriSource;

/// Names an environment variable with a connection string that may hold credentials.
const URI_VARIABLE: &str = "WRITEBEHIND_MONGODB_URI";

const EXPOSED: &str = "every user of this machine can read the password in mongodb-uri-file: chmod \
     600 it; this warning ends with the next start, or when another file is set";

type Field = fn(&mut Settings) -> &mut i64;

const NUMBERS: [(Limits, Field); 10] = [
    (settings::FLUSH_INTERVAL_MS, |s| &mut s.flush_interval_ms),
    (settings::BATCH_MAX_KEYS, |s| &mut s.batch_max_keys),
    (settings::BATCH_MAX_BYTES, |s| &mut s.batch_max_bytes),
    (settings::MAX_IN_FLIGHT_BATCHES, |s| &mut s.max_in_flight_batches),
    (settings::READ_SLICE_US, |s| &mut s.read_slice_us),
    (settings::RETRY_BACKOFF_MIN_MS, |s| &mut s.retry_backoff_min_ms),
    (settings::RETRY_BACKOFF_MAX_MS, |s| &mut s.retry_backoff_max_ms),
    (settings::WRITE_TIMEOUT_MS, |s| &mut s.write_timeout_ms),
    (settings::DIRTY_MAX_BYTES, |s| &mut s.dirty_max_bytes),
    (settings::SHUTDOWN_DRAIN_MS, |s| &mut s.shutdown_drain_ms),
];

/// Names of the text settings, in the order of [`Sources::texts`].
const TEXTS: [(&CStr, &CStr); 3] =
    [(c"mongodb-uri", URI_DEFAULT), (c"mongodb-uri-file", c""), (c"registrations-file", c"")];
const URI: usize = 0;
const URI_FILE: usize = 1;
const REGISTRATIONS_FILE: usize = 2;
const URI_DEFAULT: &CStr = c"mongodb://127.0.0.1:27017";

/// Where things come from: the settings that are texts.
#[derive(Debug)]
pub struct Sources {
    texts: [String; 3],
    /// What CONFIG GET is given; the server copies it and leaves it to us.
    given: [Option<Text>; 3],
    /// What the environment holds, without the space around it; an error when that is no text.
    from_environment: Option<Result<String, String>>,
    /// True when `mongodb-uri-file` holds a password and every user of the machine could read it
    /// when it was set.
    is_exposed: bool,
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

    /// # Errors
    /// One sentence when the environment's connection string is of no use.
    pub fn check_environment(&self) -> Result<(), String> {
        let Some(uri) = &self.from_environment else { return Ok(()) };
        let checked = uri.clone().and_then(|uri| uri::validate_secret(&uri));
        log_notes(
            &checked.map_err(|error| format!("environment variable {URI_VARIABLE}: {error}"))?,
        );
        Ok(())
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

/// Registers every setting with the server and reads the configuration file's values.
///
/// # Errors
/// One sentence when the server refuses.
pub fn register(ctx: Ctx<'_>) -> Result<(), String> {
    let flags = raw::REDISMODULE_CONFIG_DEFAULT;
    for (at, (limits, _)) in NUMBERS.iter().enumerate() {
        let name = CString::new(limits.name).unwrap_or_default();
        let flags = match limits.name {
            "batch-max-bytes" | "dirty-max-bytes" => raw::REDISMODULE_CONFIG_MEMORY,
            _ => flags,
        };
        // SAFETY: called in RedisModule_OnLoad with its context; the server copies the name;
        // the callbacks are ours, and their argument is a number and not an address.
        let refused = unsafe {
            api!(RedisModule_RegisterNumericConfig)(
                ctx.raw(),
                name.as_ptr(),
                limits.default,
                flags,
                limits.min,
                limits.max,
                Some(number),
                Some(set_number),
                Some(apply),
                at as *mut c_void,
            )
        };
        if refused != 0 {
            return Err(format!("the setting {} cannot be registered", limits.name));
        }
    }
    for (at, (name, default)) in TEXTS.iter().enumerate() {
        // A file of registrations is read once, at load.
        let flags =
            if at == REGISTRATIONS_FILE { raw::REDISMODULE_CONFIG_IMMUTABLE } else { flags };
        // SAFETY: as above.
        let refused = unsafe {
            api!(RedisModule_RegisterStringConfig)(
                ctx.raw(),
                name.as_ptr(),
                default.as_ptr(),
                flags,
                Some(text),
                Some(set_text),
                None,
                at as *mut c_void,
            )
        };
        if refused != 0 {
            return Err("the settings of texts cannot be registered".to_owned());
        }
    }
    // SAFETY: called once, in RedisModule_OnLoad, after all settings are registered.
    if unsafe { api!(RedisModule_LoadConfigs)(ctx.raw()) } != 0 {
        return Err("a setting in the configuration has a value that is not allowed".to_owned());
    }
    Ok(())
}

/// Takes `<name> <value>` pairs from the loadmodule line.
///
/// # Errors
/// One sentence that names the argument and what it takes.
pub fn take_arguments(words: &[&[u8]]) -> Result<(), String> {
    let mut given = HashSet::new();
    for pair in words.chunks(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let name = name.strip_prefix("writebehind.").unwrap_or(&name);
        if !given.insert(name.to_owned()) {
            return Err(format!("the module's argument {name} is given twice"));
        }
        let [_, value] = pair else {
            return Err(format!("the module's argument {name} takes a value after it"));
        };
        let value = std::str::from_utf8(value)
            .map_err(|_| format!("the module's argument {name} takes a value in UTF-8"))?;
        // A line of the configuration, which CONFIG REWRITE may have written, wins.
        if let Some(at) = TEXTS.iter().position(|(text, _)| text.to_bytes() == name.as_bytes()) {
            let default = TEXTS[at].1.to_bytes();
            if module().sources.borrow().texts[at].as_bytes() == default {
                put_text(at, value)?;
            }
        } else if let Some(at) = NUMBERS.iter().position(|(limits, _)| limits.name == name) {
            let limits = NUMBERS[at].0;
            let number = value.parse().ok();
            let number = number.filter(|n| (limits.min..=limits.max).contains(n));
            let number = number.ok_or_else(|| takes(limits))?;
            if *NUMBERS[at].1(&mut module().settings()) == limits.default {
                put_number(at, number);
            }
        } else {
            return Err(format!(
                "the module has no argument {name}; it takes <name> <value> pairs, see WB.HELP"
            ));
        }
    }
    Ok(())
}

/// # Errors
/// One sentence when settings do not go together.
pub fn check(settings: &Settings) -> Result<(), String> {
    let Settings { retry_backoff_min_ms: min, retry_backoff_max_ms: max, .. } = settings;
    if min > max {
        return Err(format!(
            "retry-backoff-min-ms, {min}, is above retry-backoff-max-ms, {max}: set one of them so \
             that it is not"
        ));
    }
    Ok(())
}

fn takes(limits: Limits) -> String {
    format!("{} takes a whole number from {} to {}", limits.name, limits.min, limits.max)
}

fn put_number(at: usize, value: i64) {
    let module = module();
    *NUMBERS[at].1(&mut module.engine.borrow_mut().settings) = value;
    super::event_loop::tick::plan(module);
    module.configure_worker();
}

fn put_text(at: usize, value: &str) -> Result<(), String> {
    let value = if at == URI { value.trim() } else { value };
    let mut is_exposed = at != URI_FILE && module().sources.borrow().is_exposed;
    match at {
        URI => log_notes(&uri::validate_setting(value)?),
        URI_FILE if !value.is_empty() => {
            // Not kept: the worker reads it again at every new contact.
            let content = file::uri(Path::new(value))
                .map_err(|error| format!("mongodb-uri-file cannot be read: {error}"))?;
            let checked = uri::validate_secret(&content);
            log_notes(&checked.map_err(|error| format!("mongodb-uri-file: {error}"))?);
            is_exposed = uri::is_secret(&content) && file::is_readable_by_all(Path::new(value));
        }
        _ => {}
    }
    let module = module();
    let mut sources = module.sources.borrow_mut();
    value.clone_into(&mut sources.texts[at]);
    sources.is_exposed = is_exposed;
    drop(sources);
    if is_exposed && at == URI_FILE {
        log::warning(EXPOSED);
    }
    module.configure_worker();
    Ok(())
}

/// What of a connection string has no effect.
fn log_notes(notes: &[String]) {
    notes.iter().for_each(|note| log::notice(note));
}

unsafe extern "C" fn number(_: *const c_char, at: *mut c_void) -> c_longlong {
    guard(0, || {
        let mut settings = module().settings();
        NUMBERS.get(at as usize).map_or(0, |(_, field)| *field(&mut settings))
    })
}

unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    at: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server gives a place for the error.
    unsafe {
        answer(error, || {
            put_number(at as usize, value);
            Ok(())
        })
    }
}

/// Called once all settings of one CONFIG SET have their values; an error puts back the old ones.
unsafe extern "C" fn apply(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server gives a place for the error.
    unsafe { answer(error, || check(&module().settings())) }
}

unsafe extern "C" fn text(_: *const c_char, at: *mut c_void) -> *mut raw::RedisModuleString {
    guard(std::ptr::null_mut(), || {
        let mut sources = module().sources.borrow_mut();
        let at = at as usize;
        let text = Text::new(sources.texts[at].as_bytes());
        sources.given[at].insert(text).raw()
    })
}

unsafe extern "C" fn set_text(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    at: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the value is valid during the callback; the server gives a place for the error.
    unsafe {
        answer(error, || {
            let value = std::str::from_utf8(bytes(value))
                .map_err(|_| "the value must be UTF-8".to_owned())?;
            put_text(at as usize, value)
        })
    }
}

/// # Safety
/// `error` is where the server wants the error, or null.
unsafe fn answer(
    error: *mut *mut raw::RedisModuleString,
    body: impl FnOnce() -> Result<(), String>,
) -> c_int {
    let Err(reason) = guard(Err(String::new()), body) else {
        return raw::REDISMODULE_OK as c_int;
    };
    let reason = if reason.is_empty() { broken_error() } else { reason };
    log::warning(&reason);
    if !error.is_null() {
        // SAFETY: the caller vouches for the place; the server frees the string.
        unsafe { *error = Text::new(reason.as_bytes()).into_raw() };
    }
    raw::REDISMODULE_ERR as c_int
}
