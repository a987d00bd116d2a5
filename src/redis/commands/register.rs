//! WB.REGISTER: binds a prefix to a namespace.

use super::warning;
use crate::core::registration::args;
use crate::redis::api::log;
use crate::redis::api::raw::{REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_REPLICATED};
use crate::redis::call::Call;
use crate::redis::state::Module;

/// Runs the command.
pub fn command(call: &Call<'_>) {
    if call.words.len() < 3 {
        return call.reply.wrong_arity();
    }
    if call.is_refused_on_replica("registrations are made") {
        return;
    }
    let first = call.module.pipeline.backlog.borrow().is_blank();
    let source = Source::of(call);
    match run(call.module, call.db, call.arguments(), source) {
        Ok(slot) => {
            let left_behind = call.module.pipeline.backlog.borrow().key_warning(slot);
            if let Some(warning) = left_behind.filter(|_| source != Source::Aof) {
                log::warning(&warning);
            }
            if first {
                log::notice(
                    "from now on the RDB, the AOF and the replication stream hold registrations: \
                     load the module on replicas, and on any server that is to load this data, \
                     before they need it",
                );
            }
            call.ctx.replicate_verbatim();
            call.reply.ok();
        }
        Err(error) => call.reply.error(&error),
    }
}

/// Where a registration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client, or the file of registrations.
    Operator,
    /// The master, which has accepted it.
    Master,
    /// The AOF: it was accepted before, and warnings are logged when all is loaded.
    Aof,
}

impl Source {
    fn of(call: &Call<'_>) -> Source {
        let flags = call.ctx.flags();
        if flags & REDISMODULE_CTX_FLAGS_LOADING != 0 {
            Source::Aof
        } else if flags & REDISMODULE_CTX_FLAGS_REPLICATED != 0 {
            Source::Master
        } else {
            Source::Operator
        }
    }
}

/// Carries out the words behind WB.REGISTER.
///
/// # Errors
/// One sentence that names the argument and what it takes, or the registration that has the collection
/// already; nothing has changed then.
pub fn run(module: &Module, db: u16, words: &[&[u8]], source: Source) -> Result<u16, String> {
    let (registration, sync) = match source {
        Source::Operator => args::register(db, words)?,
        Source::Master | Source::Aof => args::registered(db, words)?,
    };
    if let Some(warning) = warning::of_star(&registration).filter(|_| source != Source::Aof) {
        log::warning(&warning);
    }
    if source != Source::Aof
        && let Some(clash) = module.pipeline.backlog.borrow().clash(&registration)
    {
        if source == Source::Operator {
            return Err(clash);
        }
        log::warning(&format!("the master registers two prefixes for one collection: {clash}"));
    }
    let mut backlog = module.pipeline.backlog.borrow_mut();
    let slot = backlog.register(registration);
    let slot = slot.ok_or("there are 65,535 registrations already, and no more are possible")?;
    if sync {
        backlog.begin_sync(slot);
        module.scans.restart(slot);
    }
    drop(backlog);
    Ok(slot)
}
