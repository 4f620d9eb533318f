"""What is put on record about every probe: who asked, what was attacked, what came of it. Never an image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from starlette.datastructures import QueryParams
from starlette.types import Scope

from probes.request import Include, ProbeRequest
from serving.access.access import IMAGES_PARAMETER
from serving.observing.log_writer import LogWriter
from serving.observing.request_log import LOGGER
from serving.problems import Problem

AUDITED = ("POST", "/probe")
_IMAGES: tuple[str, ...] = get_args(Include)
_LOG = logging.getLogger(f"{LOGGER}.audit")


@dataclass(slots=True, kw_only=True)
class ProbeRecord:
    """What is known about one probe so far. `status` is how a stream ended, whose status line went ahead."""

    threat: Mapping[str, Any] | None = None
    include: tuple[str, ...] = ()
    verdict: str | None = None
    status: int | None = None

    def wanted(self, given: Iterable[tuple[str, str]]) -> None:
        """Takes down the images that parameters ask for, by the names that there are, whether or not the
        request will be refused.
        """
        words = {
            word.strip() for name, value in given if name == IMAGES_PARAMETER for word in value.split(",")
        }
        self.include = tuple(sorted({*self.include, *words.intersection(_IMAGES)}))

    def asked(self, request: ProbeRequest) -> None:
        """Takes down what is to be attacked."""
        self.threat = {"norm": request.norm, "eps": max(request.eps) if request.eps else None}
        self.include = tuple(sorted(request.include))

    def answered(self, report: Mapping[str, Any]) -> None:
        """Takes down what came of it."""
        self.threat, self.verdict = report["threat"], report["verdict"]


def open_record(scope: Scope, log: LogWriter) -> None:
    """Gives a request to probe a record, for the handler to fill in (`request.state.audit`), and a place in
    the log for its line; None instead where the log has none left.
    """
    if (scope["method"], scope["path"]) == AUDITED:
        record = scope["state"]["audit"] = ProbeRecord() if log.promise() else None
        if record is not None:
            record.wanted(QueryParams(scope["query_string"]).multi_items())


def check_on_record(scope: Scope) -> None:
    """Raises Problem not_recorded for a request to probe that could not be put on record."""
    if scope["state"].get("audit", True) is None:
        raise Problem(
            "not_recorded",
            "the log has no place left for a line about this probe: too many probes are on their way at "
            "once, or nobody reads the log; try again in 5 s, and tell the operator if it lasts",
            headers={"Retry-After": "5"},
        )


def record_answer(scope: Scope, *, status: int, seconds: float) -> None:
    """Writes the audit line of a request whose answer is about to be sent, for its client may take its time.
    Not of a stream: how that ends is still to come.
    """
    record: ProbeRecord | None = scope["state"].get("audit")
    if record is not None and record.status is None:
        write_record(scope, status=status, seconds=seconds)


def write_record(scope: Scope, *, status: int, seconds: float) -> None:
    """Writes the audit line of a request that has a record, and once only; to be called however it ended."""
    state = scope["state"]
    record: ProbeRecord | None = state.pop("audit", None)
    if record is None:
        return
    key, client = state.get("key"), scope.get("client")
    fields = {
        "request_id": state["request_id"],
        "key": key.name if key else None,
        "client": client[0] if client else None,
        "model_sha256": state.get("model", {}).get("sha256"),
        "threat": record.threat,
        "include": record.include,
        "verdict": record.verdict,
        "status": record.status or status,
        "milliseconds": round(seconds * 1000, 2),
    }
    _LOG.info("audit", extra={"fields": fields, "promised": True})
