//! Scans of the keyspace.

use std::ffi::c_void;

use super::context::{Ctx, bytes};
use super::guard::guard;
use super::raw;
use super::raw::api;

/// The position of a scan of a logical database, or of the elements of a value.
#[derive(Debug)]
pub struct Cursor(*mut raw::RedisModuleScanCursor);

impl Cursor {
    /// A cursor at the beginning.
    pub fn new() -> Self {
        // SAFETY: takes no argument; the module owns the cursor.
        Cursor(unsafe { api!(RedisModule_ScanCursorCreate)() })
    }

    /// The pointer itself; valid as long as this value.
    pub fn raw(&self) -> *mut raw::RedisModuleScanCursor {
        self.0
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy)(self.0) };
    }
}

/// Called by a scan for each key with its name and the key itself, which is open during the call,
/// or null.
pub type Visitor<'a> = dyn FnMut(&[u8], *mut raw::RedisModuleKey) + 'a;

/// Visits the keys of one bucket of the selected database; false when it was the last. May be
/// called only where keys may be scanned: not in a one-shot callback and not inside another scan.
pub fn bucket(ctx: Ctx<'_>, cursor: &Cursor, mut visit: &mut Visitor<'_>) -> bool {
    // SAFETY: the module owns the cursor, which lives until after the call; the callback gets the
    // value that it expects, which outlives the call and is not used here during it.
    unsafe {
        let visit = (&raw mut visit).cast::<c_void>();
        api!(RedisModule_Scan)(ctx.raw(), cursor.0, Some(on_key), visit) != 0
    }
}

unsafe extern "C" fn on_key(
    _: *mut raw::RedisModuleCtx,
    name: *mut raw::RedisModuleString,
    key: *mut raw::RedisModuleKey,
    visit: *mut c_void,
) {
    guard((), || {
        // SAFETY: `bucket` passes a reference to a visitor; the name is valid during the callback.
        let (visit, name) = unsafe { (&mut *visit.cast::<&mut Visitor<'_>>(), bytes(name)) };
        visit(name, key);
    });
}

/// The names of the keys of the selected database that `matches` accepts.
pub fn names(ctx: Ctx<'_>, mut matches: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let cursor = Cursor::new();
    let mut keys = Vec::new();
    let mut visit = |name: &[u8], _: *mut raw::RedisModuleKey| {
        if matches(name) {
            keys.push(name.to_vec());
        }
    };
    while bucket(ctx, &cursor, &mut visit) {}
    keys
}
