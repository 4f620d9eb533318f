"""A server that is measured leaves nothing behind that would compute beside the next one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.server_process import free_port, running

# Answers on a port, with a child that no SIGTERM ends; says which it is.
SERVER = """
import http.server, subprocess, sys
stubborn = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[2], "w").write(str(child.pid))

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_nothing_of_a_server_outlives_it(tmp_path: Path) -> None:
    port, told = free_port(), tmp_path / "child"
    command = [sys.executable, "-c", SERVER, str(port), str(told)]
    with running(command, port=port, cwd=tmp_path, limit=30.0) as server:
        child = int(told.read_text())
        assert child in server.pids() and _runs(child)
        assert os.getsid(child) == server.pid
    assert not _runs(child)
