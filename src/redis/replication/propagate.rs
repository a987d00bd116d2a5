//! What the master writes to the replication stream and the AOF.

use std::ffi::CStr;

use crate::core::backlog::change_log::Touch;
use crate::core::backlog::{Acknowledged, Keys};
use crate::redis::api::context::{Ctx, Text, must_not_replicate};
use crate::redis::api::raw;

/// Keys in one replicated command.
pub const KEYS: usize = 512;

/// Tells replicas and the AOF which keys are clean, and what was refused.
pub fn replicate(ctx: Ctx<'_>, clean: &Acknowledged) {
    replicate_keys(ctx, c"WB._ACK", &clean.keys);
    for refused in &clean.dead {
        ctx.select(refused.db);
        let letter = &refused.letter;
        let number = |number: u64| Text::new(number.to_string().as_bytes());
        ctx.replicate(
            c"WB._DEAD",
            &[
                Text::new(&refused.key),
                Text::new(&refused.prefix),
                Text::new(letter.code.to_string().as_bytes()),
                number(u64::from(letter.attempts)),
                number(letter.unix_ms),
                Text::new(if refused.again { b"dirty" } else { b"clean" }),
                Text::new(letter.reason.as_bytes()),
            ],
        );
    }
    for (db, key) in &clean.revived {
        ctx.select(*db);
        let words = [Text::new(b"DROP"), Text::new(b"KEY"), Text::new(key)];
        ctx.replicate(c"WB.DEADLETTER", &words);
    }
}

fn replicate_keys(ctx: Ctx<'_>, command: &CStr, keys: &Keys) {
    let mut words: Vec<Text> = Vec::with_capacity(keys.len().min(KEYS));
    let mut selected = None;
    for (db, key) in keys.iter() {
        if selected != Some(db) || words.len() == KEYS {
            replicate_words(ctx, command, &mut words);
            ctx.select(db);
            selected = Some(db);
        }
        words.push(Text::new(key));
    }
    replicate_words(ctx, command, &mut words);
}

fn replicate_words(ctx: Ctx<'_>, command: &CStr, words: &mut Vec<Text>) {
    if !words.is_empty() {
        ctx.replicate(command, words);
        words.clear();
    }
}

/// While one of these holds, nothing of ours is put into the stream.
const NOT_OURS: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE | raw::REDISMODULE_CTX_FLAGS_LOADING;

/// Announces that a key has expired or was evicted, ahead of the DEL that follows in the stream.
pub fn removed(ctx: Ctx<'_>, key: &[u8], touch: Touch) {
    if ctx.flags() & NOT_OURS == 0 && !must_not_replicate() {
        let kind: &[u8] = if touch == Touch::Evicted { b"evicted" } else { b"expired" };
        ctx.replicate(c"WB._GONE", &[Text::new(kind), Text::new(key)]);
    }
}
