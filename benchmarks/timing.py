"""Times of several ways to do the same, in turn, so that what else the machine does meets them all."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.figures_file import add_json_option, check_json_option

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WARM_UP = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--threads`, `--clock` and `--json`, which `check_options` checks."""
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="cpu: for one thread on a machine that is busy"
    )
    add_json_option(parser)


def check_options(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Give torch its threads; an error of `parser` if the options do not go together."""
    if arguments.clock == "cpu" and arguments.threads > 1:
        parser.error("--clock cpu adds up the threads' times: it goes with --threads 1")
    check_json_option(arguments, parser)
    torch.set_num_threads(arguments.threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of each round, in order, by the name of what was timed."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Median seconds of `name`."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """How many times as long `name` takes as `to`: the median over the rounds of their quotient.

        Both times of a quotient come from one round, so a round in which the machine was busy counts less
        than it would in a quotient of medians.
        """
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        return statistics.median(first / second for first, second in pairs)


def interleaved(
    actions: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    repeats: int = 1,
    settle: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Seconds of one call of each of `actions`, in `rounds` rounds that take every one in turn.

    Args:
        repeats: calls timed together in a round, for actions that take milliseconds.
        settle: calls before these that are not timed, for such actions, too: the threads of what was timed
            last go on waiting actively for a while, and its data fills the caches.

    Raises:
        ValueError: rounds or repeats is not positive, or settle is negative.
    """
    if rounds < 1 or repeats < 1 or settle < 0:
        raise ValueError(
            f"rounds and repeats must be at least 1, not {rounds} and {repeats}, and settle at least 0, not "
            f"{settle}"
        )
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(WARM_UP + rounds):
        for name, action in actions.items():
            for _ in range(settle):
                action()
            started = clock()
            for _ in range(repeats):
                action()
            if number >= WARM_UP:
                seconds[name].append((clock() - started) / repeats)
    return Times(seconds={name: tuple(values) for name, values in seconds.items()})
