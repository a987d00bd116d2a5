//! Which changes belong together: those of one MULTI, of one script, and of one RENAME or MOVE.
//!
//! The context flags tell that a MULTI or a script is running, but not where the next one begins. From
//! Redis 7.2 on the server's cached clock tells: it stands still from the begin of a command to its
//! end, also inside of EXEC. On Redis 7.0 transactions that follow each other directly, in one turn of the
//! event loop, count as one, until that makes a difference: then a command filter counts the commands that
//! begin a unit. While an AOF is loaded they always count as one.

use std::cell::Cell;

use super::api::context::{Ctx, bytes};
use super::api::raw;
use super::api::raw::api;

/// The context flags of a command that runs inside of a unit.
const INSIDE: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA;

/// No change was recorded yet in this turn of the event loop.
const NONE: i64 = -1;

/// After this time without a change, a script may have let the server's clock go on, microseconds: a
/// busy script does, and the event loop has had no turn meanwhile.
const BUSY_US: i64 = 1_000_000;

/// From this number of keys on, transactions that count as one soon make a group that is too large.
const MANY_KEYS: u32 = 100;

/// The commands that begin a unit, in lower case.
const BEGIN: [&[u8]; 7] =
    [b"exec", b"eval", b"evalsha", b"eval_ro", b"evalsha_ro", b"fcall", b"fcall_ro"];

/// The unit of the last recorded change.
#[derive(Debug)]
pub struct Units {
    /// When its unit began by the server's cached clock, or by the number of units.
    last: Cell<i64>,
    /// Number of units that have begun, where the server has no cached clock.
    begun: Cell<i64>,
    /// True if it is inside of a MULTI or script, or was when that was last looked at.
    is_inside: Cell<bool>,
    /// True if the last change was the first half of a RENAME or MOVE.
    half: Cell<bool>,
    /// True while a dataset is loaded.
    pub is_loading: Cell<bool>,
    /// True once a command filter calls [`before_command`](Self::before_command).
    is_filtered: Cell<bool>,
    /// Number of changes that count as one unit, without a filter.
    keys: Cell<u32>,
    /// True once that number was so large that a filter is of use.
    has_many: Cell<bool>,
}

impl Default for Units {
    fn default() -> Self {
        let no = || Cell::new(false);
        let (last, begun) = (Cell::new(NONE), Cell::new(0));
        Units {
            last,
            begun,
            is_inside: no(),
            half: no(),
            is_loading: no(),
            is_filtered: no(),
            keys: Cell::new(0),
            has_many: no(),
        }
    }
}

impl Units {
    /// True if the change that is recorded now was made by the MULTI or script of the last one. To be
    /// called once for each recorded change.
    #[inline]
    pub fn joins(&self, ctx: Ctx<'_>) -> bool {
        self.half.set(false);
        // SAFETY: the table was filled when the module was loaded.
        let clock = unsafe { raw::RedisModule_CachedMicroseconds };
        match clock {
            _ if self.is_loading.get() => self.joins_by_flags(ctx),
            Some(clock) => {
                // SAFETY: as above; the function takes no argument.
                self.joins_at(unsafe { clock() }, ctx)
            }
            None if self.is_filtered.get() => {
                self.last.replace(self.begun.get()) == self.begun.get() && self.is_inside.get()
            }
            None => {
                let joins = self.joins_by_flags(ctx);
                self.keys.set(if joins { self.keys.get() + 1 } else { 0 });
                self.has_many.set(self.has_many.get() || self.keys.get() >= MANY_KEYS);
                joins
            }
        }
    }

    fn joins_at(&self, now_us: i64, ctx: Ctx<'_>) -> bool {
        let last_us = self.last.replace(now_us);
        if now_us == last_us {
            // Two commands may begin in one microsecond. The flags take longer than all else here.
            if !self.is_inside.get() {
                self.is_inside.set(ctx.flags() & INSIDE != 0);
            }
            return self.is_inside.get();
        }
        self.is_inside.set(false);
        last_us != NONE && now_us > last_us + BUSY_US && ctx.flags() & INSIDE != 0
    }

    fn joins_by_flags(&self, ctx: Ctx<'_>) -> bool {
        let is_inside = ctx.flags() & INSIDE != 0;
        self.is_inside.replace(is_inside) && is_inside
    }

    /// The first half of a RENAME or MOVE was recorded.
    pub fn begin_pair(&self) {
        self.half.set(true);
    }

    /// As [`joins`](Self::joins), for the second half of a RENAME or MOVE.
    pub fn joins_pair(&self, ctx: Ctx<'_>) -> bool {
        let is_pair = self.half.get();
        self.joins(ctx) | is_pair
    }

    /// The next change is of another unit: the event loop takes another turn, or the stream has a
    /// command of the module itself.
    pub fn end(&self) {
        self.last.set(NONE);
        self.is_inside.set(false);
        self.half.set(false);
    }

    /// True if a command filter is of use that there is not yet.
    pub fn wants_filter(&self) -> bool {
        self.has_many.get() && !self.is_filtered.get()
    }

    /// A command filter calls [`before_command`](Self::before_command) from now on.
    pub fn is_filtered(&self) {
        self.is_filtered.set(true);
    }

    /// Called before a command is executed, also inside of scripts, where the server has no cached clock.
    ///
    /// # Safety
    /// `filter` is the context that the server has passed to a command filter.
    pub unsafe fn before_command(&self, filter: *mut raw::RedisModuleCommandFilterCtx) {
        // SAFETY: every command has a name, which is valid during the filter.
        let name = unsafe { bytes(api!(RedisModule_CommandFilterArgGet)(filter, 0)) };
        if begins_unit(name) {
            self.begun.set(self.begun.get().wrapping_add(1));
            self.is_inside.set(true);
        } else if self.is_inside.get() {
            // SAFETY: without a context the function reads the server's state only.
            let flags = unsafe { api!(RedisModule_GetContextFlags)(std::ptr::null_mut()) };
            self.is_inside.set(flags as u32 & INSIDE != 0);
        }
    }
}

/// True for a command that begins a unit. Most names end at the first comparison.
#[inline]
fn begins_unit(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'e' | b'E' | b'f' | b'F'))
        && BEGIN.iter().any(|begin| begin.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_begins_with_exec_or_a_script() {
        for name in ["exec", "EXEC", "eval", "EvalSha", "EVALSHA_RO", "fcall", "FCALL_RO"] {
            assert!(begins_unit(name.as_bytes()), "{name}");
        }
        for name in ["", "e", "expire", "exists", "flushall", "set", "multi", "fcallx"] {
            assert!(!begins_unit(name.as_bytes()), "{name}");
        }
    }
}
