"""`clead evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import complete
from cli.commands import Command
from cli.device import device_option
from cli.errors import stoppable
from cli.output_file import check_writable, replace_text
from cli.subject import Subject, find_subject, load_subject

if TYPE_CHECKING:
    from torch import nn

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


@click.command(
    cls=Command,
    short_help="Measure accuracy, clean and under attack.",
    examples=[
        "clead evaluate runs/mine --data-dir photos --json mine.json",
        "clead evaluate clead-cifar10 --data-dir data --n 200 --attacks noise,fgsm",
        "clead evaluate clead-cifar10 --data-dir data --json | jq .robust",
    ],
    sections={
        "What is measured": ("data_dir", "n", "seed", "attacks", "norm", "eps", "transfer_from", "control"),
        "Output": ("curve_file", "json_file"),
    },
)
@click.argument("run_or_bundle", shell_complete=complete.models_or_folders)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data whose test images are used.",
)
@click.option(
    "--n",
    metavar="N",
    type=click.IntRange(min=1),
    help="Test images.  [1000, or all of them where there are fewer]",
)
@click.option(
    "--attacks",
    metavar="NAMES",
    shell_complete=complete.attacks,
    help="With commas, of noise, fgsm, pgd-50-10, apgd-ce, apgd-t, square, rays, transfer and autoattack; "
    "'' measures clean images only.  [noise,fgsm,pgd-50-10,autoattack, as far as the data allows]",
)
@click.option(
    "--transfer-from",
    metavar="RUN_OR_BUNDLE",
    shell_complete=complete.models_or_folders,
    help="Also show images to the model that were made by PGD on this second one.",
)
@click.option(
    "--control",
    metavar="RUN_OR_BUNDLE",
    shell_complete=complete.models_or_folders,
    help="A model trained without defence, which the same PGD has to break.",
)
@click.option("--norm", type=click.Choice(["linf", "l2", "l1"]), help="[the one trained for]")
@click.option("--eps", metavar="SIZE", callback=_eps, help="As 8/255 or 0.031.  [the one trained for]")
@click.option(
    "--seed",
    metavar="N",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Chooses the images.",
)
@click.option(
    "--batch-size",
    metavar="N",
    default=250,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images attacked at once.",
)
@device_option
@click.option(
    "--curve",
    "curve_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Measure accuracy over a range of eps too, and draw it to this PNG file.",
)
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the figures as JSON to this file; without FILE, or with -, to standard output.",
)
@stoppable("stopped; figures are written at the end, so nothing was: the same command begins anew")
def evaluate(
    *,
    run_or_bundle: str,
    data_dir: Path,
    n: int | None,
    attacks: str | None,
    transfer_from: str | None,
    control: str | None,
    norm: Any,
    eps: float | None,
    seed: int,
    batch_size: int,
    device: str,
    curve_file: Path | None,
    json_file: Path | None,
) -> None:
    """Measure accuracy, clean and under attack, and judge whether the figures can be believed.

    RUN_OR_BUNDLE is the folder of a training run, or a bundle by folder or name. A model is called robust
    only if every check was made and passed.
    """
    folder = find_subject(run_or_bundle)
    if json_file is not None and str(json_file) != "-":
        check_writable("--json", json_file)
    if curve_file is not None:
        check_writable("--curve", curve_file)
        if curve_file.suffix.lower() != ".png":
            raise click.UsageError(
                f"--curve {curve_file}: the picture is a PNG, so the name must end in .png"
            )

    from cli.progress import waiting

    with waiting("loading torch and the model"):
        if curve_file is not None:
            # Now rather than after an hour of attacks.
            import training.evaluation.plot as plot
        from training.data.remarks import unread
        from training.data.sources import open_images
        from training.evaluation.evaluate import evaluate as measure
        from training.evaluation.request import EvaluationRequest
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
        attacks=None if attacks is None else _names(attacks),
        curve=curve_file is not None,
        seed=seed,
        batch_size=batch_size,
    )
    second, undefended = _companion(transfer_from, subject), _companion(control, subject)
    images = open_images(data_dir, "test", dataset=subject.dataset, spec=subject.input)
    if tuple(images.classes) != subject.classes:
        raise click.ClickException(
            f"{data_dir} holds the classes {', '.join(images.classes)}, "
            f"but {subject.name} knows {', '.join(subject.classes)}"
        )
    for remark in unread(images):
        click.echo(remark, err=True)
    evaluation = measure(
        subject.module,
        images,
        request,
        subject=subject.name,
        weights_sha256=subject.weights_sha256,
        dataset=subject.dataset,
        device=choose_device(device),
        transfer_from=second,
        control=undefended,
    )
    if str(json_file) != "-":
        print_evaluation(evaluation)
    if json_file is not None:
        text = json.dumps(evaluation.to_dict(), indent=2)
        if str(json_file) == "-":
            click.echo(text)
        else:
            replace_text(json_file, text + "\n")
    if curve_file is not None and evaluation.curve is not None:
        trained = subject.eps if request.norm == subject.norm else None
        plot.write_png(plot.draw_curve(evaluation.curve, title=subject.name, trained_eps=trained), curve_file)


def _names(attacks: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in attacks.split(",") if name.strip())


def _companion(text: str | None, subject: Subject) -> nn.Module | None:
    """A second model, which has to take the same images and know the same classes."""
    if text is None:
        return None
    other = load_subject(find_subject(text))
    if other.classes != subject.classes:
        theirs, ours = ", ".join(other.classes), ", ".join(subject.classes)
        raise click.ClickException(f"{text} knows the classes {theirs}, but {subject.name} knows {ours}")
    theirs, ours = (f"{model.input.height}x{model.input.width}" for model in (other, subject))
    if theirs != ours:
        raise click.ClickException(f"{text} takes images of {theirs}, but {subject.name} takes {ours}")
    if other.weights_sha256 == subject.weights_sha256:
        raise click.ClickException(f"{text} has the weights of {subject.name}: name another model")
    return other.module


def print_evaluation(evaluation: Evaluation) -> None:
    """Prints figures, checks and verdict for people."""
    from cli.tables import checks_table, figures_table, print_tables
    from cli.terminal import output

    console = output()
    console.print(evaluation.subject, style="bold", markup=False)
    worst = [] if evaluation.worst_case is None else [evaluation.worst_case]
    print_tables(
        console,
        figures_table([*evaluation.figures, *worst], stages=evaluation.stages),
        checks_table((gate.name, gate.passed, gate.detail) for gate in evaluation.gates),
    )
    console.print(evaluation.verdict, style="bold green" if evaluation.robust else "bold red", markup=False)
