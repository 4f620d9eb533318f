"""How fast a probe's gradient steps are, beside three attack libraries on torch in the same process."""

from __future__ import annotations

import argparse
import copy
import tempfile
from contextlib import closing
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from benchmarks.agreement.libraries import LIBRARIES, library_attacks
from benchmarks.figures_file import write_figures
from benchmarks.probe_speed import pgd, smallest_eps
from benchmarks.probe_speed.page import write_page
from benchmarks.probe_speed.subjects import BUNDLED, EPS, RESNET, Subject, bundled, resnet18
from benchmarks.timing import CLOCKS, add_options, check_options, interleaved
from engines.load import EngineOptions, load_engine
from training.data.sources import open_images

REPOSITORY = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
SMALL = 8
"""Batches below take so little time that each round repeats them, after one time that does not count."""


def main() -> None:
    """Measure, print a table as it grows, and write it as JSON as often."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe_speed", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder that holds CIFAR-10, or gets it")
    parser.add_argument("--models", nargs="+", choices=(BUNDLED, RESNET), default=[BUNDLED, RESNET])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], help="images attacked at once")
    parser.add_argument("--steps", type=int, default=20, help="steps of PGD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--smallest-eps",
        type=int,
        default=20,
        metavar="N",
        help="compare the smallest eps of N images (0: skip)",
    )
    parser.add_argument("--page", action="store_true", help="only write the page from the results")
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.page:
        write_page(RESULTS, REPOSITORY / "docs")
        return
    check_options(arguments, parser)
    if arguments.data_dir is None:
        parser.error("--data-dir is needed to attack images")
    report: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("threads", "rounds", "steps", "clock")
    } | {"libraries": _versions(), "pgd": [], "smallest_eps": []}
    with tempfile.TemporaryDirectory() as folder:
        subjects = {BUNDLED: bundled()}
        if RESNET in arguments.models:
            classes = subjects[BUNDLED].bundle.manifest.classes
            subjects[RESNET] = resnet18(Path(folder), classes=classes)
        for name in arguments.models:
            _measure(subjects[name], arguments, report)


def _versions() -> dict[str, str]:
    engines = {"ONNX Runtime": onnxruntime.__version__, "torch": torch.__version__}
    return engines | {name: version(distribution) for name, distribution in LIBRARIES.items()}


def _measure(subject: Subject, arguments: argparse.Namespace, report: dict[str, Any]) -> None:
    options = EngineOptions(engine="cpu", threads=arguments.threads)
    most = max(*arguments.batches, arguments.smallest_eps)
    images, labels = _recognised(subject, arguments.data_dir, most)
    with closing(load_engine(subject.bundle, options)) as engine:
        for batch in arguments.batches:
            memory_format = _faster_format(subject, images[:batch], labels[:batch], arguments)
            layout = pgd.FORMATS[memory_format]
            network = subject.network.to(memory_format=layout)
            points = images[:batch].contiguous(memory_format=layout)
            actions = pgd.ours(engine, points, labels[:batch], steps=arguments.steps)
            attacks = library_attacks(
                network,
                norm="linf",
                eps=EPS,
                steps=arguments.steps,
                step_size=pgd.STEP,
                classes=len(subject.bundle.manifest.classes),
            )
            actions |= {name: partial(attack, points, labels[:batch]) for name, attack in attacks.items()}
            times = interleaved(
                actions,
                rounds=arguments.rounds,
                repeats=3 if batch < SMALL else 1,
                settle=1 if batch < SMALL else 0,
                clock=CLOCKS[arguments.clock],
            )
            slower = {name: times.ratio(name, pgd.OURS) for name in actions}
            row = {
                "model": subject.name,
                "images": batch,
                "torch_format": memory_format,
                "seconds": {name: times.median(name) for name in actions},
                "times_ours": slower,
                "fastest_library": min(slower[name] for name in attacks),
                "loop_overhead": times.ratio(pgd.OURS, pgd.BARE) - 1.0,
            }
            report["pgd"].append(row)
            write_figures(arguments, report)
            _print_pgd(row)
        if subject.name == BUNDLED and arguments.smallest_eps:
            count = arguments.smallest_eps
            layout = pgd.FORMATS[_faster_format(subject, images[:1], labels[:1], arguments)]
            for result in smallest_eps.compare(
                engine,
                subject.network.to(memory_format=layout),
                images[:count].contiguous(memory_format=layout),
                labels[:count],
                trained_eps=EPS,
                rounds=arguments.rounds,
                clock=CLOCKS[arguments.clock],
            ):
                report["smallest_eps"].append(asdict(result))
                write_figures(arguments, report)
                _print_smallest(result)


def _faster_format(subject: Subject, images: Tensor, labels: Tensor, arguments: argparse.Namespace) -> str:
    """The memory format in which torch's own gradient is faster here."""
    gradients = {
        name: pgd.input_gradient(copy.deepcopy(subject.network), images, labels, name) for name in pgd.FORMATS
    }
    times = interleaved(gradients, rounds=arguments.rounds, settle=1, clock=CLOCKS[arguments.clock])
    return min(pgd.FORMATS, key=times.median)


def _recognised(subject: Subject, data_dir: Path, count: int) -> tuple[Tensor, Tensor]:
    """Test images with the classes that the model gives them; right ones only for the trained model."""
    source = open_images(data_dir, "test", dataset="cifar10", spec=subject.bundle.manifest.input)
    images, truth = source.batch(torch.arange(min(4 * count, len(source))), torch.device("cpu"))
    with torch.inference_mode():
        labels = torch.cat([subject.network(part).argmax(dim=1) for part in images.split(64)])
    labels = labels.clone()
    kept = labels == truth if subject.name == BUNDLED else torch.ones_like(labels, dtype=torch.bool)
    return images[kept][:count], labels[kept][:count]


def _print_pgd(row: dict[str, Any]) -> None:
    print(f"\n{row['model']}, {row['images']} image(s), torch in {row['torch_format']}")
    for name, seconds in row["seconds"].items():
        print(f"  {name:18s} {1000 * seconds:10.1f} ms   {row['times_ours'][name]:6.2f} times ours")
    print(f"  our loop over the bare gradient calls: {row['loop_overhead']:+.1%}", flush=True)


def _print_smallest(result: smallest_eps.SmallestEps) -> None:
    theirs = f"{result.fmn_eps:.5f} in {1000 * result.fmn_seconds:.1f} ms"
    if result.ratio is None:
        quality = f"foolbox's FMN never gets there; it settles at {theirs}"
    else:
        quality = f"foolbox's FMN needs {result.fmn_steps} steps: {theirs}, {result.ratio:.2f} times ours"
    print(
        f"\nsmallest eps of {result.images} image(s), {result.way}: {result.our_eps:.5f} in "
        f"{1000 * result.our_seconds:.1f} ms; {quality}",
        flush=True,
    )


if __name__ == "__main__":
    main()
