//! Blocked clients.
//!
//! The server frees the handle of a blocked client, and two buffers of 16 KiB with it, only when the module
//! unblocks it, even after the client has disconnected or was unblocked by CLIENT UNBLOCK. So a handle unblocks
//! its client when it is dropped.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use super::context::Ctx;
use super::raw;
use super::raw::api;

/// Called for a client that is unblocked.
pub type Callback = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut *mut raw::RedisModuleString,
    c_int,
) -> c_int;
/// Called for a client that has disconnected.
pub type OnDisconnect =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut raw::RedisModuleBlockedClient);

/// The server's handle of a blocked client, which is unblocked exactly once: at the latest when the handle is
/// dropped. `T` is what the reply callback receives.
#[derive(Debug)]
pub struct Handle<T> {
    raw: *mut raw::RedisModuleBlockedClient,
    outcome: PhantomData<T>,
}

impl<T> Handle<T> {
    /// # Safety
    /// `raw` was returned by RedisModule_BlockClient, with [`free`] of the same type to free its data, and
    /// nothing else unblocks it.
    unsafe fn new(raw: *mut raw::RedisModuleBlockedClient) -> Self {
        Handle { raw, outcome: PhantomData }
    }

    /// Blocks the client of a command, without a timeout of the server: with one, a client that the module unblocks
    /// in the same event-loop iteration would get no reply at all.
    ///
    /// # Safety
    /// `ctx` is that of a command whose client may be blocked, and the callbacks expect a `T`.
    pub unsafe fn block(
        ctx: Ctx<'_>,
        on_reply: Callback,
        on_unblocked: Callback,
        on_disconnect: OnDisconnect,
    ) -> Self {
        // SAFETY: the caller vouches for the context and the callbacks; the handle is used nowhere else.
        unsafe {
            let client = api!(RedisModule_BlockClient)(
                ctx.raw(),
                Some(on_reply),
                Some(on_unblocked),
                Some(free::<T>),
                0,
            );
            // Without a blocked client this call would end the server.
            if !client.is_null() {
                api!(RedisModule_SetDisconnectCallback)(client, Some(on_disconnect));
            }
            Handle::new(client)
        }
    }

    /// The pointer itself, by which the server identifies the client in its callbacks.
    pub fn raw(&self) -> *mut raw::RedisModuleBlockedClient {
        self.raw
    }

    /// Unblocks the client; the outcome is passed to its reply callback.
    pub fn answer(self, outcome: T) {
        self.unblock(Box::into_raw(Box::new(outcome)).cast());
        std::mem::forget(self);
    }

    fn unblock(&self, outcome: *mut c_void) {
        if self.raw.is_null() {
            return;
        }
        // SAFETY: the handle is valid until it is unblocked, which `answer` and `drop` do once between them.
        // The outcome is null, or freed by `free`.
        unsafe { api!(RedisModule_UnblockClient)(self.raw, outcome) };
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.unblock(std::ptr::null_mut());
    }
}

/// The outcome that [`Handle::answer`] passed to the reply callback of `ctx`.
///
/// # Safety
/// `ctx` is that of the reply callback of a client with a `Handle<T>`; the outcome is freed after it.
pub unsafe fn outcome<'a, T>(ctx: *mut raw::RedisModuleCtx) -> Option<&'a T> {
    // SAFETY: the caller vouches for the type; the pointer is null or a box's.
    unsafe { api!(RedisModule_GetBlockedClientPrivateData)(ctx).cast::<T>().as_ref() }
}

/// Frees the outcome that [`Handle::answer`] passed to the server.
///
/// # Safety
/// For the server only, once for each outcome.
pub unsafe extern "C" fn free<T>(_: *mut raw::RedisModuleCtx, outcome: *mut c_void) {
    if !outcome.is_null() {
        // SAFETY: made by Box::into_raw in `answer`; the server frees it once.
        drop(unsafe { Box::from_raw(outcome.cast::<T>()) });
    }
}
