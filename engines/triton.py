"""A bundle on a Triton server, over gRPC with raw binary tensors.

`clead triton-repository` writes the two models that this engine asks for: `<name>` and `<name>-gradient`,
each with the bundle's version, and with its sha256 among the parameters, so that another model under the same
name is noticed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc as grpc_client
from tritonclient.utils import InferenceServerException

from engines.engine import EngineError, EngineInfo, Floats, Integers, Signature
from export.bundle import Bundle
from probes.arrays import Array
from probes.classifier import Gradient

_RETRY_PAUSES = (0.1, 0.3)
"""Seconds before a call that found no server is repeated."""
_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # By default a server that comes back after a while is not looked for until two minutes later.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_TYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}


def triton_model_names(name: str) -> tuple[str, str]:
    """Names of the classifier and the gradient model of the bundle `name` in a Triton repository."""
    return name, f"{name}-gradient"


def sha256_parameter(version: str) -> str:
    """The parameter of a model's configuration that holds the sha256 of one version's bundle."""
    return f"clead_sha256_{version}"


class TritonEngine:
    """`probes.classifier.Classifier` over NumPy arrays. Thread-safe: each thread has a client of its own.

    A call that finds no server, or one that sheds load (UNAVAILABLE), is repeated shortly after, within the
    deadline. Whatever else fails is not: it would fail again, or keep a slow server busy.

    Args:
        url: host and gRPC port of the server, e.g. `localhost:8001`.
        deadline: seconds that one call may take, the connection and its repetitions included. The attribute
            of this name may be changed at any time.
        max_batch: larger batches are sent in pieces; the models' own limit is kept as well.

    Raises:
        EngineError: the server cannot be reached, or does not serve this bundle in this version.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        url: str,
        deadline: float = 30.0,
        max_batch: int = 256,
        with_gradient: bool = True,
    ) -> None:
        self._url = url
        self.deadline = deadline
        self._signature = Signature.of(bundle)
        self._version = bundle.manifest.version
        self._sha256 = bundle.sha256
        self._clients = threading.local()
        self._opened: list[grpc_client.InferenceServerClient] = []
        self._lock = threading.Lock()
        self._classifier, gradient = triton_model_names(bundle.manifest.name)
        self._gradient = gradient if with_gradient else None
        models = [self._classifier, *([gradient] if with_gradient else [])]
        self._max_batch = min([max_batch, *(self._check_model(model) for model in models)])
        self._server_version = str(
            self._call(lambda client, timeout: client.get_server_metadata(client_timeout=timeout)).version
        )

    def logits(self, images: Array) -> Array:
        """Logits float32[N, K] of images float32[N, 3, H, W].

        Raises:
            ValueError: another shape or type.
            EngineError: the server failed or did not answer within the deadline.
        """
        batch = self._signature.images(images)
        parts = [
            self._infer(self._classifier, ("logits",), {"images": batch[rows]})[0]
            for rows in self._pieces(batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self._signature.classes), np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        """Logits, loss and input gradient; arguments as in `probes.losses.loss_and_cotangent`; raises as
        `logits`.
        """
        if self._gradient is None:
            raise EngineError(
                "this engine was started without the gradient model: start it with_gradient=True"
            )
        batch = self._signature.images(images)
        label, target, loss = self._signature.choices(labels, targets, losses, count=len(batch))
        parts: list[list[Floats]] = []
        for rows in self._pieces(batch):
            # Triton's batches want inputs of two axes at least, so numbers per image travel as [N, 1].
            choices = {"label": label[rows, None], "target": target[rows, None], "loss": loss[rows, None]}
            feed: dict[str, Floats | Integers] = {"images": batch[rows], **choices}
            parts.append(self._infer(self._gradient, ("logits", "loss_value", "gradient"), feed))
        if not parts:
            empty = np.zeros((0, self._signature.classes), np.float32)
            return Gradient(empty, np.zeros(0, np.float32), np.zeros_like(batch))
        logits, value, gradient = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Gradient(logits, value.reshape(-1), gradient)

    def describe(self) -> EngineInfo:
        """The server that answers."""
        return EngineInfo(engine="triton", provider="triton", device=self._url, version=self._server_version)

    def close(self) -> None:
        """Closes the connections of all threads."""
        with self._lock:
            clients, self._opened = self._opened, []
        for client in clients:
            client.close()

    def _pieces(self, batch: Floats) -> list[slice]:
        return [slice(start, start + self._max_batch) for start in range(0, len(batch), self._max_batch)]

    def _check_model(self, model: str) -> int:
        """Checks that the server has this bundle as `model`; returns the largest batch that it takes."""
        version = self._version
        if not self._call(
            lambda client, timeout: client.is_model_ready(model, version, client_timeout=timeout)
        ):
            raise EngineError(
                f"Triton at {self._url} does not serve {model} version {version}: write it into the server's "
                "repository with clead triton-repository, and load it"
            )
        config = self._call(
            lambda client, timeout: client.get_model_config(model, version, client_timeout=timeout)
        ).config
        key = sha256_parameter(version)
        sha256 = config.parameters[key].string_value if key in config.parameters else "unknown"
        if sha256 != self._sha256:
            raise EngineError(
                f"Triton at {self._url} serves another {model} version {version} (bundle {sha256[:16]}, not "
                f"{self._sha256[:16]}): write this bundle into its repository with clead triton-repository"
            )
        return max(1, int(config.max_batch_size))

    def _infer(
        self, model: str, outputs: Sequence[str], feed: Mapping[str, Floats | Integers]
    ) -> list[Floats]:
        inputs = []
        for name, array in feed.items():
            tensor = grpc_client.InferInput(name, list(array.shape), _TYPES[array.dtype])
            tensor.set_data_from_numpy(np.ascontiguousarray(array))
            inputs.append(tensor)
        answer = self._call(
            lambda client, timeout: client.infer(
                model,
                inputs,
                model_version=self._version,
                outputs=[grpc_client.InferRequestedOutput(name) for name in outputs],
                client_timeout=timeout,
            )
        )
        try:
            arrays = [answer.as_numpy(name) for name in outputs]
        except ValueError as error:
            raise EngineError(
                f"Triton at {self._url} answered {model} with other values than it announced: {error}; a "
                "python backend made for NumPy 1 does so with NumPy 2: give the model an older one"
            ) from error
        missing = [name for name, array in zip(outputs, arrays, strict=True) if array is None]
        if missing:
            raise EngineError(f"Triton at {self._url} answered without {missing} of {model}")
        return arrays

    def _call(self, request: Callable[[grpc_client.InferenceServerClient, float], Any]) -> Any:
        """The answer to `request`, which is given a client and the seconds that are left."""
        end = time.monotonic() + self.deadline
        pauses = iter(_RETRY_PAUSES)
        while True:
            try:
                return request(self._client(), max(end - time.monotonic(), 0.001))
            except InferenceServerException as error:
                pause = next(pauses, None) if error.status() == "StatusCode.UNAVAILABLE" else None
                if pause is None or time.monotonic() + pause >= end:
                    raise EngineError(
                        f"Triton at {self._url} failed: {error.status()}: {error.message()}"
                    ) from error
                time.sleep(pause)

    def _client(self) -> grpc_client.InferenceServerClient:
        """This thread's client: tritonclient's own are not safe to share between threads."""
        client = getattr(self._clients, "client", None)
        if client is None:
            client = grpc_client.InferenceServerClient(self._url, channel_args=list(_CHANNEL))
            self._clients.client = client
            with self._lock:
                self._opened.append(client)
        return client
