//! WB.REGISTER: registers a prefix for a namespace.

use super::revise::revise;
use super::warning;
use crate::core::cluster::agreed::Mark;
use crate::core::ids::{Db, RegistrationId};
use crate::core::registration::args;
use crate::redis::api::raw::{REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_REPLICATED};
use crate::redis::api::{held_client, log};
use crate::redis::call::Call;
use crate::redis::command_spec::{
    ADMIN, Arg, ArgKind, DANGEROUS, Spec, arg, behind, choice, flag, option, word,
};
use crate::redis::state::Module;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.REGISTER",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -3,
    summary: c"Writes every change of keys under a prefix to a MongoDB collection.",
    complexity: c"O(N) where N is the number of registrations",
    since: c"0.1.0",
    args: ARGS,
    keys: None,
    syntax: &[
        "REGISTER <prefix> <database.collection>",
        "         [TYPE ANY|HASH|JSON|STRING|LIST|SET|ZSET|STREAM]",
        "         [KEY <field> [AS STRING|INT64|OBJECTID|UUID] [WHOLE]]",
        "         [WRITE REPLACE|MERGE] [ATOMIC SPLIT|WHOLE|NONE]",
        "         [ONDEL DELETE|KEEP] [ONEXPIRE KEEP|DELETE] [ONEVICT KEEP|DELETE]",
        "         [TTLFIELD <field>] [EXCLUDE <n> <glob> ...] [SHARED] [UNWRAP]",
        "         [MODE BEHIND|THROUGH [TIMEOUT <ms>]]",
        "         [READTHROUGH [TTL <seconds>] [JITTER <percent>] [ABSENT <ms>]]",
        "         [ONERROR DEADLETTER|STRING|SKIP] [INTERVAL <ms>] [BATCH <keys>] [SYNC]",
        "         [SCHEMA <field|*> <type> [AS <name>] ...]",
    ],
    help: &[
        "Write every change of keys under the prefix to the MongoDB collection.",
        "MODE THROUGH: a client that writes gets its reply when MongoDB has what it wrote.",
        "READTHROUGH loads a key that Redis does not have when a client reads it; it needs a TYPE.",
        "ATOMIC is about keys that one MULTI or script changes: they are written in one",
        "transaction of MongoDB. If that is impossible, SPLIT writes the others, WHOLE waits.",
        "SCHEMA comes last. Its types: STRING, INT64, DOUBLE, DECIMAL, BOOL, DATE, DATE_S,",
        "DATE_MS, OBJECTID, UUID, BINARY, JSON, AUTO, SKIP.",
        "A field is a hash's, or a path of JSON (address.zip).",
    ],
};

const ARGS: &[Arg] = &[
    arg(c"prefix", ArgKind::Text),
    arg(c"namespace", ArgKind::Text),
    choice(
        c"type",
        c"TYPE",
        &[
            word(c"any", c"ANY"),
            word(c"hash", c"HASH"),
            word(c"json", c"JSON"),
            word(c"string", c"STRING"),
            word(c"list", c"LIST"),
            word(c"set", c"SET"),
            word(c"zset", c"ZSET"),
            word(c"stream", c"STREAM"),
        ],
    ),
    Arg {
        optional: true,
        parts: &[
            behind(c"field", c"KEY", ArgKind::Text),
            choice(
                c"as",
                c"AS",
                &[
                    word(c"string", c"STRING"),
                    word(c"int64", c"INT64"),
                    word(c"objectid", c"OBJECTID"),
                    word(c"uuid", c"UUID"),
                ],
            ),
            flag(c"whole", c"WHOLE"),
        ],
        ..arg(c"key", ArgKind::Block)
    },
    choice(c"write", c"WRITE", &[word(c"replace", c"REPLACE"), word(c"merge", c"MERGE")]),
    choice(
        c"atomic",
        c"ATOMIC",
        &[word(c"split", c"SPLIT"), word(c"whole", c"WHOLE"), word(c"none", c"NONE")],
    ),
    choice(c"ondel", c"ONDEL", DELETE_OR_KEEP),
    choice(c"onexpire", c"ONEXPIRE", DELETE_OR_KEEP),
    choice(c"onevict", c"ONEVICT", DELETE_OR_KEEP),
    option(c"ttl-field", c"TTLFIELD", ArgKind::Text),
    Arg {
        token: Some(c"EXCLUDE"),
        optional: true,
        parts: &[
            arg(c"numglobs", ArgKind::Number),
            Arg { multiple: true, ..arg(c"glob", ArgKind::Text) },
        ],
        ..arg(c"exclude", ArgKind::Block)
    },
    flag(c"shared", c"SHARED"),
    flag(c"unwrap", c"UNWRAP"),
    choice(
        c"onerror",
        c"ONERROR",
        &[word(c"deadletter", c"DEADLETTER"), word(c"string", c"STRING"), word(c"skip", c"SKIP")],
    ),
    Arg {
        token: Some(c"MODE"),
        optional: true,
        parts: &[
            word(c"behind", c"BEHIND"),
            Arg {
                parts: &[
                    word(c"through", c"THROUGH"),
                    option(c"timeout-ms", c"TIMEOUT", ArgKind::Number),
                ],
                ..arg(c"through-block", ArgKind::Block)
            },
        ],
        ..arg(c"mode", ArgKind::OneOf)
    },
    Arg {
        token: Some(c"READTHROUGH"),
        optional: true,
        parts: &[
            option(c"ttl-seconds", c"TTL", ArgKind::Number),
            option(c"jitter-percent", c"JITTER", ArgKind::Number),
            option(c"absent-ms", c"ABSENT", ArgKind::Number),
        ],
        ..arg(c"readthrough", ArgKind::Block)
    },
    option(c"interval-ms", c"INTERVAL", ArgKind::Number),
    option(c"batch-keys", c"BATCH", ArgKind::Number),
    flag(c"sync", c"SYNC"),
    Arg {
        token: Some(c"SCHEMA"),
        optional: true,
        multiple: true,
        parts: &[
            arg(c"field", ArgKind::Text),
            Arg { parts: FIELD_TYPES, ..arg(c"field-type", ArgKind::OneOf) },
            option(c"name", c"AS", ArgKind::Text),
        ],
        ..arg(c"schema", ArgKind::Block)
    },
];

