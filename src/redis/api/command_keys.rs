//! Where the keys of a command are, as the server knows it.

use std::ffi::{c_int, c_void};

use super::context::Ctx;
use super::raw;
use super::raw::api;

/// The positions of the keys among `words`, a command with its name, each with its `REDISMODULE_CMD_KEY_…` flags; none
/// if the server does not know the command or its arguments are wrong.
pub fn positions(ctx: Ctx<'_>, words: &[*mut raw::RedisModuleString]) -> Vec<(usize, u32)> {
    let (mut count, mut flags) = (0, std::ptr::null_mut::<c_int>());
    let argc = c_int::try_from(words.len()).unwrap_or(c_int::MAX);
    // SAFETY: the server reads the words; it returns null, or two arrays of `count` numbers, which the module frees.
    unsafe {
        let keys = api!(RedisModule_GetCommandKeysWithFlags)(
            ctx.raw(),
            words.as_ptr().cast_mut(),
            argc,
            &raw mut count,
            &raw mut flags,
        );
        if keys.is_null() {
            return Vec::new();
        }
        let count = usize::try_from(count).unwrap_or(0);
        let all = (0..count).filter_map(|at| {
            let flags = if flags.is_null() { 0 } else { *flags.add(at) as u32 };
            usize::try_from(*keys.add(at)).ok().map(|key| (key, flags))
        });
        let all = all.collect();
        api!(RedisModule_Free)(keys.cast::<c_void>());
        if !flags.is_null() {
            api!(RedisModule_Free)(flags.cast::<c_void>());
        }
        all
    }
}
