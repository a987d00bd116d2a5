//! What each figure means, in one sentence, for WB.METRICS.

/// Figures of the module and of a prefix by their names in WB.STATUS.
const FIGURES: [(&str, &str); 90] = [
    ("link_since_unix_ms", "Time at which the link to MongoDB became up or down; 0 while idle."),
    (
        "link_down_ms_total",
        "Time for which the link to MongoDB was down since the module was loaded.",
    ),
    ("paused", "1 while WB.PAUSE stops writing."),
    ("registrations", "Registered prefixes."),
    ("dirty_keys", "Keys changed and not acknowledged by MongoDB, including those in flight."),
    ("in_flight_keys", "Keys read and sent, not acknowledged."),
    ("blocked_keys", "Keys in flight whose documents MongoDB cannot write at present."),
    ("dead_letters", "Keys whose last change MongoDB refused."),
    ("resting", "Registrations that back off because their namespace refuses writes."),
    ("oldest_dirty_ms", "Age of the oldest change that is not acknowledged; 0 for none."),
    ("rescans_pending", "Registrations to be scanned because dirty-max-bytes was reached."),
    ("syncs_pending", "Registrations whose existing keys are being marked by SYNC."),
    ("sync_pending", "1 while existing keys are being marked by SYNC."),
    ("sync_marked", "Keys marked by the current or the last scan."),
    ("load_pending", "1 while WB.LOAD stores documents as keys."),
    ("load_documents", "Documents read by the current or the last WB.LOAD."),
    ("load_loaded", "Keys that it has stored."),
    ("load_kept", "Documents that it has left out, because Redis has something newer."),
    ("load_failed", "Documents that it could not store."),
    ("load_rate", "Documents that it reads per second."),
    ("verify_pending", "1 while WB.VERIFY compares keys with their documents, until it has ended."),
    ("verify_checked", "Keys compared by the current or the last WB.VERIFY, or round of EVERY."),
    (
        "verify_skipped",
        "Keys that it did not compare, because they are to be written, or were refused.",
    ),
    ("verify_missing", "Keys that it found without documents."),
    ("verify_different", "Keys that it found with different documents."),
    ("verify_extra", "Documents that it found without keys; looked for with FULL only."),
    ("verify_repaired", "Keys that it has marked to be written again."),
    (
        "verify_every",
        "Seconds between the beginnings of two rounds of WB.VERIFY EVERY; 0 for none.",
    ),
    ("verify_age_ms", "Age of the last whole verification; 0 without one."),
    ("verified_total", "Keys compared with their documents."),
    ("different_total", "Keys that were found without documents, or with different ones."),
    ("captured_total", "Changes captured."),
    ("coalesced_total", "Changes that needed no write of their own."),
    ("written_total", "Documents written."),
    ("deleted_total", "Documents deleted."),
    ("failed_total", "Changes that became dead letters."),
    ("retries_total", "Batches that failed and were requeued."),
    ("batches_total", "Batches acknowledged."),
    ("bytes_total", "Bytes of the commands of acknowledged batches."),
    ("batches_in_flight", "Batches sent to MongoDB and not answered."),
    (
        "lease_held",
        "1 while this server holds the lease of its data, which decides who writes after a failover.",
    ),
    ("lease_epoch", "Number of the lease while it is held, else 0."),
    ("batches_allowed", "Batches that may be in flight at present, at most max-in-flight-batches."),
    ("lag_p50_us", "Median time from change to acknowledgement, of the last one to two minutes."),
    ("lag_p99_us", "99th percentile of that time, of the last one to two minutes."),
    ("last_write_unix_ms", "Time of MongoDB's last acknowledgement; 0 for never."),
    ("reads_total", "Keys that commands looked for, of prefixes with READTHROUGH."),
    ("read_hits_total", "Keys that commands looked for and Redis had."),
    ("read_misses_total", "Keys that commands looked for and Redis did not have."),
    ("read_hit_percent", "Share of the keys that commands looked for and Redis had, percent."),
    ("read_loads_total", "Missing keys that were loaded from MongoDB."),
    ("read_absent_total", "Missing keys that have no document."),
    ("read_failed_total", "Missing keys that could not be loaded."),
    ("read_unloaded_total", "Missing keys that commands did not wait for: in MULTI."),
    ("evicted_total", "Keys of registered prefixes that Redis has evicted."),
    ("readers_waiting", "Clients that wait for missing keys to be loaded."),
    ("read_p50_us", "Median time of loading a missing key, of the last one to two minutes."),
    ("read_p99_us", "99th percentile of that time, of the last one to two minutes."),
    (
        "through_writes_total",
        "Commands of prefixes with MODE THROUGH whose clients waited for MongoDB.",
    ),
    ("through_refused_total", "Such commands with an error because MongoDB refused a document."),
    (
        "through_timeouts_total",
        "Such commands with an error because MongoDB did not acknowledge them in time, or is not reached.",
    ),
    (
        "through_unheld_total",
        "Changes of keys with MODE THROUGH for which no client waited: in MULTI, in scripts that do not declare the key, by commands that block.",
    ),
    ("writers_waiting", "Clients that wait until MongoDB has what they wrote."),
    (
        "through_p50_us",
        "Median time for which clients waited for what they wrote, of the last one to two minutes.",
    ),
    ("through_p99_us", "99th percentile of that time, of the last one to two minutes."),
    ("memory_bytes", "Memory of dirty keys and dead letters."),
    ("lost_total", "Dirty values that were removed before they could be retained."),
    ("slice_max_us", "Longest time for which the server thread worked without a break."),
    (
        "leaving_keys",
        "Removed keys whose hash slot has left, until its new node has taken them over.",
    ),
    ("dirty_groups", "Groups with dirty keys: keys that one MULTI or script changed."),
    ("groups_total", "Groups written in one transaction."),
    ("groups_split_total", "Groups not written in one transaction, for any reason."),
    ("groups_too_large_total", "Groups split because they have too many keys or bytes."),
    ("groups_missed_total", "Changes in no group because dirty-max-bytes was reached."),
    ("groups_refused_total", "Groups split because MongoDB refused a document."),
    ("groups_blocked_total", "Groups split because a document could not be written in time."),
    ("groups_paused_total", "Groups split because a registration was paused."),
    ("groups_resting_total", "Groups split because a registration backed off."),
    (
        "groups_without_transactions_total",
        "Groups split because the MongoDB deployment has no transactions.",
    ),
    ("own_hits_total", "Reads by the module among the server's keyspace_hits."),
    ("own_misses_total", "Reads by the module among the server's keyspace_misses."),
    ("link_up", "1 while a MongoDB server accepts writes."),
    ("link_down", "1 while no MongoDB server accepts writes."),
    ("broken", "1 after an internal error: nothing more is written to MongoDB until a restart."),
    (
        "dead_letters_by_code",
        "Dead letters by MongoDB's error code; 0 was refused before it was sent.",
    ),
    ("info", "1, with the version and the role as labels."),
    ("lag", "Time from change to acknowledgement."),
    ("batch", "Time from sending a batch to MongoDB's acknowledgement."),
    ("prefix_info", "1, with the namespace as a label."),
    ("prefixes_omitted", "Registrations without metrics of their own, because there are too many."),
];

