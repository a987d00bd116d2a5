//! The settings `writebehind.*`: CONFIG GET / SET / REWRITE, and `loadmodule ... <name> <value>`.

use std::collections::HashSet;
use std::ffi::{CString, c_char, c_int, c_longlong, c_void};
use std::path::Path;

use super::api::context::{Ctx, Text, bytes};
use super::api::guard::{broken_error, guard};
use super::api::log;
use super::api::raw;
use super::api::raw::api;
use super::choices::{self, CHOICES};
use super::file;
use super::sources::{EXPOSED, LEASE_NAMESPACE, REGISTRATIONS_FILE, TEXTS, URI, URI_FILE};
use super::state::module;
use crate::core::registration::args;
use crate::core::registration::printable::printable;
use crate::core::settings::{self, SettingLimits, Settings};
use crate::mongo::uri;

type Field = fn(&mut Settings) -> &mut i64;

const NUMBERS: [(SettingLimits, Field); 12] = [
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
    (settings::THROUGH_TIMEOUT_MS, |s| &mut s.through_timeout_ms),
    (settings::READ_MAX_LOADS, |s| &mut s.read_max_loads),
];

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
        // SAFETY: called in RedisModule_OnLoad with its context; the server copies the name; the
        // callbacks are the module's, and their argument is a number and not an address.
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
    choices::register(ctx, choice, set_choice)?;
    for (at, (name, default)) in TEXTS.iter().enumerate() {
        // The registrations file is read once, when the module is loaded.
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

/// Applies the `<name> <value>` pairs of the loadmodule line.
///
/// # Errors
/// One sentence that names the argument and its allowed values.
pub fn take_arguments(words: &[&[u8]]) -> Result<(), String> {
    let mut given = HashSet::new();
    for pair in words.chunks(2) {
        let name = printable(pair[0]).to_ascii_lowercase();
        let name = name.strip_prefix("writebehind.").unwrap_or(&name);
        if !given.insert(name.to_owned()) {
            return Err(format!("the module's argument {name} is given twice"));
        }
        let [_, value] = pair else {
            return Err(format!("the module's argument {name} takes a value after it"));
        };
        let value = std::str::from_utf8(value)
            .map_err(|_| format!("the module's argument {name} takes a value in UTF-8"))?;
        // A line of the configuration file, which CONFIG REWRITE may have written, takes
        // precedence.
        if let Some(at) = TEXTS.iter().position(|(text, _)| text.to_bytes() == name.as_bytes()) {
            let default = TEXTS[at].1.to_bytes();
            if module().pipeline.sources.borrow().texts[at].as_bytes() == default {
                put_text(at, value)?;
            }
        } else if let Some(at) = NUMBERS.iter().position(|(limits, _)| limits.name == name) {
            let limits = NUMBERS[at].0;
            let number = value.parse().ok();
            let number = number.filter(|n| (limits.min..=limits.max).contains(n));
            let number = number.ok_or_else(|| takes(limits))?;
            if *NUMBERS[at].1(&mut module().pipeline.settings()) == limits.default {
                put_number(at, number);
            }
        } else if let Some(choice) = CHOICES.iter().find(|choice| choice.name == name) {
            let at = choices::number(choice, value)?;
            choices::check(choice, at)?;
            if (choice.get)(&module().pipeline.settings()) == 0 {
                put(|settings| (choice.set)(settings, at));
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
/// One sentence when settings contradict each other.
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

fn takes(limits: SettingLimits) -> String {
    format!("{} takes a whole number from {} to {}", limits.name, limits.min, limits.max)
}

fn put_number(at: usize, value: i64) {
    put(|settings| *NUMBERS[at].1(settings) = value);
}

fn put(change: impl FnOnce(&mut Settings)) {
    let pipeline = &module().pipeline;
    pipeline.backlog.borrow_mut().change_settings(change);
    pipeline.configure_worker();
}

fn put_text(at: usize, value: &str) -> Result<(), String> {
    let value = if at == URI { value.trim() } else { value };
    let mut is_exposed = at != URI_FILE && module().pipeline.sources.borrow().is_exposed;
    match at {
        URI => log_notes(&uri::validate_setting(value)?),
        URI_FILE if !value.is_empty() => {
            // Not stored: the worker reads the file again at every connect attempt.
            let content = file::uri(Path::new(value), module().pipeline.worker.borrow().is_some())
                .map_err(|error| format!("mongodb-uri-file cannot be read: {error}"))?;
            let checked = uri::validate_secret(&content);
            log_notes(&checked.map_err(|error| format!("mongodb-uri-file: {error}"))?);
            is_exposed = uri::is_secret(&content) && file::is_readable_by_all(Path::new(value));
        }
        LEASE_NAMESPACE if !value.is_empty() => {
            args::parse_namespace(value.as_bytes()).map_err(|_| {
                "lease-namespace takes a MongoDB namespace such as shop.leases".to_owned()
            })?;
        }
        _ => {}
    }
    let pipeline = &module().pipeline;
    let mut sources = pipeline.sources.borrow_mut();
    value.clone_into(&mut sources.texts[at]);
    sources.is_exposed = is_exposed;
    drop(sources);
    if matches!(at, URI | URI_FILE) {
        // What is known of absent keys is of the former deployment.
        pipeline.backlog.borrow_mut().reads_see_flushed();
    }
    if is_exposed && at == URI_FILE {
        log::warning(EXPOSED);
    }
    pipeline.configure_worker();
    Ok(())
}

/// Logs the parts of a connection string that have no effect.
pub fn log_notes(notes: &[String]) {
    notes.iter().for_each(|note| log::notice(note));
}

unsafe extern "C" fn number(_: *const c_char, at: *mut c_void) -> c_longlong {
    guard(0, || {
        let mut settings = module().pipeline.settings();
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

unsafe extern "C" fn choice(_: *const c_char, at: *mut c_void) -> c_int {
    guard(0, || {
        let settings = module().pipeline.settings();
        CHOICES.get(at as usize).map_or(0, |choice| (choice.get)(&settings) as c_int)
    })
}

unsafe extern "C" fn set_choice(
    _: *const c_char,
    value: c_int,
    at: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server gives a place for the error.
    unsafe {
        answer(error, || {
            let Some(choice) = CHOICES.get(at as usize) else { return Ok(()) };
            let value = usize::try_from(value).unwrap_or(0);
            choices::check(choice, value)?;
            put(|settings| (choice.set)(settings, value));
            Ok(())
        })
    }
}

/// Called once all settings of one CONFIG SET have their values; on an error the server restores
/// the old ones.
unsafe extern "C" fn apply(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server gives a place for the error.
    unsafe { answer(error, || check(&module().pipeline.settings())) }
}

unsafe extern "C" fn text(_: *const c_char, at: *mut c_void) -> *mut raw::RedisModuleString {
    guard(std::ptr::null_mut(), || {
        let mut sources = module().pipeline.sources.borrow_mut();
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
/// `error` is null or where the server expects the error.
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
