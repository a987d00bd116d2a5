//! The command filter: looks whether the keys of a command exist, and whether it writes to a prefix with MODE THROUGH.
//!
//! A filter knows neither the client nor its database. So it looks in database 0 until a client has selected
//! another one; from then on the command itself looks, which costs more.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;

use super::key_positions;
use crate::core::command_table::{self, Access, Command, CommandTable, Form, Named};
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::NO_EXPIRY;
use crate::core::settings::InMulti;
use crate::redis::api::client::Client;
use crate::redis::api::clock;
use crate::redis::api::command_filter::{Filter, FilteredCall, Registered};
use crate::redis::api::context::{Ctx, must_not_replicate};
use crate::redis::api::key::Opened;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::{command_keys, held_client, log, memory, read_mode, run_for_client};
use crate::redis::pipeline::Pipeline;

/// The commands that a command becomes an argument of.
pub const READ: &CStr = c"WB.READ";
/// As [`READ`], for commands that do not say if they write, or that replicate although they only read.
pub const RUN: &CStr = c"WB.RUN";
/// As [`READ`], for commands that write.
pub const WRITE: &CStr = c"WB.WRITE";
/// As [`WRITE`], for commands that are not refused while there is no memory left.
pub const WRITE_ALWAYS: &CStr = c"WB.WRITEX";
/// Does nothing.
pub const NOTHING: &CStr = c"WB._NOP";

/// While one of these context flags is set, commands run as they are.
const NOT_NOW: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
    | raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING
    | raw::REDISMODULE_CTX_FLAGS_LUA;

/// Such a command does not exist, so the server refuses to queue it.
const IN_MULTI: &str = "MODE THROUGH does not wait in MULTI, and through-multi is refuse: write this key outside of MULTI";

/// A key that expires so soon is looked for by the command itself, milliseconds.
const MARGIN_MS: i64 = 1;

/// The state of the filter.
#[derive(Debug)]
pub struct ThroughFilter {
    /// The commands of the server; nothing until they were needed.
    table: RefCell<Option<CommandTable>>,
    /// True if the server may have other commands since.
    is_outdated: Cell<bool>,
    registered: RefCell<Option<Registered>>,
    /// A context for the filter, which has none of its own.
    detached: Cell<*mut raw::RedisModuleCtx>,
    /// See [`ThroughFilter::last_ctx`].
    last: Cell<*mut raw::RedisModuleCtx>,
    /// True once a client may have selected another database than 0.
    other_dbs: Cell<bool>,
    /// True once a client may have subscribed to a channel, or keep keys itself.
    special_clients: Cell<bool>,
    /// The registrations of the keys of the running call that exist.
    hits: RefCell<Vec<RegistrationId>>,
}

impl Default for ThroughFilter {
    fn default() -> Self {
        ThroughFilter {
            table: RefCell::default(),
            is_outdated: Cell::new(false),
            registered: RefCell::default(),
            detached: Cell::new(std::ptr::null_mut()),
            last: Cell::new(std::ptr::null_mut()),
            other_dbs: Cell::new(false),
            special_clients: Cell::new(false),
            hits: RefCell::default(),
        }
    }
}

