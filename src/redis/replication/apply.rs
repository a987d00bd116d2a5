//! The internal commands that the master writes to the replication stream and the AOF. Replicas and
//! the AOF loader apply them; clients get an error.

use std::ffi::{CStr, c_int};

use crate::core::backlog::stream_words::{LoadedValue, StreamCommand, Word, read};
use crate::core::registration::printable::printable;
use crate::redis::api::context::Text;
use crate::redis::api::{clock, log};
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, DANGEROUS, Spec};
use crate::redis::retain::last_value;
use crate::redis::store::{NotStored, store};

/// The declaration shared by all internal commands: COMMAND DOCS shows no arguments, and WB.HELP
/// does not list them.
const fn internal(
    name: &'static CStr,
    run: fn(&Call<'_>),
    arity: c_int,
    summary: &'static CStr,
) -> Spec {
    Spec {
        name,
        run: Some(run),
        flags: ADMIN,
        acl: DANGEROUS,
        arity,
        summary,
        complexity: c"O(N) where N is the number of keys",
        since: c"0.1.0",
        args: &[],
        keys: None,
        syntax: &[],
        help: &[],
    }
}

/// Applies an internal command and replicates it to this server's own replicas and AOF; refuses
/// clients.
fn apply(call: &Call<'_>, word: Word) {
    if !call.is_from_stream() {
        let name = call.words.first().copied().unwrap_or_default();
        let name = printable(name).to_ascii_uppercase();
        return call.reply.error(&format!(
            "{name} is for the replication stream and the AOF only; nothing was changed"
        ));
    }
    if word != Word::Gone {
        call.module.units.end();
    }
    match read(word, call.arguments()) {
        Some(StreamCommand::Gone { kind, key }) => {
            let joins = || call.module.units.joins(call.ctx);
            let pipeline = &call.module.pipeline;
            last_value::apply_removal_marker(pipeline, call.ctx, (call.db, key), kind, joins);
        }
        Some(StreamCommand::Loaded(values)) => {
            for LoadedValue { key, content, expire_ms, value } in values {
                let (pipeline, name) = (&call.module.pipeline, Text::new(key));
                // The master has taken the value, so a refusal is of another version of the server.
                let stored = store(pipeline, call.ctx, (&name, true), (content, value), expire_ms);
                if let Err(NotStored::Refused(error)) = stored {
                    log::warning(&format!("a key that the master has loaded is missing: {error}"));
                }
            }
        }
        Some(command) => {
            call.module.pipeline.backlog.borrow_mut().apply(call.db, command, clock::now());
        }
        None => {}
    }
    call.ctx.replicate_verbatim();
    call.reply.ok();
}

/// `WB._ACK`.
pub const ACK: Spec = internal(
    Word::Ack.name(),
    |call| apply(call, Word::Ack),
    -1,
    c"Internal: an acknowledgement in the replication stream and the AOF.",
);

/// `WB._DEAD`.
pub const DEAD: Spec = internal(
    Word::Dead.name(),
    |call| apply(call, Word::Dead),
    8,
    c"Internal: MongoDB refuses the last change of a key.",
);

/// `WB._GONE`.
pub const GONE: Spec = internal(
    Word::Gone.name(),
    |call| apply(call, Word::Gone),
    3,
    c"Internal: a key expires or is evicted.",
);

/// `WB._LANES`.
pub const LANES: Spec = internal(
    Word::Sessions.name(),
    |call| apply(call, Word::Sessions),
    2,
    c"Internal: the MongoDB sessions in which the master writes.",
);

/// `WB._LEASE`.
pub const LEASE: Spec = internal(
    Word::Lease.name(),
    |call| apply(call, Word::Lease),
    5,
    c"Internal: the lease of the master.",
);

/// `WB._LEFT`.
pub const LEFT: Spec = internal(
    Word::Left.name(),
    |call| apply(call, Word::Left),
    2,
    c"Internal: a key leaves for another node of the cluster.",
);

/// `WB._REVISION`.
pub const REVISION: Spec = internal(
    Word::Revision.name(),
    |call| apply(call, Word::Revision),
    -4,
    c"Internal: the revision of a registration in a cluster.",
);

/// `WB._LOADED`.
pub const LOADED: Spec = internal(
    Word::Loaded.name(),
    |call| apply(call, Word::Loaded),
    -1,
    c"Internal: values that were loaded from MongoDB.",
);

/// `WB._LOADING`.
pub const LOADING: Spec = internal(
    Word::Loading.name(),
    |call| apply(call, Word::Loading),
    4,
    c"Internal: how far the load of a prefix is.",
);

/// `WB._SCAN`.
pub const SCAN: Spec = internal(
    Word::Scan.name(),
    |call| apply(call, Word::Scan),
    2,
    c"Internal: the marking of a prefix's existing keys begins.",
);

/// `WB._MARK`.
pub const MARK: Spec = internal(
    Word::Mark.name(),
    |call| apply(call, Word::Mark),
    -1,
    c"Internal: keys that are dirty without having changed.",
);

/// `WB._SYNCED`.
pub const SYNCED: Spec = internal(
    Word::Synced.name(),
    |call| apply(call, Word::Synced),
    2,
    c"Internal: the existing keys of a prefix are marked.",
);

/// `WB._DIGEST`: a hexadecimal digest that is equal on servers with the same dirty keys. Open to
/// clients, to compare a replica with its master.
pub const DIGEST: Spec = Spec {
    flags: c"readonly admin no-mandatory-keys",
    ..internal(c"WB._DIGEST", digest, 1, c"Internal: a digest of the dirty keys.")
};

fn digest(call: &Call<'_>) {
    let digest = call.module.pipeline.backlog.borrow_mut().digest(clock::now_us());
    call.reply.bytes(format!("{digest:016x}").as_bytes());
}
