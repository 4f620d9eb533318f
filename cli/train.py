"""`clead train`."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import complete
from cli.commands import Command
from cli.device import device_option
from cli.errors import stoppable

if TYPE_CHECKING:
    from training.checkpoint import Progress


@click.command(
    cls=Command,
    short_help="Train a classifier.",
    examples=[
        "clead train clead-cifar10-compact --data-dir data",
        "clead train clead-photos-resnet18 --data-dir photos --out runs/mine",
        "clead train mine.toml --data-dir data --set optimiser.epochs=3",
        "clead train clead-cifar10-compact --data-dir data --resume",
    ],
)
@click.argument("recipe", shell_complete=complete.recipes_or_files)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data: parquet files, an image folder, or where CIFAR is (or shall be downloaded to).",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.  [runs/NAME, with the recipe's name]",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint.")
@device_option
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, such as optimiser.epochs=3. May be repeated.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: the folder, and the figures of each epoch."
)
@stoppable("stopped; the same command with --resume goes on from the last checkpoint")
def train(
    *,
    recipe: str,
    data_dir: Path,
    out: Path | None,
    resume: bool,
    device: str,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train the classifier that RECIPE describes.

    RECIPE is a TOML file, or the name of a shipped recipe. The folder of the run is printed at the end. A run
    that was stopped, at any moment and by whatever means, goes on with --resume.
    """
    from cli.progress import waiting

    # torchrun starts several of us.
    first = os.environ.get("RANK", "0") == "0"
    with waiting("loading torch", shown=first):
        from training import run
        from training.checkpoint import read_checkpoint
        from training.run_folder import LAST

    folder = run.train(recipe, data_dir=data_dir, out=out, resume=resume, device=device, overrides=overrides)
    if not first:
        return
    progress = read_checkpoint(folder / LAST)[1].progress
    if as_json:
        click.echo(json.dumps(_answer(folder, progress), indent=2))
        return
    click.echo(folder)
    following = ["clead", "evaluate", str(folder), "--data-dir", str(data_dir)]
    best = progress.history[progress.best_epoch - 1]
    click.echo(
        f"the best of {len(progress.history)} epochs was {progress.best_epoch}: on held-out images "
        f"{best['held_out_clean']:.1%} clean, {best['held_out_robust']:.1%} robust\n"
        f"next: {shlex.join(following)} --json evaluation.json",
        err=True,
    )


def _answer(folder: Path, progress: Progress) -> dict[str, object]:
    return {
        "folder": str(folder),
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "best_accuracy": progress.best_accuracy,
        "history": list(progress.history),
    }
