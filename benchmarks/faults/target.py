"""The server of one run, with a models folder and a keys file of its own, and what it says of itself."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.clients import Asked, until
from benchmarks.served_models import REPOSITORY
from benchmarks.server_process import Running, free_port, running
from export.bundle import MANIFEST, load_bundle
from serving.access.keys import entry_of, new_key

WORKERS = 2
BODY_DEADLINE_S = 3.0
START_S = 180.0
MOST_ASKED = 40
"""New connections come to any worker, and a few in a row often to the same."""
PROBE = "/probe?eps=2/255&steps=5&restarts=1"
_CLEAD = ("-c", "from cli.main import main; main()", "serve", "--quiet")
_BENTOML = ("-m", "bentoml", "serve", "serving.service:Service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server that is up, and everything that can be done to it.

    Attributes:
        image: a PNG file that it classifies.
    """

    process: Running
    port: int
    models: Path
    name: str
    keys: Path
    key: str
    image: bytes

    @property
    def headers(self) -> dict[str, str]:
        """What lets a client in."""
        return {"X-API-Key": self.key}

    @property
    def classification(self) -> Asked:
        """What the steady clients send."""
        return Asked(path="/classify", image=self.image, headers=self.headers, member="predictions")

    @property
    def probe(self) -> Asked:
        """A short probe."""
        return Asked(path=PROBE, image=self.image, headers=self.headers, member="verdict")

    def ready(self) -> list[dict[str, Any]]:
        """Answers of /readyz, one of each worker at least; of fewer only where one does not answer."""
        answers: list[dict[str, Any]] = []
        for _ in range(MOST_ASKED):
            status, body = self.get("/readyz")
            if status == 200:
                answers.append(json.loads(body))
            if len({answer["worker"] for answer in answers}) == WORKERS:
                break
        return answers

    def workers(self) -> set[int]:
        """The process ids of the workers that are ready."""
        return {answer["worker"] for answer in self.ready()}

    def all_answer(self) -> bool:
        """Whether as many workers are ready as there should be."""
        return len(self.workers()) == WORKERS

    def versions(self) -> set[str]:
        """The versions of the model that the workers answer with."""
        return {answer["model"]["version"] for answer in self.ready()}

    def refused(self) -> int:
        """In how many of some answers of /readyz a version is refused; -1 unless it is in all or none."""
        answers = [bool(answer["refused"]) for answer in self.ready()]
        return -1 if len(set(answers)) != 1 else int(answers[0])

    def metric(self, line: str) -> bool:
        """Whether /metrics has a line."""
        return line in self.get("/metrics")[1].decode().splitlines()

    def probers(self) -> list[int]:
        """The process ids of the processes that probe."""
        return [pid for pid in self.process.pids() if "serving.probing.worker" in _command(pid)]

    def version(self, number: str) -> Path:
        """The folder of a version of the model."""
        return self.models / self.name / number

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET; (0, b"") if there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", path, headers=self.headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


@contextmanager
def target(
    folder: Path, bundle: Path, image: bytes, *, clead: bool, versions: Sequence[str]
) -> Iterator[Target]:
    """A server under `clead serve`, or else `bentoml serve`, that has these versions of a model.

    Raises:
        RuntimeError: it was not ready in time.
    """
    port, key, name = free_port(), new_key(), bundle.parent.name
    models, keys = folder / "models", folder / "keys"
    for version in versions:
        copy_version(bundle, models / name / version)
    write_keys(keys, key)
    environment = {
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "CLEAD_MODELS_DIR": str(models),
        "CLEAD_DEFAULT_MODEL": name,
        "CLEAD_KEYS_FILE": str(keys),
        "CLEAD_WORKERS": str(WORKERS),
        "CLEAD_PORT": str(port),
        "CLEAD_ENGINE": "cpu",
        "CLEAD_BODY_DEADLINE_MS": str(round(1000 * BODY_DEADLINE_S)),
        "CLEAD_PROBE_QUEUE": "64",
    }
    command = [sys.executable, *(_CLEAD if clead else _BENTOML)]
    with running(command, port=port, cwd=REPOSITORY, limit=START_S, environment=environment) as process:
        found = Target(process=process, port=port, models=models, name=name, keys=keys, key=key, image=image)
        if not until(lambda: found.all_answer() and len(found.probers()) == WORKERS, limit_s=START_S):
            raise RuntimeError(f"not all of the {WORKERS} workers were ready within {START_S:.0f} s")
        process.settle(limit=30.0)
        yield found


def copy_version(bundle: Path, to: Path) -> None:
    """Copies a bundle to another version's folder, file by file and the manifest first, as `cp` may."""
    to.mkdir(parents=True)
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    (to / MANIFEST).write_text(json.dumps(manifest | {"version": to.name}), encoding="utf-8")
    for file in load_bundle(bundle).path.iterdir():
        if file.name != MANIFEST:
            shutil.copyfile(file, to / file.name)


def write_keys(file: Path, key: str) -> None:
    """Writes a keys file in place."""
    entry = entry_of(key, name="load", scopes=["classify", "probe"], rate=None, burst=None)
    file.write_text(entry + "\n", encoding="utf-8")


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signals a process, if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
