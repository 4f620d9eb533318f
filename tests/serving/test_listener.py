"""A process that stops refuses connections, also those that others would go on listening for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.serving.conftest import ROOT

# A supervisor that shares its socket with a worker, which is told to stop and then to answer no more.
WORKER = """
import signal, socket, sys
from serving.listener import refuse_connections_on_stop

signal.signal(signal.SIGTERM, lambda *_: print("before", flush=True))
refuse_connections_on_stop(lambda: print("told", flush=True))
print("ready", flush=True)
for line in sys.stdin:
    pass
"""


def test_on_sigterm_the_shared_socket_refuses_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=ROOT,
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        socket.create_connection(listener.getsockname()).close()

        os.kill(worker.pid, signal.SIGTERM)
        assert [worker.stdout.readline() for _ in range(2)] == ["told\n", "before\n"]
        with pytest.raises(ConnectionRefusedError):
            while True:
                socket.create_connection(listener.getsockname()).close()
        # What the worker has no part in goes on.
        socket.create_connection(other.getsockname()).close()
        assert worker.communicate() == ("", None)
        assert worker.returncode == 0


def test_where_nobody_handles_sigterm_it_stays_as_it_is() -> None:
    script = (
        "import signal; from serving.listener import refuse_connections_on_stop as on_stop\n"
        "on_stop(print); assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
