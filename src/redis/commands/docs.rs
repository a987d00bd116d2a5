//! What COMMAND DOCS and COMMAND INFO tell of each command.

mod operator;

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use crate::redis::api::context::Ctx;
use crate::redis::api::raw;
use crate::redis::api::raw::api;

/// An argument of a command.
struct Arg {
    name: &'static CStr,
    kind: Kind,
    token: Option<&'static CStr>,
    optional: bool,
    multiple: bool,
    /// Alternatives, or parts of a block.
    parts: &'static [Arg],
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Key,
    /// The token alone.
    Token,
    OneOf,
    Block,
}

const fn arg(name: &'static CStr, kind: Kind) -> Arg {
    Arg { name, kind, token: None, optional: false, multiple: false, parts: &[] }
}

const fn option(name: &'static CStr, token: &'static CStr, kind: Kind) -> Arg {
    Arg { token: Some(token), optional: true, ..arg(name, kind) }
}

const fn word(name: &'static CStr, token: &'static CStr) -> Arg {
    Arg { token: Some(token), ..arg(name, Kind::Token) }
}

const fn choice(name: &'static CStr, token: &'static CStr, parts: &'static [Arg]) -> Arg {
    Arg { parts, ..option(name, token, Kind::OneOf) }
}

const DELETE_OR_KEEP: &[Arg] = &[word(c"delete", c"DELETE"), word(c"keep", c"KEEP")];

const REGISTER: &[Arg] = &[
    arg(c"prefix", Kind::Text),
    arg(c"namespace", Kind::Text),
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
            Arg { optional: false, ..option(c"field", c"KEY", Kind::Text) },
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
            Arg { optional: true, ..word(c"whole", c"WHOLE") },
        ],
        ..arg(c"key", Kind::Block)
    },
    choice(c"write", c"WRITE", &[word(c"replace", c"REPLACE"), word(c"merge", c"MERGE")]),
    choice(c"ondel", c"ONDEL", DELETE_OR_KEEP),
    choice(c"onexpire", c"ONEXPIRE", DELETE_OR_KEEP),
    choice(c"onevict", c"ONEVICT", DELETE_OR_KEEP),
    option(c"ttl-field", c"TTLFIELD", Kind::Text),
    Arg {
        token: Some(c"EXCLUDE"),
        optional: true,
        parts: &[
            arg(c"numglobs", Kind::Number),
            Arg { multiple: true, ..arg(c"glob", Kind::Text) },
        ],
        ..arg(c"exclude", Kind::Block)
    },
    Arg { optional: true, ..word(c"shared", c"SHARED") },
    Arg { optional: true, ..word(c"unwrap", c"UNWRAP") },
    choice(
        c"onerror",
        c"ONERROR",
        &[word(c"deadletter", c"DEADLETTER"), word(c"string", c"STRING"), word(c"skip", c"SKIP")],
    ),
    option(c"interval-ms", c"INTERVAL", Kind::Number),
    option(c"batch-keys", c"BATCH", Kind::Number),
    Arg { optional: true, ..word(c"sync", c"SYNC") },
    Arg {
        token: Some(c"SCHEMA"),
        optional: true,
        multiple: true,
        parts: &[
            arg(c"field", Kind::Text),
            Arg { parts: FIELD_TYPES, ..arg(c"field-type", Kind::OneOf) },
            option(c"name", c"AS", Kind::Text),
        ],
        ..arg(c"schema", Kind::Block)
    },
];

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

const UNREGISTER: &[Arg] =
    &[arg(c"prefix", Kind::Text), Arg { optional: true, ..word(c"discard", c"DISCARD") }];

const PREFIX: Arg = Arg { optional: true, ..arg(c"prefix", Kind::Text) };

const FLUSH: &[Arg] = &[
    PREFIX,
    Arg {
        token: Some(c"KEYS"),
        optional: true,
        parts: &[arg(c"numkeys", Kind::Number), Arg { multiple: true, ..arg(c"key", Kind::Key) }],
        ..arg(c"keys", Kind::Block)
    },
    option(c"timeout-ms", c"TIMEOUT", Kind::Number),
];

