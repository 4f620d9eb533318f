"""What the handlers of one worker share: settings, models, lanes, metrics, and whether it is ready."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request

from serving.access import load_access
from serving.engine_start import start_engine
from serving.images import settle_warnings
from serving.lanes import Lane
from serving.metrics import Metrics, forget_dead_workers
from serving.models import RETRY_S, Model, ModelRegistry, warm_up
from serving.probe_process import ProbeProcesses
from serving.problems import Problem, deadline_exceeded
from serving.request_log import LOGGER, configure_logging
from serving.settings import Settings


class Runtime:
    """One worker's state. Built without any work; `start` begins loading the default model in the background.

    `not_ready` says why requests cannot be served yet; None once the default model has answered a warm-up.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.access = load_access(settings, on_fault=self.metrics.keys_file_fault.set)
        self.registry = ModelRegistry(
            settings,
            # Probes have processes of their own, which have engines with gradients of their own.
            lambda bundle: start_engine(
                bundle, settings, with_gradient=False, spinning=settings.workers == 1
            ),
        )
        self.classify_lane = self._lane("classify", settings.classify_concurrency, settings.classify_queue)
        self.probe_lane = self._lane("probe", settings.probe_concurrency, settings.probe_queue)
        self.probes = ProbeProcesses(settings, count=self.probe_lane.slots)
        self.not_ready: str | None = "the default model is being loaded"
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="clead-load")
        self._tasks: list[asyncio.Task[None]] = []
        self._attempted = asyncio.Event()

    def start(self) -> None:
        """Begins to load and warm up the default model; called inside the running event loop."""
        configure_logging()
        settle_warnings()
        forget_dead_workers()
        self._tasks = [
            asyncio.create_task(self._load_default()),
            asyncio.create_task(self.access.watch()),
        ]

    async def stop(self) -> None:
        """Ends the lanes and releases the engines."""
        for task in self._tasks:
            task.cancel()
        for lane in (self.classify_lane, self.probe_lane):
            lane.close()
        self.probes.close()
        self._loader.shutdown(wait=True, cancel_futures=True)
        self.registry.close()
        self.access.close()

    def check_ready(self) -> None:
        """Raises Problem not_ready until the default model has answered its warm-up."""
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
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._attempted.wait()
                self.check_ready()
                model = self.registry.loaded(reference)
                if model is None:
                    loop = asyncio.get_running_loop()
                    model = await loop.run_in_executor(self._loader, self._load, reference)
                return model
        except TimeoutError:
            self.check_ready()
            raise deadline_exceeded("the model was not loaded before the deadline") from None

    def _lane(self, name: str, concurrency: int, queue: int) -> Lane:
        shed, occupied = self.metrics.shed.labels(lane=name), self.metrics.occupied.labels(lane=name)
        return Lane(
            name,
            slots=self.settings.per_worker(concurrency, at_least=1),
            queue=self.settings.per_worker(queue, at_least=0),
            on_refusal=shed.inc,
            on_change=occupied.set,
        )

    def _load(self, reference: str | None) -> Model:
        model = self.registry.get(reference)
        warm_up(model, with_gradient=False)
        self.metrics.model_loaded(model)
        return model

    async def _load_default(self) -> None:
        # An engine may be busy, or come up later than this server.
        while self.not_ready is not None:
            await asyncio.get_running_loop().run_in_executor(self._loader, self._try_default)
            self._attempted.set()
            if self.not_ready is not None:
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
        self.not_ready = None
        if self.settings.probe:
            self.probes.load(model.bundle)
        info = model.info
        logger.info(
            "ready",
            extra={"fields": {"model": model.identity, "provider": info.provider, "device": info.device}},
        )
        if info.unused_gpu:
            logger.warning("a faster engine is not used: %s", info.reason)


def runtime_of(request: Request) -> Runtime:
    """The runtime of the application that a request came to."""
    runtime: Runtime = request.app.state.runtime
    return runtime
