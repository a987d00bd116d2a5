//! The memory that the server uses.

use super::raw::api;

/// True if the server evicts keys before the next command, as far as its policy lets it.
pub fn is_over_max() -> bool {
    // SAFETY: takes no argument. The ratio is 0 without a limit, and a float, which is less exact than the server.
    unsafe { api!(RedisModule_GetUsedMemoryRatio)() >= 0.99999 }
}

/// The share of `maxmemory` in use, in thousandths; 0 without a limit.
pub fn used_of_max() -> u32 {
    // SAFETY: takes no argument. The ratio is 0 without a limit.
    let ratio = unsafe { api!(RedisModule_GetUsedMemoryRatio)() };
    (ratio * 1000.0) as u32
}
