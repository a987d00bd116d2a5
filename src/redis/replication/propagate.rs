//! What the master writes to the replication stream and the AOF; `apply` is the receiving side.

use std::ffi::CStr;

use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::lease::Shard;
use crate::core::backlog::revisions::Stamp;
use crate::core::backlog::stream_words::{self, LoadedValue, Word};
use crate::core::backlog::{Acknowledged, KeyList};
use crate::core::delivery::batch::SessionId;
use crate::redis::api::context::{Ctx, Text, must_not_replicate};
use crate::redis::api::raw;

/// An operator command that is replicated to replicas and the AOF as well.
pub const DEADLETTER: &CStr = c"WB.DEADLETTER";

/// Maximum number of keys in one replicated command.
pub const KEYS: usize = 512;

/// Replicates the acknowledged keys, new dead letters and resolved ones to replicas and the AOF.
pub fn replicate(ctx: Ctx<'_>, clean: &Acknowledged) {
    replicate_keys(ctx, Word::Ack.name(), &clean.keys);
    for refused in &clean.dead {
        ctx.select(refused.db);
        let words = stream_words::dead(refused).map(|word| Text::new(&word));
        ctx.replicate(Word::Dead.name(), &words);
    }
    for (db, key) in &clean.resolved {
        ctx.select(*db);
        replicate_dead_letter(ctx, b"DROP", key);
    }
}

fn replicate_keys(ctx: Ctx<'_>, command: &CStr, keys: &KeyList) {
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

/// While one of these context flags is set, the module replicates nothing.
const REPLICATES_NOTHING: u32 =
    raw::REDISMODULE_CTX_FLAGS_SLAVE | raw::REDISMODULE_CTX_FLAGS_LOADING;

/// Replicates that a key has expired or was evicted, ahead of the DEL that the server replicates.
pub fn removed(ctx: Ctx<'_>, key: &[u8], kind: ChangeKind) {
    if ctx.flags() & REPLICATES_NOTHING == 0 && !must_not_replicate() {
        let words = [Text::new(stream_words::removal(kind)), Text::new(key)];
        ctx.replicate(Word::Gone.name(), &words);
    }
}

/// Replicates that a key has left for another node, ahead of the DEL that the server replicates.
pub fn left(ctx: Ctx<'_>, key: &[u8]) {
    if ctx.flags() & REPLICATES_NOTHING == 0 && !must_not_replicate() {
        ctx.replicate(Word::Left.name(), &[Text::new(key)]);
    }
}

/// Replicates that the scan for existing keys of the prefix begins.
pub fn scan_begins(ctx: Ctx<'_>, prefix: &[u8]) {
    ctx.replicate(Word::Scan.name(), &[Text::new(prefix)]);
}

/// Replicates keys of the prefix that are dirty without having changed.
pub fn marked(ctx: Ctx<'_>, prefix: &[u8], keys: &[Text]) {
    let prefix = Text::new(prefix);
    for keys in keys.chunks(KEYS) {
        ctx.replicate_with(Word::Mark.name(), Some(&prefix), keys);
    }
}

/// Replicates that all existing keys of the prefix are marked.
pub fn scan_ends(ctx: Ctx<'_>, prefix: &[u8]) {
    ctx.replicate(Word::Synced.name(), &[Text::new(prefix)]);
}

/// The words of `WB._LOADED` for one value.
pub fn loaded_words(of: &LoadedValue<'_>) -> [Text; 4] {
    let [content, expire_ms] = stream_words::loaded(of.content, of.expire_ms);
    [Text::new(&content), Text::new(&expire_ms), Text::new(of.key), Text::new(of.value)]
}

/// Replicates values of the selected database that were loaded from MongoDB.
pub fn loaded(ctx: Ctx<'_>, words: &[Text]) {
    ctx.replicate(Word::Loaded.name(), words);
}

/// Replicates how far the load of a prefix in the selected database is; an empty `after` ends it.
pub fn loading(ctx: Ctx<'_>, prefix: &[u8], documents: u64, after: &[u8]) {
    let documents = documents.to_string();
    let words = [prefix, documents.as_bytes(), after].map(Text::new);
    ctx.replicate(Word::Loading.name(), &words);
}

/// Replicates the MongoDB sessions in which this server writes.
pub fn sessions(ctx: Ctx<'_>, sessions: &[SessionId]) {
    ctx.replicate(Word::Sessions.name(), &[Text::new(sessions.as_flattened())]);
}

/// Replicates the shard with the epoch of this server's lease.
pub fn lease(ctx: Ctx<'_>, shard: &Shard) {
    let words = stream_words::lease(shard).map(|word| Text::new(&word));
    ctx.replicate(Word::Lease.name(), &words);
}

/// Replicates the revision of a prefix in the selected database, or of the pause of all registrations.
pub fn revision(ctx: Ctx<'_>, prefix: Option<&[u8]>, stamp: &Stamp) {
    let words: Vec<Text> =
        stream_words::revision(stamp, prefix).iter().map(|word| Text::new(word)).collect();
    ctx.replicate(Word::Revision.name(), &words);
}

/// Replicates the automatic retry of the dead letter of a key in the selected database.
pub fn dead_letter_retried(ctx: Ctx<'_>, key: &[u8]) {
    replicate_dead_letter(ctx, b"RETRY", key);
}

fn replicate_dead_letter(ctx: Ctx<'_>, what: &[u8], key: &[u8]) {
    ctx.replicate(DEADLETTER, &[Text::new(what), Text::new(b"KEY"), Text::new(key)]);
}
