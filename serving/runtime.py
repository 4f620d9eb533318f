"""What the handlers of one worker share: settings, models, lanes, metrics, and whether it is ready."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request

from serving.access.access import load_access
from serving.drain import LOOK_S, Drain
from serving.lanes import Lane
from serving.models.engine_start import start_engine
from serving.models.follower import Follower
from serving.models.model import Model
from serving.models.registry import ModelRegistry
from serving.models.verified_bundles import RETRY_S
from serving.observing.later import Later
from serving.observing.log_writer import MOST_PROMISED, LogWriter
from serving.observing.metrics import Metrics, forget_dead_workers
from serving.observing.request_log import FLUSH_S, LOGGER, configure_logging
from serving.observing.tracing import Tracing, load_tracing
from serving.probing.processes import ProbeProcesses
from serving.problems import Problem, deadline_exceeded
from serving.refusal_pace import RefusalPace
from serving.settings import Settings
from serving.stopping import prepare_to_stop
from serving.uploads.images import settle_warnings
from serving.uploads.room import upload_room
from serving.worker_lanes import WorkerLanes

FOLLOW_S = 1.0
"""Seconds between looks at the models folder. A change counts once it has lasted from one to the next."""
GETTING_READY_TO_PROBE = "the default model is being got ready for probes"
DRAINING = "the server is draining: it is about to stop"


class Runtime:
    """One worker's state. Built without any work; `start` begins loading the default model in the background.

    `not_ready` says why requests cannot be served yet; None once the default model has answered a warm-up.
    `not_probing` says why probes cannot; None once the default model has been got ready for them, too, and on
    a server that does not probe.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.later = Later()
        # A probe has its place already while its body is on its way.
        most_promised = MOST_PROMISED + settings.per_worker(settings.uploads, at_least=1)
        self.log = LogWriter(on_drop=self.metrics.log_lines_dropped.inc, most_promised=most_promised)
        self.access = load_access(settings, on_fault=self.metrics.keys_file_fault.set)
        self.registry = ModelRegistry(
            settings,
            # Probes have processes of their own, which have engines with gradients of their own.
            lambda bundle: start_engine(bundle, settings, with_gradient=False),
        )
        self.probes = ProbeProcesses(
            settings,
            count=settings.per_worker(settings.probe_concurrency, at_least=1),
            on_end=self.metrics.probe_processes_ended.inc,
        )
        self._lanes = WorkerLanes(settings, self.metrics, later=self.later, probes=self.probes.count)
        self.batch_loop = self._lanes.batch_loop
        self.classify_lane, self.probe_lane = self._lanes.classify, self._lanes.probe
        self.uploads = upload_room(settings)
        self.refusal_pace = RefusalPace()
        self.drain = Drain(settings.drain_file, grace_s=settings.drain_ms / 1000)
        self.tracing: Tracing | None = None
        self.not_ready: str | None = "the default model is being loaded"
        self.not_probing: str | None = GETTING_READY_TO_PROBE if settings.probe else None
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="clead-load")
        # Apart from the loader: nobody waits for what is got ready in here.
        self._following_thread = ThreadPoolExecutor(1, thread_name_prefix="clead-follow")
        self._follower = Follower(
            self.registry, load=self._load_for_probes, forget=self.probes.forget, show=self._show_models
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._attempted = asyncio.Event()
        self._showing = threading.Lock()

    def start(self) -> None:
        """Begins to load and warm up the default model; called inside the running event loop."""
        configure_logging(self.log)
        prepare_to_stop(self.drain, longest_work_s=self.settings.longest_work_s)
        settle_warnings()
        forget_dead_workers()
        self.tracing = load_tracing(os.environ)
        self._tasks = [
            asyncio.create_task(task())
            for task in (self._load_default, self.access.watch, self._watch_drain, self._follow_models)
        ]

    async def stop(self) -> None:
        """Ends the lanes and releases the engines."""
        for task in self._tasks:
            task.cancel()
        self._lanes.close()
        self.probes.close()
        self._loader.shutdown(wait=True, cancel_futures=True)
        self._following_thread.shutdown(wait=True, cancel_futures=True)
        self.registry.close()
        self.access.close()
        self.drain.close()
        if self.tracing is not None:
            # Without the event loop, for whoever takes the spans may keep one waiting.
            await asyncio.to_thread(self.tracing.close)
        self._lanes.say_refusals()
        self.later.close()
        await asyncio.to_thread(self.log.flush, FLUSH_S)

    def lane_of(self, method: str, path: str) -> Lane[Any] | None:
        """The lane in which a request will need a place; None for those that need none."""
        if method != "POST":
            return None
        if path == "/classify" or path.endswith("/infer"):
            return self.classify_lane
        return self.probe_lane if path == "/probe" else None

    def check_ready(self) -> None:
        """Raises Problem not_ready until the default model has answered its warm-up, also where it will be
        probed, and once the server is about to stop. What happens to probes later on changes nothing.
        """
        if self.drain.begun:
            raise Problem("not_ready", DRAINING, headers={"Retry-After": "1"})
        self._check_loaded()
        if self.not_probing is not None:
            raise Problem("not_ready", self.not_probing, headers={"Retry-After": "1"})

    def _check_loaded(self) -> None:
        if self.not_ready is not None:
            raise Problem("not_ready", self.not_ready, headers={"Retry-After": "1"})

    def classify_deadline(self) -> float:
        """When the answer to a classification that begins now is too late, on the monotonic clock."""
        return time.monotonic() + self.settings.classify_deadline_ms / 1000

    async def model(self, reference: str | None, *, deadline: float) -> Model:
        """The model that a request asks for, loaded apart from the lanes if it is not in memory.

        While the default model is being loaded for the first time the request waits, for another worker may
        have said that the server is ready.

        Args:
            deadline: until when to wait, on the monotonic clock. A model that is being loaded by then goes on
                loading for later requests.

        Raises:
            Problem: not_ready, model_not_found, model_unavailable or deadline_exceeded.
        """
        if self.not_ready is None and (loaded := self.registry.loaded(reference)) is not None:
            return loaded
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._attempted.wait()
                self._check_loaded()
                if (loaded := self.registry.loaded(reference)) is not None:
                    return loaded
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._loader, self._load, reference)
        except TimeoutError:
            self._check_loaded()
            raise deadline_exceeded("the model was not loaded before the deadline") from None

    def _load(self, reference: str | None) -> Model:
        model = self.registry.get(reference)
        self._show_models()
        return model

    def _show_models(self) -> None:
        with self._showing:
            self.metrics.show_models(self.registry.in_memory().values(), refused=self.registry.refused())

    async def _load_default(self) -> None:
        # An engine may be busy, or come up later than this server.
        while self.not_ready is not None:
            await asyncio.get_running_loop().run_in_executor(self._loader, self._try_default)
            self._attempted.set()
            if self.not_ready is not None:
                await asyncio.sleep(RETRY_S)
        # It may have been replaced by one that can be probed.
        while self.not_probing is not None:
            await self._following(self._try_probes)
            if self.not_probing is not None:
                await asyncio.sleep(RETRY_S)

    def _try_default(self) -> None:
        logger = logging.getLogger(LOGGER)
        try:
            model = self._load(None)
        # Whatever goes wrong here leaves a worker that says so on /readyz, and never one that dies and is
        # replaced over and over.
        except Exception as error:
            reason = f"the default model cannot be loaded: {error}"
            if reason != self.not_ready:
                logger.exception("the default model cannot be loaded")
            self.not_ready = reason
            return
        # What has been imported and loaded stays. Looking through all of it for garbage, again and again,
        # would stop the event loop for some ten milliseconds each time.
        gc.collect()
        gc.freeze()
        self.not_ready = None
        info = model.info
        logger.info(
            "ready",
            extra={"fields": {"model": model.identity, "provider": info.provider, "device": info.device}},
        )
        if info.unused_gpu or (info.reason is not None and self.settings.engine != "auto"):
            logger.warning("a faster engine is not used: %s", info.reason)

    def _try_probes(self) -> None:
        try:
            self._load_for_probes(self.registry.get(None))
        # As above: whoever asks /readyz hears of it, and classifications are answered all the same.
        except Exception as error:
            reason = f"the default model cannot be probed, and only classified with CLEAD_PROBE=0: {error}"
            if reason != self.not_probing:
                logging.getLogger(LOGGER).warning(reason)
            self.not_probing = reason
            return
        self.not_probing = None

    def _load_for_probes(self, model: Model) -> None:
        if self.settings.probe:
            self.probes.load(model.bundle)

    async def _follow_models(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            await self._following(self._follower.look)

    async def _following(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._following_thread, work)

    async def _watch_drain(self) -> None:
        lanes = (self.classify_lane, self.probe_lane)
        while self.settings.drain_file is not None:
            # Who has been let in is answered, also if its body is still on its way.
            self.drain.look(busy=bool(self.uploads.holders) or any(lane.admitted for lane in lanes))
            self.metrics.draining.set(self.drain.begun)
            for lane in lanes:
                lane.closed_because = DRAINING if self.drain.over else None
            await asyncio.sleep(LOOK_S)


def runtime_of(request: Request) -> Runtime:
    """The runtime of the application that a request came to."""
    runtime: Runtime = request.app.state.runtime
    return runtime
