"""`clead probe`: what `POST /probe` does, without a server, for one image or many."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import complete
from cli.commands import Command
from cli.server_settings import model_and_engine_options, settings_with

if TYPE_CHECKING:
    from probes.request import ProbeRequest

# One's own machine needs no protection from oneself: these replace what limits the server.
_NO_LIMITS = {
    "probe_max_steps": 100_000,
    "probe_max_restarts": 10_000,
    "probe_max_eps_values": 1_000,
    "probe_max_eps_linf": 1.0,
    "probe_max_eps_l2": 1e4,
    "probe_max_eps_l1": 1e8,
    "probe_max_gradient_evaluations": 2**63,
    "probe_max_certify_samples": 10**7,
}
_EVERY = "every"
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


class _Recorded(Command):
    """Remembers the command line, for a report to name what made it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = shlex.join(["clead", "probe", *args])
        return super().parse_args(ctx, args)


@click.command(
    cls=_Recorded,
    short_help="Say how robust the answers for images are.",
    examples=[
        "clead probe photo.jpg",
        "clead probe photo.jpg --eps 4/255,8/255 --adversarial adversarial.png",
        "clead probe photo.jpg --target every --evidence full",
        "clead probe photos/ --csv robustness.csv --html robustness.html",
        "clead probe photo.jpg --json | jq .minimal_eps",
    ],
    sections={
        "Model": ("model", "models_dir", "engine", "engine_strict", "triton_url"),
        "Question": ("norm", "eps", "max_eps", "label", "target", "certify", "sigma", "certify_samples"),
        "Attack": ("steps", "restarts", "loss", "seed", "evidence", "deadline"),
        "Output": ("picture", "as_json", "adversarial", "difference"),
        "Output for many images": ("json_lines", "csv_file", "html_file", "pictures"),
        "True classes of many images": ("labels_file", "no_labels"),
    },
)
@click.argument(
    "paths",
    metavar="IMAGE_OR_FOLDER...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--model", help="name or name/version.  [the server's default model]", shell_complete=complete.models
)
@model_and_engine_options
@click.option("--norm", type=click.Choice(["linf", "l2", "l1"]), help="[the one the model was trained for]")
@click.option(
    "--eps",
    metavar="SIZES",
    help="One or several, with commas: 8/255 or 0.031. Without it: search the smallest.",
)
@click.option("--max-eps", metavar="SIZE", help="Where the search ends.")
@click.option("--steps", metavar="N", type=int, help="Steps of each PGD run.")
@click.option("--restarts", metavar="N", type=int, help="PGD runs at each eps.")
@click.option(
    "--loss",
    help="auto, cross-entropy, margin or dlr.",
    shell_complete=complete.choices("auto", "cross-entropy", "margin", "dlr"),
)
@click.option(
    "--label",
    metavar="CLASS",
    help="Class to be lost, by name or index.  [the predicted one]",
    shell_complete=complete.classes,
)
@click.option(
    "--target",
    metavar="CLASS",
    help="Class to be reached, or every: what does each class take?  [any other]",
    shell_complete=complete.targets,
)
@click.option("--seed", metavar="N", type=int, help="Of all random numbers.")
@click.option("--evidence", type=click.Choice(["quick", "full"]), help="How much to check the attack itself.")
@click.option("--certify", flag_value="true", help="Certify an l2 radius for the smoothed classifier.")
@click.option("--sigma", metavar="SIZE", help="Standard deviation of its noise, in [0, 1] pixels.")
@click.option("--certify-samples", metavar="N", type=int, help="Noisy images that the certificate rests on.")
@click.option(
    "--deadline",
    metavar="SECONDS",
    type=click.FloatRange(min=0.001),
    default=60.0,
    show_default=True,
    help="Seconds per image.",
)
@click.option(
    "--picture/--no-picture",
    default=None,
    help="One image: draw it, the nearest adversarial one, and the margin.  [where the terminal can]",
)
@click.option("--adversarial", type=_FILE, help="One image: write the nearest adversarial one to this PNG.")
@click.option("--difference", type=_FILE, help="One image: write what that changes, amplified, to this PNG.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: of one image, what POST /probe answers."
)
@click.option(
    "--json-lines", is_flag=True, help="Print a line of JSON for each image, as soon as it is done."
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write a table to this file (- is standard output).",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with pictures and the robustness curve to this file.",
)
@click.option(
    "--pictures",
    metavar="N",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Most images that --html shows: the least robust.",
)
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file of lines file,label: the true classes.  [subfolders named after classes]",
)
@click.option("--no-labels", is_flag=True, help="Do not take the names of subfolders for true classes.")
def probe(
    *,
    paths: tuple[Path, ...],
    model: str | None,
    models_dir: Path | None,
    engine: str | None,
    engine_strict: bool,
    triton_url: str | None,
    deadline: float,
    picture: bool | None,
    adversarial: Path | None,
    difference: Path | None,
    as_json: bool,
    json_lines: bool,
    csv_file: Path | None,
    html_file: Path | None,
    pictures: int,
    labels_file: Path | None,
    no_labels: bool,
    **parameters: object,
) -> None:
    """Attack the model's answers for images and say how far each can be changed before the answer flips.

    eps is in units of [0, 1] pixels of the image as the model sees it. Folders are searched with all their
    subfolders. Ctrl-C ends a probe of many images with what it has by then.

    Exit code 1: an image could not be probed.
    """
    values = {name: str(value) for name, value in parameters.items() if value is not None}
    many = len(paths) > 1 or paths[0].is_dir() or json_lines or any((csv_file, html_file, labels_file))
    for contradiction, given in {
        "--json and --json-lines both print: give one": as_json and json_lines,
        "--adversarial and --difference are for one image: --html shows those of many": many
        and (adversarial or difference),
        "--picture is for one image, and not for JSON: leave it out": picture and (many or as_json),
        "--labels says what --label, --target CLASS or --no-labels say otherwise: give one": labels_file
        and (no_labels or "label" in values or values.get("target", _EVERY) != _EVERY),
        "--sigma and --certify-samples are about a certificate: give --certify as well": "certify"
        not in values
        and values.keys() & {"sigma", "certify_samples"},
        "--deadline is no number of seconds: inf is one without an end": math.isnan(deadline),
    }.items():
        if given:
            raise click.UsageError(contradiction)

    from cli.progress import waiting

    with waiting("starting"):
        from cli.output_file import check_outputs
        from cli.probe_one import probe_one
        from cli.probe_set.command import Outputs, find_set, labels_of, probe_set
        from serving.models.engine_start import start_engine
        from serving.models.registry import ModelRegistry
        from serving.probing.parameters import probe_request

    # What can be refused without a model is refused before one is loaded.
    outputs = Outputs(
        printed="json-lines" if json_lines else "json" if as_json else "table",
        csv=csv_file,
        html=html_file,
        pictures=pictures,
    )
    found = find_set(paths, outputs, labels=labels_file) if many else None
    check_outputs({"--adversarial": adversarial, "--difference": difference}, inputs=paths)
    _, settings = settings_with(
        {"models_dir": models_dir, "engine": engine, "engine_strict": engine_strict, "triton_url": triton_url}
    )
    settings = settings.model_copy(update=_NO_LIMITS)
    registry = ModelRegistry(settings, lambda bundle: start_engine(bundle, settings, with_gradient=True))
    with waiting("loading the model"):
        served = registry.get(model)

    def request_with(more: Mapping[str, str]) -> ProbeRequest:
        return probe_request({**values, **more}, served.bundle.manifest, settings)

    with _wrong_use():
        request = request_with({})
    if found is None:
        probe_one(
            paths[0],
            model=served,
            request=request,
            max_pixels=settings.max_pixels,
            deadline_s=deadline,
            files={"adversarial": adversarial, "difference": difference},
            as_json=as_json,
            picture=picture,
        )
        return
    labels = labels_of(
        found, served, file=labels_file, given=request, ignored=no_labels, request=request_with
    )
    with _wrong_use():
        code = probe_set(
            found,
            labels,
            outputs,
            model=served,
            request=request,
            max_pixels=settings.max_pixels,
            deadline_s=deadline,
            command=click.get_current_context().meta[__name__],
        )
    if code:
        raise click.exceptions.Exit(code)


@contextmanager
def _wrong_use() -> Iterator[None]:
    """A parameter that is not accepted is a wrong command line: exit code 2."""
    from serving.problems import Problem

    try:
        yield
    except Problem as problem:
        if problem.code != "invalid_parameter":
            raise
        raise click.UsageError(problem.detail) from problem
