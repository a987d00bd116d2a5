//! The modes in which keys are opened for reading with the fewest side effects.

use std::ffi::c_int;

use super::raw;

/// The flags for opening a key for reading. No server changes the key's LRU then; servers that have
/// more flags also count no hit or miss and send no notification of a miss. Reading a logically
/// expired key deletes it. That is intended: only that deletion raises the event on which its last
/// value is retained.
///
/// Redis 7.0 does not count hits and misses of keys opened for writing. So a master opens keys for
/// writing there, and the module has set NO_IMPLICIT_SIGNAL_MODIFIED so that opening alone does not
/// signal a change. A replica does not: opening for writing might delete a logically expired key.
pub fn mode(is_replica: bool) -> c_int {
    let requested = raw::REDISMODULE_OPEN_KEY_NOTOUCH
        | raw::REDISMODULE_OPEN_KEY_NONOTIFY
        | raw::REDISMODULE_OPEN_KEY_NOSTATS;
    let known = requested & known_modes();
    let counted = known & raw::REDISMODULE_OPEN_KEY_NOSTATS == 0;
    let write = if counted && !is_replica { raw::REDISMODULE_WRITE } else { 0 };
    (raw::REDISMODULE_READ | write | known) as c_int
}

/// The flags for looking whether a key exists, in a command filter, where nothing may be replicated: servers that can do
/// so leave an expired key, which counts as missing, in its place.
pub fn looking(mode: c_int) -> c_int {
    mode | (raw::REDISMODULE_OPEN_KEY_NOEXPIRE & known_modes()) as c_int
}

/// True if opening a key in this mode may remove it because it has expired.
pub fn expires(mode: c_int) -> bool {
    mode as u32 & raw::REDISMODULE_OPEN_KEY_NOEXPIRE == 0
}

/// True if the server counts keys that are opened in this mode.
pub fn is_counted(mode: c_int) -> bool {
    mode as u32 & (raw::REDISMODULE_WRITE | raw::REDISMODULE_OPEN_KEY_NOSTATS) == 0
}

/// The open-key flags that this server supports.
pub fn known_modes() -> u32 {
    // SAFETY: the function takes no argument and returns a constant.
    match unsafe { raw::RedisModule_GetOpenKeyModesAll } {
        // SAFETY: as above.
        Some(all) => (unsafe { all() }) as u32,
        None => raw::REDISMODULE_OPEN_KEY_NOTOUCH,
    }
}
