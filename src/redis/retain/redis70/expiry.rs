//! Which keys have a time to live.

use std::ffi::{CStr, CString};

use crate::core::ids::Db;
use crate::redis::api::context::Ctx;
use crate::redis::api::raw::api;

/// A value is captured when its key has less time to live than this, milliseconds: much more than a
/// turn of the event loop takes.
pub const LAST_MS: u64 = 1_000;

/// Whether any key of the database has a time to live. It takes a few microseconds, so it is asked
/// before many keys are opened, of which mostly none has one.
pub fn can_expire(ctx: Ctx<'_>, db: Db) -> bool {
    let Ok(field) = CString::new(format!("db{db}")) else { return true };
    // SAFETY: the context is that of a running callback. What the server tells is read before it
    // is freed; a field that it does not have is null.
    unsafe {
        let info = api!(RedisModule_GetServerInfo)(ctx.raw(), c"keyspace".as_ptr());
        let value = api!(RedisModule_ServerInfoGetFieldC)(info, field.as_ptr());
        let can = value.is_null() || !says_none_expire(CStr::from_ptr(value).to_bytes());
        api!(RedisModule_FreeServerInfo)(ctx.raw(), info);
        can
    }
}

/// `keys=3,expires=0,avg_ttl=0`
fn says_none_expire(counts: &[u8]) -> bool {
    counts.split(|byte| *byte == b',').any(|count| count == b"expires=0")
}

#[cfg(test)]
mod tests {
    use super::says_none_expire;

    #[test]
    fn only_a_count_of_zero_says_that_no_key_can_expire() {
        assert!(says_none_expire(b"keys=3,expires=0,avg_ttl=0"));
        assert!(!says_none_expire(b"keys=3,expires=10,avg_ttl=0"));
        assert!(!says_none_expire(b""));
    }
}
