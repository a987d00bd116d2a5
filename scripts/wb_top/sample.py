"""Sampling: from the server to plain data."""

import re
import time
from dataclasses import dataclass, field

from .text import printable

FULL_SECONDS = 5  # with more prefixes than MANY, those that are not on the screen are read this often
MANY = 50
WORD = re.compile(rb"""\s*([^\s"']*)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\'|\\(?!'))*)')?(?=\s|\Z)""", re.S)
ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})|\\(.)", re.S)
CONTROL = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def words(line: bytes) -> list:
    """The words of a line that is quoted as in redis.conf."""
    found, position, line = [], 0, line.strip()
    while position < len(line):
        match = WORD.match(line, position)
        if not match or match.end() == position:
            raise ValueError(f"unbalanced quotes in a line of WB.LIST: {printable(line)}")
        plain, double, single = match.groups(b"")
        double = ESCAPE.sub(lambda e: bytes.fromhex(e[1].decode()) if e[1] else CONTROL.get(e[2], e[2]), double)
        found.append(plain + double + single.replace(rb"\'", b"'"))
        position = match.end()
    return found


def registrations(lines: list) -> list:
    """The (database, prefix) pairs of the reply of WB.LIST."""
    found, database = [], 0
    for line in lines:
        command, argument, *_ = words(line)
        if command.upper() == b"SELECT":
            database = int(argument)
        else:
            found.append((database, argument))
    return found


class Fields(dict):
    """The fields of WB.STATUS. One that the module's version lacks is 0."""

    def __missing__(self, name: str) -> int:
        return 0


def fields(reply) -> Fields:
    """From a map of RESP3 or a flat array of RESP2. Texts become str."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
    return Fields(
        (name.decode(), value.decode(errors="backslashreplace") if isinstance(value, bytes) else value)
        for name, value in pairs
    )


@dataclass
class Sample:
    """What the server replied at one moment; `at` is in seconds of this program's clock."""

    at: float
    info: dict
    totals: dict
    registered: list
    read: dict = field(default_factory=dict)  # the prefixes that were asked for: (database, prefix) → fields
    problems: list = field(default_factory=list)

    def now_ms(self) -> float:
        return self.info.get("server_time_usec", time.time() * 1e6) / 1e3


class Server:
    def __init__(self, client, database: int, only: bool):
        self.client, self.database, self.only = client, database, only
        self.registered, self.full_at = [], float("-inf")

    def ask(self, commands: list) -> list:
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute(raise_on_error=False)

    def sample(self, shown: list = ()) -> Sample:
        """Two round trips: the totals, and the prefixes that are due."""
        at = time.monotonic()
        full = at - self.full_at >= (FULL_SECONDS if len(self.registered) > MANY else 0)
        status, info, *lists = self.ask([("WB.STATUS",), ("INFO", "server")] + [("WB.LIST",)] * full)
        for reply in [status, *lists]:
            if isinstance(reply, Exception):
                raise reply
        if full:
            every = registrations(lists[0])
            self.registered = [key for key in every if not self.only or key[0] == self.database]
            self.full_at = at
        sample = Sample(at, info if isinstance(info, dict) else {}, fields(status), self.registered)
        commands = self.prefix_commands(self.registered if full else shown)
        self.keep(sample, commands, self.ask(commands) if commands else [])
        return sample

    def prefix_commands(self, keys: list) -> list:
        """WB.STATUS answers for the selected database. SELECT only where another one is needed, so
        that a user without the right to run it sees the prefixes of the own database."""
        commands, selected = [], self.database
        for database, prefix in sorted(keys):
            if database != selected:
                commands.append(("SELECT", database))
                selected = database
            commands.append(("WB.STATUS", prefix))
        if selected != self.database:
            commands.append(("SELECT", self.database))
        return commands

    def keep(self, sample: Sample, commands: list, replies: list) -> None:
        database, refused = self.database, False
        for command, reply in zip(commands, replies):
            failed = isinstance(reply, Exception)
            if command[0] == "SELECT":
                database, refused = command[1], failed
                if failed:
                    sample.problems.append(f"the prefixes of database {database} are not shown: {reply}")
            elif not failed and not refused:
                sample.read[database, command[1]] = fields(reply)
            # Another error is that of a prefix that was unregistered after WB.LIST.
