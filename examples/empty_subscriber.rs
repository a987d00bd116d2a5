//! A module that only subscribes to keyspace events, with an empty callback: the minimum cost of
//! any module that receives them. `make bench` compares with it.

use std::ffi::{c_char, c_int};

use redis_module::raw::{
    Export_RedisModule_Init, REDISMODULE_APIVER_1, REDISMODULE_ERR, REDISMODULE_NOTIFY_EVICTED,
    REDISMODULE_NOTIFY_EXPIRED, REDISMODULE_NOTIFY_GENERIC, REDISMODULE_NOTIFY_HASH,
    REDISMODULE_NOTIFY_LIST, REDISMODULE_NOTIFY_MODULE, REDISMODULE_NOTIFY_SET,
    REDISMODULE_NOTIFY_STREAM, REDISMODULE_NOTIFY_STRING, REDISMODULE_NOTIFY_ZSET, REDISMODULE_OK,
    RedisModule_SubscribeToKeyspaceEvents, RedisModuleCtx, RedisModuleString,
};

/// The event types that the module subscribes to.
const KINDS: u32 = REDISMODULE_NOTIFY_GENERIC as u32
    | REDISMODULE_NOTIFY_STRING as u32
    | REDISMODULE_NOTIFY_LIST as u32
    | REDISMODULE_NOTIFY_SET as u32
    | REDISMODULE_NOTIFY_HASH as u32
    | REDISMODULE_NOTIFY_ZSET as u32
    | REDISMODULE_NOTIFY_EXPIRED as u32
    | REDISMODULE_NOTIFY_EVICTED as u32
    | REDISMODULE_NOTIFY_STREAM as u32
    | REDISMODULE_NOTIFY_MODULE as u32;

extern "C" fn nothing(
    _: *mut RedisModuleCtx,
    _: c_int,
    _: *const c_char,
    _: *mut RedisModuleString,
) -> c_int {
    REDISMODULE_OK as c_int
}

/// The server calls this function when it loads the library.
///
/// # Safety
/// Only the server calls it, with a context that is valid during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    let name = c"empty".as_ptr();
    // SAFETY: the context is the server's; the table of functions is filled before it is used, on
    // the only thread that uses it.
    let (begun, subscribed) = unsafe {
        let begun = Export_RedisModule_Init(ctx, name, 1, REDISMODULE_APIVER_1 as c_int);
        let subscribe = { RedisModule_SubscribeToKeyspaceEvents };
        (begun, subscribe.map(|subscribe| subscribe(ctx, KINDS as c_int, Some(nothing))))
    };
    let ok = REDISMODULE_OK as c_int;
    if begun == ok && subscribed == Some(ok) { ok } else { REDISMODULE_ERR as c_int }
}
