"""Starting the engine once in a process of its own, to know before the workers start whether it does.

The process that supervises the workers must not do this itself: it would keep a CUDA context for good.
"""

from __future__ import annotations

import subprocess
import sys

from engines.engine import EngineError
from serving.problems import Problem
from serving.runtime import Runtime
from serving.settings import PROJECT_ROOT, SettingsError, load_settings

_MODULE = "serving.models.engine_check"


def check_engine_apart() -> None:
    """Loads the default model with the settings of this process.

    Raises:
        EngineError: it does not load; with the reason.
    """
    paths = repr(str(PROJECT_ROOT))
    program = f"import sys; sys.path.insert(0, {paths}); from {_MODULE} import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EngineError(done.stderr.strip() or f"the engine ended with status {done.returncode}")


def main() -> int:
    """Loads the default model; 0 when that works, else 1 and the reason on standard error."""
    try:
        Runtime(load_settings()).registry.get(None).engine.close()
    except (Problem, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
