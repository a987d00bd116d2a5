//! The memory that the server uses.

use super::raw::api;

/// The share of `maxmemory` in use, in thousandths; 0 without a limit.
pub fn used_of_max() -> u32 {
    // SAFETY: takes no argument. The ratio is 0 without a limit.
    let ratio = unsafe { api!(RedisModule_GetUsedMemoryRatio)() };
    (ratio * 1000.0) as u32
}
