//! The commands: each parses, calls the backlog, replies.

pub mod check;
mod deadletter;
mod docs;
mod explain;
pub mod flush;
mod help;
pub mod info;
pub mod pause;
mod register;
pub mod registrations_file;
mod status;
mod sync;
mod unregister;
mod warning;

use std::ffi::{CStr, c_int};

use super::api::context::{Ctx, words};
use super::api::guard::{broken_error, guard, is_broken};
use super::api::raw;
use super::api::raw::api;
use super::api::reply::{REPLIED, Reply};
use super::call::Call;
use super::replication::propagate::DEADLETTER;
use super::state::module;
use crate::core::backlog::stream_words::Word;
pub use register::{Source, run as run_registration};

type Raw = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut *mut raw::RedisModuleString,
    c_int,
) -> c_int;

/// Defines the entry of a command, which the server calls.
macro_rules! callback {
    ($name:ident, $run:path) => {
        unsafe extern "C" fn $name(
            ctx: *mut raw::RedisModuleCtx,
            argv: *mut *mut raw::RedisModuleString,
            argc: c_int,
        ) -> c_int {
            // SAFETY: the server calls a command with its context and words.
            unsafe { run(ctx, argv, argc, $run) }
        }
    };
}

callback!(register_entry, register::command);
callback!(unregister_entry, unregister::command);
callback!(status_entry, status::command);
callback!(sync_entry, sync::command);
callback!(explain_entry, explain::command);
callback!(check_entry, check::command);
callback!(flush_entry, flush::command);
callback!(pause_entry, pause::pause);
callback!(resume_entry, pause::resume);
callback!(letter_list_entry, deadletter::list);
callback!(letter_retry_entry, deadletter::retry);
callback!(letter_drop_entry, deadletter::drop);
callback!(letter_help_entry, deadletter::help);
callback!(help_entry, help::command);
callback!(ack_entry, crate::redis::replication::apply::ack);
callback!(dead_entry, crate::redis::replication::apply::dead);
callback!(gone_entry, crate::redis::replication::apply::gone);
callback!(lanes_entry, crate::redis::replication::apply::lanes);
callback!(scan_entry, crate::redis::replication::apply::scan);
callback!(mark_entry, crate::redis::replication::apply::mark);
callback!(synced_entry, crate::redis::replication::apply::synced);
callback!(digest_entry, crate::redis::replication::apply::digest);

/// A command as it is made known to the server.
struct Entry {
    name: &'static CStr,
    run: Raw,
    /// A command that changes what is written is `write`, so that a replica refuses it.
    flags: &'static CStr,
    /// ACL categories; Redis 7.0 gives a module's command none.
    acl: &'static CStr,
}

const fn entry(name: &'static CStr, run: Raw, flags: &'static CStr, acl: &'static CStr) -> Entry {
    Entry { name, run, flags, acl }
}

const ADMIN: &CStr = c"write admin no-mandatory-keys";
/// A text that says nothing of this server. No category is in the hands of every user, but what is
/// allowed before a login is allowed to all.
const FOR_EVERYBODY: &CStr = c"fast allow-stale allow-loading no-auth";
const DANGEROUS: &CStr = c"admin dangerous";

const COMMANDS: [Entry; 18] = [
    entry(c"WB.REGISTER", register_entry, ADMIN, DANGEROUS),
    entry(c"WB.UNREGISTER", unregister_entry, ADMIN, DANGEROUS),
    entry(c"WB.STATUS", status_entry, c"readonly fast allow-stale no-mandatory-keys", c"read fast"),
    entry(c"WB.EXPLAIN", explain_entry, c"readonly", c"read"),
    entry(c"WB.FLUSH", flush_entry, c"readonly blocking no-mandatory-keys", c"read blocking"),
    entry(
        c"WB.CHECK",
        check_entry,
        c"readonly admin blocking allow-stale no-mandatory-keys",
        c"admin dangerous blocking",
    ),
    entry(c"WB.PAUSE", pause_entry, ADMIN, DANGEROUS),
    entry(c"WB.RESUME", resume_entry, ADMIN, DANGEROUS),
    entry(c"WB.SYNC", sync_entry, ADMIN, DANGEROUS),
    entry(c"WB.HELP", help_entry, FOR_EVERYBODY, c"fast"),
    entry(Word::Ack.name(), ack_entry, ADMIN, DANGEROUS),
    entry(Word::Dead.name(), dead_entry, ADMIN, DANGEROUS),
    entry(Word::Gone.name(), gone_entry, ADMIN, DANGEROUS),
    entry(Word::Lanes.name(), lanes_entry, ADMIN, DANGEROUS),
    entry(Word::Scan.name(), scan_entry, ADMIN, DANGEROUS),
    entry(Word::Mark.name(), mark_entry, ADMIN, DANGEROUS),
    entry(Word::Synced.name(), synced_entry, ADMIN, DANGEROUS),
    entry(c"WB._DIGEST", digest_entry, c"readonly admin no-mandatory-keys", DANGEROUS),
];

