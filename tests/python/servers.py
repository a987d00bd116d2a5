"""Real servers for the tests in Python, each with a folder and a port of its own."""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pymongo
import redis

ROOT = Path(__file__).resolve().parent.parent.parent
SERVERS = ROOT / ".servers"
BUILT = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "libwritebehind.so"
MODULE = Path(os.environ.get("WB_MODULE", BUILT))


def wait(what: str, condition, seconds: float = 30):
    """What the condition returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    def __init__(self, name: str):
        self.temporary = tempfile.TemporaryDirectory(prefix=f"{name}-")
        self.folder, self.port, self.process = Path(self.temporary.name), free_port(), None

    def launch(self, command: list, errors: Path = Path("/dev/stderr")) -> None:
        """Starts the command; what it writes to the standard error goes to the file `errors`."""
        with errors.open("ab") as sink:
            command = list(map(str, command))
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sink)

    def alive(self) -> None:
        if self.process.poll() is not None:
            log = self.folder / "log"
            raise AssertionError(f"the server ended\n{log.read_text() if log.exists() else ''}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self.temporary.cleanup()


class Redis(Process):
    """redis-server, with the module unless `module` is false."""

    def __init__(self, uri: str = "", module: bool = True, extra: list = (), json: bool = False):
        super().__init__("redis")
        program = os.environ.get("WB_REDIS_SERVER", SERVERS / "redis-server")
        self.command = [program, "--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder,
                        "--logfile", self.folder / "log", "--save", "", *extra]
        if json:
            self.command += ["--loadmodule", SERVERS / "rejson.so"]
        if module:
            self.command += ["--loadmodule", MODULE, "mongodb-uri", uri]
        self.client = redis.Redis(port=self.port)
        try:
            self.start()
        except AssertionError:
            self.close()
            raise

    def start(self) -> None:
        self.launch(self.command)
        wait("redis-server accepts connections", self.listens)

    def listens(self) -> bool:
        self.alive()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __call__(self, *words, db: int = 0):
        client = redis.Redis(port=self.port, db=db) if db else self.client
        return client.execute_command(*words)

    def status(self, *prefix, db: int = 0) -> dict:
        reply = self("WB.STATUS", *prefix, db=db)
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
        return {name.decode(): value for name, value in pairs}


class Mongo(Process):
    """mongod as a replica set of one member."""

    def __init__(self):
        super().__init__("mongod")
        program = os.environ.get("WB_MONGOD", SERVERS / "mongod")
        self.launch([program, "--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", self.port,
                     "--dbpath", self.folder, "--logpath", self.folder / "log"])  # fmt: skip
        self.client = pymongo.MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=60000
        )
        members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
        self.client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        wait("mongod is the primary", lambda: self.client.admin.command("hello")["isWritablePrimary"])
        self.uri = f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    def close(self) -> None:
        self.client.close()
        super().close()
