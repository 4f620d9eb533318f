"""`make serve` in a fresh clone, and again: seconds until ready, and the size of the environment."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from server_process import free_port, seconds_to_ready

REPOSITORY = Path(__file__).parents[1]


def main() -> None:
    """Clone this repository's last commit, run `make serve` twice, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds to wait at most")
    limit = parser.parse_args().limit
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        for attempt in ("first", "second"):
            port = free_port()
            seconds = seconds_to_ready(["make", "serve", f"PORT={port}"], port=port, cwd=clone, limit=limit)
            print(f"{attempt} make serve: ready after {seconds:.1f} s", flush=True)
        size = sum(file.lstat().st_size for file in (clone / ".venv").rglob("*") if file.is_file())
        print(f"environment: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
