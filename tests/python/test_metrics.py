"""The metrics in Prometheus, the alerts by what causes them, and the dashboard by its queries."""

import json
import os
import re
import signal
import subprocess
import unittest
from contextlib import closing

import pymongo
import yaml
from prometheus import PACKAGING, RULES, Exporter, Prometheus, promtool
from redis.exceptions import ResponseError
from servers import MODULE, ROOT, Mongo, Redis, wait

DASHBOARD = ROOT / "packaging" / "grafana"
NAME = re.compile(r"\bwritebehind_[a-z0-9_]+")
SERIES = re.compile(r"^(writebehind_\w+)(?:\{(.*)\})? (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Metrics that no panel shows, because another one has the same information.
NO_PANEL = {
    "batches_total", "dirty_groups", "groups_split_total", "lag_p50_seconds", "lag_p99_seconds",
    "last_write_timestamp_seconds", "leaving_keys", "link_since_timestamp_seconds", "own_hits_total", "own_misses_total",
    "read_hit_percent", "read_misses_total",
    "prefixes_omitted", "info", "lease_epoch", "lease_held", "registrations", "rescans_pending", "resting", "syncs_pending", "lost_total",
    *(f"prefix_{name}" for name in [
        "batches_total", "bytes_total", "captured_total", "coalesced_total", "deleted_total",
        "failed_total", "in_flight_keys", "info", "lag_p50_seconds", "last_write_timestamp_seconds",
        "load_documents", "load_failed", "load_kept", "load_loaded", "load_pending", "load_rate",
        "paused", "rescans_pending", "retries_total", "sync_marked", "sync_pending",
        "evicted_total", "read_absent_total", "read_failed_total", "read_hit_percent", "read_loads_total",
        "read_misses_total", "read_p50_seconds", "read_unloaded_total",
        "through_refused_total", "through_timeouts_total", "through_unheld_total", "through_writes_total",
        "verify_pending", "verify_checked", "verify_skipped", "verify_missing", "verify_different", "verify_extra",
        "verify_repaired", "verify_every", "verified_total", "different_total",
    ]),
}  # fmt: skip
# Metrics that no alert needs: rates, parts of others, and what is no trouble by itself. A group that is split
# because of a dead letter, or a blocked, resting or paused key, comes with the alert about that; so does a write of
# MODE THROUGH that is refused. On a server without transactions every group is split.
NO_ALERT = {
    "batches_allowed", "batches_in_flight", "batches_total", "bytes_total", "captured_total",
    "coalesced_total", "dead_letters_by_code", "deleted_total", "dirty_keys", "failed_total",
    "dirty_groups", "groups_blocked_total", "groups_missed_total", "groups_paused_total", "groups_refused_total",
    "groups_resting_total", "groups_split_total", "groups_too_large_total", "groups_total",
    "groups_without_transactions_total", "in_flight_keys", "lag_p50_seconds", "lag_p99_seconds", "lag_seconds",
    "last_write_timestamp_seconds", "leaving_keys", "link_down_seconds_total", "link_since_timestamp_seconds",
    "link_up", "own_hits_total", "own_misses_total", "registrations", "retries_total",
    "slice_max_seconds", "syncs_pending", "written_total", "lease_epoch", "lease_held",
    "evicted_total", "read_absent_total", "read_hit_percent", "read_hits_total", "read_loads_total",
    "read_misses_total", "read_unloaded_total", "readers_waiting", "reads_total", "verified_total",
    "through_refused_total", "through_unheld_total", "through_writes_total", "writers_waiting",
    *(f"prefix_{name}" for name in [
        "batches_total", "bytes_total", "captured_total", "coalesced_total", "dead_letters",
        "deleted_total", "dirty_keys", "failed_total", "in_flight_keys", "info", "lag_p50_seconds",
        "lag_p99_seconds", "last_write_timestamp_seconds", "rescans_pending", "retries_total",
        "load_documents", "load_failed", "load_kept", "load_loaded", "load_pending", "load_rate",
        "sync_marked", "sync_pending", "written_total",
        "evicted_total", "read_absent_total", "read_failed_total", "read_hit_percent", "read_hits_total",
        "read_loads_total", "read_misses_total", "read_p50_seconds", "read_p99_seconds", "read_unloaded_total",
        "reads_total",
        "through_p50_seconds", "through_p99_seconds", "through_refused_total", "through_timeouts_total",
        "through_unheld_total", "through_writes_total",
        "verify_pending", "verify_checked", "verify_skipped", "verify_missing", "verify_different", "verify_extra",
        "verify_repaired", "verify_every", "verify_age_seconds", "verified_total", "different_total",
    ]),
}  # fmt: skip


def exposed(server: Redis) -> str:
    return server("WB.METRICS").decode()


def families(text: str) -> set:
    return set(re.findall(r"^# TYPE (\S+)", text, re.M))


def family(name: str) -> str:
    """The metric that a series belongs to."""
    return re.sub(r"^(writebehind_(?:lag|batch)_seconds)_(?:bucket|sum|count)$", r"\1", name)


def panels() -> list:
    return json.loads((DASHBOARD / "writebehind.json").read_text())["panels"]


class Files(unittest.TestCase):
    def test_promtool_accepts_rules_and_configuration(self):
        promtool("check", "rules", RULES)
        promtool("check", "config", PACKAGING / "prometheus.yml")
        promtool("test", "rules", ROOT / "tests" / "python" / "rules.test.yml")

    def test_every_alert_says_what_to_do(self):
        for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], {"warning", "critical"})
                self.assertGreater(len(rule["annotations"]["summary"]), 20)
                self.assertGreater(len(rule["annotations"]["action"]), 20)

    def test_every_file_that_the_compose_file_mounts_is_there(self):
        compose = ROOT / "packaging" / "docker" / "compose.yaml"
        services = yaml.safe_load(compose.read_text())["services"]
        mounts = [mount for service in services.values() for mount in service.get("volumes", [])]
        files = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
        self.assertEqual(len(files), 6)
        for file in files:
            self.assertTrue((compose.parent / file).is_file(), file)

    def test_the_dashboard_is_what_its_script_makes(self):
        subprocess.run([DASHBOARD / "make-dashboard", "--check"], check=True)


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mongo = cls.enterClassContext(closing(Mongo()))
        # DEBUG SLEEP lets a key expire between two commands of one read.
        debug = ["--enable-debug-command", "local"]
        # A mongod that is frozen for a moment must not count as lost.
        uri = f"{cls.mongo.uri}&heartbeatFrequencyMS=60000&connectTimeoutMS=60000"
        cls.redis = cls.enterClassContext(closing(Redis(uri, extra=debug)))
        cls.redis("WB.REGISTER", b'a"b\\\xff:', "shop.quoted")
        cls.redis("WB.REGISTER", "n:", "shop.numbers", "KEY", "number", "AS", "INT64")
        cls.redis("WB.REGISTER", "film:", "shop.films", db=3)
        cls.redis("WB.REGISTER", "read:", "shop.read", "TYPE", "STRING", "READTHROUGH")
        for id in range(100):
            cls.redis("HSET", f"film:{id}", "year", 2000, db=3)
        cls.redis("SET", "n:word", "x")
        cls.redis("WB.FLUSH")
        cls.exporter = cls.enterClassContext(closing(Exporter(cls.redis.port)))
        cls.prometheus = cls.enterClassContext(closing(Prometheus(cls.exporter)))

    def firing(self, alert: str) -> None:
        wait(lambda: f"{alert} fires, only {self.prometheus.firing()} do",
             lambda: alert in self.prometheus.firing())  # fmt: skip

    def test_1_every_series_arrives_with_its_labels(self):
        text = exposed(self.redis)
        promtool("check", "metrics", input=text)
        expected = {(name, frozenset(LABEL.findall(labels))) for name, labels, _ in SERIES.findall(text)}
        self.assertGreater(len(expected), 100)

        def arrived() -> set:
            found = set()
            for labels, _ in self.prometheus.query('{__name__=~"writebehind_.*"}'):
                name = labels.pop("__name__")
                self.assertEqual((labels.pop("job"), labels.pop("instance")[:10]), ("redis", "127.0.0.1:"))
                found.add((name, frozenset(labels.items())))
            return found

        wait(lambda: f"all series arrive, not {expected ^ arrived()}", lambda: arrived() == expected)
        of_film = 'writebehind_prefix_written_total{db="3",prefix="film:"}'
        self.assertNotIn("level=error", self.exporter.log.read_text())
        wait("the figure arrives", lambda: self.prometheus.query(of_film)[0][1] == 100)

    def test_2_every_panel_shows_what_is_there(self):
        names = families(exposed(self.redis))
        used = set()
        for panel in panels():
            for target in panel.get("targets", []):
                expression = target["expr"]
                used |= {family(name) for name in NAME.findall(expression)}
                for variable in ["job", "instance", "prefix"]:
                    expression = expression.replace(f"${variable}", ".*")
                expression = expression.replace("$__rate_interval", "30s")
                with self.subTest(panel["title"], expression=expression):
                    # A share of nothing has no value: changes and reads for it.
                    def found(expression=expression):
                        self.redis("SET", "film:1", "x", db=3)
                        self.redis("GET", "read:1")
                        return self.prometheus.query(expression)

                    wait(expression, found)
        self.assertEqual(used - names, set(), "panels of metrics that there are not")
        hidden = {f"writebehind_{name}" for name in NO_PANEL}
        self.assertEqual(names - used, hidden, "metrics that no panel shows")
        used_by_rules = {family(name) for name in NAME.findall(RULES.read_text())}
        self.assertEqual(used_by_rules - names, set(), "rules of metrics that there are not")
        ungraded = {f"writebehind_{name}" for name in NO_ALERT}
        self.assertEqual(names - used_by_rules, ungraded, "metrics without an alert")

    def test_3_every_alert_fires_for_its_reason(self):
        alerts = re.findall(r"alert: (\w+)", RULES.read_text())
        self.assertEqual(sorted(alerts), sorted(CAUSES), "an alert without a cause here")
        self.redis("WB.DEADLETTER", "DROP")
        for alert, cause in CAUSES.items():
            with self.subTest(alert):
                wait(lambda: f"{alert} does not fire", lambda: alert not in self.prometheus.firing())
                cause(self.redis, self.mongo)
                self.firing(alert)
                print(f"{alert} fires", flush=True)


