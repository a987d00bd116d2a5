"""Prometheus and redis_exporter, with the configuration and the rules of packaging/prometheus."""

import json
import re
import subprocess
import urllib.parse
import urllib.request

from servers import ROOT, Process, wait

PROGRAMS = ROOT / ".tools" / "prometheus"
PACKAGING = ROOT / "packaging" / "prometheus"
RULES = PACKAGING / "writebehind.rules.yml"
# What a rule waits for takes minutes or a gigabyte; here it takes a moment.
SHORTER = {
    r"for: \w+": "for: 0s",
    r"\[5m\]|\[1h\]": "[15s]",
    r"oldest_dirty_seconds > 60": "oldest_dirty_seconds > 5",
    r"memory_bytes > 1e9": "memory_bytes > 300e3",
}


def promtool(*words, input: str = "") -> None:
    """Runs promtool; an error that it finds is one of the test."""
    command = [PROGRAMS / "promtool", *words]
    result = subprocess.run(command, input=input, capture_output=True, text=True)
    if result.returncode:
        raise AssertionError(result.stdout + result.stderr)


class Exporter(Process):
    """redis_exporter with writebehind.lua."""

    def __init__(self, redis_port: int):
        super().__init__("exporter")
        self.log = self.folder / "log"
        self.launch([PROGRAMS / "prometheus-redis-exporter", "-script", PACKAGING / "writebehind.lua",
                     "-redis.addr", f"redis://127.0.0.1:{redis_port}",
                     "-web.listen-address", f"127.0.0.1:{self.port}"],
                    errors=self.log)  # fmt: skip
        wait("redis_exporter replies", lambda: self.alive() or get(self.port, "/metrics"))


class Prometheus(Process):
    """Prometheus, which scrapes the exporter and evaluates the rules twice a second."""

    def __init__(self, exporter: Exporter):
        super().__init__("prometheus")
        rules, config = RULES.read_text(), (PACKAGING / "prometheus.yml").read_text()
        for pattern, shorter in SHORTER.items():
            rules, count = re.subn(pattern, shorter, rules)
            assert count, f"no rule has {pattern}"
        (self.folder / RULES.name).write_text(rules)
        assert config.count("127.0.0.1:9121") == 1
        every = "global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }\n"
        config = every + config.replace("127.0.0.1:9121", f"127.0.0.1:{exporter.port}")
        (self.folder / "prometheus.yml").write_text(config)
        self.launch([PROGRAMS / "prometheus", f"--config.file={self.folder}/prometheus.yml",
                     f"--storage.tsdb.path={self.folder}/data", "--log.level=error",
                     f"--web.listen-address=127.0.0.1:{self.port}"])  # fmt: skip
        wait("Prometheus is ready", lambda: self.alive() or get(self.port, "/-/ready"))

    def query(self, expression: str) -> list:
        """The samples of an instant query: label sets and values."""
        query = urllib.parse.urlencode({"query": expression})
        reply = get(self.port, f"/api/v1/query?{query}")
        assert reply, expression
        return [(row["metric"], float(row["value"][1])) for row in json.loads(reply)["data"]["result"]]

    def firing(self) -> set:
        """The names of the alerts that fire."""
        alerts = json.loads(get(self.port, "/api/v1/alerts"))["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def get(port: int, path: str) -> bytes:
    """The body of a reply with status 200; nothing otherwise."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.read()
    except OSError:
        return b""