impl ThroughFilter {
    /// Registers the filter while a registration asks for it. Not to be called by a filter.
    pub fn follow(&self, pipeline: &Pipeline, ctx: Ctx<'_>, filter: Filter) {
        let mut backlog = pipeline.backlog.borrow_mut();
        let has_writers = backlog.registry.has_writers();
        let has_any = has_writers || backlog.registry.has_readers();
        let is_wanted = !pipeline.is_replica.get() && has_any;
        let is_registered = self.registered.borrow().is_some();
        backlog.writes.is_on = is_wanted && is_registered && has_writers;
        drop(backlog);
        if is_wanted && self.is_outdated.take() && self.table.borrow().is_some() {
            self.learn(ctx);
        }
        if is_wanted == is_registered {
            return;
        }
        if !is_wanted {
            if let Some(registered) = self.registered.take() {
                registered.end(ctx);
            }
            return;
        }
        if !held_client::is_possible() || self.table.borrow().is_none() && !self.learn(ctx) {
            return;
        }
        if self.detached.get().is_null() {
            for place in [&self.detached, &self.last] {
                // SAFETY: the context is that of a callback. The detached ones live as long as the module.
                place.set(unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(ctx.raw()) });
            }
        }
        let clients = run_for_client::Clients::known(ctx);
        self.other_dbs.set(clients.other_dbs);
        self.special_clients.set(clients.special);
        let registered = Registered::new(ctx, filter);
        pipeline.backlog.borrow_mut().writes.is_on = registered.is_some() && has_writers;
        *self.registered.borrow_mut() = registered;
    }

    /// Learns the commands of the server. False if it does not tell them.
    pub fn learn(&self, ctx: Ctx<'_>) -> bool {
        let table = run_for_client::commands(ctx).and_then(|reply| command_table::parse(&reply));
        let Some(table) = table else {
            log::warning(
                "READTHROUGH and MODE THROUGH have no effect: the server does not tell its commands; COMMAND must not \
                 be renamed",
            );
            return false;
        };
        if table.find(b"client").is_none() {
            log::warning(
                "READTHROUGH and MODE THROUGH have no effect: the module needs CLIENT UNBLOCK; CLIENT must not be renamed",
            );
            return false;
        }
        *self.table.borrow_mut() = Some(table);
        true
    }

    /// The client of a call. Asking the server takes a system call, so that is done only once it may make a difference.
    pub fn client(&self, ctx: Ctx<'_>) -> Client {
        if self.special_clients.get() { Client::of(ctx) } else { Client::default() }
    }

    /// The server may have other commands than before.
    pub fn commands_changed(&self) {
        self.is_outdated.set(true);
    }

    /// The command that these words call, with a copy of what is known of it.
    pub fn command(&self, words: &[&[u8]]) -> Option<Command> {
        let table = self.table.borrow();
        let second = || words.get(1).copied().unwrap_or_default();
        let command = table.as_ref()?.command(words.first()?, second)?;
        command.takes(words.len()).then(|| command.clone())
    }

    /// Called before a command is executed.
    pub fn before_command(&self, pipeline: &Pipeline, call: FilteredCall) {
        let table = self.table.borrow();
        let Some(table) = &*table else { return };
        let command = match table.find(call.word(0)) {
            None => return,
            Some(Named::Command(command)) => command,
            Some(Named::Select) => {
                let is_other = call.len() == 2 && call.word(1) != b"0";
                return self.other_dbs.set(self.other_dbs.get() | is_other);
            }
            Some(Named::Client) => {
                let is_tracking = || call.word(1).eq_ignore_ascii_case(b"tracking");
                let is_special = !call.word(0).eq_ignore_ascii_case(b"client") || is_tracking();
                return self.special_clients.set(self.special_clients.get() | is_special);
            }
            Some(Named::Container(_)) => {
                let command = table.command(call.word(0), || call.word(1));
                let Some(command) = command else { return };
                command
            }
        };
        let len = call.len();
        if !command.takes(len) {
            return;
        }
        let ctx = self.ctx();
        let asked = AskedKeys { ctx, call, positions: OnceCell::new() };
        let is_held = command.access.may_write() && self.writes(pipeline, command, &asked);
        let depends = || command.form == Form::Usual || command.depends(len, |at| call.word(at));
        let misses = || depends() && self.misses(pipeline, command, &asked);
        if (is_held || misses()) && ctx.flags() & NOT_NOW == 0 {
            let in_multi = || call.client().is_some_and(|id| Client::numbered(ctx, id).in_multi);
            if is_held && pipeline.settings().through_multi == InMulti::Refuse && in_multi() {
                return call.refuse(IN_MULTI);
            }
            call.prepend(match command.access {
                Access::Read => READ,
                Access::ReadAndReplicate | Access::Unknown => RUN,
                Access::Write => WRITE_ALWAYS,
                Access::WriteIfMemory => WRITE,
            });
        }
    }

    /// A context that is always there, once the filter was registered.
    pub fn ctx(&self) -> Ctx<'_> {
        // SAFETY: the detached context is valid for the module's life; it is used on the server's thread.
        unsafe { Ctx::new(self.detached.get()) }
    }

    /// A context for the last replies of the server: in each, it handles events at most once in 1/hz. Like
    /// [`ThroughFilter::ctx`].
    pub fn last_ctx(&self) -> Ctx<'_> {
        // SAFETY: as above.
        unsafe { Ctx::new(self.last.get()) }
    }

    /// True if the client of the call may have to wait for what it writes.
    fn writes(&self, pipeline: &Pipeline, command: &Command, asked: &AskedKeys<'_>) -> bool {
        // As an argument of another command it would not block.
        let blocks = matches!(command.form, Form::Blocking | Form::XRead);
        if blocks || !pipeline.backlog.borrow().writes.is_on {
            return false;
        }
        let mut writes = false;
        key_positions::each_written(
            command,
            asked.call.len(),
            || asked.positions(),
            |at| {
                let (key, backlog) = (asked.call.word(at), pipeline.backlog.borrow());
                writes = match self.other_dbs.get() {
                    true => backlog.writes_through_any(key),
                    false => backlog.writes_through(Db(0), key).is_some(),
                };
                !writes
            },
        );
        writes
    }

    /// True if a key of the call is missing, or may be by the time the command runs.
    fn misses(&self, pipeline: &Pipeline, command: &Command, asked: &AskedKeys<'_>) -> bool {
        let (ctx, call) = (asked.ctx, asked.call);
        // Not borrowed: looking for a key may run another module, and with it this filter.
        let mut hits = self.hits.take();
        hits.clear();
        let mut misses = false;
        key_positions::each(
            command,
            call.len(),
            || asked.positions(),
            |at, _| {
                let raw = call.raw(at);
                let key = call.word(at);
                if raw.is_null() {
                    return true;
                }
                if self.other_dbs.get() {
                    misses |= pipeline.backlog.borrow().reads_through_any(key);
                    return !misses;
                }
                let Some(id) = pipeline.backlog.borrow().reads_through(Db(0), key) else {
                    return true;
                };
                // SAFETY: the word is valid as long as the filter runs.
                misses = !unsafe { exists(pipeline, ctx, raw) };
                hits.push(id);
                !misses
            },
        );
        // The server evicts keys after this filter, and in a pause it runs commands later, without filters.
        misses |= !hits.is_empty() && (memory::is_over_max() || must_not_replicate());
        if !misses && !hits.is_empty() {
            let mut backlog = pipeline.backlog.borrow_mut();
            hits.iter().for_each(|id| backlog.count_read(*id, true));
        }
        self.hits.replace(hits);
        misses
    }
}

