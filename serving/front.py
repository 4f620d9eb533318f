"""The outermost layer: every HTTP request, whatever its path, is answered by our application.

BentoML keeps some paths for itself, answers unknown ones in its own way, and leaves a timer behind for each
request. None of that is met here; the server's start and stop still pass through to it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.access import PUBLIC_WITHOUT_KEYS, caller_of, is_open, is_public
from serving.access.audit import check_on_record, open_record, record_answer, write_record
from serving.access.local import check_local, is_loopback
from serving.application import Application, Handler
from serving.errors import CLIENT_CLOSED_REQUEST, problem_of
from serving.headers import HeadedRequest, RequestHeaders
from serving.observing.request_log import LOGGER, log_request
from serving.observing.tracing import trace_id, trace_of
from serving.problems import Problem, shown
from serving.runtime import Runtime
from serving.unread_body import UnreadBody
from serving.upgrade import loses_body, upgrade_with_body
from serving.uploads.room import HeldBody
from serving.web_socket import as_http, asks_for_web_socket, websocket

QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
UNMATCHED = "unmatched"
HELD_BACK = frozenset({"overloaded", "not_recorded"})
"""Refusals that come by the thousand and are asked again at once: told later where there are very many."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOG = logging.getLogger(LOGGER)


class Front:
    """ASGI: request ids, access, errors, metrics and the request log around `application`.

    Args:
        app: what BentoML would answer; only told about start and stop.
        application: what answers instead.
    """

    def __init__(self, app: ASGIApp, *, application: Application) -> None:
        self.app = app
        self.application = application
        self.runtime: Runtime = application.state.runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "websocket":
            scope, receive, send = as_http(scope, receive, send)
        elif kind != "http":
            await self.app(scope, receive, send)
            return
        headers = RequestHeaders(scope)
        lost = kind == "http" and loses_body(scope["method"], headers)
        if asks_for_web_socket(headers):
            scope["endpoint"] = websocket
        exchange = UnreadBody(headers, receive, send, lost=lost)
        await self._handle(scope, headers, exchange.receive, exchange.send, lost=lost)
        await exchange.finish()

    async def _handle(
        self, scope: Scope, headers: Headers, receive: Receive, send: Send, *, lost: bool
    ) -> None:
        """Answers a request, and says what became of it.

        Args:
            lost: whether it has a body that cannot be read: nothing is waited for then, so that the
                connection is closed before more comes.
        """
        begun = time.perf_counter()
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        added = [(b"x-request-id", request_id.encode())]
        # The client connects anew: to a server that stays, or without a proxy between that might pass on what
        # follows an upgrade unseen.
        if self.runtime.drain.begun or scope.get("endpoint") is websocket:
            added.append((b"connection", b"close"))
        status, admitted, shed = 0, False, False
        held: HeldBody | None = None

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).extend(added)
                record_answer(scope, status=status, seconds=time.perf_counter() - begun)
            await send(message)

        try:
            open_record(scope, self.runtime.log)
            if self.runtime.tracing is not None and scope["path"] not in QUIET_PATHS:
                self.runtime.tracing.begin(scope)
            # Before it may be refused, so that it counts for what was asked for.
            handler = scope.get("endpoint") or self.application.find(scope)
            if lost:
                raise upgrade_with_body()
            held = self._admit(scope, headers, added)
            admitted = True
            if held is not None:
                receive = held.counting(receive)
            await self._answer(
                handler, HeadedRequest(scope, receive, sending, headers=headers), sending, held
            )
        # The client has gone: nobody is told anything.
        except ClientDisconnect:
            pass
        except Exception as error:
            if held is not None:
                held.release()
            problem = problem_of(error, scope, paths=self.application.paths)
            if status or problem.code == "internal_error":
                _LOG.exception("unexpected error", extra={"fields": {"request_id": request_id}})
            if not admitted:
                self.runtime.metrics.refused.labels(code=problem.code).inc()
            shed = problem.code == "overloaded"
            _forget_frames(error)
            if problem.code in HELD_BACK and (hold := self.runtime.refusal_pace.hold_s()):
                # Before, for until then it takes a place in the log that another probe may need.
                write_record(scope, status=problem.status, seconds=time.perf_counter() - begun)
                await asyncio.sleep(hold)
            if not status:
                # A request that has come as far as a model is told which one, also when it failed.
                model = scope["state"].get("model")
                members = {} if model is None else {"model": model}
                response = problem.response(request_id=request_id, path=scope["path"], **members)
                await response(scope, receive, sending)
        finally:
            if held is not None:
                held.release()
            seconds = time.perf_counter() - begun
            self._count(scope, status or CLIENT_CLOSED_REQUEST, seconds)
            # The lane says how many it has refused.
            if not shed:
                self._log(scope, status or CLIENT_CLOSED_REQUEST, seconds)

    async def _answer(
        self, handler: Handler | None, request: Request, send: Send, held: HeldBody | None
    ) -> None:
        """Hands the request to its handler; where there is none, the router says why."""
        request.scope["app"] = self.application
        if handler is None:
            await self.application.router(request.scope, request.receive, send)
            return
        response = await handler(request)
        # An answer that is whole needs no body any more, and the client may take as long as it likes with it.
        # One that says no length is still being made of the body.
        if held is not None and "content-length" in response.headers:
            held.release()
        await response(request.scope, request.receive, send)

    def _admit(self, scope: Scope, headers: Headers, added: list[tuple[bytes, bytes]]) -> HeldBody | None:
        """Lets a request in, and adds what its answer says about the key's quota to `added`.

        Returns:
            Room for its body, if its job will need a place in a lane.

        Raises:
            Problem: it is not let in.
        """
        if is_open(scope["path"]):
            return None
        check_on_record(scope)
        access, settings = self.runtime.access, self.runtime.settings
        if not (access.asks_for_keys or settings.allow_public):
            local = str((scope.get("server") or ("", None))[0])
            if is_public(local):
                raise Problem(
                    "public_without_keys", f"nothing is served on {local} without keys: {PUBLIC_WITHOUT_KEYS}"
                )
            # No browser asks over a socket that is a file.
            if is_loopback(local):
                check_local(scope["method"], scope["path"], headers, settings.allowed_hosts)
        scope["state"]["key"] = key = access.authenticate(headers)
        told = access.authorize(key, scope["path"])
        # Also of an answer that there is no room: it has cost a request.
        added += [(name.lower().encode(), value.encode()) for name, value in told.items()]
        lane = self.runtime.lane_of(scope["method"], scope["path"])
        if lane is None:
            return None
        # The place is taken once the body is there, so that nobody holds one who only sends slowly. Here a
        # refusal costs neither a body nor a line in the log.
        lane.check_room()
        return self.runtime.uploads.take(
            caller_of(key, scope.get("client")),
            declared=min(_declared(headers), settings.max_body_bytes),
            on_refusal=lane.refused,
        )

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # Paths that nobody knows share one label, for they are endless.
        endpoint = scope.get("endpoint")
        route = getattr(endpoint, "__name__", UNMATCHED) if endpoint is not None else UNMATCHED
        self.runtime.later(self.runtime.metrics.answered, route, status, seconds)
        write_record(scope, status=status, seconds=seconds)
        if (trace := trace_of(scope)) is not None:
            trace.end(route=route, status=status)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        if not self.runtime.settings.access_log or (scope["path"] in QUIET_PATHS and status < 400):
            return
        key = scope["state"].get("key")
        fields = {
            "request_id": scope["state"]["request_id"],
            "trace_id": trace_id(scope),
            "key": key.name if key else None,
            "method": scope["method"],
            "path": shown(scope["path"]),
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
        }
        self.runtime.later(log_request, fields, time.time())


def _forget_frames(error: Exception) -> None:
    """They hold the body, for which there is room again, and the client may be slow to take the answer."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    # No secret, so not asked of the system, during which other threads take the interpreter.
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def _declared(headers: Headers) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
