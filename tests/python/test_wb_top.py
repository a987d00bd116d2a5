"""scripts/wb-top against real servers, and its parts."""

import io
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

from rich.console import Console
from servers import ROOT, Mongo, Redis, free_port, wait

sys.path.insert(0, str(ROOT / "scripts"))
from wb_top.history import History, Track  # noqa: E402
from wb_top.sample import FULL_SECONDS, MANY, Fields, Sample, Server, registrations, words  # noqa: E402
from wb_top.text import duration, number, printable, size  # noqa: E402
from wb_top.view import page  # noqa: E402

WB_TOP = ROOT / "scripts" / "wb-top"
HOSTILE = b"x\x1b[31m[red]\\\n\xff\xe2\x80\xae"
SHOWN = r"x\x1b[31m[red]\\\x0a\xff\xe2\x80\xae"
# Figures that wb-top does not show: another one says the same, or they serve a graph or a search for a cause.
NOT_SHOWN = {
    "batches_allowed", "batches_in_flight", "failed_total", "dirty_groups", "groups_blocked_total",
    "groups_missed_total", "groups_paused_total", "groups_refused_total", "groups_resting_total",
    "groups_split_total", "groups_too_large_total", "groups_total", "groups_without_transactions_total",
    "lease", "lease_epoch", "shard",
    "evicted_total", "read_absent_total", "read_failed_total", "read_hit_percent", "read_hits_total", "read_loads_total",
    "read_misses_total", "read_unloaded_total", "readers_waiting", "reads_total", "verified_total", "different_total",
    "through_refused_total", "through_timeouts_total", "through_unheld_total", "through_writes_total", "writers_waiting",
    "last_write_unix_ms", "leaving_keys", "link_down_ms_total", "lost_total", "own_hits_total", "own_misses_total", "prefixes",
    "registrations", "rescans_pending", "resting", "retries_total", "slice_max_us", "syncs_pending",
}  # fmt: skip
NOT_SHOWN_OF_A_PREFIX = {
    "as", "atomic", "batch", "batches_total", "bytes_total", "coalesced_total", "db", "exclude", "failed_total",
    "load_documents", "load_failed", "load_kept", "load_loaded", "load_pending", "load_rate", "load_error",
    "in_flight_keys", "interval", "key", "lag_p50_us", "last_write_unix_ms", "onerror", "ondel", "onevict",
    "onexpire", "prefix", "retries_total", "schema", "shared", "sync_marked", "ttlfield", "type", "unwrap",
    "whole", "write", "readthrough", "mode",
    "evicted_total", "read_absent_total", "read_failed_total", "read_hit_percent", "read_hits_total", "read_loads_total",
    "read_misses_total", "read_p50_us", "read_p99_us", "read_unloaded_total", "reads_total",
    "through_p50_us", "through_p99_us", "through_refused_total", "through_timeouts_total", "through_unheld_total",
    "through_writes_total",
    "verify_pending", "verify_error", "verify_checked", "verify_skipped", "verify_missing", "verify_different",
    "verify_extra", "verify_repaired", "verify_every", "verify_age_ms", "verified_total", "different_total",
    "verify_missing_keys", "verify_different_keys", "verify_extra_keys",
}  # fmt: skip


def once(*options, **environment):
    command = [sys.executable, WB_TOP, "--once", *map(str, options)]
    kept = {name: value for name, value in os.environ.items() if name not in ("REDISCLI_AUTH", "COLUMNS")}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env={**kept, **environment})


class WithServers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mongo = Mongo()
        cls.addClassCleanup(cls.mongo.close)

    def redis(self, *words, **options) -> Redis:
        server = Redis(*words, **options)
        self.addCleanup(server.close)
        return server

    def snapshot(self, *options, **environment) -> str:
        result = once(*options, **environment)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout

    def row(self, text: str, prefix: str) -> list:
        (found,) = [line.split() for line in text.splitlines() if prefix in line.split()[1:2]]
        return found

    def fails_with(self, sentence: str, *options, **environment) -> None:
        result = once(*options, **environment)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("wb-top: "))
        self.assertIn(sentence, result.stderr)