/// Where the keys of a call are, if only the server can tell; it is asked at most once.
struct AskedKeys<'a> {
    ctx: Ctx<'a>,
    call: FilteredCall,
    positions: OnceCell<Vec<(usize, u32)>>,
}

impl AskedKeys<'_> {
    fn positions(&self) -> &[(usize, u32)] {
        self.positions.get_or_init(|| command_keys::positions(self.ctx, &self.call.words()))
    }
}

/// True if the key exists in the database of the filter's context, and still does when the command runs.
///
/// # Safety
/// `raw` is a valid string.
unsafe fn exists(pipeline: &Pipeline, ctx: Ctx<'_>, raw: *mut raw::RedisModuleString) -> bool {
    let mode = read_mode::looking(pipeline.opener.mode.get());
    let expired = pipeline.expired.get();
    // SAFETY: the caller vouches for the name, which lives until the key is closed here.
    let expire_ms = unsafe { Opened::named(ctx, raw, mode) }.map(|key| key.expire_ms());
    let exists = expire_ms.is_some();
    if read_mode::expires(mode) && pipeline.expired.get() != expired {
        // Redis 7.0 would fail an assertion later, if what it has removed were not replicated now.
        run_for_client::settle(ctx, NOTHING);
    }
    if read_mode::is_counted(mode) {
        pipeline.opener.count(exists);
    }
    // Before a command the server's clock is that of the last one: the key may be expired when this one runs.
    expire_ms.is_some_and(|at_ms| {
        at_ms == NO_EXPIRY || at_ms > i64::try_from(clock::unix_ms()).unwrap_or(0) + MARGIN_MS
    })
}
