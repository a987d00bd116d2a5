"""Writes docs/pictures/wb-top.svg, a page of scripts/wb-top after a minute of writes to real servers.

    PYTHONPATH=.tools/python-wb-top-newest python3 tests/python/picture_wb_top.py
"""

import io
import math
import random
import re
import sys
import time

import redis
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from servers import ROOT, Mongo, Redis

sys.path.insert(0, str(ROOT / "scripts"))
from wb_top.history import SPAN, History  # noqa: E402
from wb_top.sample import Server  # noqa: E402
from wb_top.view import page  # noqa: E402

WIDTH, HEIGHT = 120, 16
# prefix: (database, options, writes per second at a second, keys)
PREFIXES = {
    "movie:": (0, ["SCHEMA", "year", "INT64"], lambda second: 600 + 500 * math.sin(second / 8), 5000),
    "user:": (0, [], lambda second: 250 if second % 20 < 6 else 40, 2000),
    "cart:": (0, ["INTERVAL", "2000"], lambda second: 300, 400),
    "session:": (1, ["ONEXPIRE", "DELETE"], lambda second: 150 + 3 * second, 3000),
    "log:": (1, ["TYPE", "HASH"], lambda second: 0 if second < 30 else 900, 100000),
}


def main() -> None:
    mongo = Mongo()
    server = Redis(mongo.uri, extra=["--appendonly", "yes"])
    try:
        picture(server)
    finally:
        server.close()
        mongo.close()


def picture(server: Redis) -> None:
    clients = {database: redis.Redis(port=server.port, db=database) for database in (0, 1)}
    for prefix, (database, options, _, _) in PREFIXES.items():
        server("WB.REGISTER", prefix, f"shop.{prefix[:-1]}s", *options, db=database)
    server("HSET", "movie:soon", "year", "unknown")
    top, history, chance = Server(server.client, 0, False), History(), random.Random(1)
    start = time.monotonic()
    history.add(top.sample())
    for step in range(10 * (SPAN + 5)):
        second = step / 10
        if second == 50:
            server("WB.PAUSE", "session:", db=1)
        for prefix, (database, _, rate, keys) in PREFIXES.items():
            pipeline = clients[database].pipeline(transaction=False)
            for _ in range(int(rate(second) / 10)):
                pipeline.hset(f"{prefix}{chance.randrange(keys)}", "value", step)
            pipeline.execute()
        time.sleep(max(0, start + second + 0.1 - time.monotonic()))
        if step % 10 == 9:
            history.add(top.sample())
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(page(history, "127.0.0.1:6379", "d", "", WIDTH, HEIGHT)[0])
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.S)
    file = ROOT / "docs" / "pictures" / "wb-top.svg"
    file.parent.mkdir(exist_ok=True)
    file.write_text(console.export_svg(title="wb-top", code_format=without_fonts))


main()
