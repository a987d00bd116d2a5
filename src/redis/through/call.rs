//! WB.READ and WB.WRITE: a command that waits until its keys are loaded.

use std::sync::Arc;

use super::key_positions;
use crate::core::backlog::reads::Known;
use crate::core::command_table::{Command, only_removes};
use crate::core::ids::{Db, RegistrationId, WaitId};
use crate::core::registration::OnRemoval;
use crate::redis::api::clock;
use crate::redis::api::command_keys;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::api::raw;
use crate::redis::api::run_command::{Ran, run_replicated};
use crate::redis::pipeline::Pipeline;

/// What is to be done with a call.
#[derive(Debug)]
pub enum Decision {
    /// It is run now.
    Run,
    /// The client gets this error, with its code.
    Refuse(String),
    /// The client is blocked until its keys are loaded.
    Wait {
        /// The client, as it is known to the backlog.
        wait: WaitId,
        /// True if the call has other keys, too: they may be gone by the time that those are loaded.
        has_others: bool,
    },
}

/// How a call may wait for its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The client may be blocked.
    Allowed,
    /// It keeps keys itself, so it must not be blocked for a read: the call finds what there is, and the keys are loaded
    /// behind it.
    Behind,
    /// The server does not block it. The keys are loaded behind it, and it gets an error.
    Refused,
    /// It is in a MULTI, or the like: the call finds what there is.
    Multi,
    /// As before, and this server changes nothing by itself.
    Never,
}

const TRY_AGAIN: &str = "TRYAGAIN Redis does not have the key, which is being loaded, and the server does not hold a \
                         client that has subscribed: send the command again";

/// A call, as it is looked at.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The database.
    pub db: Db,
    /// The command.
    pub command: &'a Command,
    /// Its words.
    pub words: &'a [&'a [u8]],
    /// The same as the server has them.
    pub raw: &'a [*mut raw::RedisModuleString],
    /// Keys that are known not to have a document, because the call has waited for them already.
    pub absent: &'a [Arc<[u8]>],
    /// True if the keys count as looked for.
    pub counts: bool,
}

/// Looks for the keys of a call, and asks for those that are missing. The database of `ctx` is that of the call.
pub fn decide(pipeline: &Pipeline, ctx: Ctx<'_>, call: Call<'_>, waiting: Waiting) -> Decision {
    let word = |at: usize| call.words.get(at).copied().unwrap_or_default();
    if !call.command.depends(call.words.len(), word) {
        return Decision::Run;
    }
    let mut asked = Asked::default();
    key_positions::each(
        call.command,
        call.words.len(),
        || command_keys::positions(ctx, call.raw),
        |at, flags| {
            asked.keys += 1;
            let key = word(at);
            let Some(id) = pipeline.backlog.borrow().reads_through(call.db, key) else {
                return true;
            };
            // Looking for the key may expire it, which may be a change to be written.
            let name = Text::new(key);
            let exists = pipeline.opener.open(ctx, &name).is_some();
            if call.counts {
                pipeline.backlog.borrow_mut().count_read(id, exists);
            }
            if exists || call.absent.iter().any(|absent| **absent == *key) {
                return true;
            }
            if only_removes(flags) {
                if keeps_document(pipeline, id) {
                    pipeline.backlog.borrow_mut().forget_read(id, key);
                    return true;
                }
                if waiting == Waiting::Multi {
                    remove(ctx, &name);
                    return true;
                }
            }
            asked.ask(pipeline, id, key, waiting)
        },
    );
    match asked {
        Asked { error: None, wait: Some(wait), awaits: true, keys } => {
            Decision::Wait { wait, has_others: keys > 1 }
        }
        Asked { error, wait, awaits, .. } => {
            if let Some(wait) = wait {
                pipeline.backlog.borrow_mut().reads.end_wait(wait);
            }
            match error {
                Some(error) => Decision::Refuse(error),
                None if waiting == Waiting::Refused && awaits => {
                    Decision::Refuse(TRY_AGAIN.to_owned())
                }
                None => Decision::Run,
            }
        }
    }
}

/// What was asked for.
#[derive(Debug, Default)]
struct Asked {
    keys: usize,
    wait: Option<WaitId>,
    awaits: bool,
    error: Option<String>,
}

impl Asked {
    /// Asks for a missing key. False if the call cannot be run.
    fn ask(
        &mut self,
        pipeline: &Pipeline,
        id: RegistrationId,
        key: &[u8],
        waiting: Waiting,
    ) -> bool {
        let mut backlog = pipeline.backlog.borrow_mut();
        if matches!(waiting, Waiting::Multi | Waiting::Never) {
            backlog.count_unloaded(id);
            return true;
        }
        if waiting == Waiting::Allowed && self.wait.is_none() {
            self.wait = Some(backlog.reads.begin_wait());
        }
        match backlog.want(id, key, self.wait, clock::now_us()) {
            Known::Absent => {}
            Known::Awaited => self.awaits = true,
            Known::Refused(text) => self.error = Some(text),
        }
        self.error.is_none()
    }
}

/// Deletes the document of a key that Redis does not have, and for which the client cannot wait: the key is made and deleted,
/// so replicas and the AOF know of it, too.
fn remove(ctx: Ctx<'_>, name: &Text) {
    if run_replicated(ctx, c"SET", name, &[Text::new(b"")]) == Ran::Done {
        run_replicated(ctx, c"DEL", name, &[]);
    }
}

fn keeps_document(pipeline: &Pipeline, id: RegistrationId) -> bool {
    let backlog = pipeline.backlog.borrow();
    let active = backlog.registry.at(id);
    active.is_some_and(|active| active.registration.on_delete == OnRemoval::Keep)
}
