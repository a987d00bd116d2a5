//! Keys that arrive from another database.
//!
//! Inside MULTI, Valkey 9.1 reports the arrival of MOVE and of COPY … DB in the database that the
//! key came from. So inside MULTI a key that arrives is marked wherever it can be found and a
//! registration has it: one that has not changed is written once more, which changes nothing.

use super::clock;
use super::ctx::{Ctx, Text};
use super::module::Module;
use super::{api, value};
use crate::core::change::Touch;

/// True if nobody can be sure where a key arrives that is reported now.
pub fn is_unsure(ctx: Ctx<'_>) -> bool {
    ctx.flags() & api::REDISMODULE_CTX_FLAGS_MULTI != 0
}

/// The key has arrived in some database.
pub fn mark(module: &Module, ctx: Ctx<'_>, key: &[u8]) {
    let name = Text::new(key);
    let dbs = module.engine.borrow().dbs_of(key);
    let own = ctx.db();
    for db in dbs {
        ctx.select(db);
        if !value::exists(module, ctx, &name) {
            continue;
        }
        let mut engine = module.engine.borrow_mut();
        if engine.touch(db, key, Touch::Timed) {
            engine.fold(clock::now_us());
        }
    }
    ctx.select(own);
}
