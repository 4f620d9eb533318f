"""Runs `clead` in a pseudo-terminal, as a person would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_CLEAD = [sys.executable, "-c", "from cli.main import main; main(prog_name='clead')"]
_CONTROL_C = b"\x03"
_ERASED = re.compile(r"\x1b\[\?25l.*?\x1b\[\?25h(?:\r?\x1b\[1A\x1b\[2K)*", re.DOTALL)


class Seen(NamedTuple):
    """Everything that was sent to the terminal, and the exit code."""

    raw: str
    exit_code: int

    @property
    def stays(self) -> str:
        """What is still there in the end, without progress and without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", _ERASED.sub("", self.raw)).replace("\r", "")


def on_a_terminal(
    *arguments: str | Path, columns: int, variables: Mapping[str, str], interrupt_at: str | None = None
) -> Seen:
    """Runs `clead` with some arguments on a terminal so wide.

    Args:
        variables: of the environment, on top of those of the tests.
        interrupt_at: presses Ctrl-C when this was seen.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CLEAD_", "PYTHONIO"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        ours.pop(name, None)
    ours |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), **variables}
    command = [*_CLEAD, *map(str, arguments)]
    child, terminal = pty.fork()
    if child == 0:
        # Tests that run in the background inherit that Ctrl-C is ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(command[0], command, ours)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    seen = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed.
            break
        if not part:
            break
        seen += part
        if interrupt_at is not None and interrupt_at.encode() in seen:
            os.write(terminal, _CONTROL_C)
            interrupt_at = None
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return Seen(seen.decode("utf-8", "replace"), os.waitstatus_to_exitcode(status))
