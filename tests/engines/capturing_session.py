"""A session that behaves as ONNX Runtime's does with CUDA graphs, computed on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from engines.bound_session import GRAPH_ID
from engines.sessions import CUDA


class CapturingSession:
    """Wraps a real session of the CPU provider, and bindings to it.

    The first bound run with a graph id captures, the others replay: from the very buffers of the capture and
    for the thread that captured, as ONNX Runtime does it. `broken` names what goes wrong instead: "bind",
    "capture", "stale" (a replay answers what was captured), "replay" (fails from the second on).
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, *, broken: str = "", provider: str = CUDA
    ) -> None:
        self._session, self._provider = session, provider
        self.broken = broken
        self.runs: list[int] = []
        """Graph ids of all runs in order."""
        self.sizes: dict[int, int] = {}
        """Rows that were bound for each captured graph id."""
        self.threads: set[int] = set()
        self._captured: dict[int, tuple[int, tuple[int, ...], list[np.ndarray]]] = {}
        self._replays = 0

    def get_providers(self) -> list[str]:
        return [self._provider]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return []

    def io_binding(self) -> RecordedBinding:
        if self.broken == "bind":
            raise RuntimeError("no memory for the buffers")
        return RecordedBinding(self._session)

    def run(
        self, outputs: Sequence[str], feed: Mapping[str, Any], options: onnxruntime.RunOptions
    ) -> Sequence[Any]:
        self.runs.append(int(options.get_run_config_entry(GRAPH_ID)))
        assert self.runs[-1] == -1, "values that are handed over cannot be captured"
        return self._session.run(outputs, feed)

    def run_with_iobinding(self, bound: RecordedBinding, options: onnxruntime.RunOptions) -> None:
        graph_id = int(options.get_run_config_entry(GRAPH_ID))
        self.runs.append(graph_id)
        self.threads.add(threading.get_ident())
        addresses = tuple(value.data_ptr() for value in bound.values.values())
        if graph_id not in self._captured:
            if self.broken == "capture":
                raise RuntimeError("operation not permitted when stream is capturing")
            self._session.run_with_iobinding(bound.binding)
            outputs = [np.array(value.numpy()) for value in bound.outputs()]
            self._captured[graph_id] = (threading.get_ident(), addresses, outputs)
            self.sizes[graph_id] = bound.values["images"].shape()[0]
            return
        thread, captured, answers = self._captured[graph_id]
        assert (thread, captured) == (threading.get_ident(), addresses), "another thread or another buffer"
        self._replays += 1
        if self.broken == "replay" and self._replays > len(self._captured):
            raise RuntimeError("an illegal memory access was encountered")
        if self.broken == "stale":
            for value, answer in zip(bound.outputs(), answers, strict=True):
                value.update_inplace(answer)
            return
        self._session.run_with_iobinding(bound.binding)


class RecordedBinding:
    """A binding, and the values that were bound."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.binding = session.io_binding()
        self.values: dict[str, onnxruntime.OrtValue] = {}
        self._outputs: list[str] = []

    def bind_ortvalue_input(self, name: str, value: onnxruntime.OrtValue) -> None:
        self.values[name] = value
        self.binding.bind_ortvalue_input(name, value)

    def bind_ortvalue_output(self, name: str, value: onnxruntime.OrtValue) -> None:
        self.values[name] = value
        self._outputs.append(name)
        self.binding.bind_ortvalue_output(name, value)

    def outputs(self) -> list[onnxruntime.OrtValue]:
        return [self.values[name] for name in self._outputs]
