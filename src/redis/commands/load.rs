//! WB.LOAD: warms Redis from MongoDB.

use crate::core::registration::args;
use crate::mongo::read::json;
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, ArgKind, DANGEROUS, Spec, arg, flag, option};

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.LOAD",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -2,
    summary: c"Stores the documents of a prefix as keys, in the background.",
    complexity: c"O(N) where N is the number of registrations; the load, of documents",
    since: c"0.1.0",
    args: &[
        arg(c"prefix", ArgKind::Text),
        option(c"filter", c"FILTER", ArgKind::Text),
        option(c"sort", c"SORT", ArgKind::Text),
        option(c"limit", c"LIMIT", ArgKind::Number),
        option(c"ttl-seconds", c"TTL", ArgKind::Number),
        flag(c"replace", c"REPLACE"),
    ],
    keys: None,
    syntax: &[
        "LOAD <prefix> [FILTER <json>] [SORT <json>] [LIMIT <n>]",
        "     [TTL <seconds>] [REPLACE]",
    ],
    help: &[
        "Store the documents of the prefix as keys, in the background. Keys that exist stay,",
        "unless REPLACE is given; what is dirty always stays. WB.STATUS shows how far.",
    ],
};

/// Runs the command. The event loop stores the documents in the background.
fn command(call: &Call<'_>) {
    let prefix = call.first_argument();
    if call.is_refused_on_replica("documents are loaded") {
        return;
    }
    let options = match args::load::parse(call.subarguments()) {
        Ok(options) => options,
        Err(error) => return call.reply.error(&error),
    };
    for (option, text) in [("FILTER", &options.filter), ("SORT", &options.sort)] {
        if let Err(why) = json::document(text) {
            return call.reply.error(&format!("{option} takes a JSON object, and {why}"));
        }
    }
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let Some(id) = backlog.registry.find_live(call.db, prefix) else {
        return call.no_registration(&backlog, prefix);
    };
    if let Err(error) = backlog.begin_load(id, options) {
        return call.reply.error(&error);
    }
    drop(backlog);
    call.ctx.replicate_verbatim();
    call.reply.ok();
}
