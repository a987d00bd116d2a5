//! WB.READ and WB.WRITE: a command that waits until its keys are loaded.

use super::key_positions;
use crate::core::backlog::reads::Known;
use crate::core::command_table::{Command, only_removes};
use crate::core::ids::{Db, RegistrationId, WaitId};
use crate::core::registration::OnRemoval;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::api::raw;
use crate::redis::pipeline::Pipeline;

/// What is to be done with a call.
#[derive(Debug)]
pub enum Decision {
    /// It is run now.
    Run,
    /// The client gets this error, with its code.
    Refuse(String),
    /// The client is blocked until its keys are loaded.
    Wait(WaitId),
}

/// How a call may wait for its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The client may be blocked.
    Allowed,
    /// It may not: the call finds what there is.
    No,
    /// It may not, and its keys are loaded behind it.
    Behind,
}

/// Looks for the keys of a call, and asks for those that are missing.
pub fn decide(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    db: Db,
    command: &Command,
    (words, raw): (&[&[u8]], &[*mut raw::RedisModuleString]),
    waiting: Waiting,
) -> Decision {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    if !command.depends(words.len(), word) {
        return Decision::Run;
    }
    let (mut wait, mut awaits, mut error) = (None, false, None);
    key_positions::each(
        ctx,
        command,
        words.len(),
        || raw.to_vec(),
        |at, flags| {
            let key = word(at);
            let Some(id) = pipeline.backlog.borrow().reads_through(db, key) else { return true };
            // Looking for the key may expire it, which may be a change to be written.
            let exists = pipeline.opener.open(ctx, &Text::new(key)).is_some();
            pipeline.backlog.borrow_mut().count_read(id, exists);
            if exists {
                return true;
            }
            if only_removes(flags) && keeps_document(pipeline, id) {
                pipeline.backlog.borrow_mut().forget_read(id, key);
                return true;
            }
            let mut backlog = pipeline.backlog.borrow_mut();
            if waiting == Waiting::No {
                backlog.count_unloaded(id);
                return true;
            }
            if waiting == Waiting::Allowed && wait.is_none() {
                wait = Some(backlog.reads.begin_wait());
            }
            match backlog.want(id, key, wait, clock::now_us()) {
                Known::Absent => {}
                Known::Awaited => awaits = true,
                Known::Refused(text) => error = Some(text),
            }
            error.is_none()
        },
    );
    match (error, wait) {
        (None, Some(wait)) if awaits => Decision::Wait(wait),
        (error, wait) => {
            if let Some(wait) = wait {
                pipeline.backlog.borrow_mut().reads.end_wait(wait);
            }
            match error {
                Some(error) if waiting == Waiting::Allowed => Decision::Refuse(error),
                _ => Decision::Run,
            }
        }
    }
}

fn keeps_document(pipeline: &Pipeline, id: RegistrationId) -> bool {
    let backlog = pipeline.backlog.borrow();
    let active = backlog.registry.at(id);
    active.is_some_and(|active| active.registration.on_delete == OnRemoval::Keep)
}
