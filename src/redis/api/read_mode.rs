//! The modes in which keys are opened for reading, so that it leaves the fewest traces.

use std::ffi::c_int;

use super::raw;

/// The access modes for reading that this server has: no LRU change anywhere, and where there
/// are more, no statistics and no notification of a miss. Reading a logically expired key
/// deletes it. That is intended: only that deletion raises the event from which its value is kept.
///
/// Redis 7.0 counts no key that is opened for writing. So a master opens them as if for writing, and
/// the module has told the server that this alone changes nothing. On a replica it might remove a
/// logically expired key.
pub fn mode(is_replica: bool) -> c_int {
    let wanted = raw::REDISMODULE_OPEN_KEY_NOTOUCH
        | raw::REDISMODULE_OPEN_KEY_NONOTIFY
        | raw::REDISMODULE_OPEN_KEY_NOSTATS;
    let known = wanted & known_modes();
    let counted = known & raw::REDISMODULE_OPEN_KEY_NOSTATS == 0;
    let write = if counted && !is_replica { raw::REDISMODULE_WRITE } else { 0 };
    (raw::REDISMODULE_READ | write | known) as c_int
}

/// True if the server counts keys that are opened in this mode.
pub fn is_counted(mode: c_int) -> bool {
    mode as u32 & (raw::REDISMODULE_WRITE | raw::REDISMODULE_OPEN_KEY_NOSTATS) == 0
}

/// The access modes that this server has.
pub fn known_modes() -> u32 {
    // SAFETY: the function takes no argument and returns a constant.
    match unsafe { raw::RedisModule_GetOpenKeyModesAll } {
        // SAFETY: as above.
        Some(all) => (unsafe { all() }) as u32,
        None => raw::REDISMODULE_OPEN_KEY_NOTOUCH,
    }
}
