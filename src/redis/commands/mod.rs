//! The commands: each parses its arguments, calls the backlog and replies.

mod all_nodes;
mod cancel;
pub mod check;
mod deadletter;
mod docs;
mod explain;
pub mod flush;
mod help;
pub mod info;
mod key_positions;
mod lease;
mod list;
mod load;
mod metrics;
pub mod pause;
mod register;
pub mod registrations_file;
mod revise;
mod status;
mod sync;
mod through;
mod unregister;
mod verify;
mod warning;

use std::ffi::{CStr, CString, c_int};

use super::api::command_keys;
use super::api::context::{Ctx, raw_words, words};
use super::api::guard::{broken_error, guard, is_broken};
use super::api::raw;
use super::api::raw::api;
use super::api::reply::{REPLIED, Reply};
use super::call::Call;
use super::command_spec::{KeySpec, Spec};
use super::replication::apply;
use super::state::module;
pub use register::{Source, run as run_registration};

type Raw = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut *mut raw::RedisModuleString,
    c_int,
) -> c_int;

/// A command, and the callback by which the server calls it.
struct ServerCommand {
    spec: &'static Spec,
    /// The callback; nothing for a container.
    entry: Option<Raw>,
}

/// The command of a declaration, with a callback of its own.
macro_rules! command {
    ($spec:path) => {{
        unsafe extern "C" fn entry(
            ctx: *mut raw::RedisModuleCtx,
            argv: *mut *mut raw::RedisModuleString,
            argc: c_int,
        ) -> c_int {
            // SAFETY: the server calls a command with its context and words.
            unsafe { run(ctx, argv, argc, &$spec) }
        }
        ServerCommand { spec: &$spec, entry: Some(entry) }
    }};
}

/// The container; its subcommands have the callbacks.
const CONTAINER: &Spec = &deadletter::SPEC;

const HELP: Spec = help::spec(help);

/// Every command and subcommand, in the order of WB.HELP and of docs/COMMANDS.md; a container before
/// its subcommands.
static COMMANDS: [ServerCommand; 39] = [
    command!(register::SPEC),
    command!(unregister::SPEC),
    command!(list::SPEC),
    command!(status::SPEC),
    command!(metrics::SPEC),
    command!(explain::SPEC),
    command!(flush::SPEC),
    command!(check::SPEC),
    command!(sync::SPEC),
    command!(load::SPEC),
    command!(verify::SPEC),
    command!(cancel::SPEC),
    command!(pause::PAUSE),
    command!(pause::RESUME),
    command!(lease::SPEC),
    ServerCommand { spec: CONTAINER, entry: None },
    command!(deadletter::LIST),
    command!(deadletter::RETRY),
    command!(deadletter::DROP),
    command!(deadletter::HELP),
    command!(HELP),
    command!(through::READ),
    command!(through::RUN),
    command!(through::WRITE),
    command!(through::WRITE_ALWAYS),
    command!(through::NOTHING),
    command!(apply::ACK),
    command!(apply::DEAD),
    command!(apply::GONE),
    command!(apply::LANES),
    command!(apply::LEASE),
    command!(apply::LEFT),
    command!(apply::REVISION),
    command!(apply::LOADED),
    command!(apply::LOADING),
    command!(apply::SCAN),
    command!(apply::MARK),
    command!(apply::SYNCED),
    command!(apply::DIGEST),
];

/// `WB.HELP`.
fn help(call: &Call<'_>) {
    help::reply(call, COMMANDS.iter().map(|command| command.spec));
}

/// Registers every command with the server.
///
/// # Errors
/// One sentence when the server refuses.
pub fn register_all(ctx: Ctx<'_>) -> Result<(), String> {
    for ServerCommand { spec, entry } in &COMMANDS {
        create(ctx, spec, *entry)?;
        set_categories(ctx, spec)?;
        if !docs::describe(ctx, spec) {
            let name = spec.name.to_string_lossy();
            return Err(format!("the server refuses the description of {name}"));
        }
    }
    Ok(())
}

fn create(ctx: Ctx<'_>, spec: &Spec, entry: Option<Raw>) -> Result<(), String> {
    // The server redirects clients by the keys that the command itself names, and by no others.
    let mut flags = vec![spec.flags.to_bytes()];
    flags.extend(spec.keys.map(|_| &b"getkeys-api"[..]));
    let flags = CString::new(flags.join(&b' ')).unwrap_or_default();
    let flags = flags.as_ptr();
    // SAFETY: called in RedisModule_OnLoad with its context; the strings are copied.
    let refused = unsafe {
        match spec.subcommand() {
            None => {
                let name = spec.name.as_ptr();
                api!(RedisModule_CreateCommand)(ctx.raw(), name, entry, flags, 0, 0, 0)
            }
            Some(name) => {
                let container = api!(RedisModule_GetCommand)(ctx.raw(), CONTAINER.name.as_ptr());
                let name = name.as_ptr();
                api!(RedisModule_CreateSubcommand)(container, name, entry, flags, 0, 0, 0)
            }
        }
    };
    registered(spec.name, refused)
}

