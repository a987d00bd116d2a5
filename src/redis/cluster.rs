//! Redis Cluster: a key that leaves with its hash slot was not deleted, and the documents of a slot belong to
//! the node that has it.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::RangeInclusive;

use super::api::context::{Ctx, Text, bytes};
use super::api::raw;
use super::api::raw::api;
use super::api::run_command;
use crate::core::cluster::NodeId;
use crate::core::hash_slot;
use crate::core::hash_slot::SlotSet;

/// The filter that calls [`before_command`](Cluster::before_command).
type Filter = unsafe extern "C" fn(*mut raw::RedisModuleCommandFilterCtx);

/// What is known of the running command.
#[derive(Debug, Default)]
pub struct Cluster {
    /// True while MIGRATE runs.
    is_migrating: Cell<bool>,
    /// True if a slot is about to move from this node.
    slots_move: Cell<bool>,
    /// True while CLUSTER RESET runs.
    is_reset: Cell<bool>,
    /// True if this server, a replica, has left its cluster by CLUSTER RESET.
    has_left: Cell<bool>,
    /// The slots that commands have moved from this node to others.
    given: RefCell<SlotSet>,
    /// The slots that this node had after the last of these commands.
    own: RefCell<Vec<RangeInclusive<u16>>>,
}

impl Cluster {
    /// Registers `filter` as a command filter, on a server in cluster mode.
    pub fn start(&self, ctx: Ctx<'_>, filter: Filter) {
        if is_on(ctx) {
            // SAFETY: called in RedisModule_OnLoad with its context; the filter is the module's.
            unsafe { api!(RedisModule_RegisterCommandFilter)(ctx.raw(), Some(filter), 0) };
        }
    }

    /// Called before a command is executed, also in scripts. `own_id` returns the id of this node.
    ///
    /// # Safety
    /// `filter` is the context that the server has passed to a command filter.
    pub unsafe fn before_command(
        &self,
        filter: *mut raw::RedisModuleCommandFilterCtx,
        own_id: impl FnOnce() -> Option<NodeId>,
    ) {
        // SAFETY: every command has a name, which is valid during the filter.
        let name = unsafe { bytes(api!(RedisModule_CommandFilterArgGet)(filter, 0)) };
        self.is_migrating.set(name.eq_ignore_ascii_case(b"migrate"));
        self.is_reset.set(false);
        if name.eq_ignore_ascii_case(b"cluster") {
            // SAFETY: as above, within the number of words.
            let words: Vec<&[u8]> = unsafe {
                let count = api!(RedisModule_CommandFilterArgsCount)(filter);
                (1..count)
                    .map(|at| bytes(api!(RedisModule_CommandFilterArgGet)(filter, at)))
                    .collect()
            };
            let subcommand = words.first().copied().unwrap_or_default();
            self.is_reset.set(subcommand.eq_ignore_ascii_case(b"reset"));
            let moves: [&[u8]; 2] = [b"setslot", b"migrateslots"];
            if moves.iter().any(|name| name.eq_ignore_ascii_case(subcommand)) {
                self.slots_move.set(true);
                self.given.borrow_mut().follow(&words, &own_id().unwrap_or([0; 40]));
            }
        }
    }

    /// The slots that commands have moved from this node to others, and not back.
    pub fn given_slots(&self) -> SlotSet {
        self.given.borrow().clone()
    }

    /// Remembers the slots of this node, after commands about slots that move.
    pub fn slots_moved(&self, ctx: Ctx<'_>) {
        *self.own.borrow_mut() = served_slots(ctx);
    }

    /// The slots that were given away, if this node has become a replica because it has none left. A node that
    /// its own replica has replaced had other slots still.
    pub fn gave_all(&self) -> Option<SlotSet> {
        let given = self.given.borrow();
        (!given.is_empty() && given.contains_all(&self.own.borrow())).then(|| given.clone())
    }

    /// This server becomes a master. True if that is because CLUSTER RESET takes it out of its cluster: it drops
    /// its data, which another server has.
    pub fn leaves(&self) -> bool {
        let leaves = self.is_reset.get();
        self.has_left.set(self.has_left.get() | leaves);
        leaves
    }

    /// True once after this server has left its cluster.
    pub fn take_has_left(&self) -> bool {
        self.has_left.take()
    }

    /// True once after a command about slots that move.
    pub fn take_slots_move(&self) -> bool {
        self.slots_move.take()
    }

    /// No command is running.
    pub fn end(&self) {
        self.is_migrating.set(false);
        self.is_reset.set(false);
    }

    /// True if keys that are deleted now have been moved to another node.
    pub fn moves_keys(&self) -> bool {
        self.is_migrating.get()
    }
}

/// True in cluster mode.
pub fn is_on(ctx: Ctx<'_>) -> bool {
    ctx.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
}

/// Who has the slot of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This node.
    This,
    /// Another one: it writes the document.
    Other,
    /// The cluster is down.
    Unknown,
}

/// The slots of this node, as they were when they were needed first.
#[derive(Debug, Default)]
pub struct Slots(OnceCell<Vec<RangeInclusive<u16>>>);

impl Slots {
    /// Who has the slot of the key `name`. Not for notifications: there some servers answer for the client.
    ///
    /// The server runs EXISTS for a module only if this node has the slot and, while that is on its way to
    /// another node, the key; otherwise it sets errno to EPERM, or to ENETDOWN while the cluster is down
    /// (observed on Redis 7.0.15, 8.2.3 and Valkey 9.1.2).
    pub fn owner(&self, ctx: Ctx<'_>, name: &Text, key: &[u8]) -> Owner {
        // SAFETY: "s" takes one string, which lives until after the call; the reply is freed.
        let error = unsafe {
            let reply =
                api!(RedisModule_Call)(ctx.raw(), c"EXISTS".as_ptr(), c"s".as_ptr(), name.raw());
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply)(reply);
                return Owner::This;
            }
            std::io::Error::last_os_error().raw_os_error()
        };
        match error {
            Some(libc::ENETDOWN) => Owner::Unknown,
            Some(libc::EPERM) => {
                if self.has(ctx, key) {
                    Owner::This
                } else {
                    Owner::Other
                }
            }
            // EXISTS was renamed.
            _ => Owner::This,
        }
    }
}

impl Slots {
    /// True if this node has the slot of a key, or is about to give or to get it.
    pub fn has(&self, ctx: Ctx<'_>, key: &[u8]) -> bool {
        let slot = hash_slot::slot(key);
        self.0.get_or_init(|| own_slots(ctx)).iter().any(|slots| slots.contains(&slot))
    }
}

/// The slots of this node, without those that are about to come.
pub fn served_slots(ctx: Ctx<'_>) -> Vec<RangeInclusive<u16>> {
    let nodes = run_command::cluster_nodes(ctx);
    nodes.map(|nodes| hash_slot::served_slots(&nodes)).unwrap_or_default()
}

fn own_slots(ctx: Ctx<'_>) -> Vec<RangeInclusive<u16>> {
    run_command::cluster_nodes(ctx).map(|nodes| hash_slot::own_slots(&nodes)).unwrap_or_default()
}
