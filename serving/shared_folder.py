"""A private folder that all workers of one running server know, and no other server."""

from __future__ import annotations

import atexit
import os
import shutil
from pathlib import Path

from serving.held_folder import hold, make_held_folder

VARIABLE = "CLEAD_SHARED_FOLDER"
PREFIX = "clead-shared-"


def make_shared_folder() -> Path:
    """Makes the folder in the process that starts the workers, which inherit its path in their environment.

    It goes when this process ends; if that is killed, when the next server starts and no worker is left.
    """
    folder = make_held_folder(PREFIX)
    os.environ[VARIABLE] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def shared_folder() -> Path | None:
    """The folder of the server that this process is a worker of, which it then holds; None in any other."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder and hold(Path(folder)) else None
