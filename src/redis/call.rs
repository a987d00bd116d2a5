//! One call of a command.

use super::api::client::Client;
use super::api::context::Ctx;
use super::api::raw;
use super::api::reply::Reply;
use super::state::Module;
use crate::core::backlog::Backlog;
use crate::core::ids::Db;
use crate::core::registration::printable::printable;

/// What a command's function receives.
pub struct Call<'a> {
    /// The module's state.
    pub module: &'static Module,
    /// The context of the call.
    pub ctx: Ctx<'a>,
    /// The selected logical database.
    pub db: Db,
    /// Writes the reply to the client.
    pub reply: Reply<'a>,
    /// The command's words, its name first.
    pub words: Vec<&'a [u8]>,
    /// The same as the server has them.
    pub raw: &'a [*mut raw::RedisModuleString],
}

impl Call<'_> {
    /// The arguments: the words after the command's name.
    pub fn arguments(&self) -> &[&[u8]] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first argument, of a command whose arity requires one.
    pub fn first_argument(&self) -> &[u8] {
        self.arguments().first().copied().unwrap_or_default()
    }

    /// The words after the subcommand's name.
    pub fn subarguments(&self) -> &[&[u8]] {
        self.words.get(2..).unwrap_or_default()
    }

    /// True if the client may be blocked: neither in MULTI nor in a script, nor, on Valkey, subscribed to a channel.
    pub fn may_block(&self) -> bool {
        self.may_wait() && Client::of(self.ctx).may_block()
    }

    /// True if the call may wait: neither in MULTI nor in a script.
    pub fn may_wait(&self) -> bool {
        let none = raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
        self.ctx.flags() & none == 0
    }

    /// True if the command comes from the replication stream or the AOF, and so was already
    /// accepted once.
    pub fn is_from_stream(&self) -> bool {
        let from_stream =
            raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.ctx.flags() & from_stream != 0
    }

    /// True on a replica, unless the command came from its master; the client gets the error reply.
    /// The server itself refuses writes on a replica too, but not with `replica-read-only no`.
    pub fn is_refused_on_replica(&self, what: &str) -> bool {
        let refused =
            self.ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0 && !self.is_from_stream();
        if refused {
            let text = format!("READONLY {what} on the master, this server is a replica");
            self.reply.error_with_code(&text);
        }
        refused
    }

    /// Replies that the prefix is not registered in the selected database.
    pub fn no_registration(&self, backlog: &Backlog, prefix: &[u8]) {
        let others: Vec<String> =
            backlog.registry.databases_of(prefix).map(|db| db.to_string()).collect();
        let hint = match others.as_slice() {
            [] => "WB.STATUS lists the prefixes of all databases".to_owned(),
            [db] => format!("it is registered in database {db}, SELECT that one"),
            some => format!("it is registered in databases {}, SELECT one", some.join(", ")),
        };
        let (prefix, db) = (printable(prefix), self.db);
        self.reply.error(&format!("no registration of prefix '{prefix}' in database {db}: {hint}"));
    }
}
