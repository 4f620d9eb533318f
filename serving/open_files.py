"""How many files a worker may have open. Each connection is one."""

from __future__ import annotations

import contextlib


def raise_open_files_limit() -> None:
    """Raises this process's limit as far as its user may: the usual 1024 is reached by idle connections
    alone, and then nobody can connect. Nothing where there is no such limit, or the system refuses.
    """
    try:
        import resource
    except ImportError:
        # Windows.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
