"""The live view, and the snapshot of --once."""

import sys
import time

import redis
from rich.console import Console
from rich.live import Live

from .connection import arguments, connect, reason
from .history import History
from .sample import Server
from .terminal import Terminal
from .text import duration
from .view import ORDERS, page, snapshot


def watch(console: Console, server: Server, history: History, address: str, interval: float) -> None:
    order, trouble, due = "d", "", time.monotonic() + interval
    with Terminal() as terminal, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            screen, shown = page(history, address, order, trouble, *console.size)
            live.update(screen, refresh=True)
            pressed = terminal.key(due - time.monotonic())
            if pressed == "q":
                return
            order = pressed if pressed in ORDERS else order
            if time.monotonic() < due:
                continue
            try:
                history.add(server.sample(shown))
                trouble = ""
            except (redis.exceptions.RedisError, OSError, ValueError) as error:
                age = duration((time.monotonic() - history.sample.at) * 1e3)
                trouble = f"the figures are {age} old: {reason(error, address)}"
            due = time.monotonic() + interval


def main() -> None:
    options = arguments()
    address = options.socket or f"{options.host}:{options.port}"
    sys.stdout.reconfigure(errors="replace")
    console = Console(markup=False, highlight=False, emoji=False)
    if not options.once and not console.is_terminal:
        sys.exit("wb-top: standard output is no terminal: use --once")
    history = History()
    try:
        server = connect(options)
        history.add(server.sample())
        if options.once:
            if not console.is_terminal:
                console.width = 240
            console.print(snapshot(history, address, console.width))
        else:
            watch(console, server, history, address, options.interval)
    except (redis.exceptions.RedisError, OSError, ValueError) as error:
        sys.exit(f"wb-top: {reason(error, address)}")
    except KeyboardInterrupt:
        pass
