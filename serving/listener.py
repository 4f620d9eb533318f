"""The listening socket, which the workers share with the process that supervises them.

A worker that stops closes its own descriptor of it. The socket itself listens on until the supervisor has
closed it too, once every worker has ended: meanwhile the kernel takes connections that nobody will answer,
and resets them in the end. So a worker that is told to stop first has the socket refuse connections: once all
others have been told as well, for they would be refused theirs.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 0.08
"""The server looks every 0.1 s whether it is to stop, and accepts until then."""
_LOOK_S = 0.02
_DESCRIPTORS = Path("/dev/fd")


def refuse_connections_once(true: Callable[[], bool]) -> None:
    """Every listening socket of this process, whoever shares it, refuses connections once `true` is.

    Begins a thread and returns, so that the event loop can go on taking what is there.
    """
    threading.Thread(target=_refuse_connections, args=(true,), daemon=True).start()


def _refuse_connections(true: Callable[[], bool]) -> None:
    # Before the server closes its own descriptors.
    listeners = list(_listeners())
    while not true():
        time.sleep(_LOOK_S)
    for listener in listeners:
        with listener, suppress(OSError):
            # Until every connection that was made has been accepted, for others are reset.
            waiting, deadline = select.poll(), time.monotonic() + PATIENCE_S
            waiting.register(listener, select.POLLIN)
            while waiting.poll(0) and time.monotonic() < deadline:
                time.sleep(0.0005)
            listener.shutdown(socket.SHUT_RD)


def _listeners() -> Iterator[socket.socket]:
    for entry in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError):
            duplicate = os.dup(int(entry.name))
            try:
                found = socket.socket(fileno=duplicate)
            except OSError:
                # Of a file that this process has locked, the duplicate would keep the lock.
                os.close(duplicate)
                continue
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found
            else:
                found.close()