def slow(redis: Redis, mongo: Mongo) -> None:
    redis("WB.REGISTER", "slow:", "shop.slow", "INTERVAL", 0)
    mongo.process.send_signal(signal.SIGSTOP)
    redis("SET", "slow:1", "x")
    wait("the write waits", lambda: redis.status()["oldest_dirty_ms"] > 1500)
    mongo.process.send_signal(signal.SIGCONT)
    wait("the write is acknowledged", lambda: redis.status()["dirty_keys"] == 0)


def lag(redis: Redis, _) -> None:
    redis("WB.REGISTER", "late:", "shop.late", "INTERVAL", 60000)
    redis("SET", "late:1", "x")


def dead_letter(redis: Redis, _) -> None:
    redis("SET", "n:word", "x")


def different(redis: Redis, mongo: Mongo) -> None:
    redis("SET", "read:2", "x")
    redis("WB.FLUSH", "KEYS", 1, "read:2")
    mongo.client.shop.read.update_one({"_id": "2"}, {"$set": {"value": "changed by hand"}})
    redis("WB.VERIFY", "read:")
    wait("the difference is found", lambda: redis.status()["different_total"] == 1)


def reads_fail(redis: Redis, mongo: Mongo) -> None:
    mongo.client.shop.read.insert_one({"_id": "3", "value": {"no": "string"}})
    try:
        redis("GET", "read:3")
    except ResponseError as error:
        assert "WBREFUSED" in str(error), error
    wait("the read has failed", lambda: redis.status()["read_failed_total"] == 1)


