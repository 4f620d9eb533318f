"""A private folder that all workers of one running server know, and no other server."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "CLEAD_SHARED_FOLDER"


def make_shared_folder() -> Path:
    """Makes the folder in the process that starts the workers, which inherit its path in their environment.

    It goes when this process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="clead-server-"))
    os.environ[VARIABLE] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def shared_folder() -> Path | None:
    """The folder of the server that this process is a worker of; None in any other process."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder and Path(folder).is_dir() else None
