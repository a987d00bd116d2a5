//! Whether keys of a database have a time to live.

use std::ffi::{CStr, CString};

use crate::core::ids::Db;
use crate::redis::api::context::Ctx;
use crate::redis::api::raw::api;

/// A value is retained when its key has less time to live than this, milliseconds: much more than
/// an event-loop iteration takes.
pub const RETAIN_AHEAD_MS: u64 = 1_000;

/// True if any key of the database has a time to live. The call takes a few microseconds, so it is
/// made before many keys are opened: in most databases either none has a time to live, or many
/// have.
pub fn can_expire(ctx: Ctx<'_>, db: Db) -> bool {
    let Ok(field) = CString::new(format!("db{db}")) else { return true };
    // SAFETY: the context is that of a running callback. The server's info is read before it is
    // freed; a field that it does not have is null.
    unsafe {
        let info = api!(RedisModule_GetServerInfo)(ctx.raw(), c"keyspace".as_ptr());
        let value = api!(RedisModule_ServerInfoGetFieldC)(info, field.as_ptr());
        let can = value.is_null() || !reports_no_expires(CStr::from_ptr(value).to_bytes());
        api!(RedisModule_FreeServerInfo)(ctx.raw(), info);
        can
    }
}

/// `keys=3,expires=0,avg_ttl=0`
fn reports_no_expires(counts: &[u8]) -> bool {
    counts.split(|byte| *byte == b',').any(|count| count == b"expires=0")
}

#[cfg(test)]
mod tests {
    use super::reports_no_expires;

    #[test]
    fn only_a_count_of_zero_means_that_no_key_can_expire() {
        assert!(reports_no_expires(b"keys=3,expires=0,avg_ttl=0"));
        assert!(!reports_no_expires(b"keys=3,expires=10,avg_ttl=0"));
        assert!(!reports_no_expires(b""));
    }
}
