"""A small client of this server, with nothing but the standard library.

client = Client("http://127.0.0.1:3000")
print(client.classify(Path("photo.jpg").read_bytes()).predictions[0].label)
print(client.probe(Path("photo.jpg").read_bytes(), norm="linf", eps="8/255")["verdict"])
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

OCTETS = "application/octet-stream"
Parameter = str | int | float


class ServerProblem(Exception):
    """The server refused. `code` is stable; `request_id` finds the request in the server's log.

    `code` is "unauthorized" without a valid key, "forbidden" when the key lacks a scope, "rate_limited" when
    it is over its quota. `retry_after` is in how many seconds to try again, where the server says so.
    """

    def __init__(self, status: int, body: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.status = status
        self.body = body
        self.code = str(body.get("code", ""))
        self.request_id = str(body.get("request_id", ""))
        self.retry_after = retry_after


class ClientError(Exception):
    """The server cannot be reached, or what answers is another one."""


class ModelIdentity(NamedTuple):
    """Which model answered."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Label:
    """One class and its probability in [0, 1]."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction(Label):
    """The most probable class, and the `top` most probable ones in order."""

    top: tuple[Label, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads one element of `predictions`."""
        top = tuple(Label(**label) for label in value["top"])
        return cls(value["label"], value["index"], value["probability"], top)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The answer of /classify: one prediction for each image, in order."""

    model: ModelIdentity
    predictions: tuple[Prediction, ...]


class Event(NamedTuple):
    """One event of a streamed probe: `name` is "progress", or at the end "result" or "problem"."""

    name: str
    data: Mapping[str, Any]


class Client:
    """Talks to one server; a new connection for every request, so it may be shared by threads.

    Args:
        url: such as http://127.0.0.1:3000.
        key: an API key, if the server wants one.
        timeout: seconds without any answer before giving up.

    Every method raises ServerProblem when the server refuses and ClientError when it cannot be reached.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(
                f"{url!r} is not the address of a server; give one such as http://127.0.0.1:3000"
            )
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout = timeout

    def classify(self, *images: bytes, top: int | None = None, model: str | None = None) -> Classification:
        """Classifies encoded images (PNG, JPEG, WebP) as one batch."""
        body, content_type = (images[0], OCTETS) if len(images) == 1 else _multipart(images)
        answer = self._json("POST", _path("/classify", top=top, model=model), body, content_type)
        return Classification(
            model=ModelIdentity(**answer["model"]),
            predictions=tuple(Prediction.from_json(value) for value in answer["predictions"]),
        )

    def probe(self, image: bytes, **parameters: Parameter | None) -> Mapping[str, Any]:
        """The report on one encoded image; parameters as in docs/http.md."""
        return self._json("POST", _path("/probe", **parameters), image, OCTETS)

    def probe_events(self, image: bytes, **parameters: Parameter | None) -> Iterator[Event]:
        """The same as it goes on: events, the last of which is "result" or "problem"."""
        headers = {"Accept": "text/event-stream"}
        with self._answer("POST", _path("/probe", **parameters), image, OCTETS, headers) as response:
            name = ""
            for line in response:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield Event(name, json.loads(value))

    def models(self) -> Mapping[str, Any]:
        """The default model and the list of all."""
        return self._json("GET", "/models")

    def model(self, reference: str) -> Mapping[str, Any]:
        """The card of the model `name` or `name/version`."""
        return self._json("GET", "/models/" + quote(reference))

    def ready(self) -> Mapping[str, Any]:
        """What /readyz says once the server is ready."""
        return self._json("GET", "/readyz")

    def _json(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> Mapping[str, Any]:
        with self._answer(method, path, body, content_type) as response:
            answer: Mapping[str, Any] = json.loads(response.read())
            return answer

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connect(self._host, self._port, timeout=self._timeout)
        sent = self._headers | dict(headers or {}) | ({"Content-Type": content_type} if content_type else {})
        try:
            connection.request(method, self._prefix + path, body, sent)
            response = connection.getresponse()
            if response.status >= 400:
                raise ServerProblem(
                    response.status,
                    json.loads(response.read()),
                    retry_after=_seconds(response.getheader("Retry-After")),
                )
            yield response
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise ClientError(f"no answer of this server at {self._host}:{self._port}: {error}") from error
        finally:
            connection.close()


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() else None


def _path(path: str, **parameters: Parameter | None) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _multipart(images: Sequence[bytes]) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n'.encode()
    body = b"".join(head + image + b"\r\n" for image in images) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
