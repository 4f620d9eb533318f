"""A server process run as a child: signals are passed on, and its exit code becomes ours."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

FORWARDED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)
STOPPING = tuple(number for number in FORWARDED if number.name != "SIGQUIT")
_PR_SET_PDEATHSIG = 1
Watch = Callable[[threading.Event], None]


def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    watch: Watch,
    before_stop: Watch = lambda _: None,
) -> int:
    """Runs `command` until it ends, and returns its exit code (128 + n when signal n ended it).

    The child gets a process group of its own, so that Ctrl-C in a terminal reaches it once, through us. A
    SIGINT that comes after the first signal to stop kills it at once, with all its descendants. SIGHUP, of
    a terminal that was closed, stops it as SIGTERM does, unless it was ignored (`nohup`).

    Args:
        environment: all of the child's environment variables.
        watch: called in a thread once the child is started; the event is set when the child has ended.
        before_stop: called in a thread on the first SIGINT, SIGTERM or SIGHUP, which is passed on (SIGHUP as
            SIGTERM) when it returns; the same event.
    """
    child = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        process_group=0 if sys.platform != "win32" else None,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    ended = threading.Event()
    stopping = False

    def stop(number: int) -> None:
        try:
            before_stop(ended)
        finally:
            # Our child would take SIGHUP for a wish to begin anew.
            child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if number not in STOPPING:
            child.send_signal(number)
        elif not stopping:
            stopping = True
            threading.Thread(target=stop, args=(number,), daemon=True).start()
        elif number == signal.SIGINT:
            _kill_with_descendants(child)

    previous = {number: signal.signal(number, forward) for number in FORWARDED if not _survives(number)}
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


def _survives(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN


def _end_with_parent() -> None:
    # A parent killed with -9 cannot forward anything; without this its server would keep the port.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_with_descendants(child: subprocess.Popen[bytes]) -> None:
    below = _descendants(child.pid)
    # The child first: it would replace the others.
    child.kill()
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Every process below `pid`, where the system lists them (Linux)."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        # It may end while it is looked at.
        with contextlib.suppress(OSError):
            for child in map(int, thread.read_text().split()):
                found += [child, *_descendants(child)]
    return found
