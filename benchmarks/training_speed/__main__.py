"""How fast we train adversarially, beside an ordinary loop with torchattacks, and where the time goes."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures_file import write_figures
from benchmarks.timing import CLOCKS, Times, add_options, check_options, interleaved
from benchmarks.training_speed.page import write_page
from benchmarks.training_speed.reference import BATCH_SIZE
from benchmarks.training_speed.stages import breakdown
from benchmarks.training_speed.subjects import ATTACKS, HELD_OUT, Loop, ours, theirs
from export.manifest import InputSpec
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.phases import TrainingError
from training.run import choose_device

REPOSITORY = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
OURS, REFERENCE = "ours", "reference"


def main() -> None:
    """Measure, print as it goes, and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_speed", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder that holds CIFAR-10, or gets it")
    parser.add_argument(
        "--networks", nargs="+", choices=("compact_resnet", "resnet18_cifar"), default=["compact_resnet"]
    )
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument(
        "--images", type=int, default=10 * BATCH_SIZE, help="images of an epoch; all of CIFAR-10 are 50,000"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--compile", action="store_true", help="compile our network (CUDA only)")
    parser.add_argument("--workers", type=int, default=0, help="processes of the reference's DataLoader")
    parser.add_argument("--page", action="store_true", help="only write the page from the results")
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.page:
        write_page(RESULTS, REPOSITORY / "docs")
        return
    device = _checked(arguments, parser)
    spec = InputSpec(height=32, width=32, resize=32)
    images = open_images(arguments.data_dir, "train", dataset="cifar10", spec=spec)
    images = images.spread(arguments.images + HELD_OUT)
    report: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("images", "rounds", "threads", "clock", "device", "compile", "workers")
    } | {"batch_size": BATCH_SIZE, "torch": torch.__version__, "rows": []}
    for network in arguments.networks:
        for attack in arguments.attacks:
            row = _measured(network, attack, images, device, arguments)
            report["rows"].append(row)
            _print(row)
    write_figures(arguments, report)


def _checked(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> torch.device:
    """The device; an error of `parser` if `arguments` do not go together."""
    check_options(arguments, parser)
    if arguments.data_dir is None:
        parser.error("--data-dir is needed to train")
    if arguments.images < BATCH_SIZE:
        parser.error(f"--images must be at least {BATCH_SIZE}, one batch")
    try:
        device = choose_device(arguments.device)
    except TrainingError as error:
        parser.error(str(error))
    if device.type == "cuda" and arguments.clock == "cpu":
        parser.error("--clock cpu does not see a GPU's time: it goes with --device cpu")
    if device.type != "cuda" and arguments.compile:
        parser.error("--compile goes with --device cuda: training compiles nothing on a CPU")
    return device


def _measured(
    network: str, attack: str, images: LabelledImages, device: torch.device, arguments: argparse.Namespace
) -> dict[str, Any]:
    clock = _waiting(CLOCKS[arguments.clock], device)
    with tempfile.TemporaryDirectory() as folder:
        loops = {
            OURS: ours(network, attack, images, Path(folder), device, compiled=arguments.compile),
            REFERENCE: theirs(network, attack, images, device, workers=arguments.workers),
        }
        times = interleaved(
            {name: loop.epoch for name, loop in loops.items()}, rounds=arguments.rounds, clock=clock
        )
        return {
            "network": network,
            "attack": attack,
            "seconds": {name: times.median(name) for name in loops},
            "ratio": times.ratio(REFERENCE, OURS),
            "ratio_of_each_round": _ratios(times),
            "peak_memory_mib": {name: _peak_memory(loop, device) for name, loop in loops.items()},
            "breakdown": {
                name: asdict(breakdown(loop.epoch, loop.stages, clock=clock, device=device))
                for name, loop in loops.items()
            },
        }


def _waiting(clock: Callable[[], float], device: torch.device) -> Callable[[], float]:
    """`clock`, read once `device` has done all that it was given."""
    if device.type != "cuda":
        return clock

    def waiting() -> float:
        torch.cuda.synchronize(device)
        return clock()

    return waiting


def _ratios(times: Times) -> list[float]:
    pairs = zip(times.seconds[REFERENCE], times.seconds[OURS], strict=True)
    return [reference / own for reference, own in pairs]


def _peak_memory(loop: Loop, device: torch.device) -> int | None:
    """MiB of tensors on CUDA in one epoch, both loops' weights included; not measured on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    loop.epoch()
    return round(torch.cuda.max_memory_allocated(device) / 2**20)


def _print(row: dict[str, Any]) -> None:
    rounds = ", ".join(f"{ratio:.2f}" for ratio in row["ratio_of_each_round"])
    print(f"\n{row['network']}, {row['attack']}: {row['ratio']:.2f} times as fast (rounds: {rounds})")
    for name, seconds in row["seconds"].items():
        memory = row["peak_memory_mib"][name]
        print(f"  {name}: {seconds:.2f} s" + (f", {memory} MiB" if memory is not None else ""))
        for kind, values in row["breakdown"][name].items():
            total = sum(values.values())
            parts = ", ".join(f"{part} {value / total:.1%}" for part, value in values.items())
            print(f"    {kind}: {parts}", flush=True)


if __name__ == "__main__":
    main()
