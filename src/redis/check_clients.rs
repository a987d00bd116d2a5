//! Clients that are blocked in WB.CHECK.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;

use super::api::raw;
use super::api::raw::api;
use crate::core::delivery::deployment::Checkup;

/// The blocked clients by the id of their check.
#[derive(Debug, Default)]
pub struct CheckClients {
    waiting: RefCell<HashMap<u64, *mut raw::RedisModuleBlockedClient>>,
    next_id: Cell<u64>,
}

impl CheckClients {
    /// The number of blocked clients.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// The id of the next check.
    pub fn next_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Adds a client that was blocked with [`free_checkup`] to free its data.
    pub fn add(&self, id: u64, client: *mut raw::RedisModuleBlockedClient) {
        self.waiting.borrow_mut().insert(id, client);
    }

    /// Replies to the client that waits for the check `id`. A client that has disconnected
    /// meanwhile is unblocked as well, so that the server frees its handle.
    pub fn answer(&self, id: u64, found: Checkup) {
        let Some(client) = self.waiting.borrow_mut().remove(&id) else { return };
        unblock(client, Box::into_raw(Box::new(found)).cast());
    }

    /// Unblocks every client without a result: the module is broken, and no check would end any
    /// more.
    pub fn release(&self) {
        let Ok(mut checks) = self.waiting.try_borrow_mut() else { return };
        for (_, client) in checks.drain() {
            unblock(client, std::ptr::null_mut());
        }
    }
}

fn unblock(client: *mut raw::RedisModuleBlockedClient, found: *mut c_void) {
    // SAFETY: both callers have taken the handle out of the map, so it is unblocked once;
    // `free_checkup` frees the box.
    unsafe { api!(RedisModule_UnblockClient)(client, found) };
}

/// Frees the result that [`CheckClients::answer`] passed to the server.
///
/// # Safety
/// For the server only, once for each result.
pub unsafe extern "C" fn free_checkup(_: *mut raw::RedisModuleCtx, found: *mut c_void) {
    if !found.is_null() {
        // SAFETY: made by Box::into_raw in `answer`, freed once.
        drop(unsafe { Box::from_raw(found.cast::<Checkup>()) });
    }
}
