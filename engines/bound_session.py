"""A session on CUDA that replays captured graphs of GPU work. Written to ONNX Runtime's documentation and
sources; not yet run on a GPU.

Launching the kernels of a small network one by one takes longer than computing them. A CUDA graph launches
all of them at once, from and into buffers that never move. Inputs are therefore copied into buffers on the
device, one set for each of a few batch sizes, and batches are filled up to the next of these sizes. ONNX
Runtime keeps one graph for each value of the run option `gpu_graph_id` (here: the batch size; -1 runs without
capture), and keeps it for the thread that captured it: all runs of a session take place in one thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime

from engines.engine import EngineError, Floats
from engines.sessions import (
    CUDA,
    Feed,
    GraphSession,
    PlainSession,
    SessionSettings,
    open_plain,
    open_session,
    run_session,
)
from export.bundle import Bundle

GRAPH_ID = "gpu_graph_id"
WITHOUT_CAPTURE = -1
LARGEST_CAPTURED = 64
"""Images in the largest captured batch: beyond it, launching matters less than what filling up costs."""
TOLERANCE = 1e-2
"""Largest difference of a replay from the same run without capture, as a part of the largest value."""
_DEVICES = {CUDA: "cuda"}
_LOG = logging.getLogger("clead.engines")


def captured_sizes(max_batch: int) -> tuple[int, ...]:
    """Batch sizes to capture: powers of two, and the largest batch if it is small."""
    largest = min(max_batch, LARGEST_CAPTURED)
    powers = [2**power for power in range(largest.bit_length())]
    return tuple(sorted({*powers, largest}))


class BoundSession:
    """A graph whose runs replay what was captured when the session was made, at each of `sizes`.

    A replay is compared with a run without capture before it is trusted. When a run fails later on, the plain
    session that `plain` opens takes over for good; `reason` and the log then say why.

    Args:
        session: opened with the option `enable_cuda_graph` (on another provider the runs are just bound).
        example: inputs of the largest size, unlike zeros in what they lead to.

    Raises:
        EngineError: a size cannot be bound or captured, or its replay computes something else.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        graph: str,
        outputs: Sequence[str],
        sizes: Sequence[int],
        example: Feed,
        plain: Callable[[], PlainSession],
    ) -> None:
        self.provider: str = session.get_providers()[0]
        # ONNX Runtime captures no graph that the CPU has a part in.
        self.left_to_cpu: str | None = None
        self._session: onnxruntime.InferenceSession | None = session
        self._graph, self._outputs, self._open_plain = graph, tuple(outputs), plain
        self._plain: PlainSession | None = None
        self._why: str | None = None
        self._batches: dict[int, _BoundBatch] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"cuda-graphs-{graph}")
        try:
            self._thread.submit(self._capture, session, sorted(sizes), example).result()
        except Exception as error:
            self.close()
            raise EngineError(f"{graph} cannot be captured as a CUDA graph: {error}") from error

    @property
    def reason(self) -> str | None:
        """Why graphs are not replayed any more; None: they are."""
        return self._why

    def run(self, outputs: Sequence[str], feed: Feed) -> list[Floats]:
        """One run, replayed where its size was captured; raises EngineError when it fails in every way."""
        if self._plain is not None:
            return self._plain.run(outputs, feed)
        return self._thread.submit(self._run, outputs, feed).result()

    def close(self) -> None:
        """Ends the thread. The session and its buffers on the device end with the object."""
        self._thread.shutdown(wait=False)

    def _capture(self, session: onnxruntime.InferenceSession, sizes: Sequence[int], example: Feed) -> None:
        for size in sizes:
            feed = {name: values[:size] for name, values in example.items()}
            self._batches[size] = _BoundBatch(session, size, feed, self._outputs)

    def _run(self, outputs: Sequence[str], feed: Feed) -> list[Floats]:
        # It may have been given up while this run was waiting for its turn.
        if self._session is None:
            return self._instead(outputs, feed)
        count = len(feed["images"])
        size = next((size for size in self._batches if size >= count), None)
        if size is None:
            return run_session(self._session, outputs, feed, _options(WITHOUT_CAPTURE))
        try:
            answers = self._batches[size].run(feed)
            return [answers[name] for name in outputs]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            why = f"a batch of {count} failed: {error}"
        self._give_up(why)
        return self._instead(outputs, feed)

    def _give_up(self, why: str) -> None:
        """After a failed capture or replay a session's stream is in no state that anything says of it."""
        self._why = f"CUDA graphs were given up for {self._graph}: {why}"
        _LOG.warning(self._why)
        # Their memory makes room for the session that follows.
        self._batches.clear()
        self._session = None

    def _instead(self, outputs: Sequence[str], feed: Feed) -> list[Floats]:
        if self._plain is None:
            self._plain = self._open_plain()
            self.provider = self._plain.provider
            if self._plain.reason is not None:
                self._why = f"{self._why}; {self._plain.reason}"
        return self._plain.run(outputs, feed)


