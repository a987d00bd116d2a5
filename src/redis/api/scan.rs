//! Scans of the keyspace.

use std::ffi::c_void;

use super::context::{Ctx, bytes};
use super::guard::guard;
use super::raw;
use super::raw::api;

/// Where a scan of a logical database is, or of the elements of a value.
#[derive(Debug)]
pub struct Cursor(*mut raw::RedisModuleScanCursor);

impl Cursor {
    /// A cursor at the beginning.
    pub fn new() -> Self {
        // SAFETY: takes no argument; the cursor is ours.
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

/// What a scan hands each key to: its name, and the key itself, open during the call, or null.
pub type Visitor<'a> = dyn FnMut(&[u8], *mut raw::RedisModuleKey) + 'a;

/// Visits the keys of one bucket of the selected database; false when it was the last. Only where keys
/// may be scanned: in no one-shot and under no other scan.
pub fn bucket(ctx: Ctx<'_>, cursor: &Cursor, mut visit: &mut Visitor<'_>) -> bool {
    // SAFETY: the cursor is ours and lives until after the call; the callback gets the value that it
    // expects, which outlives the call and is not used here meanwhile.
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

/// The names of the keys of the selected database that `is_wanted` accepts.
pub fn names(ctx: Ctx<'_>, mut is_wanted: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let cursor = Cursor::new();
    let mut found = Vec::new();
    let mut visit = |name: &[u8], _: *mut raw::RedisModuleKey| {
        if is_wanted(name) {
            found.push(name.to_vec());
        }
    };
    while bucket(ctx, &cursor, &mut visit) {}
    found
}
