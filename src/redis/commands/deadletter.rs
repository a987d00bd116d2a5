//! WB.DEADLETTER: lists, retries and drops what MongoDB refuses.
//!
//! Three subcommands and not one command, so that the server itself refuses RETRY and DROP on a
//! replica and in read-only scripts, and takes LIST there.

use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::{Backlog, LetterScope};
use crate::core::registration::args;
use crate::core::registration::args::Letters;
use crate::redis::api::clock;
use crate::redis::api::reply::Reply;
use crate::redis::call::Call;

const HELP: [&str; 8] = [
    "WB.DEADLETTER <subcommand> [<arg> [value]]. Subcommands are:",
    "LIST [<prefix>] [COUNT <n>]",
    "    Changes that MongoDB refuses, each with its code and reason.",
    "RETRY [<prefix>|KEY <key>]",
    "    Write their keys once more; reply with the number of keys.",
    "DROP [<prefix>|KEY <key>]",
    "    Forget them; reply with their number.",
    "HELP: print this help.",
];

/// `WB.DEADLETTER LIST`.
pub fn list(call: &Call<'_>) {
    let args = match args::letter_list(call.subarguments()) {
        Ok(args) => args,
        Err(error) => return call.reply.error(&error),
    };
    let backlog = call.module.pipeline.backlog.borrow();
    let mut slot = None;
    if let Some(prefix) = args.prefix {
        slot = backlog.slot_of(call.db, prefix);
        if slot.is_none() {
            return call.no_registration(&backlog, prefix);
        }
    }
    let all = slot.map_or(backlog.dead.len(), |slot| backlog.dead.count(slot));
    let count = all.min(args.count.unwrap_or(usize::MAX));
    call.reply.array(count);
    for (db, key, letter) in backlog.letters(slot).take(count) {
        row(call.reply, &backlog, db, key, letter);
    }
}

fn row(reply: Reply<'_>, backlog: &Backlog, db: u16, key: &[u8], letter: &DeadLetter) {
    let slot = backlog.slot(letter.slot);
    let prefix = slot.map_or(&[][..], |slot| &slot.registration.prefix);
    reply.map(7);
    reply.text_field("key", key);
    reply.number_field(c"db", u64::from(db));
    reply.text_field("prefix", prefix);
    reply.number_field(c"code", u64::try_from(letter.code).unwrap_or(0));
    reply.text_field("reason", letter.reason.as_bytes());
    reply.number_field(c"attempts", u64::from(letter.attempts));
    reply.number_field(c"unix_ms", letter.unix_ms);
}

/// `WB.DEADLETTER RETRY`.
pub fn retry(call: &Call<'_>) {
    change(call, "RETRY", |backlog, scope| backlog.retry(scope, clock::now_us()));
}

/// `WB.DEADLETTER DROP`.
pub fn drop(call: &Call<'_>) {
    change(call, "DROP", |backlog, scope| backlog.drop_letters(scope));
}

fn change(call: &Call<'_>, name: &str, change: fn(&mut Backlog, LetterScope<'_>) -> usize) {
    let args = match args::letters(name, call.subarguments()) {
        Ok(args) => args,
        Err(error) => return call.reply.error(&error),
    };
    if call.is_refused_on_replica("dead letters are retried and dropped") {
        return;
    }
    let db = call.db;
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let scope = match args {
        Letters::All => LetterScope::All,
        Letters::Key(key) => LetterScope::Key(db, key),
        Letters::Prefix(prefix) => match backlog.slot_of(db, prefix) {
            Some(slot) => LetterScope::Slot(slot),
            None => return call.no_registration(&backlog, prefix),
        },
    };
    let keys = change(&mut backlog, scope);
    std::mem::drop(backlog);
    call.ctx.replicate_verbatim();
    call.reply.integer(keys as u64);
}

/// `WB.DEADLETTER HELP`.
pub fn help(call: &Call<'_>) {
    call.reply.array(HELP.len());
    for line in HELP {
        call.reply.bytes(line.as_bytes());
    }
}
