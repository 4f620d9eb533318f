"""A folder like a fresh clone with its environments made, in which commands of the documentation are run."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from tests.docs.exceptions import NOT_RUN, SMALLER, Replacements
from tests.docs.markdown import ROOT
from tests.serving.conftest import Server, clean_environment, running_server

SERVE = "make serve"
"""The command that starts the server which all others ask."""
ADDRESS = "127.0.0.1:3000"
CIFAR10 = ROOT / "tests" / "data" / "cifar10"
_LINKED = ("Makefile", "requirements", "pyproject.toml", "docs", "deploy", "tests", "training")
_STAMP = f"made-by-python-{sys.version_info.major}.{sys.version_info.minor}"
_SHELL = frozenset("|&;<>$`*?\n")
_LIMIT_S = 120.0


@dataclass(slots=True, kw_only=True)
class Clone:
    """Runs commands in `folder`, each once: what one page has done is there for the next."""

    folder: Path
    server: Server
    environment: dict[str, str]
    done: set[str] = field(default_factory=set)

    def run(self, command: str) -> None:
        """Run the command as it is printed, but for what `exceptions` says.

        Raises:
            AssertionError: it failed; with its output.
        """
        if command in self.done or command == SERVE:
            return
        if command in NOT_RUN:
            NOT_RUN[command].check(command)
        else:
            replacements = SMALLER[command].replace if command in SMALLER else ()
            self._run(replaced(replaced(command, replacements), self.everywhere, wherever=True))
        self.done.add(command)

    @property
    def everywhere(self) -> Replacements:
        """What differs here from what is printed, in every command: the port, and where CIFAR-10 lies."""
        return ((ADDRESS, f"127.0.0.1:{self.server.port}"), ("--data-dir DIR", f"--data-dir {CIFAR10}"))

    def python(self, program: str) -> None:
        """Run a Python program.

        Raises:
            AssertionError: it failed; with its output.
        """
        self._process([sys.executable, "-c", replaced(program, self.everywhere, wherever=True)])

    def _run(self, command: str) -> None:
        words = shlex.split(command)
        if words[0] in ("clead", ".venv/serve/bin/clead") and not _SHELL & set(command):
            self._in_this_process(words[1:])
        else:
            # What is exported holds for the next command, as in the shell of who types them.
            script = 'eval "$1"; status=$?; export -p >"$2"; exit $status'
            state = self.folder / "exported.sh"
            before = '[ -e "$2" ] && . "$2"; '
            self._process(["sh", "-c", before + script, "sh", command, str(state)])

    def _in_this_process(self, arguments: list[str]) -> None:
        """As tests/cli does: starting a process that imports torch takes longer than most commands."""
        with pytest.MonkeyPatch.context() as patch, in_folder(self.folder):
            for name in [name for name in os.environ if name.startswith("CLEAD_")]:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(main, arguments, prog_name="clead")
        assert done.exit_code == 0, f"exit code {done.exit_code}: {done.output}\n{done.exception!r}"

    def _process(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout}\n{done.stderr}"


def replaced(text: str, replacements: Replacements, *, wherever: bool = False) -> str:
    """`text` with each of them replaced; with `wherever`, those that do not occur do not matter."""
    for old, new in replacements:
        assert wherever or old in text, f"{old!r} is to be replaced, but does not occur in {text!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """With `folder` as the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def fresh_clone(folder: Path) -> Iterator[Clone]:
    """A clone in `folder`, with its server running, photographs, and commands on the path."""
    for name in _LINKED:
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "models", folder / "models")
    _write_photographs(folder)
    for name in ("serve", "test"):
        _make_environment(folder / ".venv" / name)
    environment = _environment(folder)
    settings = {name: value for name, value in environment.items() if name.startswith("CLEAD_")}
    path = {"PATH": environment["PATH"], "PYTHONPATH": str(ROOT)}
    home = folder / "bentoml"
    with running_server(home, settings | path, command=shlex.split(SERVE), directory=folder) as server:
        # As for a server that is not this one, which is not to drain.
        drain = {"CLEAD_DRAIN_FILE": str(folder / "drain")}
        yield Clone(folder=folder, server=server, environment=environment | drain)


def _environment(folder: Path) -> dict[str, str]:
    settings: Mapping[str, str] = {
        "CLEAD_MODELS_DIR": str(folder / "models"),
        # Pages that know of one model only run after those that add another.
        "CLEAD_DEFAULT_MODEL": "clead-cifar10",
        "CLEAD_DRAIN_MS": "0",
        # A verdict is not to depend on how busy the machine is.
        "CLEAD_PROBE_DEADLINE_MS": "100000",
        "CLEAD_PROBE_MAX_DEADLINE_MS": "100000",
        "CLEAD_ENGINE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "CURL_HOME": str(folder),
        "PYTHON": sys.executable,
    }
    # An answer that is an error makes curl fail.
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    path = {"PATH": f"{folder}/.venv/test/bin:{os.environ['PATH']}"}
    return clean_environment(folder / "bentoml", {**settings, **path})


def _make_environment(folder: Path) -> None:
    """What `make` takes for an environment that is up to date, with this Python behind its commands."""
    programs = {
        "python": f'exec {shlex.quote(sys.executable)} "$@"\n',
        "clead": f"exec {shlex.quote(sys.executable)} -c 'from cli.main import main; main()' \"$@\"\n",
    }
    (folder / "bin").mkdir(parents=True)
    for name, text in programs.items():
        (folder / "bin" / name).write_text("#!/bin/sh\n" + text)
        (folder / "bin" / name).chmod(0o755)
    (folder / _STAMP).touch()


def _write_photographs(folder: Path) -> None:
    """photo.jpg, and photos/train and photos/test with a few cats and dogs of the slice of CIFAR-10."""
    for split, count in (("train", 12), ("test", 2)):
        (file,) = CIFAR10.glob(f"{split}-*.parquet")
        rows = parquet.read_table(file).to_pylist()
        for label, name in ((3, "cat"), (5, "dog")):
            images = [row["img"]["bytes"] for row in rows if row["label"] == label][:count]
            (folder / "photos" / split / name).mkdir(parents=True)
            for number, image in enumerate(images):
                photo = Image.open(io.BytesIO(image)).resize((96, 72))
                photo.save(folder / "photos" / split / name / f"{number}.jpg")
                photo.save(folder / "photo.jpg")
