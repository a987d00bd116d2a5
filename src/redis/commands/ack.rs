//! WB._ACK: keys that MongoDB has in their latest state. The master replicates it; replicas and
//! the AOF loader obey it, clients are refused.

use super::Call;
use crate::redis::api::{REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_REPLICATED};
use crate::redis::clock;

/// Runs the command.
pub fn command(call: &Call<'_>) {
    let obeyed = REDISMODULE_CTX_FLAGS_REPLICATED | REDISMODULE_CTX_FLAGS_LOADING;
    if call.ctx.flags() & obeyed == 0 {
        return call
            .reply
            .error("WB._ACK is for the replication stream and the AOF only; nothing was changed");
    }
    let mut engine = call.module.engine.borrow_mut();
    // What stands before it in the stream comes first here, too.
    engine.fold(clock::now_us());
    for key in call.arguments() {
        engine.forget(call.ctx.db(), key);
    }
    drop(engine);
    call.ctx.replicate_verbatim();
    call.reply.ok();
}
