"""`clead evaluate`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.subject import find_subject, load_subject

if TYPE_CHECKING:
    from training.evaluation.figures import Evaluation


def _eps(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Read before anything is loaded, as it is read in a recipe."""
    if text is None:
        return None
    from probes.pixels import pixels

    try:
        eps = pixels(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if eps <= 0:
        raise click.BadParameter(f"{text!r} is not greater than 0")
    return eps


@click.command(short_help="Measure accuracy, clean and under attack.")
@click.argument("run_or_bundle")
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data whose test images are used.",
)
@click.option(
    "--n", type=click.IntRange(min=1), help="Test images.  [1000, or all of them where there are fewer]"
)
@click.option(
    "--attacks", help="With commas, of noise, fgsm, pgd-50-10 and autoattack.  [all that the data allows]"
)
@click.option("--norm", type=click.Choice(["linf", "l2"]), help="[the one trained for]")
@click.option("--eps", callback=_eps, help="As 8/255 or 0.031.  [the one trained for]")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Chooses the images."
)
@click.option("--batch-size", default=250, show_default=True, type=click.IntRange(min=1))
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the figures as JSON to this file (- is standard output).",
)
def evaluate(
    *,
    run_or_bundle: str,
    data_dir: Path,
    n: int | None,
    attacks: str | None,
    norm: Any,
    eps: float | None,
    seed: int,
    batch_size: int,
    device: str,
    json_file: Path | None,
) -> None:
    """Measure accuracy, clean and under attack, and judge whether the figures can be believed.

    RUN_OR_BUNDLE is the folder of a training run, or a bundle by folder or name. A model is called robust
    only if every check was made and passed.
    """
    folder = find_subject(run_or_bundle)
    if (
        json_file is not None
        and str(json_file) != "-"
        and not os.access(json_file.absolute().parent, os.W_OK)
    ):
        raise click.UsageError(f"--json {json_file}: its folder does not exist or cannot be written")

    from training.data.sources import open_images
    from training.evaluation.evaluate import EvaluationRequest
    from training.evaluation.evaluate import evaluate as measure
    from training.run import choose_device

    subject = load_subject(folder)
    if norm is not None and norm != subject.norm and eps is None:
        raise click.UsageError(
            f"--norm {norm} is not the norm trained for ({subject.norm}): give --eps as well"
        )
    request = EvaluationRequest(
        norm=norm or subject.norm,
        eps=subject.eps if eps is None else eps,
        n=n,
        attacks=None if attacks is None else tuple(name.strip() for name in attacks.split(",")),
        seed=seed,
        batch_size=batch_size,
    )
    images = open_images(data_dir, "test", dataset=subject.dataset, spec=subject.input)
    if tuple(images.classes) != subject.classes:
        raise click.ClickException(
            f"{data_dir} holds the classes {', '.join(images.classes)}, "
            f"but {subject.name} knows {', '.join(subject.classes)}"
        )
    evaluation = measure(
        subject.module,
        images,
        request,
        subject=subject.name,
        weights_sha256=subject.weights_sha256,
        dataset=subject.dataset,
        device=choose_device(device),
    )
    if str(json_file) != "-":
        _print(evaluation)
    if json_file is not None:
        with click.open_file(str(json_file), "w", encoding="utf-8", atomic=str(json_file) != "-") as file:
            file.write(json.dumps(evaluation.to_dict(), indent=2) + "\n")


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    figures = Table("attack", "eps", "accuracy", "95% interval", "images", title=evaluation.subject)
    for figure in evaluation.figures:
        low, high = figure.interval
        size = "" if figure.eps is None else f"{figure.norm} {figure.eps:.4f}"
        figures.add_row(
            figure.name, size, f"{figure.accuracy:.2%}", f"{low:.1%} to {high:.1%}", str(figure.n)
        )
    marks = {True: "[green]passed[/]", False: "[red]failed[/]", None: "not made"}
    gates = Table("check", "", "detail")
    for gate in evaluation.gates:
        gates.add_row(gate.name, marks[gate.passed], escape(gate.detail))
    console = Console()
    console.print(figures, gates)
    console.print(
        evaluation.verdict, style="bold green" if evaluation.robust else "bold red", highlight=False
    )
