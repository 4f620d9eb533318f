"""One fault after the other, each on a server of its own under a steady load; every request is counted."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.faults.catalogue import FAULTS, Fault, NotOver
from benchmarks.faults.clients import Clients
from benchmarks.faults.fuzzers import FuzzersError, run_fuzzers
from benchmarks.faults.outcome import Measured, as_json, measured, read_results, write_results
from benchmarks.faults.page import fault_cells, write_page
from benchmarks.faults.target import target
from benchmarks.served_models import REPOSITORY
from export.bundle import BundleError, load_bundle, resolve_bundle

RESULTS = Path(__file__).with_name("results.json")
CLASSIFYING, PAUSE_S = 4, 0.02
GONE_S = 60.0


def main() -> int:
    """Do what was asked for; figures in the file replace those of the same name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", help="a PNG file, posted over and over")
    which = f"which of {', '.join(FAULTS)}; no name: none of them  [all]"
    parser.add_argument(
        "--faults", nargs="*", choices=tuple(FAULTS), metavar="FAULT", default=list(FAULTS), help=which
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of load, before a fault and after it")
    parser.add_argument("--fuzz", type=int, help="run the fuzzers, with so many times a test run's cases")
    parser.add_argument("--json", type=Path, help="file to write the figures to, or to bring up to date")
    parser.add_argument("--page", action="store_true", help=f"only write docs/faults.md from {RESULTS.name}")
    arguments = parser.parse_args()
    if arguments.page:
        write_page(read_results(RESULTS), REPOSITORY / "docs")
        return 0
    image = b""
    if arguments.faults:
        if arguments.image is None or not arguments.image.is_file():
            parser.error("a PNG file is needed to be posted")
        image = arguments.image.read_bytes()
        if not image.startswith(b"\x89PNG\r\n\x1a\n"):
            parser.error(f"{arguments.image} is no PNG file")
    if arguments.seconds <= 0 or (arguments.fuzz is not None and arguments.fuzz < 1):
        parser.error("--seconds is more than 0, --fuzz 1 or more")
    if arguments.json is not None and not os.access(arguments.json.absolute().parent, os.W_OK):
        parser.error(f"--json {arguments.json}: its folder does not exist or cannot be written")
    try:
        results = read_results(arguments.json) if arguments.json else {"faults": {}, "fuzzers": {}}
        bundle = load_bundle(resolve_bundle(REPOSITORY / "models", "clead-cifar10")).path
    except (ValueError, BundleError) as error:
        parser.error(str(error))
    failed = 0

    def keep() -> None:
        if arguments.json is not None:
            write_results(arguments.json, results)

    for name in dict.fromkeys(arguments.faults):
        try:
            results["faults"][name] = one = as_json(
                _run(name, FAULTS[name], bundle, image, arguments.seconds)
            )
            print(" | ".join(fault_cells(name, one)), flush=True)
            keep()
        except (NotOver, RuntimeError) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    if arguments.fuzz is not None:
        try:
            results["fuzzers"] = run_fuzzers(arguments.fuzz)
            print(results["fuzzers"])
            keep()
        except FuzzersError as error:
            failed += 1
            print(error, file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, fault: Fault, bundle: Path, image: bytes, seconds: float) -> Measured:
    """Raises RuntimeError where the server does not start, NotOver where it does not recover."""
    with (
        tempfile.TemporaryDirectory(prefix="clead-faults-") as folder,
        target(Path(folder), bundle, image, clead=fault.clead, versions=fault.versions) as server,
        Clients(
            server.port, [server.classification] * CLASSIFYING + [server.probe], pause_s=PAUSE_S
        ) as clients,
    ):
        time.sleep(seconds)
        begun = time.monotonic()
        own = fault.do(server)
        over = time.monotonic()
        if fault.ends:
            while not clients.all_gone and time.monotonic() < over + GONE_S:
                time.sleep(0.05)
        else:
            time.sleep(seconds)
    return measured(name, [*clients.requests, *own], begun=begun, over=over)


if __name__ == "__main__":
    sys.exit(main())
