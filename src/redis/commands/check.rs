//! WB.CHECK: checks whether a MongoDB deployment can be used, and reports its version and topology.
//! It blocks the client, not the server.

use std::ffi::c_int;

use crate::core::delivery::deployment::{Checkup, Rights};
use crate::mongo::uri;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::{broken_error, guard};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::reply::{REPLIED, Reply};
use crate::redis::call::Call;
use crate::redis::check_clients::free_checkup;
use crate::redis::command_spec::{Arg, ArgKind, Spec, arg};
use crate::worker::{CheckRequest, UriSource};

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.CHECK",
    run: Some(command),
    flags: c"readonly admin blocking allow-stale no-mandatory-keys",
    acl: c"admin dangerous blocking",
    arity: -1,
    summary: c"Connects to MongoDB and reports what it is and whether the user may write.",
    complexity: c"O(N) where N is the number of registrations; the client waits for MongoDB",
    since: c"0.1.0",
    args: &[Arg { optional: true, ..arg(c"uri", ArgKind::Text) }],
    keys: None,
    syntax: &["CHECK [<uri>]"],
    help: &["Connect to MongoDB; what is it, and may the user write where the registrations do."],
};

/// Maximum number of concurrent checks; each has a connection of its own.
const MAX_CHECKS: usize = 16;

/// Runs the command.
fn command(call: &Call<'_>) {
    let uri = match call.arguments() {
        [] => call.module.pipeline.sources.borrow().uri_source(),
        [uri] => match uri_argument(uri) {
            Ok(uri) => UriSource::Text(uri),
            Err(error) => return call.reply.error(&error),
        },
        _ => return call.reply.wrong_arity(),
    };
    if !call.may_block() {
        return call
            .reply
            .error("WB.CHECK waits for MongoDB, so it cannot run in MULTI or in a script");
    }
    let module = call.module;
    if module.checks.len() >= MAX_CHECKS {
        return call.reply.error("so many WB.CHECK are under way already; try again in 20 seconds");
    }
    let registrations = {
        let backlog = module.pipeline.backlog.borrow();
        let ids = backlog
            .registry
            .live_ids()
            .filter_map(|registration_id| backlog.registry.at(registration_id));
        ids.map(|active| active.registration.clone()).collect()
    };
    let id = module.checks.next_id();
    let request = CheckRequest { id, uri, registrations };
    if !module.pipeline.worker.borrow().as_ref().is_some_and(|worker| worker.check(request)) {
        return call.reply.error("the background thread has ended; restart the server");
    }
    // The result is handled in a later event-loop iteration, so the client is blocked before it
    // arrives.
    module.checks.add(id, block(call.ctx));
}

fn uri_argument(uri: &[u8]) -> Result<String, String> {
    let uri = std::str::from_utf8(uri).map_err(|_| "the connection string must be UTF-8")?.trim();
    uri::validate_setting(uri)?;
    Ok(uri.to_owned())
}

fn block(ctx: Ctx<'_>) -> *mut raw::RedisModuleBlockedClient {
    // SAFETY: the context is that of a command whose client may be blocked; the callbacks fit.
    // There is no timeout: the worker reports every check within its own time limit.
    unsafe {
        api!(RedisModule_BlockClient)(ctx.raw(), Some(on_checked), None, Some(free_checkup), 0)
    }
}

unsafe extern "C" fn on_checked(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the server's context is valid during the callback.
    let reply = Reply::new(unsafe { Ctx::new(ctx) });
    let replied = guard(false, || {
        // SAFETY: the private data is null or the box that `CheckClients::answer` passed; it is
        // freed after this callback.
        let checkup = unsafe {
            api!(RedisModule_GetBlockedClientPrivateData)(ctx).cast::<Checkup>().as_ref()
        };
        checkup.map(|checkup| write(reply, checkup)).is_some()
    });
    if !replied {
        reply.error(&broken_error());
    }
    REPLIED
}

fn write(reply: Reply<'_>, checkup: &Checkup) {
    reply.map(7);
    reply.number_field(c"ok", u64::from(checkup.error.is_empty()));
    reply.text_field("error", checkup.error.as_bytes());
    reply.text_field("server", checkup.server.as_bytes());
    reply.text_field("topology", checkup.topology.as_bytes());
    reply.text_field("set_name", checkup.set_name.as_bytes());
    reply.bytes(b"rights");
    reply.array(checkup.rights.len());
    for Rights { namespace, missing } in &checkup.rights {
        reply.map(3);
        reply.text_field("namespace", namespace.as_bytes());
        reply.number_field(c"ok", u64::from(missing.is_empty()));
        reply.bytes(b"missing");
        reply.array(missing.len());
        missing.iter().for_each(|action| reply.bytes(action.as_bytes()));
    }
    reply.bytes(b"clock_skew_ms");
    reply.signed(checkup.clock_skew_ms);
}
