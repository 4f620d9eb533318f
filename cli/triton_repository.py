"""`clead triton-repository`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import complete
from cli.commands import Command
from cli.errors import stoppable
from cli.subject import SubjectError, find_subject, is_run

if TYPE_CHECKING:
    from export.triton_repository import Accelerator, Backend


@click.command(
    "triton-repository",
    cls=Command,
    short_help="Write a bundle as a model repository for Triton.",
    examples=[
        "clead triton-repository clead-cifar10 --out repository",
        "clead triton-repository models/mine --out repository --backend python",
    ],
)
@click.argument("bundle", shell_complete=complete.models_or_folders)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the repository; models that are there already stay.",
)
@click.option(
    "--max-batch",
    metavar="N",
    default=64,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images a batch.",
)
@click.option(
    "--backend",
    default="onnxruntime",
    show_default=True,
    type=click.Choice(["onnxruntime", "python"]),
    help="What loads the graphs; python for a Triton without the onnxruntime backend.",
)
@click.option(
    "--accelerator",
    default="cuda",
    show_default=True,
    type=click.Choice(["cuda", "tensorrt"]),
    help="With --backend onnxruntime: what computes on a GPU; tensorrt has not been run.",
)
@click.option(
    "--packages",
    type=click.Path(path_type=Path),
    help="With --backend python: folder on Triton's machine that ONNX Runtime is installed in. "
    "[default: this environment's site-packages]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@stoppable("stopped; one of the two models may have been written: remove it before the next try")
def triton_repository(
    *,
    bundle: str,
    out: Path,
    max_batch: int,
    backend: Backend,
    accelerator: Accelerator,
    packages: Path | None,
    as_json: bool,
) -> None:
    """Write BUNDLE as a model repository for NVIDIA Triton: the classifier, and the gradient graph beside it.

    BUNDLE is its folder, models/NAME (the newest version), or its name.
    """
    from cli.progress import waiting

    folder = find_subject(bundle)
    if is_run(folder):
        raise SubjectError(f"{folder} is a training run: clead export makes a bundle of it first")
    with waiting("writing the repository"):
        from export.bundle import verify_bundle
        from export.triton_repository import write_triton_repository

        classifier, gradient = write_triton_repository(
            verify_bundle(folder),
            out,
            max_batch=max_batch,
            backend=backend,
            accelerator=accelerator,
            packages=packages,
        )
    if as_json:
        click.echo(json.dumps({"classifier": str(classifier), "gradient": str(gradient)}, indent=2))
        return
    click.echo(f"{classifier}\n{gradient}")
    click.echo(f"Start Triton with --model-repository={out} --rate-limit=execution_count", err=True)
