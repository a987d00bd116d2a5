//! The words that the master puts into the replication stream and the AOF. Replicas and the AOF
//! loader obey them; clients are refused.

use crate::core::backlog::stream_words::{Told, Word, read};
use crate::redis::api::clock;
use crate::redis::call::Call;
use crate::redis::retain::last_value;

/// Refuses clients, and passes on to our own replicas and AOF what was obeyed.
fn obey(call: &Call<'_>, word: Word) {
    if !call.is_obeyed() {
        let name = call.words.first().copied().unwrap_or_default();
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        return call.reply.error(&format!(
            "{name} is for the replication stream and the AOF only; nothing was changed"
        ));
    }
    let now_us = clock::now_us();
    // What stands before it in the stream comes first here, too.
    call.module.pipeline.backlog.borrow_mut().fold(now_us);
    match read(word, call.arguments()) {
        Some(Told::Gone { touch, key }) => {
            last_value::announced(&call.module.pipeline, call.ctx, (call.db, key), touch);
        }
        Some(told) => {
            let now = (now_us, clock::unix_ms());
            call.module.pipeline.backlog.borrow_mut().obey(call.db, told, now);
        }
        None => {}
    }
    call.ctx.replicate_verbatim();
    call.reply.ok();
}

/// `WB._ACK`.
pub fn ack(call: &Call<'_>) {
    obey(call, Word::Ack);
}

/// `WB._DEAD`.
pub fn dead(call: &Call<'_>) {
    obey(call, Word::Dead);
}

/// `WB._GONE`.
pub fn gone(call: &Call<'_>) {
    obey(call, Word::Gone);
}

/// `WB._LANES`.
pub fn lanes(call: &Call<'_>) {
    obey(call, Word::Lanes);
}

/// `WB._SCAN`.
pub fn scan(call: &Call<'_>) {
    obey(call, Word::Scan);
}

/// `WB._MARK`.
pub fn mark(call: &Call<'_>) {
    obey(call, Word::Mark);
}

/// `WB._SYNCED`.
pub fn synced(call: &Call<'_>) {
    obey(call, Word::Synced);
}

/// `WB._DIGEST`: a number in hexadecimal that servers with the same dirty keys share. For
/// everybody, to compare a replica with its master.
pub fn digest(call: &Call<'_>) {
    let digest = call.module.pipeline.backlog.borrow_mut().digest(clock::now_us());
    call.reply.bytes(format!("{digest:016x}").as_bytes());
}