class _BoundBatch:
    """Buffers on the device for one batch size, bound to a session, and the graph captured on them."""

    def __init__(
        self, session: onnxruntime.InferenceSession, size: int, example: Feed, outputs: Sequence[str]
    ) -> None:
        device = _DEVICES.get(session.get_providers()[0], "cpu")
        expected = session.run(list(outputs), dict(example), _options(WITHOUT_CAPTURE))
        self._session, self._size, self._options = session, size, _options(size)
        self._binding = session.io_binding()
        self._inputs = {name: _buffer(values, device) for name, values in example.items()}
        self._outputs = {
            name: _buffer(values, device) for name, values in zip(outputs, expected, strict=True)
        }
        for name, buffer in self._inputs.items():
            self._binding.bind_ortvalue_input(name, buffer)
        for name, buffer in self._outputs.items():
            self._binding.bind_ortvalue_output(name, buffer)
        # Captured on other values than it is compared on: a replay must read its inputs anew.
        self.run({name: np.zeros_like(values) for name, values in example.items()})
        self._check(self.run(example), dict(zip(outputs, expected, strict=True)))

    def run(self, feed: Feed) -> dict[str, Floats]:
        """Outputs by name, as many rows as `feed` has."""
        count = len(feed["images"])
        for name, values in feed.items():
            self._inputs[name].update_inplace(self._filled_up(values))
        self._session.run_with_iobinding(self._binding, self._options)
        # A copy: on the CPU `numpy()` is the very buffer that the next run writes into.
        return {name: np.array(buffer.numpy()[:count]) for name, buffer in self._outputs.items()}

    def _filled_up(self, values: Any) -> Any:
        if len(values) == self._size:
            return np.ascontiguousarray(values)
        filled = np.zeros((self._size, *values.shape[1:]), values.dtype)
        filled[: len(values)] = values
        return filled

    def _check(self, answers: Mapping[str, Floats], expected: Mapping[str, Floats]) -> None:
        for name, values in expected.items():
            error = np.abs(answers[name] - values).max() / max(float(np.abs(values).max()), 1e-30)
            if not error <= TOLERANCE:
                raise EngineError(
                    f"the replay of a batch of {self._size} answers other {name} than the same run without "
                    f"capture: off by {error:.2g} of the largest value"
                )


def open_bound(
    bundle: Bundle, graph: str, settings: SessionSettings, *, outputs: Sequence[str], example: Feed
) -> GraphSession:
    """Opens a graph to be replayed on CUDA, or plainly, with the reason, where that does not work.

    Args:
        settings: with CUDA as the first provider.
        outputs: names of all outputs.
        example: inputs of at least the largest captured size, unlike zeros in what they lead to.

    Raises:
        EngineError: no provider loads the graph.
    """
    try:
        return _open_captured(bundle, graph, settings, outputs=outputs, example=example)
    except EngineError as error:
        why = str(error)
    # Only now: the memory of what failed has been released.
    _LOG.warning("no CUDA graphs: %s", why)
    plain = open_plain(bundle, graph, settings)
    plain.reason = plain.reason or f"CUDA graphs are not used: {why}"
    return plain


def _open_captured(
    bundle: Bundle, graph: str, settings: SessionSettings, *, outputs: Sequence[str], example: Feed
) -> BoundSession:
    name, provider_options = settings.providers[0]
    capturing = ((name, {**provider_options, "enable_cuda_graph": "1"}), *settings.providers[1:])
    session = open_session(bundle.file(graph), capturing, settings)
    if session.get_providers()[0] != name:
        raise EngineError(f"{name} did not load")
    return BoundSession(
        session,
        graph=graph,
        outputs=outputs,
        sizes=captured_sizes(settings.max_batch),
        example=example,
        plain=lambda: open_plain(bundle, graph, settings),
    )


def _options(graph_id: int) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(GRAPH_ID, str(graph_id))
    return options


def _buffer(values: Any, device: str) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(values.shape, values.dtype.type, device, 0)