const DELETE_OR_KEEP: &[Arg] = &[word(c"delete", c"DELETE"), word(c"keep", c"KEEP")];

const FIELD_TYPES: &[Arg] = &[
    word(c"string", c"STRING"),
    word(c"int64", c"INT64"),
    word(c"double", c"DOUBLE"),
    word(c"decimal", c"DECIMAL"),
    word(c"bool", c"BOOL"),
    word(c"date", c"DATE"),
    word(c"date-s", c"DATE_S"),
    word(c"date-ms", c"DATE_MS"),
    word(c"objectid", c"OBJECTID"),
    word(c"uuid", c"UUID"),
    word(c"binary", c"BINARY"),
    word(c"json", c"JSON"),
    word(c"auto", c"AUTO"),
    word(c"skip", c"SKIP"),
];

/// Runs the command.
fn command(call: &Call<'_>) {
    if call.is_refused_on_replica("registrations are made") {
        return;
    }
    let first = call.module.pipeline.backlog.borrow().is_blank();
    let source = Source::of(call);
    let is = |word: &&[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
    let holds = |word: &&[u8]| is(word, b"READTHROUGH") || is(word, b"THROUGH");
    let holds = source == Source::Operator && call.arguments().iter().any(holds);
    if holds && !held_client::is_possible() {
        return call
            .reply
            .error("READTHROUGH and MODE THROUGH need Redis 7.0.6 or newer, or Valkey");
    }
    if holds && !call.module.through.filter.learn(call.ctx) {
        return call.reply.error(
            "READTHROUGH and MODE THROUGH need the server's commands COMMAND, which tells where the keys of commands \
             are, and CLIENT UNBLOCK: do not rename them",
        );
    }
    match run(call.module, call.db, call.arguments(), source) {
        Ok(Registered { id, mark }) => {
            let key_warning = call.module.pipeline.backlog.borrow().key_warning(id);
            if let Some(warning) = key_warning.filter(|_| source != Source::Aof) {
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
            if let Some(mark) = mark {
                revise(call, Some((call.db, call.first_argument().to_vec())), mark);
            }
            call.reply.ok();
        }
        Err(error) => call.reply.error(&error),
    }
}

/// Where a registration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client, or the registrations file.
    Operator,
    /// The master, which has accepted it already.
    Master,
    /// Another node of the cluster, which has accepted it already.
    Node,
    /// The AOF: it was accepted before, and warnings are logged when loading is complete.
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

/// What a registration has done.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// Its id.
    pub id: RegistrationId,
    /// What is new for the other nodes of a cluster; nothing if the options are those that the prefix had.
    pub mark: Option<Mark>,
}

/// Executes WB.REGISTER with these arguments.
///
/// # Errors
/// One sentence that names the argument and its allowed values, or the registration that has the
/// collection already; nothing has changed then.
pub fn run(module: &Module, db: Db, words: &[&[u8]], source: Source) -> Result<Registered, String> {
    let (registration, sync) = match source {
        Source::Operator => args::register(db, words)?,
        Source::Master | Source::Node | Source::Aof => args::registered(db, words)?,
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
        let other =
            if source == Source::Node { "another node of the cluster" } else { "the master" };
        log::warning(&format!("{other} registers two prefixes for one collection: {clash}"));
    }
    let mut backlog = module.pipeline.backlog.borrow_mut();
    let mark = match sync {
        true => Some(Mark::Synced),
        false => (!backlog.is_registered_as(&registration)).then_some(Mark::Registered),
    };
    let id = backlog.register(registration);
    let id = id.ok_or("there are 65,535 registrations already, and no more are possible")?;
    if sync {
        backlog.begin_sync(id);
        module.scans.restart(id);
    }
    drop(backlog);
    Ok(Registered { id, mark })
}
