"""What a worker does when it is told to stop: it refuses connections where the whole server stops, and waits
for its clients no longer than they can be owed an answer.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from uvicorn import Server

from serving.accepting import Accepting
from serving.drain import Drain
from serving.listener import refuse_connections_once
from serving.shared_folder import shared_folder
from serving.web_socket import speak_http_only

TAKE_S = 15.0
"""So long a client has to take answers that are ready, once the server stops."""
Handler = Callable[[int, FrameType | None], object]


def prepare_to_stop(drain: Drain, *, longest_work_s: float) -> None:
    """Has SIGTERM and SIGINT tell `drain`, refuse connections and bound the stop, before they do what they
    did; and has no WebSockets opened, which could keep a server from stopping well. Nothing where nobody
    handles the signals, nor for a server in another thread than the main one, which no signal is meant for.
    To be called once, when this worker begins to take connections.

    Args:
        longest_work_s: in which all that has been let in is answered.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    accepting = Accepting(shared_folder())
    for number, handler in handlers.items():
        if callable(handler) and handler is not signal.default_int_handler:
            accepting.begin()
            signal.signal(number, _stopping(handler, drain, accepting, longest_work_s))


def _stopping(before: Handler, drain: Drain, accepting: Accepting, longest_work_s: float) -> Handler:
    # The handler is a method of the HTTP server, which by itself waits for ever for a client who reads
    # nothing.
    server = getattr(before, "__self__", None)
    if isinstance(server, Server):
        speak_http_only(server)

    def stop(number: int, frame: FrameType | None) -> None:
        # Who still asks over a connection from before is told that it ends.
        drain.stop()
        accepting.end()
        # A machine with no thread to spare: connections are reset later, but the worker stops.
        with suppress(RuntimeError):
            refuse_connections_once(accepting.has_ended_everywhere)
        if isinstance(server, Server) and server.config.timeout_graceful_shutdown is None:
            left_s = drain.work_left_s(longest_work_s)
            server.config.timeout_graceful_shutdown = math.ceil(left_s + TAKE_S)
        before(number, frame)

    return stop
