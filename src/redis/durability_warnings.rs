//! Warnings for the operator about settings that endanger the durability of the module's state.

use std::ffi::CStr;

use super::api::config;
use super::api::context::Ctx;

/// Warnings for the operator about settings that endanger the durability of the module's state.
pub fn all(ctx: Ctx<'_>) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    let has = |name: &CStr| config::value(ctx, name);
    let no_aof = has(c"appendonly").as_deref() == Some(b"no");
    if no_aof && has(c"save").as_deref() == Some(b"") {
        warnings.push(
            "nothing is kept on disk (appendonly no, save \"\"): a crash forgets what MongoDB \
             does not have yet, together with the data; use registrations-file",
        );
    }
    if !no_aof && has(c"aof-use-rdb-preamble").as_deref() == Some(b"no") {
        warnings.push(
            "aof-use-rdb-preamble is no: a rewritten AOF holds neither registrations nor what is \
             dirty; set it to yes",
        );
    }
    warnings
}
