"""A run's folder, held by one run at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from training.checkpoint import CheckpointError
from training.phases import TrainingError


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Within, `folder` exists, can be written to, and belongs to this run. The system lets go of it for a run
    that was killed. A folder that was made here and stays empty is removed.

    Raises:
        CheckpointError: it cannot be made or written to.
        TrainingError: another run is at work in it.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(
            f"cannot write to the run's folder {folder}: {error.strerror or error}; give another --out"
        ) from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TrainingError(
            f"another run is being trained in {folder} at this moment; wait for it, or give another --out"
        ) from error
    except OSError:
        # Some network file systems know no locks; training there is still training.
        return
