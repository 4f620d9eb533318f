"""What the processor could do at most: decoding and computing batches in a loop, without HTTP.

Run with a file, the size of a batch and seconds; prints the images of a second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.serving_load.servers.work import Work


def images_per_second(data: bytes, *, batch: int, seconds: float) -> float:
    """Classifies copies of one upload, after a warm-up of one batch."""
    work = Work()
    uploads = [data] * batch
    work.classify_batch(uploads)
    started, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        work.classify_batch(uploads)
        done += batch
    return done / spent


if __name__ == "__main__":
    file, size, duration = sys.argv[1:]
    print(images_per_second(Path(file).read_bytes(), batch=int(size), seconds=float(duration)))
