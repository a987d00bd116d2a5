//! Which changes belong together: those of one MULTI, of one script, and of one RENAME or MOVE.
//!
//! The context flags tell that a MULTI or a script is running, but not where the next one begins. From
//! Redis 7.2 on the server's cached clock tells: it stands still from the begin of a command to its
//! end, also inside of EXEC. On Redis 7.0 a command filter counts the commands that begin a unit; it
//! is registered when the first MULTI or script with a registered key was seen. While an AOF is loaded
//! neither is of use, and transactions that follow each other directly count as one.

use std::cell::Cell;

use super::api::context::Ctx;
use super::api::raw;
use super::api::raw::api;

/// The context flags of a command that runs inside of a unit.
const INSIDE: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA;

/// No change was recorded yet in this turn of the event loop.
const NONE: i64 = -1;

/// After this time without a change, a script may have let the server's clock go on, microseconds: a
/// busy script does, and the event loop has had no turn meanwhile.
const BUSY_US: i64 = 1_000_000;

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
    /// True if the last change was inside of a MULTI or script, where the clock is of no use.
    was_inside: Cell<bool>,
    /// True if the last change was the first half of a RENAME or MOVE.
    half: Cell<bool>,
    /// True while a dataset is loaded.
    pub is_loading: Cell<bool>,
    /// True once the number of units is needed.
    wants_filter: Cell<bool>,
}

impl Default for Units {
    fn default() -> Self {
        let no = || Cell::new(false);
        Units {
            last: Cell::new(NONE),
            begun: Cell::new(0),
            was_inside: no(),
            half: no(),
            is_loading: no(),
            wants_filter: no(),
        }
    }
}

impl Units {
    /// True if the change that is recorded now was made by the MULTI or script of the last one. To be
    /// called once for each recorded change.
    #[inline]
    pub fn joins(&self, ctx: Ctx<'_>) -> bool {
        self.half.set(false);
        // SAFETY: the table was filled when the module was loaded; the function takes no argument.
        let clock = unsafe { raw::RedisModule_CachedMicroseconds };
        match clock {
            Some(clock) if !self.is_loading.get() => {
                // SAFETY: as above.
                let now_us = unsafe { clock() };
                let last_us = self.last.replace(now_us);
                let near = now_us == last_us || (last_us != NONE && now_us > last_us + BUSY_US);
                near && ctx.flags() & INSIDE != 0
            }
            _ => self.joins_by_number(ctx),
        }
    }

    fn joins_by_number(&self, ctx: Ctx<'_>) -> bool {
        let is_inside = ctx.flags() & INSIDE != 0;
        let was_inside = self.was_inside.replace(is_inside);
        let last = self.last.replace(self.begun.get());
        if is_inside && !self.is_loading.get() {
            self.wants_filter.set(true);
        }
        is_inside && was_inside && last == self.begun.get()
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
        self.was_inside.set(false);
        self.half.set(false);
    }

    /// True once a command filter must call [`before_command`](Self::before_command).
    pub fn wants_filter(&self) -> bool {
        self.wants_filter.get()
    }

    /// Called before a command is executed, also inside of scripts.
    ///
    /// # Safety
    /// `filter` is the context that the server has passed to a command filter.
    pub unsafe fn before_command(&self, filter: *mut raw::RedisModuleCommandFilterCtx) {
        // SAFETY: every command has a name, which is valid during the filter.
        let name = unsafe {
            let name = api!(RedisModule_CommandFilterArgGet)(filter, 0);
            super::api::context::bytes(name)
        };
        if (4..=10).contains(&name.len())
            && BEGIN.iter().any(|begin| begin.eq_ignore_ascii_case(name))
        {
            self.begun.set(self.begun.get().wrapping_add(1));
        }
    }
}
