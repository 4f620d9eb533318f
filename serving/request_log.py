"""One JSON line per request on standard error."""

from __future__ import annotations

import json
import logging
import time

LOGGER = "clead"


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
        # ASCII, because text taken from a request may hold lone surrogates, which UTF-8 cannot encode.
        return json.dumps(line, default=str)


def configure_logging() -> None:
    """Sends the records of our loggers to standard error as JSON lines, and nowhere else. Idempotent."""
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # It warns about every malformed multipart body; the answer to the client says the same.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
