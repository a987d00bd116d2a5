//! Replicas, and the comparison of the servers' dirty sets.

use crate::redis_server::server::Redis;
use crate::wait::{SOON, wait_until};

impl Redis {
    /// Makes this server a replica of `master` and waits until it is in sync.
    #[track_caller]
    pub fn follow(&self, master: &Redis) {
        self.cmd(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
        self.wait_until_in_sync_with(master);
    }

    /// Makes this replica a master (REPLICAOF NO ONE).
    #[track_caller]
    pub fn promote(&self) {
        self.cmd(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Returns when this replica has processed everything that its master sent.
    #[track_caller]
    pub fn wait_until_in_sync_with(&self, master: &Redis) {
        wait_until("the replica is in sync", SOON, || {
            // The master's offset first: it may only increase until the replica replies.
            let sent = master.offset("master_repl_offset");
            self.is_linked() && self.offset("slave_repl_offset") >= sent
        });
    }

    /// Whether this replica's link to its master is up.
    pub fn is_linked(&self) -> bool {
        self.replication("master_link_status").as_deref() == Some("up")
            && self.replication("master_sync_in_progress").as_deref() == Some("0")
    }

    fn offset(&self, field: &str) -> i64 {
        self.replication(field).and_then(|offset| offset.parse().ok()).unwrap_or(-1)
    }

    /// A field of `INFO replication`.
    pub fn replication(&self, field: &str) -> Option<String> {
        self.info("replication", field)
    }

    /// A field of a section of `INFO`.
    #[track_caller]
    pub fn info(&self, section: &str, field: &str) -> Option<String> {
        let info: String = self.run(&["INFO", section]);
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == field).map(|(_, value)| value.trim().to_owned())
    }

    /// `WB._DIGEST`: equal if the registrations and the dirty sets are equal.
    #[track_caller]
    pub fn digest(&self) -> String {
        self.run(&["WB._DIGEST"])
    }

    /// The server's version, `7.0.15`; for Valkey `valkey 8.1.0`.
    #[track_caller]
    pub fn version(&self) -> String {
        let valkey =
            self.info("server", "valkey_version").map(|version| "valkey ".to_owned() + &version);
        valkey.or_else(|| self.info("server", "redis_version")).expect("a version")
    }

    /// Redis 7.0 has no event before a key is removed, and writes module data to every RDB file.
    pub fn is_redis_7_0(&self) -> bool {
        self.version().starts_with("7.0.")
    }
}

/// Asserts that the dirty sets of `a` and `b` are the same, by size and by digest.
#[track_caller]
pub fn assert_same_dirty_set(a: &Redis, b: &Redis) {
    assert_eq!(a.status().int("dirty_keys"), b.status().int("dirty_keys"));
    assert_eq!(a.status().int("registrations"), b.status().int("registrations"));
    assert_eq!(a.digest(), b.digest());
}
