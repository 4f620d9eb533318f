"""A server process run as a child: signals are passed on, and its exit code becomes ours."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

FORWARDED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)
_PR_SET_PDEATHSIG = 1


def run_child(
    command: Sequence[str], *, environment: Mapping[str, str], watch: Callable[[threading.Event], None]
) -> int:
    """Runs `command` until it ends, and returns its exit code (128 + n when signal n ended it).

    The child gets a process group of its own, so that Ctrl-C in a terminal reaches it once, through us.

    Args:
        environment: all of the child's environment variables.
        watch: called in a thread once the child is started; the event is set when the child has ended.
    """
    child = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        process_group=0 if sys.platform != "win32" else None,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in FORWARDED}
    ended = threading.Event()
    watcher = threading.Thread(target=watch, args=(ended,), daemon=True)
    watcher.start()
    try:
        code = child.wait()
    finally:
        ended.set()
        for number, handler in previous.items():
            signal.signal(number, handler)
    watcher.join(timeout=5.0)
    return code if code >= 0 else 128 - code


def _end_with_parent() -> None:
    # A parent killed with -9 cannot forward anything; without this its server would keep the port.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