/// Where a command's keys stand.
#[derive(Clone, Copy)]
enum Keys {
    /// `KEYS <n> <key> ...`
    Counted,
    /// `KEY <key>`
    BehindKey,
    /// The first word is the key.
    First,
}

struct Doc {
    name: &'static CStr,
    summary: &'static CStr,
    complexity: &'static CStr,
    arity: c_int,
    args: &'static [Arg],
    keys: Option<Keys>,
}

const fn internal(name: &'static CStr, summary: &'static CStr, arity: c_int) -> Doc {
    let complexity = c"O(N) where N is the number of keys";
    Doc { name, summary, complexity, arity, args: &[], keys: None }
}

const DOCS: [Doc; 13] = [
    Doc {
        name: c"WB.REGISTER",
        summary: c"Writes every change of keys under a prefix to a MongoDB collection.",
        complexity: c"O(N) where N is the number of registrations",
        arity: -3,
        args: REGISTER,
        keys: None,
    },
    Doc {
        name: c"WB.UNREGISTER",
        summary: c"Stops capturing a prefix; what is dirty is still written, or dropped.",
        complexity: c"O(N) where N is the number of registrations, with DISCARD of dirty keys",
        arity: -2,
        args: UNREGISTER,
        keys: None,
    },
    Doc {
        name: c"WB.STATUS",
        summary: c"Tells whether MongoDB is reached, how far it is behind, and why.",
        complexity: c"O(N) where N is the number of registrations",
        arity: -1,
        args: &[PREFIX],
        keys: None,
    },
    Doc {
        name: c"WB.FLUSH",
        summary: c"Writes what is dirty at once and replies when MongoDB has acknowledged it.",
        complexity: c"O(N) where N is the number of registrations or of keys given",
        arity: -1,
        args: FLUSH,
        keys: Some(Keys::Counted),
    },
    Doc {
        name: c"WB.HELP",
        summary: c"Lists the commands and their options.",
        complexity: c"O(1)",
        arity: 1,
        args: &[],
        keys: None,
    },
    internal(
        c"WB._ACK",
        c"Internal: an acknowledgement in the replication stream and the AOF.",
        -1,
    ),
    internal(c"WB._DEAD", c"Internal: MongoDB refuses the last change of a key.", 8),
    internal(c"WB._GONE", c"Internal: a key expires or is evicted.", 3),
    internal(c"WB._LANES", c"Internal: the MongoDB sessions in which the master writes.", 2),
    internal(c"WB._SCAN", c"Internal: the marking of a prefix's existing keys begins.", 2),
    internal(c"WB._MARK", c"Internal: keys that are dirty without having changed.", -1),
    internal(c"WB._SYNCED", c"Internal: the existing keys of a prefix are marked.", 2),
    internal(c"WB._DIGEST", c"Internal: a digest of the dirty keys.", 1),
];

/// Describes every command to the server.
///
/// # Errors
/// One sentence when the server refuses a description.
pub fn register(ctx: Ctx<'_>) -> Result<(), String> {
    for doc in DOCS.iter().chain(&operator::DOCS) {
        if !describe(ctx, doc) {
            let name = doc.name.to_string_lossy();
            return Err(format!("the server refuses the description of {name}"));
        }
    }
    Ok(())
}