def through_timeouts(redis: Redis, _) -> None:
    redis("WB.REGISTER", "through:", "shop.through", "MODE", "THROUGH", "TIMEOUT", 50)
    redis("WB.PAUSE", "through:")
    try:
        redis("SET", "through:1", "x")
    except ResponseError as error:
        assert "WBTIMEOUT" in str(error), error
    wait("the write has timed out", lambda: redis.status()["through_timeouts_total"] == 1)
    redis("WB.RESUME", "through:")


def blocked(redis: Redis, mongo: Mongo) -> None:
    redis("WB.REGISTER", "held:", "shop.held")
    # The transaction stays open as long as there is its session.
    mongo.other = pymongo.MongoClient(mongo.uri)
    mongo.other.shop.held.insert_one({"_id": "1"})
    mongo.session = mongo.other.start_session()
    mongo.session.start_transaction()
    mongo.other.shop.held.update_one({"_id": "1"}, {"$set": {"by": "another"}}, session=mongo.session)
    redis("HSET", "held:1", "field", "value")


def refused(redis: Redis, mongo: Mongo) -> None:
    mongo.client.shop.command("create", "view", viewOn="films")
    redis("WB.REGISTER", "view:", "shop.view")
    redis("SET", "view:1", "x")


def paused(redis: Redis, _) -> None:
    redis("WB.PAUSE")


