"""A child's exit code becomes ours, and signals reach it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Whoever runs the tests may ignore SIGHUP, and children inherit that.
PARENT = """
import os, signal, sys
from cli.child import run_child
signal.signal(signal.SIGHUP, signal.{hangup})
sys.exit(run_child([sys.executable, "-u", "-c", {child!r}], environment=os.environ, {options}))
"""
CATCHING = """
import signal, sys
signal.signal({signal}, lambda *_: sys.exit(7))
print("up")
signal.pause()
"""
SLEEPING_WITH_A_CHILD = """
import os, signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    print("up")
signal.pause()
"""
SLEEPING = "import os, signal\nprint(os.getpid())\nsignal.pause()"


def _parent(
    child: str, options: str = "watch=lambda ended: None", hangup: str = "SIG_DFL"
) -> subprocess.Popen[str]:
    code = PARENT.format(child=child, options=options, hangup=hangup)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_exit_code_is_the_childs(code: int) -> None:
    with _parent(f"raise SystemExit({code})") as parent:
        assert parent.wait(timeout=60) == code


@pytest.mark.parametrize(
    ("number", "passed_on"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGQUIT, signal.SIGQUIT),
        # Of a terminal that was closed: it stops, and does not begin anew.
        (signal.SIGHUP, signal.SIGTERM),
    ],
)
def test_signals_are_passed_on(number: signal.Signals, passed_on: signal.Signals) -> None:
    with _parent(CATCHING.format(signal=int(passed_on))) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.send_signal(number)
        assert parent.wait(timeout=60) == 7


def test_a_child_ended_by_a_signal_gives_128_and_its_number() -> None:
    with _parent("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as parent:
        assert parent.wait(timeout=60) == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="descendants are found as Linux lists them")
def test_a_second_ctrl_c_ends_everything_at_once() -> None:
    with _parent(SLEEPING_WITH_A_CHILD) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.send_signal(signal.SIGTERM)
        parent.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            parent.wait(timeout=0.5)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(timeout=60) == 128 + signal.SIGKILL
        # Whoever is left would hold the other end of this pipe.
        assert parent.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_passed_on_once_what_comes_before_it_is_done(number: signal.Signals) -> None:
    before = "watch=lambda ended: None, before_stop=lambda ended: print('before', flush=True)"
    with _parent(CATCHING.format(signal=int(signal.SIGTERM)), options=before) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.send_signal(number)
        assert parent.stdout.readline() == "before\n"
        assert parent.wait(timeout=60) == 7


def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    with _parent(CATCHING.format(signal=int(signal.SIGTERM)), hangup="SIG_IGN") as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            parent.wait(timeout=0.5)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=60) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_child_ends_with_a_parent_that_is_killed() -> None:
    with _parent(SLEEPING) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip().isdigit()
        parent.kill()
        # The child holds the other end of this pipe: reading to its end means that the child is gone.
        assert parent.stdout.read() == ""
