"""The process that probes for a worker, at a lower priority: a worker starts it and speaks to it over pipes.

Standard input brings messages (`serving.probing.frames`): the settings, then `load`, `probe` and `forget`,
and `cancel` while a probe runs. Each `load` is answered on standard output by `loaded`, each `probe` by any
number of `progress` and one `report`, and either may be by `problem`, `engine_error` or `mistake` instead.
When standard input ends, so does the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.engine import EngineError
from export.bundle import BundleError, load_bundle
from probes.request import ProbeRequest
from serving.models.engine_start import start_engine
from serving.models.model import Model, warm_up
from serving.observing.request_log import LOGGER, configure_logging
from serving.probing.frames import read_frame, write_frame
from serving.probing.job import ProbeJob
from serving.problems import Problem
from serving.settings import Settings
from serving.uploads.images import settle_warnings

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_LOG = logging.getLogger(LOGGER)


class Prober:
    """Loads models and probes with them, one job after the other.

    Args:
        answers: file descriptor that answers are written to.
        cancelled: set while nobody waits for the probe that runs.
    """

    def __init__(self, settings: Settings, *, answers: int, cancelled: threading.Event) -> None:
        self._settings = settings
        self._answers = answers
        self._cancelled = cancelled
        self._models: OrderedDict[tuple[str, str], Model] = OrderedDict()

    def load(self, head: Mapping[str, Any]) -> None:
        """Gets a model ready before it is asked for, and answers whether it is."""
        with self._answering():
            self._model(head["bundle"], head["sha256"])
            self._answer("loaded")

    def forget(self, head: Mapping[str, Any]) -> None:
        """Releases a model; there is no answer."""
        if (model := self._models.pop((head["bundle"], head["sha256"]), None)) is not None:
            model.engine.close()

    def probe(self, head: Mapping[str, Any], data: bytes) -> None:
        """Probes, and writes the answer whatever happens."""
        with self._answering():
            job = ProbeJob(
                model=self._model(head["bundle"], head["sha256"]),
                data=data,
                request=ProbeRequest.from_dict(head["request"]),
                max_pixels=head["max_pixels"],
                deadline=head["deadline"],
            )
            self._answer("report", report=job.run(cancelled=self._cancelled.is_set, progress=self._tell))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Has every error become the answer."""
        try:
            yield
        except Problem as problem:
            self._answer("problem", problem=problem.to_dict())
        except EngineError as error:
            self._answer("engine_error", detail=str(error))
        # Whatever it is, the worker has to hear of it, and the next probe must find this process alive.
        except Exception:
            _LOG.exception("unexpected error in the process that probes")
            self._answer("mistake")

    def _tell(self, state: Mapping[str, Any]) -> None:
        self._answer("progress", state=state)

    def _answer(self, kind: str, **content: Any) -> None:
        write_frame(self._answers, {"kind": kind, **content})

    def _model(self, bundle: str, sha256: str) -> Model:
        known = (bundle, sha256)
        if known not in self._models:
            self._models[known] = self._loaded(Path(bundle), sha256)
            while len(self._models) > self._settings.max_loaded_models:
                self._models.popitem(last=False)[1].engine.close()
        self._models.move_to_end(known)
        return self._models[known]

    def _loaded(self, path: Path, sha256: str) -> Model:
        name = f"{path.parent.name}/{path.name}"
        try:
            bundle = load_bundle(path)
            if bundle.sha256 != sha256:
                raise BundleError(f"{name} is not the bundle any more that the server began with")
            engine = start_engine(bundle, self._settings, with_gradient=True)
            model = Model(bundle=bundle, engine=engine, info=engine.describe())
            warm_up(model, with_gradient=True)
        except (BundleError, EngineError, OSError) as error:
            # Absolute paths are nobody's business over HTTP.
            detail = str(error).replace(f"{path.parent.parent}/", "")
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
    os.nice(settings.probe_nice)
    cancelled = threading.Event()
    jobs: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, cancelled), daemon=True).start()
    prober = Prober(settings, answers=answers, cancelled=cancelled)
    while True:
        head, data = jobs.get()
        match head["kind"]:
            case "load":
                prober.load(head)
            case "forget":
                prober.forget(head)
            case _:
                prober.probe(head, data)


def _listen(jobs: queue.SimpleQueue[tuple[dict[str, Any], bytes]], cancelled: threading.Event) -> None:
    try:
        while (frame := read_frame(_STDIN)) is not None:
            if frame[0]["kind"] == "cancel":
                cancelled.set()
                continue
            # The worker sends the next job only after the answer to the last one.
            cancelled.clear()
            jobs.put(frame)
    finally:
        # Nobody is left to answer, or can be heard: the step under way need not be finished.
        os._exit(0)


if __name__ == "__main__":
    main()