def write_many(redis: Redis) -> None:
    pipeline = redis.client.pipeline(transaction=False)
    for id in range(5000):
        pipeline.set(f"film:{id}", "x")
    pipeline.execute()


def memory(redis: Redis, _) -> None:
    redis("WB.REGISTER", "film:", "shop.films0")
    write_many(redis)


def rescan(redis: Redis, _) -> None:
    redis("CONFIG", "SET", "writebehind.dirty-max-bytes", 1)
    redis("WB.REGISTER", "more:", "shop.more")
    pipeline = redis.client.pipeline(transaction=False)
    for id in range(5000):
        pipeline.set(f"more:{id}", "x")
    pipeline.execute()


def lost(redis: Redis, _) -> None:
    # In one read of the server: the key has expired before the module can look at it.
    pipeline = redis.client.pipeline(transaction=False)
    pipeline.set("film:brief", "x", px=1)
    pipeline.execute_command("DEBUG", "SLEEP", 0.01)
    pipeline.get("film:brief")
    pipeline.execute()


def link_down(_, mongo: Mongo) -> None:
    mongo.kill()


def broken(redis: Redis, _) -> None:
    """Sets the flag that a panic sets: no command makes the module panic."""
    symbols = subprocess.run(["nm", MODULE], check=True, capture_output=True, text=True).stdout
    (offset,) = re.findall(r"^(\w+) \w \S*guard6BROKEN\S*$", symbols, re.M)
    pid = redis.process.pid
    with open(f"/proc/{pid}/maps") as maps:
        base = next(line.split("-")[0] for line in maps if line.rstrip().endswith(str(MODULE)))
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as process_memory:
        os.pwrite(process_memory.fileno(), b"\1", int(base, 16) + int(offset, 16))


def absent(redis: Redis, _) -> None:
    redis.kill()
    del redis.command[redis.command.index("--loadmodule") :]
    redis.start()


# In an order in which no cause is one of a later alert.
CAUSES = {
    "WritebehindSlowMongoDB": slow,
    "WritebehindLagging": lag,
    "WritebehindDeadLetters": dead_letter,
    "WritebehindDifferent": different,
    "WritebehindReadsFail": reads_fail,
    "WritebehindThroughTimeouts": through_timeouts,
    "WritebehindBlockedKeys": blocked,
    "WritebehindNamespaceRefused": refused,
    "WritebehindPaused": paused,
    "WritebehindMemory": memory,
    "WritebehindRescan": rescan,
    "WritebehindLostChanges": lost,
    "WritebehindLinkDown": link_down,
    "WritebehindBroken": broken,
    "WritebehindAbsent": absent,
}


if __name__ == "__main__":
    unittest.main()
