//! How long a key was not used, or how often it was: reading by a command changes that, and it is put
//! back.

use super::raw;
use super::raw::api;

/// The age of a key, as far as it is worth putting back.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    idle_ms: raw::mstime_t,
    frequency: i64,
}

impl Age {
    /// The age of an open key.
    ///
    /// # Safety
    /// `key` is open.
    pub unsafe fn of(key: *mut raw::RedisModuleKey) -> Self {
        let mut age = Age { idle_ms: -1, frequency: -1 };
        // SAFETY: the key is open; both functions write one number, -1 if the eviction policy is of
        // the other kind.
        unsafe {
            api!(RedisModule_GetLRU)(key, &raw mut age.idle_ms);
            api!(RedisModule_GetLFU)(key, &raw mut age.frequency);
        }
        age
    }

    /// True if a command changes it. Most keys were written a moment ago: it makes them no younger.
    pub fn is_changed_by_a_command(self) -> bool {
        self.idle_ms > 0 || self.frequency >= 0
    }

    /// Gives an open key this age.
    ///
    /// # Safety
    /// `key` is open.
    pub unsafe fn give_to(self, key: *mut raw::RedisModuleKey) {
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
