"""The examples of docs/CLIENTS.md, each with a server of its own; MongoDB is compared with the page."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from bson import ObjectId, json_util
from servers import ROOT, Mongo, Redis

PAGE = ROOT / "docs" / "CLIENTS.md"
NODE = Path(os.environ["WB_NODE_PACKAGES"])
# Folders of packages: with redis-om, and with older versions of redis-py alone.
PYTHON, *OLDER = os.environ["WB_PYTHON_PACKAGES"].split(":")
ANY = ObjectId("0" * 24)


def examples(language: str) -> list:
    """(section, code, documents) for each block of the language and the block of JSON that follows it."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.S)
        for (name, code), (after, documents) in zip(blocks, blocks[1:]):
            if name == language:
                assert after == "json", section
                found.append((section.split("\n")[0], code, parse(documents)))
    return found


def parse(text: str) -> list:
    """The documents of a block, one after the other, in MongoDB's extended JSON. "…" is any ObjectId."""
    found, decoder = [], json.JSONDecoder()
    text = text.replace('{ "$oid": "…" }', json_util.dumps(ANY))
    while text := text.lstrip():
        _, end = decoder.raw_decode(text)
        found.append(json_util.loads(text[:end], json_options=json_util.JSONOptions(tz_aware=False)))
        text = text[end:]
    return found


def kind(value):
    """The document with the type of each value: 1 and 1.0 and True are equal in Python. ObjectIds are
    generated, and have the type alone."""
    if isinstance(value, dict):
        return {name: kind(item) for name, item in value.items()}
    if isinstance(value, list):
        return [kind(item) for item in value]
    if isinstance(value, ObjectId):
        return ObjectId
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (float if isinstance(value, float) else int, value) if numeric else value


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mongo = Mongo()
        cls.addClassCleanup(cls.mongo.close)

    def check(self, title: str, documents: list, run) -> None:
        with self.subTest(title):
            self.mongo.client.drop_database("shop")
            server = Redis(self.mongo.uri, json=True)
            try:
                run(server)
                shop = self.mongo.client.shop
                names = [name for name in shop.list_collection_names() if name != "writebehind.leases"]
                found = [document for name in names for document in shop[name].find()]
                found.sort(key=lambda document: str(document["_id"]))
                self.assertEqual([kind(document) for document in found], [kind(document) for document in documents])
                self.assertEqual(server.status()["dirty_keys"], 0)
                self.assertEqual(server.status()["dead_letters"], 0)
            finally:
                server.close()

    def program(self, command: list, code: str, suffix: str, folder, environment: dict):
        def run(server: Redis) -> None:
            url = f"redis://127.0.0.1:{server.port}"
            with tempfile.NamedTemporaryFile("w", suffix=suffix, dir=folder) as file:
                file.write(code.replace("redis://localhost:6379", url))
                file.flush()
                done = subprocess.run([*command, file.name], env={**os.environ, **environment, "REDIS_OM_URL": url},
                                      text=True, capture_output=True, timeout=120)  # fmt: skip
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

        return run

    def test_python(self):
        found = examples("python")
        self.assertEqual([title for title, *_ in found], ["redis-py"] + 2 * ["redis-om for Python"])
        for title, code, documents in found:
            for packages in [PYTHON, *OLDER] if title == "redis-py" else [PYTHON]:
                environment = {"PYTHONPATH": packages, "TZ": "Asia/Tokyo"}
                run = self.program([sys.executable], code, ".py", None, environment)
                self.check(f"{title} {Path(packages).name}", documents, run)

    def test_javascript(self):
        found = examples("js")
        self.assertEqual([title for title, *_ in found], ["node-redis", "ioredis", "redis-om for Node.js"])
        for title, code, documents in found:
            run = self.program(["node"], code, ".mjs", NODE, {"TZ": "Asia/Tokyo"})
            self.check(title, documents, run)

    def test_commands(self):
        found = examples("redis")
        self.assertEqual([title for title, *_ in found], ["Spring Data Redis"])
        for title, lines, documents in found:
            self.check(title, documents, lambda server: [server(*shlex.split(line)) for line in lines.splitlines()])


if __name__ == "__main__":
    unittest.main()
