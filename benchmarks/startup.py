"""How much later than an empty BentoML service ours is ready: medians of interleaved starts."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from server_process import free_port, seconds_to_ready

EMPTY = """
import bentoml


@bentoml.service
class Empty:
    @bentoml.api
    def nothing(self) -> str:
        return ""
"""
REPOSITORY = Path(__file__).parents[1]


def _start(service: str, cwd: Path) -> float:
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", service, "--port", str(port)]
    return seconds_to_ready(command, port=port, cwd=cwd, limit=120)


def main() -> None:
    """Start both in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    empty: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty.py").write_text(EMPTY, encoding="utf-8")
        for number in range(rounds):
            empty.append(_start("empty:Empty", Path(folder)))
            ours.append(_start("serving.service:Service", REPOSITORY))
            print(f"round {number + 1}: empty {empty[-1]:.2f} s, ours {ours[-1]:.2f} s", flush=True)
    first, second = statistics.median(empty), statistics.median(ours)
    print(f"median of {rounds}: empty {first:.2f} s, ours {second:.2f} s, later by {second - first:.2f} s")


if __name__ == "__main__":
    main()
