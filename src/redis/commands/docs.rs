//! Passes the declarations of commands to the server, which replies with them to COMMAND DOCS and
//! COMMAND INFO.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use crate::redis::api::context::Ctx;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::command_spec::{Arg, ArgKind, KeySpec, Spec};

/// Describes a registered command to the server; false if the server refuses.
pub fn describe(ctx: Ctx<'_>, spec: &Spec) -> bool {
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut keep = Vec::new();
    let mut keys = [spec.keys.map_or(END_OF_KEYS, key_spec), END_OF_KEYS];
    let mut info = raw::RedisModuleCommandInfo {
        version: &raw const version,
        summary: spec.summary.as_ptr(),
        complexity: spec.complexity.as_ptr(),
        since: spec.since.as_ptr(),
        history: ptr::null_mut(),
        tips: ptr::null(),
        arity: spec.arity,
        key_specs: if spec.keys.is_some() { keys.as_mut_ptr() } else { ptr::null_mut() },
        args: if spec.args.is_empty() { ptr::null_mut() } else { raw_args(spec.args, &mut keep) },
    };
    // SAFETY: called in RedisModule_OnLoad with its context; the server copies everything that
    // the description points to, all of which lives until after the call.
    unsafe {
        let command = api!(RedisModule_GetCommand)(ctx.raw(), spec.name.as_ptr());
        !command.is_null()
            && api!(RedisModule_SetCommandInfo)(command, &raw mut info)
                == raw::REDISMODULE_OK as c_int
    }
}

/// The entry that ends a list of key specifications: it has no flags and no search type.
const END_OF_KEYS: raw::RedisModuleCommandKeySpec =
    // SAFETY: all zeros are valid for numbers, null pointers and the unions of them.
    unsafe { std::mem::zeroed() };

/// The key specification: where the server finds the keys of a command.
fn key_spec(keys: KeySpec) -> raw::RedisModuleCommandKeySpec {
    let mut spec = END_OF_KEYS;
    spec.flags = u64::from(raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS);
    if keys == KeySpec::Inner {
        // The server asks the module for all of them.
        let any = raw::REDISMODULE_CMD_KEY_RW
            | raw::REDISMODULE_CMD_KEY_ACCESS
            | raw::REDISMODULE_CMD_KEY_UPDATE
            | raw::REDISMODULE_CMD_KEY_INCOMPLETE;
        spec.flags = u64::from(any);
    }
    // The keys follow a keyword anywhere after the command's name.
    let keyword = match keys {
        KeySpec::Counted => Some((c"KEYS", 1)),
        KeySpec::BehindKey => Some((c"KEY", 2)),
        KeySpec::First | KeySpec::Inner => None,
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
        let pos = if keys == KeySpec::Inner { 2 } else { 1 };
        spec.bs.index = raw::RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_1 { pos };
    }
    if matches!(keys, KeySpec::Counted) {
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

/// The server's form of `args`, with a final entry without a name. `keep` owns every array; the
/// arrays do not move when it grows.
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
            key_spec_index: if matches!(arg.kind, ArgKind::Key) { 0 } else { -1 },
            token,
            summary: ptr::null(),
            since: ptr::null(),
            flags: raw_flags(arg),
            deprecated_since: ptr::null(),
            subargs,
            display_text: ptr::null(),
        });
    }
    // SAFETY: all zeros are valid for null pointers and numbers; the entry marks the end.
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

fn raw_kind(kind: ArgKind) -> raw::RedisModuleCommandArgType {
    match kind {
        ArgKind::Text => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        ArgKind::Number => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        ArgKind::Key => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        ArgKind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        ArgKind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        ArgKind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
    }
}