fn set_categories(ctx: Ctx<'_>, Spec { name, acl, .. }: &Spec) -> Result<(), String> {
    if acl.is_empty() {
        return Ok(());
    }
    // SAFETY: as in `create`; Redis 7.0 does not have the function.
    let refused = unsafe {
        { raw::RedisModule_SetCommandACLCategories }.map_or(0, |set_categories| {
            set_categories(api!(RedisModule_GetCommand)(ctx.raw(), name.as_ptr()), acl.as_ptr())
        })
    };
    registered(name, refused)
}

fn registered(name: &CStr, refused: c_int) -> Result<(), String> {
    if refused == 0 {
        return Ok(());
    }
    Err(format!("the command {} cannot be registered", name.to_string_lossy()))
}

/// # Safety
/// `ctx`, `argv` and `argc` are those of the running command.
unsafe fn run(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    spec: &Spec,
) -> c_int {
    // SAFETY: the caller vouches for the context.
    let ctx = unsafe { Ctx::new(ctx) };
    let completed = guard(false, || {
        // SAFETY: the caller vouches for the words, which live as long as the call.
        let words = unsafe { words(argv, argc) };
        // SAFETY: the context is that of the call.
        if unsafe { api!(RedisModule_IsKeysPositionRequest)(ctx.raw()) } != 0 {
            // SAFETY: as above.
            report_keys(ctx, &words, unsafe { raw_words(argv, argc) }, spec);
        } else {
            // SAFETY: as above.
            let raw = unsafe { raw_words(argv, argc) };
            call(ctx, words, raw, spec);
        }
        true
    });
    if !completed && is_broken() {
        let reply = Reply::new(ctx);
        match spec.name == metrics::SPEC.name {
            true => reply.bytes(metrics::when_broken().as_bytes()),
            false => reply.error(&broken_error()),
        }
    }
    REPLIED
}

/// Reports to the server which of the words are keys.
fn report_keys(ctx: Ctx<'_>, words: &[&[u8]], raw: &[*mut raw::RedisModuleString], spec: &Spec) {
    let Some(keys) = spec.keys else { return };
    if keys == KeySpec::Inner {
        return report_inner_keys(ctx, words, raw);
    }
    for at in key_positions::positions(keys, words) {
        // SAFETY: the server asks for positions in this call; it checks them.
        unsafe { api!(RedisModule_KeyAtPos)(ctx.raw(), at as c_int) };
    }
}

/// Reports the keys of the command that the other words are.
fn report_inner_keys(ctx: Ctx<'_>, words: &[&[u8]], raw: &[*mut raw::RedisModuleString]) {
    let (Some(inner), Some(raw)) = (words.get(1), raw.get(1..)) else { return };
    // The server would ask this module again, once for each word.
    if inner.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"wb.")) {
        return;
    }
    for (at, flags) in command_keys::positions(ctx, raw) {
        // SAFETY: as in `report_keys`.
        unsafe {
            api!(RedisModule_KeyAtPosWithFlags)(ctx.raw(), (at + 1) as c_int, flags as c_int)
        };
    }
}

fn call<'a>(
    ctx: Ctx<'a>,
    words: Vec<&'a [u8]>,
    raw: &'a [*mut raw::RedisModuleString],
    spec: &Spec,
) {
    let reply = Reply::new(ctx);
    // The server checks the arity of commands from clients and masters, but not of those that it
    // loads from the AOF.
    if !spec.takes(words.len()) {
        return reply.wrong_arity();
    }
    let Some(db) = ctx.db() else { return refuse_db(ctx) };
    if let Some(run) = spec.run {
        run(&Call { module: module(), ctx, db, reply, words, raw });
    }
}

/// Refuses commands in a database past 65,535: none of its keys is ever captured, and a reply must
/// not suggest otherwise.
fn refuse_db(ctx: Ctx<'_>) {
    Reply::new(ctx).error(&format!(
        "database {} is past 65535, the last one whose keys writebehind captures: SELECT one from 0 \
         to 65535",
        ctx.raw_db()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::command_spec::DANGEROUS;

    #[test]
    fn the_documentation_names_every_command_for_servers_without_categories() {
        let page = include_str!("../../../docs/OPERATING.md");
        for ServerCommand { spec, entry } in &COMMANDS {
            let name = spec.name.to_string_lossy().to_ascii_lowercase();
            let sign = match spec.acl {
                _ if name.contains(['_', '|']) => continue,
                acl if acl == DANGEROUS || entry.is_none() => '-',
                acl if acl.to_bytes().starts_with(b"read") => '+',
                _ => continue,
            };
            let word = format!("{sign}{name}");
            let has_word = page.split([' ', '`', '\n']).any(|other| other == word);
            assert!(has_word, "docs/OPERATING.md does not name {word} for Redis 7.0");
        }
    }
}
