"""The listening socket, which the workers share with the process that supervises them.

A worker that stops closes its own descriptor of it. The socket itself listens on until the supervisor has
closed it too, once every worker has ended: meanwhile the kernel takes connections that nobody will answer,
and resets them in the end. So a worker that is told to stop first has the socket refuse connections.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

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
        refuse_connections()
        before(number, frame)

    signal.signal(signal.SIGTERM, stop)


def refuse_connections() -> None:
    """Every listening socket of this process, whoever shares it, refuses connections from now on."""
    for listener in _listeners():
        with listener, suppress(OSError):
            listener.shutdown(socket.SHUT_RD)


def _listeners() -> Iterator[socket.socket]:
    for entry in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError):
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found
            else:
                found.close()
