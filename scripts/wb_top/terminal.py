"""The keyboard of the terminal."""

import os
import select
import signal
import sys
import termios
import tty


class Terminal:
    """Keys one by one and without echo; the former mode returns at the end. A new window size wakes `key` up."""

    def __enter__(self):
        self.input = sys.stdin.fileno() if sys.stdin.isatty() else None
        self.mode = self.input is not None and termios.tcgetattr(self.input)
        if self.mode:
            tty.setcbreak(self.input)
        self.woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # the screen is not restored for a shell
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))
        return self

    def __exit__(self, *_):
        if self.mode:
            termios.tcsetattr(self.input, termios.TCSADRAIN, self.mode)

    def key(self, seconds: float) -> str:
        """The first key that is pressed within that time, or nothing."""
        sources = [self.woken] + [self.input] * (self.input is not None)
        ready, _, _ = select.select(sources, [], [], max(seconds, 0))
        if self.woken in ready:
            os.read(self.woken, 512)
        if self.input not in ready:
            return ""
        typed = os.read(self.input, 64)
        if not typed:  # the terminal is gone
            sys.exit(0)
        return typed[:1].decode(errors="replace")
