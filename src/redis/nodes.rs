//! The other nodes of the cluster, and the messages that the module sends them over the cluster bus.
//!
//! The bus loses what it cannot deliver, and says nothing of it; what it delivers is in order. A message goes
//! to a node by its id, 40 bytes without a NUL. The number under which messages arrive is shared with other
//! modules: a name of other than nine letters gives no module an id of its own (observed on Redis 7.0.15,
//! 8.2.3 and Valkey 9.1.2).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_char;

use super::api::context::{Ctx, raw_bytes};
use super::api::raw;
use super::api::raw::api;
use super::api::run_command;
use crate::core::cluster::NodeId;
use crate::core::cluster::message::Message;
use crate::core::cluster::topology::{self, Node};

/// The number of our messages.
const KIND: u8 = 87;
/// Messages that wait to be handled take at most this many bytes; the others are dropped, as if the bus had
/// lost them.
const MAX_WAITING_BYTES: usize = 16 << 20;

type Receiver = unsafe extern "C" fn(*mut raw::RedisModuleCtx, *const c_char, u8, *const u8, u32);

/// Messages of other nodes that were not handled yet.
#[derive(Debug, Default)]
pub struct Nodes {
    is_on: Cell<bool>,
    waiting: RefCell<VecDeque<(NodeId, Vec<u8>)>>,
    waiting_bytes: Cell<usize>,
}

impl Nodes {
    /// Has messages passed to `receiver`, in cluster mode.
    pub fn start(&self, ctx: Ctx<'_>, receiver: Receiver) {
        if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0 {
            self.is_on.set(true);
            // SAFETY: called in RedisModule_OnLoad with its context; the receiver is the module's.
            unsafe {
                api!(RedisModule_RegisterClusterMessageReceiver)(ctx.raw(), KIND, Some(receiver));
            }
        }
    }

    /// True in cluster mode.
    pub fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Keeps a message until [`take`](Self::take).
    ///
    /// # Safety
    /// The arguments are those of a call of the receiver.
    pub unsafe fn received(&self, sender: *const c_char, payload: *const u8, len: u32) {
        // SAFETY: the server passes the id of the sender and the bytes of the message.
        let (sender, payload) =
            unsafe { (node_id(sender), raw_bytes(payload.cast(), len as usize)) };
        let bytes = self.waiting_bytes.get() + payload.len();
        // A message that is larger than that is taken when no other waits.
        if bytes <= MAX_WAITING_BYTES || self.waiting.borrow().is_empty() {
            self.waiting_bytes.set(bytes);
            self.waiting.borrow_mut().push_back((sender, payload.to_vec()));
        }
    }

    /// True if messages wait.
    pub fn has_any(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// The next message with its sender. Messages of other modules are left out.
    pub fn take(&self) -> Option<(NodeId, Message)> {
        loop {
            let (sender, bytes) = self.waiting.borrow_mut().pop_front()?;
            self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(bytes.len()));
            if let Some(message) = Message::decode(&bytes) {
                return Some((sender, message));
            }
        }
    }
}

/// Sends a message to a node.
pub fn send(ctx: Ctx<'_>, to: &NodeId, message: &Message) {
    // The server takes the length of the id from a NUL.
    let mut text = [0; 41];
    text[..40].copy_from_slice(to);
    post(ctx, text.as_ptr().cast(), message);
}

/// Sends a message to all other nodes.
pub fn broadcast(ctx: Ctx<'_>, message: &Message) {
    post(ctx, std::ptr::null(), message);
}

fn post(ctx: Ctx<'_>, to: *const c_char, message: &Message) {
    let bytes = message.encode();
    let Ok(len) = u32::try_from(bytes.len()) else { return };
    // SAFETY: the id ends with NUL, or is null for all nodes; the server copies the message. A node that is
    // unknown or not linked gets nothing, which every message must allow for.
    unsafe {
        api!(RedisModule_SendClusterMessage)(ctx.raw(), to, KIND, bytes.as_ptr().cast(), len);
    }
}

/// The id of this node.
pub fn own_id() -> Option<NodeId> {
    // SAFETY: takes no argument; in cluster mode it returns the 40 bytes of the id.
    unsafe {
        let id = api!(RedisModule_GetMyClusterID)();
        (!id.is_null()).then(|| node_id(id))
    }
}

/// Number of nodes that this one knows, itself included.
pub fn count() -> usize {
    // SAFETY: takes no argument.
    unsafe { api!(RedisModule_GetClusterSize)() }
}

/// All nodes that this one knows.
pub fn all(ctx: Ctx<'_>) -> Vec<Node> {
    topology::nodes(&run_command::cluster_nodes(ctx).unwrap_or_default())
}

/// # Safety
/// `id` points to the 40 bytes of a node's id.
unsafe fn node_id(id: *const c_char) -> NodeId {
    // SAFETY: the caller vouches for the bytes.
    unsafe { *id.cast::<NodeId>() }
}