fn describe(ctx: Ctx<'_>, doc: &Doc) -> bool {
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut keep = Vec::new();
    let mut keys = [doc.keys.map_or(END_OF_KEYS, key_spec), END_OF_KEYS];
    let mut info = raw::RedisModuleCommandInfo {
        version: &raw const version,
        summary: doc.summary.as_ptr(),
        complexity: doc.complexity.as_ptr(),
        since: c"0.1.0".as_ptr(),
        history: ptr::null_mut(),
        tips: ptr::null(),
        arity: doc.arity,
        key_specs: if doc.keys.is_some() { keys.as_mut_ptr() } else { ptr::null_mut() },
        args: if doc.args.is_empty() { ptr::null_mut() } else { raw_args(doc.args, &mut keep) },
    };
    // SAFETY: called in RedisModule_OnLoad with its context; the server copies everything that
    // the description points to, all of which lives until after the call.
    unsafe {
        let command = api!(RedisModule_GetCommand)(ctx.raw(), doc.name.as_ptr());
        !command.is_null()
            && api!(RedisModule_SetCommandInfo)(command, &raw mut info)
                == raw::REDISMODULE_OK as c_int
    }
}

/// The end of a list of key specifications is one without flags and search.
const END_OF_KEYS: raw::RedisModuleCommandKeySpec =
    // SAFETY: all zeros are valid for numbers, null pointers and the unions of them.
    unsafe { std::mem::zeroed() };

/// Where the server looks for the keys of a command.
fn key_spec(keys: Keys) -> raw::RedisModuleCommandKeySpec {
    let mut spec = END_OF_KEYS;
    spec.flags = u64::from(raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS);
    // Behind a word that stands anywhere behind the command's name.
    let keyword = match keys {
        Keys::Counted => Some((c"KEYS", 1)),
        Keys::BehindKey => Some((c"KEY", 2)),
        Keys::First => None,
    };
    if let Some((keyword, startfrom)) = keyword {
        spec.begin_search_type =
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_KEYWORD;
        spec.bs.keyword = raw::RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_2 {
            keyword: keyword.as_ptr(),
            startfrom,
        };
    } else {
        spec.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        spec.bs.index = raw::RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_1 { pos: 1 };
    }
    if matches!(keys, Keys::Counted) {
        spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM;
        spec.fk.keynum = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_2 {
            keynumidx: 0,
            firstkey: 1,
            keystep: 1,
        };
    } else {
        spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
        spec.fk.range = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
            lastkey: 0,
            keystep: 1,
            limit: 0,
        };
    }
    spec
}

/// The server's form of `args`, with a final entry without a name. Every array stays in `keep`,
/// whose elements do not move.
fn raw_args(
    args: &[Arg],
    keep: &mut Vec<Box<[raw::RedisModuleCommandArg]>>,
) -> *mut raw::RedisModuleCommandArg {
    let mut raw: Vec<raw::RedisModuleCommandArg> = Vec::with_capacity(args.len() + 1);
    for arg in args {
        let subargs =
            if arg.parts.is_empty() { ptr::null_mut() } else { raw_args(arg.parts, keep) };
        let token: *const c_char = arg.token.map_or(ptr::null(), CStr::as_ptr);
        raw.push(raw::RedisModuleCommandArg {
            name: arg.name.as_ptr(),
            type_: raw_kind(arg.kind),
            key_spec_index: if matches!(arg.kind, Kind::Key) { 0 } else { -1 },
            token,
            summary: ptr::null(),
            since: ptr::null(),
            flags: raw_flags(arg),
            deprecated_since: ptr::null(),
            subargs,
            display_text: ptr::null(),
        });
    }
    // SAFETY: all zeros are valid for null pointers and numbers; it marks the end.
    raw.push(unsafe { std::mem::zeroed() });
    keep.push(raw.into_boxed_slice());
    keep.last_mut().map_or(ptr::null_mut(), |args| args.as_mut_ptr())
}

fn raw_flags(arg: &Arg) -> c_int {
    let mut flags = raw::REDISMODULE_CMD_ARG_NONE;
    if arg.optional {
        flags |= raw::REDISMODULE_CMD_ARG_OPTIONAL;
    }
    if arg.multiple {
        flags |= raw::REDISMODULE_CMD_ARG_MULTIPLE;
    }
    flags as c_int
}

fn raw_kind(kind: Kind) -> raw::RedisModuleCommandArgType {
    match kind {
        Kind::Text => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        Kind::Number => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        Kind::Key => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        Kind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        Kind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        Kind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
    }
}
