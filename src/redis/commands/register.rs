//! WB.REGISTER: binds a prefix to a namespace.

use super::Call;
use crate::core::args;
use crate::redis::module::Module;
use crate::redis::{log, tick};

/// Runs the command.
pub fn command(call: &Call<'_>) {
    if call.words.len() < 3 {
        return call.reply.wrong_arity();
    }
    if call.is_refused_on_replica("registrations are made") {
        return;
    }
    let first = call.module.engine.borrow().is_blank();
    match run(call.module, call.db, call.arguments()) {
        Ok(_) => {
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

/// Carries out the words behind WB.REGISTER.
///
/// # Errors
/// One sentence that names the argument and what it takes; nothing has changed then.
pub fn run(module: &Module, db: u16, words: &[&[u8]]) -> Result<u16, String> {
    let (registration, sync) = args::register(db, words)?;
    let mut engine = module.engine.borrow_mut();
    let slot = engine.register(registration);
    let slot = slot.ok_or("there are 65,535 registrations already, and no more are possible")?;
    if sync {
        engine.begin_sync(slot);
        module.syncs.borrow_mut().restart(slot);
    }
    drop(engine);
    tick::plan(module);
    Ok(slot)
}
