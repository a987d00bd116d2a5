//! Clients that wait for their WB.CHECK.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;

use super::api::raw;
use super::api::raw::api;
use crate::core::delivery::deployment::Checkup;

/// The clients by the number of their check.
#[derive(Debug, Default)]
pub struct CheckClients {
    waiting: RefCell<HashMap<u64, *mut raw::RedisModuleBlockedClient>>,
    next_id: Cell<u64>,
}

impl CheckClients {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// The number of the next check.
    pub fn next_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Adds a client that was blocked with [`free_found`] to free its data.
    pub fn add(&self, id: u64, client: *mut raw::RedisModuleBlockedClient) {
        self.waiting.borrow_mut().insert(id, client);
    }

    /// Replies to the client that waits for the check `id`. A client that has left meanwhile is unblocked as
    /// well: that frees what the server keeps of it.
    pub fn answer(&self, id: u64, found: Checkup) {
        let Some(client) = self.waiting.borrow_mut().remove(&id) else { return };
        unblock(client, Box::into_raw(Box::new(found)).cast());
    }

    /// Lets every client go that waits for a check: the module is broken, and nothing else would.
    pub fn release(&self) {
        let Ok(mut checks) = self.waiting.try_borrow_mut() else { return };
        for (_, client) in checks.drain() {
            unblock(client, std::ptr::null_mut());
        }
    }
}

fn unblock(client: *mut raw::RedisModuleBlockedClient, found: *mut c_void) {
    // SAFETY: both callers have taken the handle out of the map, so it is unblocked once; `free_found` frees
    // the box.
    unsafe { api!(RedisModule_UnblockClient)(client, found) };
}

/// Frees what [`CheckClients::answer`] handed over.
///
/// # Safety
/// For the server only, once for each.
pub unsafe extern "C" fn free_found(_: *mut raw::RedisModuleCtx, found: *mut c_void) {
    if !found.is_null() {
        // SAFETY: made by Box::into_raw in `answer`, freed once.
        drop(unsafe { Box::from_raw(found.cast::<Checkup>()) });
    }
}