/// Figures of a prefix that mean something else than those of the module.
const OF_PREFIX: [(&str, &str); 3] = [
    ("paused", "1 while WB.PAUSE stops writing of this prefix."),
    ("resting", "1 while the prefix backs off because its namespace refuses writes."),
    ("rescans_pending", "1 while its keys must be scanned because dirty-max-bytes was reached."),
];

/// The sentence about a figure of the module; empty for an unknown one.
pub fn of(figure: &str) -> &'static str {
    find(&FIGURES, figure).unwrap_or_default()
}

/// The sentence about a figure of a prefix; empty for an unknown one.
pub fn of_prefix(figure: &str) -> &'static str {
    find(&OF_PREFIX, figure).unwrap_or_else(|| of(figure))
}

fn find(sentences: &[(&str, &'static str)], figure: &str) -> Option<&'static str> {
    sentences.iter().find(|(name, _)| *name == figure).map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backlog::Backlog;

    #[test]
    fn every_figure_of_the_backlog_has_a_sentence() {
        for (name, _) in Backlog::default().state(0).figures() {
            assert_ne!(of(name.to_str().unwrap()), "", "{name:?}");
        }
    }

    #[test]
    fn no_sentence_needs_an_escape() {
        assert!(
            FIGURES.iter().all(|(_, help)| help.ends_with('.') && !help.contains(['\\', '\n']))
        );
    }
}
