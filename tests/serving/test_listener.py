"""A process that stops refuses connections, also those that others would go on listening for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from serving.accepting import make_accepting_file
from serving.shared_folder import VARIABLE
from tests.serving.conftest import ROOT

# A supervisor that shares its socket with a worker, which is told to stop and then to answer no more.
WORKER = """
import signal, socket, sys
from serving.drain import Drain
from serving.stopping import prepare_to_stop

drain = Drain(None, grace_s=0.0)
signal.signal(signal.SIGTERM, lambda *_: print(f"told: {drain.begun}", flush=True))
prepare_to_stop(drain, longest_work_s=1.0)
print("ready", flush=True)
for line in sys.stdin:
    pass
"""


def _worker(listener: socket.socket, folder: Path | None = None) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env=os.environ | {VARIABLE: str(folder or "")},
        pass_fds=[listener.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def _stop(worker: subprocess.Popen[str]) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "told: True\n"


def _connect(listener: socket.socket) -> None:
    socket.create_connection(listener.getsockname()).close()
    listener.accept()[0].close()


def _assert_refuses(listener: socket.socket) -> None:
    with pytest.raises(ConnectionRefusedError):
        while True:
            # Nobody accepts here, so one that is made in the last moment is reset.
            with suppress(ConnectionResetError):
                socket.create_connection(listener.getsockname()).close()


def _assert_runs(script: str, *arguments: str) -> None:
    """In a process of its own, whose signals, threads and sockets are its own as well."""
    command = [sys.executable, "-c", script, *arguments]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_on_sigterm_the_shared_socket_refuses_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        worker = _worker(listener)
        _connect(listener)

        _stop(worker)
        _assert_refuses(listener)
        # What the worker has no part in goes on.
        socket.create_connection(other.getsockname()).close()
        assert worker.communicate() == ("", None)
        assert worker.returncode == 0


def test_the_socket_refuses_once_every_worker_is_told_to_stop_or_dead(tmp_path: Path) -> None:
    make_accepting_file(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopping, killed, last = (_worker(listener, tmp_path) for _ in range(3))
        _stop(stopping)
        killed.kill()
        killed.communicate()
        # For longer than the one that stops would wait.
        for _ in range(20):
            _connect(listener)
            time.sleep(0.02)

        _stop(last)
        _assert_refuses(listener)
        for worker in (stopping, last):
            assert worker.communicate() == ("", None)


def test_whoever_looks_for_listening_sockets_keeps_no_other_file_open(tmp_path: Path) -> None:
    script = (
        "import os, sys, threading; from pathlib import Path\n"
        "from serving.file_lock import is_locked, take_lock\n"
        "from serving.listener import refuse_connections_once\n"
        "lock = take_lock(Path(sys.argv[1]), exclusive=False)\n"
        "before = len(os.listdir('/dev/fd'))\n"
        "refuse_connections_once(lambda: True)\n"
        "[one.join() for one in threading.enumerate() if one is not threading.current_thread()]\n"
        "assert len(os.listdir('/dev/fd')) == before\n"
        "os.close(lock)\n"
        "assert not is_locked(Path(sys.argv[1]))"
    )
    (tmp_path / "lock").touch()
    _assert_runs(script, str(tmp_path / "lock"))


def test_a_worker_stops_also_where_no_thread_can_be_had() -> None:
    script = (
        "import os, signal, threading\n"
        "from serving.drain import Drain; from serving.stopping import prepare_to_stop\n"
        "told = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: told.append(True))\n"
        "prepare_to_stop(Drain(None, grace_s=0.0), longest_work_s=1.0)\n"
        'def start(thread): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = start\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert told == [True]"
    )
    _assert_runs(script)


def test_where_nobody_handles_sigterm_it_stays_as_it_is() -> None:
    script = (
        "import signal; from serving.drain import Drain; from serving.stopping import prepare_to_stop\n"
        # A shell that runs the tests in the background has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "prepare_to_stop(Drain(None, grace_s=0.0), longest_work_s=1.0)\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    _assert_runs(script)


def test_a_server_in_another_thread_leaves_the_signals_alone() -> None:
    script = (
        "import signal\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from serving.drain import Drain; from serving.stopping import prepare_to_stop\n"
        "handler = lambda *_: None\n"
        "signal.signal(signal.SIGINT, handler)\n"
        "prepare = lambda: prepare_to_stop(Drain(None, grace_s=0.0), longest_work_s=1.0)\n"
        "ThreadPoolExecutor(1).submit(prepare).result()\n"
        "assert signal.getsignal(signal.SIGINT) is handler"
    )
    _assert_runs(script)
