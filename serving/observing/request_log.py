"""One JSON line per request on standard error, some at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import select
import sys
import time
from collections.abc import Iterable, Iterator

LOGGER = "clead"
GATHERING_S = 0.05
# ASCII, because text taken from a request may hold lone surrogates, which UTF-8 cannot encode.
_ENCODER = json.JSONEncoder(default=str)


class JsonLines(logging.Formatter):
    """Formats a record, and what it carries in `fields`, as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


class GatheredLines(logging.Handler):
    """Writes to standard error: a record with `may_wait` in an event loop together with what follows within
    GATHERING_S, for writing costs more than all else about a line; every other record at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._first = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line."""
        try:
            self._lines.append(self.format(record))
            if not (getattr(record, "may_wait", False) and self._flush_later(record.created)):
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Writes what there is; called when the process ends, too."""
        with self.lock or contextlib.nullcontext():
            lines, self._lines = self._lines, []
            for piece in _whole_at_once(lines):
                sys.stderr.write(piece)
                sys.stderr.flush()

    def _flush_later(self, now: float) -> bool:
        """Sees to it that the lines are written soon; False if they have to be now."""
        if len(self._lines) > 1:
            # The first one has seen to it, unless its loop has ended.
            return 0 <= now - self._first < 2 * GATHERING_S
        self._first = now
        try:
            asyncio.get_running_loop().call_later(GATHERING_S, self.flush)
        except RuntimeError:
            return False
        return True


def _whole_at_once(lines: Iterable[str]) -> Iterator[str]:
    """Lines with their line breaks, joined as far as the workers' writes to one pipe do not mix (POSIX: up to
    PIPE_BUF bytes).
    """
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) + 1 > select.PIPE_BUF:
            yield piece
            piece = ""
        piece += line + "\n"
    if piece:
        yield piece


def flush_log() -> None:
    """Writes the lines that still wait: a worker that is told to stop ends without Python's own end."""
    for handler in logging.getLogger(LOGGER).handlers:
        handler.flush()


def configure_logging() -> None:
    """Sends the records of our loggers to standard error as JSON lines, and nowhere else. Idempotent."""
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        handler = GatheredLines()
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # It would get ready a line for each request that nobody writes.
    logging.getLogger("uvicorn.access").propagate = False
    # It warns about every malformed multipart body; the answer to the client says the same.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
