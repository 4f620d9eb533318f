"""`clead train`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

CONTINUE_LATER = 130


@click.command(short_help="Train a classifier.")
@click.argument("recipe")
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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, such as optimiser.epochs=3. May be repeated.",
)
def train(
    *, recipe: str, data_dir: Path, out: Path | None, resume: bool, device: str, overrides: tuple[str, ...]
) -> None:
    """Train the classifier that RECIPE describes.

    RECIPE is a TOML file, or the name of a shipped recipe. The folder of the run is printed at the end. A run
    that was stopped, at any moment and by whatever means, goes on with --resume.
    """
    from training import run

    try:
        folder = run.train(
            recipe, data_dir=data_dir, out=out, resume=resume, device=device, overrides=overrides
        )
    except KeyboardInterrupt:
        click.echo("stopped; the same command with --resume goes on from the last checkpoint", err=True)
        sys.exit(CONTINUE_LATER)
    click.echo(folder)
