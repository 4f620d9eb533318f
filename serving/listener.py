"""The listening socket, which the workers share with the process that supervises them.

A worker that stops closes its own descriptor of it. The socket itself listens on until the supervisor has
closed it too, once every worker has ended: meanwhile the kernel takes connections that nobody will answer,
and resets them in the end. So a worker that is told to stop first has the socket refuse connections.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

PATIENCE_S = 0.08
"""The server looks every 0.1 s whether it is to stop, and accepts until then."""
_DESCRIPTORS = Path("/dev/fd")


def refuse_connections_on_stop(told: Callable[[], None]) -> None:
    """Has SIGTERM refuse new connections, and call `told`, before it does what it did. Nothing where nobody
    handles it.
    """
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before):
        return

    def stop(number: int, frame: FrameType | None) -> None:
        told()
        # In a thread, so that the event loop can go on taking what is there.
        threading.Thread(target=refuse_connections, daemon=True).start()
        before(number, frame)

    signal.signal(signal.SIGTERM, stop)


def refuse_connections() -> None:
    """Every listening socket of this process, whoever shares it, refuses connections from now on.

    It waits for a moment in which every connection that was made has been accepted, for others are reset; at
    most `PATIENCE_S` seconds.
    """
    for listener in _listeners():
        with listener, suppress(OSError):
            waiting, deadline = select.poll(), time.monotonic() + PATIENCE_S
            waiting.register(listener, select.POLLIN)
            while waiting.poll(0) and time.monotonic() < deadline:
                time.sleep(0.0005)
            listener.shutdown(socket.SHUT_RD)


def _listeners() -> Iterator[socket.socket]:
    for entry in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError):
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found
            else:
                found.close()
