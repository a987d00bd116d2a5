//! WB.HELP: the commands and their options, in the server's own style.

use crate::redis::call::Call;

const LINES: &[&str] = &[
    "WB.<command> [<arg> [value] [opt] ...]. Commands are:",
    "REGISTER <prefix> <database.collection>",
    "         [TYPE ANY|HASH|JSON|STRING|LIST|SET|ZSET|STREAM]",
    "         [KEY <field> [AS STRING|INT64|OBJECTID|UUID] [WHOLE]] [WRITE REPLACE|MERGE]",
    "         [ONDEL DELETE|KEEP] [ONEXPIRE KEEP|DELETE] [ONEVICT KEEP|DELETE]",
    "         [TTLFIELD <field>] [EXCLUDE <n> <glob> ...] [SHARED] [UNWRAP]",
    "         [ONERROR DEADLETTER|STRING|SKIP] [INTERVAL <ms>] [BATCH <keys>] [SYNC]",
    "         [SCHEMA <field|*> <type> [AS <name>] ...]",
    "    Write every change of keys under the prefix to the MongoDB collection.",
    "    SCHEMA comes last. Its types: STRING, INT64, DOUBLE, DECIMAL, BOOL, DATE, DATE_S,",
    "    DATE_MS, OBJECTID, UUID, BINARY, JSON, AUTO, SKIP.",
    "    A field is a hash's, or a path of JSON (address.zip).",
    "UNREGISTER <prefix> [DISCARD]",
    "    Stop capturing. What is dirty is still written, or with DISCARD dropped.",
    "STATUS [<prefix>]",
    "    Is MongoDB reached, how far is it behind, since when and why.",
    "EXPLAIN <key>",
    "    How does the key stand, and what would be written of it now.",
    "FLUSH [<prefix>] [KEYS <n> <key> ...] [TIMEOUT <ms>]",
    "    Write what is dirty now at once; reply when MongoDB has acknowledged it.",
    "CHECK [<uri>]",
    "    Connect to MongoDB; what is it, and may the user write where the registrations do.",
    "SYNC <prefix>",
    "    Mark every existing key under the prefix, in the background. WB.STATUS shows how far.",
    "PAUSE [<prefix>]",
    "RESUME [<prefix>]",
    "    Stop and restart writing; capture goes on. RESUME alone ends every pause.",
    "DEADLETTER LIST [<prefix>] [COUNT <n>]",
    "DEADLETTER RETRY|DROP [<prefix>|KEY <key>]",
    "    Changes that MongoDB refuses: list them, write them once more, forget them.",
    "HELP",
    "    Print this help.",
    "Settings (CONFIG GET writebehind.*):",
    "    mongodb-uri, mongodb-uri-file, registrations-file, flush-interval-ms,",
    "    batch-max-keys, batch-max-bytes, max-in-flight-batches, read-slice-us,",
    "    retry-backoff-min-ms, retry-backoff-max-ms, write-timeout-ms, dirty-max-bytes,",
    "    shutdown-drain-ms",
    "Example:",
    "    WB.REGISTER movie: shop.movies TYPE JSON KEY movieId",
];

/// Runs the command.
pub fn command(call: &Call<'_>) {
    if call.words.len() != 1 {
        return call.reply.wrong_arity();
    }
    call.reply.array(LINES.len());
    for line in LINES {
        call.reply.bytes(line.as_bytes());
    }
}
