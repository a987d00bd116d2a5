"""scripts/wb-top in a real terminal: tmux's."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from servers import ROOT, Mongo, Redis, wait


class Terminal:
    """A shell in tmux, in a server of tmux of its own."""

    def __init__(self, name: str):
        self.name = f"wb-top-test-{os.getpid()}-{name}"
        self.tmux("new-session", "-d", "-x", "120", "-y", "30", "env", "PS1=ready> ", "bash", "--norc")
        wait("a prompt", lambda: "ready>" in self.text())

    def tmux(self, *words) -> str:
        command = ["tmux", "-L", self.name, "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def press(self, key: str) -> None:
        self.tmux("send-keys", key)

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def shows(self, *texts) -> str:
        """Waits until all texts are on the screen."""

        def shown():
            now = self.text()
            return now if all(text in now for text in texts) else ""

        return wait(lambda: f"{texts} on the screen:\n{self.text()}", shown)

    def flags(self) -> str:
        """Whether the alternate screen and the cursor are on."""
        return self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()

    def close(self) -> None:
        self.tmux("kill-server")


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mongo = Mongo()
        cls.addClassCleanup(cls.mongo.close)

    def setUp(self):
        self.redis = Redis(self.mongo.uri)
        self.addCleanup(self.redis.close)
        for id in range(30):
            self.redis("WB.REGISTER", f"prefix{id:02}:", f"shop.films{id}")
        self.terminal = Terminal(self._testMethodName[:20])
        self.addCleanup(self.terminal.close)
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def start(self, *options) -> None:
        command = [sys.executable, ROOT / "scripts" / "wb-top", "-p", self.redis.port, "--interval", "0.2", *options]
        # The shell itself sets the terminal's modes before its next prompt.
        modes = [f"stty -a >{self.folder}/{name}" for name in ("before", "after")]
        self.terminal.type(f"{modes[0]}; {shlex.join(map(str, command))}; {modes[1]}; echo ended: $?")
        self.terminal.press("Enter")
        self.terminal.shows("q quit", "prefix00:", "dirty 0", "captured 0/s")
        self.assertEqual(self.terminal.flags(), "1 0")

    def check_restored(self) -> None:
        """The prompt is back and the terminal is as it was."""
        self.assertNotIn("q quit", self.terminal.shows("ended: 0"))
        self.assertNotIn("Traceback", self.terminal.text())
        self.assertEqual(self.terminal.flags(), "0 1")
        before, after = (Path(self.folder, name).read_text() for name in ("before", "after"))
        self.assertEqual(after, before)

    def test_the_screen_follows_the_server_and_q_ends_it(self):
        self.start()
        self.redis("WB.PAUSE", "prefix07:")
        for id in range(1234):
            self.redis("HSET", f"prefix07:{id}", "year", "1979")
        screen = self.terminal.shows("dirty 1,234", "1,234 ", "paused")
        rows = [line for line in screen.splitlines() if line.startswith("prefix")]
        self.assertTrue(rows[1].startswith("prefix07:"), "the dirtiest prefix is the first")
        self.assertRegex(rows[1], "[▂▃▄▅▆▇█]", "a sparkline")
        self.assertRegex(screen, r"\+\d+ more")
        self.terminal.press("n")
        wait("sorted by name", lambda: self.first_row().startswith("prefix00:"))
        self.terminal.press("d")
        wait("sorted by dirty keys", lambda: self.first_row().startswith("prefix07:"))
        self.redis("WB.RESUME", "prefix07:")
        self.redis("WB.FLUSH")
        self.terminal.shows("dirty 0 ", "written 0/s")
        self.terminal.press("q")
        self.check_restored()

    def first_row(self) -> str:
        rows = [line for line in self.terminal.text().splitlines() if line.startswith("prefix")]
        return rows[1] if len(rows) > 1 else ""

    def test_sizes_of_the_window(self):
        self.start()
        for width, height in [(80, 24), (40, 10), (20, 4), (12, 5), (10, 4), (1, 1), (40, 10), (200, 50), (120, 30)]:
            self.terminal.resize(width, height)
            if width >= 40:
                # The keys are on the last line, and the first line is the first.
                wait(self.terminal.text, lambda: self.fills(width, height))
                self.terminal.shows("prefix00:", "writes/s")
            else:
                address = f"127.0.0.1:{self.redis.port}"
                first = address if len(address) <= width else f"{address[:width - 1]}…"
                wait(self.terminal.text, lambda: self.terminal.text().splitlines()[0] == first)
        self.terminal.press("C-c")
        self.check_restored()

    def fills(self, width: int, height: int) -> bool:
        lines = self.terminal.text().rstrip("\n").splitlines()
        whole = len(lines) <= height and lines[0].startswith("127.0.0.1:") and "q quit" in lines[-1]
        # 30 prefixes fill a screen of 40 lines; "db" and others need 80 columns.
        return whole and ("namespace" in self.terminal.text()) == (width > 80) and (height > 40 or len(lines) == height)

    def test_a_server_that_ends_and_comes_back(self):
        self.start()
        self.redis("HSET", "prefix00:1", "year", "1979")
        self.redis("WB.FLUSH")
        self.redis.kill()
        self.terminal.shows("old: cannot connect to", "Connection refused")
        self.redis.start()
        self.terminal.shows("link idle: no registration")
        self.assertNotIn("Connection refused", self.terminal.text())
        self.redis("WB.REGISTER", "after:", "shop.after")
        self.assertNotRegex(self.terminal.shows("after:", "link up"), r"-\d", "no rate is negative")
        self.terminal.press("q")
        self.check_restored()

    def test_a_server_that_does_not_reply(self):
        self.start()
        self.redis.process.send_signal(signal.SIGSTOP)
        self.terminal.shows("old: no reply from", "within 3 s")
        self.redis.process.send_signal(signal.SIGCONT)
        wait("it replies again", lambda: "no reply" not in self.terminal.text())
        self.terminal.press("q")
        self.check_restored()

    def test_a_signal_restores_the_terminal(self):
        self.start()
        pane = self.terminal.tmux("display-message", "-p", "#{pane_pid}").strip()
        subprocess.run(["pkill", "-TERM", "-P", pane], check=True)
        self.check_restored()


if __name__ == "__main__":
    unittest.main()
