"""The process that probes for a worker, at a lower priority: a worker starts it and speaks to it over pipes.

Standard input brings messages (`serving.probing.frames`): the settings, then `load`, `probe` and `forget`,
and `cancel` while a probe runs. Each `load` is answered on standard output by `loaded`, each `probe` by
`loading` if its model is not in memory, `begun`, any number of `progress` and one `report`; either may be by
`problem`, `engine_error` or `mistake` instead. `to` says whether it is a `load` or a `probe` that is
answered, for models are loaded while a probe runs.
When standard input ends, so does the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from engines.engine import EngineError
from export.bundle import BundleError, verify_bundle
from probes.request import ProbeRequest
from serving.models.engine_start import start_engine
from serving.models.model import Model, warm_up
from serving.observing.request_log import LOGGER, configure_logging
from serving.probing.frames import read_frame, write_frame
from serving.probing.job import ProbeJob
from serving.probing.running_process import Asker
from serving.problems import Problem
from serving.settings import Settings
from serving.uploads.images import settle_warnings

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_LOG = logging.getLogger(LOGGER)
_Messages: TypeAlias = "queue.SimpleQueue[tuple[dict[str, Any], bytes]]"


class Prober:
    """Loads models, and probes with them, one image after the other. One thread may `load` and `forget` while
    another one is in `probe`.

    Args:
        answers: file descriptor that answers are written to.
        cancelled: set while nobody waits for the probe that runs.
    """

    def __init__(self, settings: Settings, *, answers: int, cancelled: threading.Event) -> None:
        self._settings = settings
        self._answers = answers
        self._cancelled = cancelled
        # An engine ends with whoever uses it last: the probe that runs may outlast its model's place in here.
        self._models: OrderedDict[tuple[str, str], Model] = OrderedDict()
        self._models_lock = threading.Lock()
        self._loading = threading.Lock()
        self._writing = threading.Lock()

    def load(self, head: Mapping[str, Any]) -> None:
        """Gets a model ready before it is asked for, and answers whether it is."""
        with self._answering("load"):
            self._model(head["bundle"], head["sha256"])
            self._answer("load", "loaded")

    def forget(self, head: Mapping[str, Any]) -> None:
        """Releases a model; there is no answer."""
        with self._models_lock:
            self._models.pop((head["bundle"], head["sha256"]), None)

    def probe(self, head: Mapping[str, Any], data: bytes) -> None:
        """Probes, and writes the answer whatever happens."""
        with self._answering("probe"):
            model = self._model(
                head["bundle"], head["sha256"], on_wait=lambda: self._answer("probe", "loading")
            )
            # What went by while nothing could be computed is not the probe's time.
            deadline = head["deadline"] + time.monotonic() - head["since"]
            self._answer("probe", "begun", deadline=deadline)
            job = ProbeJob(
                model=model,
                data=data,
                request=ProbeRequest.from_dict(head["request"]),
                max_pixels=head["max_pixels"],
                deadline=deadline,
            )
            report = job.run(cancelled=self._cancelled.is_set, progress=self._tell)
            self._answer("probe", "report", report=report)

    @contextlib.contextmanager
    def _answering(self, asker: Asker) -> Iterator[None]:
        """Has every error become the answer."""
        try:
            yield
        except Problem as problem:
            self._answer(asker, "problem", problem=problem.to_dict())
        except EngineError as error:
            self._answer(asker, "engine_error", detail=str(error))
        # Whatever it is, the worker has to hear of it, and the next probe must find this process alive.
        except Exception:
            _LOG.exception("unexpected error in the process that probes")
            self._answer(asker, "mistake")

    def _tell(self, state: Mapping[str, Any]) -> None:
        self._answer("probe", "progress", state=state)

    def _answer(self, asker: Asker, kind: str, **content: Any) -> None:
        with self._writing:
            write_frame(self._answers, {"to": asker, "kind": kind, **content})

    def _model(self, bundle: str, sha256: str, *, on_wait: Callable[[], None] = lambda: None) -> Model:
        known = (bundle, sha256)
        if (model := self._in_memory(known)) is not None:
            return model
        on_wait()
        with self._loading:
            # The other thread may have been loading it.
            if (model := self._in_memory(known)) is None:
                model = self._loaded(Path(bundle), sha256)
                with self._models_lock:
                    self._models[known] = model
                    while len(self._models) > self._settings.max_loaded_models:
                        self._models.popitem(last=False)
            return model

    def _in_memory(self, known: tuple[str, str]) -> Model | None:
        with self._models_lock:
            if (model := self._models.get(known)) is not None:
                self._models.move_to_end(known)
            return model

    def _loaded(self, path: Path, sha256: str) -> Model:
        name = f"{path.parent.name}/{path.name}"
        try:
            # The server has checked what leads to it.
            bundle = verify_bundle(path)
            if bundle.sha256 != sha256:
                raise BundleError(f"{name} is not the bundle any more that the server began with")
            engine = start_engine(bundle, self._settings, with_gradient=True)
            model = Model(bundle=bundle, engine=engine, info=engine.describe())
            warm_up(model, with_gradient=True)
        except (BundleError, EngineError, OSError) as error:
            # Absolute paths are nobody's business over HTTP.
            detail = str(error).replace(str(path), name)
            _LOG.warning("cannot probe %s: %s", name, detail)
            raise Problem("model_unavailable", detail, headers={"Retry-After": "5"}) from error
        return model


def main() -> None:
    """Serves standard input until it ends."""
    # The worker decides when this process ends, also where Ctrl-C in a terminal reaches both.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    # What a library prints shall not stand between the answers.
    answers = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    configure_logging()
    settle_warnings()
    first = read_frame(_STDIN)
    if first is None:
        return
    settings = Settings.model_validate(first[0]["settings"])
    cancelled = threading.Event()
    prober = Prober(settings, answers=answers, cancelled=cancelled)
    loads: _Messages = queue.SimpleQueue()
    probes: _Messages = queue.SimpleQueue()
    for work in (lambda: _listen(loads, probes, cancelled), lambda: _keep_models(prober, loads)):
        threading.Thread(target=work, daemon=True).start()
    first_probe = probes.get()
    # Only now: the server is not ready before its models are loaded here.
    _give_way(settings.probe_nice)
    prober.probe(*first_probe)
    while True:
        prober.probe(*probes.get())


def _give_way(nice: int) -> None:
    """Lowers the priority of every thread of this process, those of the engine included."""
    lowered = os.getpriority(os.PRIO_PROCESS, 0) + nice
    for thread in _threads() or [0]:
        # One may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread, lowered)


def _threads() -> list[int]:
    """The threads of this process as Linux numbers them, each with a priority of its own; none elsewhere."""
    folder = Path("/proc/self/task")
    return [int(entry.name) for entry in folder.iterdir()] if folder.is_dir() else []


def _keep_models(prober: Prober, loads: _Messages) -> None:
    while True:
        head, _ = loads.get()
        if head["kind"] == "load":
            prober.load(head)
        else:
            prober.forget(head)


def _listen(loads: _Messages, probes: _Messages, cancelled: threading.Event) -> None:
    try:
        while (frame := read_frame(_STDIN)) is not None:
            match frame[0]["kind"]:
                case "cancel":
                    cancelled.set()
                case "probe":
                    # The worker sends the next probe only after the answer to the last one.
                    cancelled.clear()
                    probes.put(frame)
                case _:
                    loads.put(frame)
    finally:
        # Nobody is left to answer, or can be heard: the step under way need not be finished.
        os._exit(0)


if __name__ == "__main__":
    main()
