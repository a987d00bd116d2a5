//! The words that the master puts into the replication stream and the AOF. Replicas and the AOF
//! loader obey them; clients are refused.

use std::str::FromStr;

use super::Call;
use crate::core::change::Touch;
use crate::core::dead::DeadLetter;
use crate::core::engine::{Engine, Refused, Scanned};
use crate::redis::api::{REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_REPLICATED};
use crate::redis::{clock, gone};

/// Refuses clients, and passes on to our own replicas and AOF what was obeyed.
fn obey(call: &Call<'_>, body: impl FnOnce()) {
    let obeyed = REDISMODULE_CTX_FLAGS_REPLICATED | REDISMODULE_CTX_FLAGS_LOADING;
    if call.ctx.flags() & obeyed == 0 {
        let name = call.words.first().copied().unwrap_or_default();
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        return call.reply.error(&format!(
            "{name} is for the replication stream and the AOF only; nothing was changed"
        ));
    }
    // What stands before it in the stream comes first here, too.
    call.module.engine.borrow_mut().fold(clock::now_us());
    body();
    call.ctx.replicate_verbatim();
    call.reply.ok();
}

/// `WB._ACK key ...`: MongoDB has these keys in their latest state.
pub fn ack(call: &Call<'_>) {
    obey(call, || {
        let mut engine = call.module.engine.borrow_mut();
        for key in call.arguments() {
            engine.forget(call.db, key);
        }
    });
}

/// `WB._DEAD key prefix code attempts unix-ms clean|dirty reason`: MongoDB refuses a change of the
/// key, which is clean now, or dirty because it has changed again.
pub fn dead(call: &Call<'_>) {
    obey(call, || {
        if let [key, prefix, code, attempts, unix_ms, state, reason] = call.arguments() {
            let letter = DeadLetter {
                slot: 0,
                code: number(code),
                reason: String::from_utf8_lossy(reason).into_owned(),
                attempts: number(attempts),
                // The master's clock may be ahead of this one.
                unix_ms: clock::unix_ms().min(number(unix_ms)),
                touch: Touch::Changed,
                captured: None,
            };
            call.module.engine.borrow_mut().bury(Refused {
                db: call.db,
                key: key.to_vec(),
                prefix: prefix.to_vec(),
                letter,
                again: *state == b"dirty",
            });
        }
    });
}

fn number<T: FromStr + Default>(word: &[u8]) -> T {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// `WB._GONE expired|evicted key`: the DEL that follows is none of a client.
pub fn gone(call: &Call<'_>) {
    obey(call, || {
        if let [kind, key] = call.arguments() {
            let touch = if *kind == b"evicted" { Touch::Evicted } else { Touch::Expired };
            gone::announced(call.module, call.ctx, (call.db, key), touch);
        }
    });
}

/// `WB._LANES ids`: the sessions in which the master writes, 16 bytes each.
pub fn lanes(call: &Call<'_>) {
    obey(call, || {
        if let [ids] = call.arguments() {
            call.module.engine.borrow_mut().set_lanes(ids.as_chunks().0.to_vec(), false);
        }
    });
}

/// `WB._SCAN prefix`: from here on, the keys that exist under the prefix are marked.
pub fn scan(call: &Call<'_>) {
    obey(call, || {
        with_slot(call, |engine, slot, _| engine.begin_scan(slot));
    });
}

/// `WB._MARK prefix key ...`: these keys are dirty without having changed. They are marked like
/// changes here: what has no place is missed after the scan's beginning, and so not taken for
/// found at its end.
pub fn mark(call: &Call<'_>) {
    obey(call, || {
        with_slot(call, |engine, slot, keys| {
            let now_us = clock::now_us();
            for key in keys {
                engine.found(slot, key, Touch::Changed, now_us);
            }
            engine.fold(now_us);
            engine.scanned(slot, Scanned { visited: 0, marked: keys.len() as u64 });
        });
    });
}

/// `WB._SYNCED prefix`: all keys that existed under the prefix are marked.
pub fn synced(call: &Call<'_>) {
    obey(call, || {
        with_slot(call, |engine, slot, _| engine.end_scan(slot, clock::now_us()));
    });
}

/// Calls `body` with the slot of the prefix that stands first, and the arguments behind it.
fn with_slot(call: &Call<'_>, body: impl FnOnce(&mut Engine, u16, &[&[u8]])) {
    if let [prefix, rest @ ..] = call.arguments() {
        let mut engine = call.module.engine.borrow_mut();
        if let Some(slot) = engine.slot_of(call.db, prefix) {
            body(&mut engine, slot, rest);
        }
    }
}

/// `WB._DIGEST`: a number in hexadecimal that servers with the same dirty keys share. For
/// everybody, to compare a replica with its master.
pub fn digest(call: &Call<'_>) {
    let digest = call.module.engine.borrow_mut().digest(clock::now_us());
    call.reply.bytes(format!("{digest:016x}").as_bytes());
}
