"""What a steady client of /classify feels: idle, beside a saturated probe lane, in a flood; the memory."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.figures_file import add_json_option, check_json_option, write_figures
from benchmarks.overload.measure import Plan, measure
from benchmarks.overload.page import write_page
from benchmarks.served_models import REPOSITORY, add_model_option, bundle_path
from benchmarks.server_process import free_port, running
from benchmarks.serving_load.contestants import OURS, contestant
from benchmarks.serving_load.wrk import require_wrk

RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Measure and print, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", help="a PNG file, posted over and over")
    add_model_option(parser)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="idle, and beside probes")
    parser.add_argument("--flood-seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=12.0, help="the flood, in capacities of the server")
    parser.add_argument(
        "--interval", type=float, default=0.05, help="seconds between the steady client's requests"
    )
    parser.add_argument("--page", action="store_true", help="only write docs/overload.md from the results")
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.page:
        write_page(RESULTS, REPOSITORY / "docs")
        return
    check_json_option(arguments, parser)
    if arguments.image is None or not arguments.image.is_file():
        parser.error("a PNG file is needed to be posted")
    require_wrk()
    image, port = arguments.image.read_bytes(), free_port()
    plan = Plan(
        workers=arguments.workers,
        seconds=arguments.seconds,
        flood_seconds=arguments.flood_seconds,
        times=arguments.times,
        interval=arguments.interval,
    )
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_path(arguments.model, Path(folder))
        server = contestant(OURS, bundle=bundle, image=image, port=port, workers=plan.workers, threads=1)
        with running(
            server.command, port=port, cwd=REPOSITORY, limit=120, environment=server.environment
        ) as process:
            report = measure(process, port, image, plan)
    for name, value in report.items():
        print(f"{name}: {value}")
    write_figures(arguments, report)


if __name__ == "__main__":
    main()
