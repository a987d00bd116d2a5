//! The call of a command.

use super::api::context::Ctx;
use super::api::raw;
use super::api::reply::Reply;
use super::state::Module;
use crate::core::backlog::Backlog;
use crate::core::ids::Db;

/// What a command is given.
pub struct Call<'a> {
    /// The module's state.
    pub module: &'static Module,
    /// The context of the call.
    pub ctx: Ctx<'a>,
    /// The selected logical database.
    pub db: Db,
    /// Answers the client.
    pub reply: Reply<'a>,
    /// The command's words, its name first.
    pub words: Vec<&'a [u8]>,
}

impl Call<'_> {
    /// The words behind the command's name.
    pub fn arguments(&self) -> &[&[u8]] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The word behind the command's name, of a command whose arity asks for one.
    pub fn first_argument(&self) -> &[u8] {
        self.arguments().first().copied().unwrap_or_default()
    }

    /// The words behind the subcommand's name.
    pub fn subarguments(&self) -> &[&[u8]] {
        self.words.get(2..).unwrap_or_default()
    }

    /// True if the command comes out of the replication stream or the AOF, and so was taken once.
    pub fn is_obeyed(&self) -> bool {
        let obeyed = raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.ctx.flags() & obeyed != 0
    }

    /// True on a replica, unless the command is its master's; the client gets the error. The server does
    /// the same, but not with `replica-read-only no`.
    pub fn is_refused_on_replica(&self, what: &str) -> bool {
        let refused = self.ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0 && !self.is_obeyed();
        if refused {
            let text = format!("READONLY {what} on the master, this server is a replica");
            self.reply.error_with_code(&text);
        }
        refused
    }

    /// The prefix is not registered in the selected database.
    pub fn no_registration(&self, backlog: &Backlog, prefix: &[u8]) {
        let others: Vec<String> =
            backlog.registry.databases_of(prefix).map(|db| db.to_string()).collect();
        let hint = match others.as_slice() {
            [] => "WB.STATUS lists the prefixes of all databases".to_owned(),
            [db] => format!("it is registered in database {db}, SELECT that one"),
            some => format!("it is registered in databases {}, SELECT one", some.join(", ")),
        };
        let (prefix, db) = (String::from_utf8_lossy(prefix), self.db);
        self.reply.error(&format!("no registration of prefix '{prefix}' in database {db}: {hint}"));
    }
}
