//! The access age of a key: its LRU idle time or its LFU frequency. Reading the key with a command
//! changes it, so the module restores it afterwards.

use super::raw;
use super::raw::api;

/// The access age of a key, as far as it has to be restored.
#[derive(Clone, Copy, Debug)]
pub struct AccessAge {
    idle_ms: raw::mstime_t,
    frequency: i64,
}

impl AccessAge {
    /// Reads the access age of an open key.
    ///
    /// # Safety
    /// `key` is open.
    pub unsafe fn of(key: *mut raw::RedisModuleKey) -> Self {
        let mut age = AccessAge { idle_ms: -1, frequency: -1 };
        // SAFETY: the key is open; both functions write one number, -1 if the eviction policy is of
        // the other kind.
        unsafe {
            api!(RedisModule_GetLRU)(key, &raw mut age.idle_ms);
            api!(RedisModule_GetLFU)(key, &raw mut age.frequency);
        }
        age
    }

    /// True if running a command changes it. A key written just now has an idle time of 0, which a
    /// command does not change.
    pub fn is_changed_by_a_command(self) -> bool {
        self.idle_ms > 0 || self.frequency >= 0
    }

    /// Sets the access age of an open key to this one.
    ///
    /// # Safety
    /// `key` is open.
    pub unsafe fn restore(self, key: *mut raw::RedisModuleKey) {
        // SAFETY: the caller vouches for the key.
        unsafe {
            if self.idle_ms > 0 {
                api!(RedisModule_SetLRU)(key, self.idle_ms);
            } else {
                api!(RedisModule_SetLFU)(key, self.frequency);
            }
        }
    }
}
