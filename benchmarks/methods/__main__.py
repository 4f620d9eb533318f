"""Make what is missing of the study, then its page."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.methods.arms import Run, read_study
from benchmarks.methods.measured import current_result
from benchmarks.methods.one_run import trained
from benchmarks.methods.page import write_page
from benchmarks.methods.per_image import FOLDER, PerImageError, keep_per_image
from benchmarks.methods.step_cost import measure_costs
from training.checkpoint import CheckpointError
from training.data.sources import open_images
from training.run import input_spec

REPOSITORY = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Runs that have no result of their recipe yet are made, `--jobs` at a time, each with one thread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder that holds CIFAR-10, or gets it")
    parser.add_argument(
        "--work", type=Path, default=REPOSITORY / "runs" / "methods", help="folder of the runs"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", action="store_true", help="write the page from the results there are")
    parser.add_argument(
        "--per-image",
        action="store_true",
        help="evaluate runs of --work again, clean and under PGD, whose images right and wrong were not kept",
    )
    parser.add_argument(
        "--cost", action="store_true", help="measure memory and time of a few training steps of every arm"
    )
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    failed = 0
    if arguments.cost:
        measure_costs(RESULTS)
    elif not arguments.page:
        if arguments.data_dir is None:
            parser.error("--data-dir is needed to train")
        data_dir, work = arguments.data_dir.resolve(), arguments.work.resolve()
        failed = _look_again(data_dir, work) if arguments.per_image else _make(data_dir, work, arguments.jobs)
    write_page(RESULTS, REPOSITORY / "docs")
    return 1 if failed else 0


def _make(data_dir: Path, work: Path, jobs: int) -> int:
    """How many runs failed."""
    work.mkdir(parents=True, exist_ok=True)
    runs = read_study(work).runs
    missing = [run for run in runs if current_result(RESULTS, run) is None]
    needed = {run.surrogate for run in missing}
    missing += [run for run in runs if run.name in needed and run not in missing and not trained(run, work)]
    failed = 0
    # Surrogates first: other runs begin with them.
    for wave in ([run for run in missing if run.surrogate is None], [r for r in missing if r.surrogate]):
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            failed += sum(pool.map(lambda run: _one(run, data_dir, work), wave))
    return failed


def _look_again(data_dir: Path, work: Path) -> int:
    """How many runs failed."""
    runs = [run for run in read_study(work).runs if current_result(RESULTS, run) is not None]
    missing = [run for run in runs if not (RESULTS / FOLDER / f"{run.name}.json").exists()]
    if not missing:
        return 0
    # All runs are of one data set.
    recipe = missing[0].recipe
    test = open_images(data_dir, "test", dataset=recipe.data.dataset, spec=input_spec(recipe))
    failed = 0
    for run in missing:
        try:
            keep_per_image(run.name, work, RESULTS, test)
            print(f"{run.name}: done", flush=True)
        except (CheckpointError, PerImageError) as error:
            print(f"{run.name}: {error}", flush=True)
            failed += 1
    return failed


def _one(run: Run, data_dir: Path, work: Path) -> bool:
    """Whether it failed; what it printed is in its log."""
    script = [sys.executable, "-m", "benchmarks.methods.one_run"]
    command = [*script, run.name, str(data_dir), str(work), str(RESULTS)]
    with (work / f"{run.name}.log").open("a", encoding="utf-8") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        code = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, check=False)
    print(f"{run.name}: {'done' if code.returncode == 0 else f'failed, see {log.name}'}", flush=True)
    return code.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