/// A command that has subcommands and does nothing by itself.
const CONTAINER: &CStr = DEADLETTER;

/// Its subcommands; the name holds that of the container, as the server looks it up.
const SUBCOMMANDS: [Entry; 4] = [
    entry(
        c"WB.DEADLETTER|LIST",
        letter_list_entry,
        c"readonly admin allow-stale no-mandatory-keys",
        DANGEROUS,
    ),
    entry(c"WB.DEADLETTER|RETRY", letter_retry_entry, ADMIN, DANGEROUS),
    entry(c"WB.DEADLETTER|DROP", letter_drop_entry, ADMIN, DANGEROUS),
    entry(c"WB.DEADLETTER|HELP", letter_help_entry, FOR_EVERYBODY, c""),
];

/// Registers every command with the server.
///
/// # Errors
/// One sentence when the server refuses.
pub fn register_all(ctx: Ctx<'_>) -> Result<(), String> {
    for Entry { name, run, flags, acl } in COMMANDS {
        create(ctx, name, Some(run), flags)?;
        set_categories(ctx, name, acl)?;
    }
    create(ctx, CONTAINER, None, c"")?;
    for Entry { name, run, flags, acl } in SUBCOMMANDS {
        create_sub(ctx, name, run, flags)?;
        set_categories(ctx, name, acl)?;
    }
    docs::register(ctx)
}

fn create(ctx: Ctx<'_>, name: &CStr, run: Option<Raw>, flags: &CStr) -> Result<(), String> {
    // SAFETY: called in RedisModule_OnLoad with its context; the strings are copied.
    let refused = unsafe {
        api!(RedisModule_CreateCommand)(ctx.raw(), name.as_ptr(), run, flags.as_ptr(), 0, 0, 0)
    };
    registered(name, refused)
}

fn create_sub(ctx: Ctx<'_>, name: &CStr, run: Raw, flags: &CStr) -> Result<(), String> {
    let bytes = name.to_bytes_with_nul();
    let own = bytes.get(CONTAINER.count_bytes() + 1..).unwrap_or_default();
    // SAFETY: as in `create`; the subcommand's own name ends where the whole one does.
    let refused = unsafe {
        let container = api!(RedisModule_GetCommand)(ctx.raw(), CONTAINER.as_ptr());
        let (own, flags) = (own.as_ptr().cast(), flags.as_ptr());
        api!(RedisModule_CreateSubcommand)(container, own, Some(run), flags, 0, 0, 0)
    };
    registered(name, refused)
}

fn set_categories(ctx: Ctx<'_>, name: &CStr, acl: &CStr) -> Result<(), String> {
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
/// The server's context and words of a command that is called now.
unsafe fn run(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    body: fn(&Call<'_>),
) -> c_int {
    // SAFETY: the caller vouches for the context.
    let ctx = unsafe { Ctx::new(ctx) };
    let reply = Reply::new(ctx);
    let done = guard(false, || {
        // SAFETY: the caller vouches for the words, which live as long as the call.
        let words = unsafe { words(argv, argc) };
        match ctx.db() {
            Some(db) => body(&Call { module: module(), ctx, db, reply, words }),
            None => refuse_db(ctx),
        }
        true
    });
    if !done && is_broken() {
        reply.error(&broken_error());
    }
    REPLIED
}

/// No key of such a database is ever captured, so nothing may look as if it was.
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

    #[test]
    fn the_readme_names_every_command_for_servers_without_categories() {
        let readme = include_str!("../../../README.md");
        let container = entry(CONTAINER, help_entry, c"", DANGEROUS);
        for Entry { name, acl, .. } in COMMANDS.iter().chain([&container]) {
            let name = name.to_string_lossy().to_ascii_lowercase();
            let sign = match acl.to_bytes() {
                _ if name.contains('_') => continue,
                acl if acl == DANGEROUS.to_bytes() => '-',
                acl if acl.starts_with(b"read") => '+',
                _ => continue,
            };
            let word = format!("{sign}{name}");
            let has_word = readme.split([' ', '`', '\n']).any(|other| other == word);
            assert!(has_word, "README.md does not tell of {word} on Redis 7.0");
        }
    }
}
