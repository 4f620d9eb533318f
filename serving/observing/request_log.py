"""The log: JSON lines on standard error, in a worker through a queue."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache

from serving.observing.log_writer import LogWriter

LOGGER = "clead"
FLUSH_S = 2.0
"""How long a process that ends waits for the lines that are still to be written."""
# ASCII, because text taken from a request may hold lone surrogates, which UTF-8 cannot encode.
_ENCODER = json.JSONEncoder(default=str)
# What the records of all requests share.
_REQUEST = vars(logging.LogRecord(LOGGER, logging.INFO, __file__, 0, "request", (), None))


class JsonLines(logging.Formatter):
    """Formats a record, and what it carries in `fields`, as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        line: dict[str, object] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


@lru_cache(maxsize=1)
def _second(created: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))


def log_request(fields: Mapping[str, object], answered: float) -> None:
    """Logs the line of a request that was answered at that time, in seconds since 1970.

    As `Logger.info` does, but without looking for the caller in the stack, which costs as much as the rest.
    """
    logger = logging.getLogger(LOGGER)
    if not logger.isEnabledFor(logging.INFO):
        return
    record = logging.LogRecord.__new__(logging.LogRecord)
    milliseconds = answered % 1 * 1000
    record.__dict__.update(_REQUEST, created=answered, msecs=milliseconds, fields=fields, may_wait=True)
    logger.handle(record)


class QueuedLines(logging.Handler):
    """Hands lines to a writer. A record says with `may_wait` that its line is gathered with others, and with
    `promised` that a place has been kept for it (`LogWriter`).
    """

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Queues the line of a record."""
        try:
            self._writer.put(
                self.format(record),
                may_wait=getattr(record, "may_wait", False),
                promised=getattr(record, "promised", False),
            )
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Waits for what is to be written, though not for ever; called when the process ends, too."""
        self._writer.flush(FLUSH_S)


def configure_logging(writer: LogWriter | None = None) -> None:
    """Sends the records of our loggers to standard error as JSON lines, and nowhere else. Idempotent.

    Args:
        writer: writes these lines, and those of everybody else in this process who logs to a standard
            stream; None: each line is written by whoever logs it.
    """
    logger = logging.getLogger(LOGGER)
    handler = logging.StreamHandler() if writer is None else QueuedLines(writer)
    handler.setFormatter(JsonLines())
    for earlier in [one for one in logger.handlers if isinstance(one.formatter, JsonLines)]:
        logger.removeHandler(earlier)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # It would get ready a line for each request that nobody writes.
    logging.getLogger("uvicorn.access").propagate = False
    # It warns about every malformed multipart body; the answer to the client says the same.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # It warns about every offer of another protocol, and advises to install what would not be used.
    logging.getLogger("uvicorn.error").addFilter(_is_about_no_upgrade)
    if writer is not None:
        _divert(writer)


def _is_about_no_upgrade(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(("Unsupported upgrade", "No supported WebSocket"))


def _divert(writer: LogWriter) -> None:
    """Has BentoML's and uvicorn's lines queued as well: a malformed request makes the event loop log one."""
    for name in (None, *logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        for earlier in list(logger.handlers):
            if isinstance(earlier, logging.StreamHandler) and earlier.stream in (sys.stdout, sys.stderr):
                queued = QueuedLines(writer)
                queued.setFormatter(earlier.formatter)
                queued.setLevel(earlier.level)
                for kept in earlier.filters:
                    queued.addFilter(kept)
                logger.removeHandler(earlier)
                logger.addHandler(queued)
