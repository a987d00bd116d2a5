//! Replicas, and whether the dirty sets of servers agree.

use crate::redis_server::server::Redis;
use crate::wait::{SOON, wait_until};

impl Redis {
    /// Makes this server a replica of `master` and waits until it is in step.
    #[track_caller]
    pub fn follow(&self, master: &Redis) {
        self.cmd(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
        self.wait_until_in_step_with(master);
    }

    /// Ends being a replica.
    #[track_caller]
    pub fn promote(&self) {
        self.cmd(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Returns when this replica has everything that its master sent.
    #[track_caller]
    pub fn wait_until_in_step_with(&self, master: &Redis) {
        wait_until("the replica is in step", SOON, || {
            // The master first: it may only be further by the time the replica answers.
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

    /// `WB._DIGEST`: equal digests, equal registrations and dirty sets.
    #[track_caller]
    pub fn digest(&self) -> String {
        self.run(&["WB._DIGEST"])
    }

    /// The server's version as it calls itself, `7.0.15`; Valkey's is its own.
    #[track_caller]
    pub fn version(&self) -> String {
        let valkey =
            self.info("server", "valkey_version").map(|version| "valkey ".to_owned() + &version);
        valkey.or_else(|| self.info("server", "redis_version")).expect("a version")
    }

    /// Redis 7.0: no event before a key goes, and module data in every RDB file.
    pub fn is_redis_7_0(&self) -> bool {
        self.version().starts_with("7.0.")
    }
}

/// The dirty sets of `a` and `b` are the same, by number and by digest.
#[track_caller]
pub fn agree(a: &Redis, b: &Redis) {
    assert_eq!(a.status().int("dirty_keys"), b.status().int("dirty_keys"));
    assert_eq!(a.status().int("registrations"), b.status().int("registrations"));
    assert_eq!(a.digest(), b.digest());
}