class Snapshots(WithServers):
    def test_the_figures_are_those_of_every_database(self):
        server = self.redis(self.mongo.uri)
        server("WB.REGISTER", "movie:", "shop.movies")
        server("WB.REGISTER", HOSTILE, "shop.hostile", db=3)
        for id in range(12):
            server("HSET", f"movie:{id}", "year", "1979")
        server("WB.FLUSH")
        server("DEL", "movie:11")
        server("WB.FLUSH")
        server("WB.PAUSE", HOSTILE, db=3)
        for id in range(5):
            server("HSET", HOSTILE + b"%d" % id, "year", "1979", db=3)
        text = self.snapshot("-p", server.port)
        printed = [char for char in text if not char.isprintable() and char != "\n"]
        self.assertEqual(printed, [])
        self.assertIn(f"127.0.0.1:{server.port}   master   link up for", text)
        self.assertRegex(text, r"dirty 5   in flight 0   blocked 0   dead letters 0   oldest \d")
        self.assertRegex(text, r"(Redis|Valkey) \d+\.\d+\.\d+   writebehind \d")
        movies, hostile = self.row(text, "movie:"), self.row(text, SHOWN)
        self.assertEqual([*movies[:4], *movies[-6:]], ["0", "movie:", "shop.movies", "0", "ms", "13", "12", "1", "0", "ok"])
        self.assertEqual([*hostile[:4], *hostile[-5:]], ["3", SHOWN, "shop.hostile", "5", "5", "0", "0", "0", "paused"])
        self.assertLess(text.index(SHOWN), text.index("movie:"), "the dirtiest prefix is the first")
        self.assertNotIn("movie:", self.snapshot("-p", server.port, "-n", 3))

    def test_dead_letters_have_their_reason(self):
        server = self.redis(self.mongo.uri)
        server("WB.REGISTER", "film:", "shop.films", "SCHEMA", "year", "INT64")
        server("HSET", "film:1", "year", "soon")
        server("WB.FLUSH")
        text = self.snapshot("-p", server.port)
        self.assertIn("dead letters 1", text)
        self.assertEqual(self.row(text, "film:")[-2:], ["1", "error"])
        reason = server.status("film:")["last_error"].decode()
        self.assertIn(f"prefix 'film:': {reason}", text)

    def test_a_namespace_that_refuses_writes(self):
        self.mongo.client.shop.command("create", "refusing", viewOn="films")
        server = self.redis(self.mongo.uri)
        server("WB.REGISTER", "view:", "shop.refusing")
        server("HSET", "view:1", "year", "1979")
        wait("the namespace refuses writes", lambda: server.status("view:")["resting"] == 1)
        text = self.snapshot("-p", server.port)
        self.assertEqual(self.row(text, "view:")[-1], "refused")
        self.assertIn(f"prefix 'view:': {server.status('view:')['last_error'].decode()}", text)

    def test_a_link_that_is_down_has_its_reason(self):
        server = self.redis(f"mongodb://127.0.0.1:{free_port()}")
        server("WB.REGISTER", "movie:", "shop.movies")
        wait("the link is down", lambda: server.status()["link"] == b"down")
        text = self.snapshot("-p", server.port)
        self.assertIn("link down for", text)
        self.assertIn("connection refused", text)

    def test_a_pause_of_everything_is_in_the_first_line(self):
        server = self.redis(self.mongo.uri)
        server("WB.PAUSE")
        first = self.snapshot("-p", server.port).splitlines()[0]
        self.assertIn("link idle: no registration   PAUSED", first)

    def test_a_replica_says_that_it_writes_nothing(self):
        master = self.redis(self.mongo.uri)
        master("WB.REGISTER", "movie:", "shop.movies")
        replica = self.redis(self.mongo.uri, extra=["--replicaof", "127.0.0.1", master.port])
        wait("the replica has the registration", lambda: replica.status()["registrations"] == 1)
        text = self.snapshot("-p", replica.port)
        self.assertIn("replica   link idle: a replica writes nothing", text)
        self.assertEqual(self.row(text, "movie:")[2], "shop.movies")

    def test_a_server_with_tls(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-out", certificate,
                   "-keyout", key, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
        subprocess.run(request, check=True, capture_output=True)
        port = free_port()
        self.redis(self.mongo.uri, extra=["--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
                                          "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"])  # fmt: skip
        self.assertIn("master", self.snapshot("-p", port, "--tls", "--cacert", certificate))
        self.assertIn("master", self.snapshot("-p", port, "--tls", "--insecure"))
        self.assertIn("certificate verify failed", once("-p", port, "--tls").stderr)
        self.assertIn("/nonexistent", once("-p", port, "--tls", "--cacert", "/nonexistent").stderr)


class Problems(WithServers):
    def test_no_server(self):
        self.fails_with("Connection refused", "-p", free_port())
        self.fails_with("No such file", "-s", "/nonexistent/redis.sock")

    def test_not_a_redis_server(self):
        self.fails_with(f"127.0.0.1:{self.mongo.port}: ", "-p", self.mongo.port)

    def test_no_module(self):
        server = self.redis(module=False)
        self.fails_with("has not loaded the module writebehind", "-p", server.port)

    def test_passwords_and_rights(self):
        server = self.redis(self.mongo.uri)
        server("WB.REGISTER", "movie:", "shop.movies")
        server("WB.REGISTER", "user:", "shop.users", db=2)
        server("WB.REGISTER", "movie:", "shop.other", db=2)
        server("ACL", "SETUSER", "watcher", "on", ">secret", "+wb.status", "+wb.list", "~*")
        server("ACL", "SETUSER", "stranger", "on", ">secret", "+ping")
        server("CONFIG", "SET", "requirepass", "hunter2")
        place = ["-p", server.port]
        self.fails_with("requires a user and password", *place)
        self.fails_with("requires a user and password", *place, "--pass", "wrong")
        self.fails_with("lacks a permission", *place, "--user", "stranger", "--pass", "secret")
        self.assertIn("user:", self.snapshot(*place, REDISCLI_AUTH="hunter2"))
        text = self.snapshot(*place, "--user", "watcher", "--pass", "secret")
        self.assertEqual(self.row(text, "movie:")[2], "shop.movies")
        self.assertNotRegex(text, "2 (user|movie):", "without SELECT, WB.STATUS would answer for another database")
        self.assertIn("the prefixes of database 2 are not shown", text)


class Light(WithServers):
    def test_of_many_prefixes_only_those_on_the_screen_are_asked_for(self):
        server = self.redis(self.mongo.uri)
        for id in range(3 * MANY):
            server("WB.REGISTER", f"p{id}:", f"shop.p{id}", db=id % 3)
        top = Server(server.client, 0, False)
        self.assertEqual(len(top.sample().read), 3 * MANY)

        def calls():
            return server.client.info("commandstats")["cmdstat_WB.STATUS"]["calls"]

        top.full_at = time.monotonic()  # however long the first sample took
        before, shown = calls(), [(0, b"p0:"), (2, b"p2:")]
        self.assertEqual(sorted(top.sample(shown).read), shown)
        self.assertEqual(calls() - before, 1 + len(shown))
        top.full_at -= FULL_SECONDS
        self.assertEqual(len(top.sample(shown).read), 3 * MANY)

    def test_every_byte_of_a_prefix_arrives(self):
        server = self.redis(self.mongo.uri)
        expected = []
        for id, prefix in enumerate([bytes([byte]) for byte in range(256)] + [b"", b"'a b\"", b"\\x41", HOSTILE]):
            server("WB.REGISTER", prefix, f"shop.c{id}", db=id % 2)
            expected.append((id % 2, prefix))
        top = Server(server.client, 0, False)
        self.assertEqual(sorted(top.sample().read), sorted(expected))


class Complete(WithServers):
    def test_every_figure_is_shown_or_left_out_on_purpose(self):
        server = self.redis(self.mongo.uri)
        server("WB.REGISTER", "movie:", "shop.movies", "TYPE", "HASH", "EXCLUDE", 1, "x", "TTLFIELD", "until",
               "INTERVAL", 1000, "BATCH", 10, "SCHEMA", "year", "INT64")  # fmt: skip
        sources = "".join(file.read_text() for file in (ROOT / "scripts" / "wb_top").glob("*.py"))

        def used(*patterns) -> set:
            return {name for pattern in patterns for name in re.findall(pattern, sources)}

        rates = {f"{name}_total" for name in used(r"\brates\[[\"'](\w+)")}
        shown = used(r"\bnow\[[\"'](\w+)") | rates
        self.assertEqual(set(server.status()) - shown, NOT_SHOWN)
        shown_of_a_prefix = used(r"\bfields\[[\"'](\w+)", r"\bfields\.get\([\"'](\w+)")
        self.assertEqual(set(server.status("movie:")) - shown_of_a_prefix, NOT_SHOWN_OF_A_PREFIX)


class Parts(unittest.TestCase):
    def test_a_page_fits_a_window_of_any_size(self):
        keys = [(id % 3, b"prefix%d:" % id) for id in range(20)]
        now = Fields(dirty_keys=1234, namespace="shop.films", last_error="not authorized", link="up", role="master")
        history = History()
        for at in (1, 2):
            history.add(Sample(at, {}, now, keys, {key: now for key in keys}))
        for width in [*range(1, 41), 80, 120, 200]:
            for height in (1, 4, 5, 10, 24, 50):
                with self.subTest(width=width, height=height):
                    console = Console(width=width, height=height, color_system=None, record=True, file=io.StringIO())
                    console.print(page(history, "127.0.0.1:6379", "d", "old: " * 50, width, height)[0])
                    lines = console.export_text().splitlines()
                    self.assertLessEqual(max(map(len, lines)), width)
                    start = "prefix0:"[: min(width, 8) - 1]
                    self.assertTrue(any(line.startswith(start) for line in lines), lines)

    def test_lines_are_unquoted_as_redis_conf(self):
        for line, expected in {
            rb'''WB.REGISTER "\x1b\n\r\t\b\a\\\"\q\xg" 'it\'s \n' a"b" ''': [
                b"WB.REGISTER", b"\x1b\n\r\t\b\a\\\"qxg", rb"it's \n", b"ab"],
            b'  SELECT\t7  ""': [b"SELECT", b"7", b""],
            b"": [],
        }.items():  # fmt: skip
            self.assertEqual(words(line), expected)
        for broken in [b'"a', b"'a", b'"a"b', b'a"b', b"'a'b", rb'"a\"']:
            with self.assertRaises(ValueError, msg=broken):
                words(broken)
        lines = [b"WB.REGISTER a x.y", b"SELECT 3", b'WB.REGISTER "b c" x.z', b"SELECT 0", b"WB.REGISTER d x.v"]
        self.assertEqual(registrations(lines), [(0, b"a"), (3, b"b c"), (0, b"d")])

    def test_rates_are_those_between_two_samples(self):
        track = Track()
        track.add(10, self.fields(captured_total=100, written_total=90, deleted_total=5), False)
        self.assertEqual((track.rates, track.writes()), ({}, None))
        track.add(12, self.fields(captured_total=300, written_total=150, deleted_total=15), False)
        self.assertEqual((track.rates["captured"], track.writes()), (100, 35))

    def test_no_rate_spans_a_restart(self):
        track = Track()
        track.add(10, self.fields(written_total=100, bytes_total=10), False)
        track.add(11, self.fields(written_total=200, bytes_total=9), False)
        self.assertEqual(track.rates, {}, "a counter went back")
        track.add(12, self.fields(written_total=260, bytes_total=10), False)
        self.assertEqual(track.writes(), 60)
        history = History()
        for at, run, written in [(1, "a", 10), (2, "a", 20), (3, "b", 50), (4, "b", 60)]:
            now = self.fields(written_total=written)
            history.add(Sample(at, {"run_id": run}, now, [(0, b"p")], {(0, b"p"): now}))
            track = history.tracks[0, b"p"]
            self.assertEqual([history.totals.writes(), track.writes()], [10 if at in (2, 4) else None] * 2)
        history.add(Sample(5, {"run_id": "b"}, now, []))
        self.assertEqual(history.tracks, {}, "an unregistered prefix leaves")

    def test_a_series_is_the_last_minute(self):
        track = Track()
        track.add(100, self.fields(dirty_keys=1), False)
        track.add(101, self.fields(dirty_keys=4), False)
        self.assertEqual(track.series(1, 6, 111), [None] * 4 + [4, 4])
        track.add(131, self.fields(dirty_keys=2), False)
        track.add(159, self.fields(dirty_keys=7), False)
        self.assertEqual(track.series(1, 6, 160), [4, 4, 4, 2, 2, 7])

    def test_names_and_numbers(self):
        self.assertEqual(printable(HOSTILE), SHOWN)
        self.assertEqual(printable(b""), '""')
        self.assertEqual(len(printable("ä".encode() * 1000)), 100)
        self.assertEqual([duration(ms) for ms in (0, 999, 1500, 120e3, 36e5, 2e9)],
                         ["0 ms", "999 ms", "1.5 s", "2 min", "1 h", "23.1 d"])  # fmt: skip
        self.assertEqual([size(count) for count in (0, 999, 1500, 2e6)], ["0 B", "999 B", "1.5 kB", "2 MB"])
        self.assertEqual([number(count) for count in (None, 0, 1234567, 12345678)], ["–", "0", "1,234,567", "12.3M"])

    def fields(self, **values) -> Fields:
        return Fields(values)


if __name__ == "__main__":
    unittest.main()
