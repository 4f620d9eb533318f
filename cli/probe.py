"""`clead probe`: what `POST /probe` does, without a server."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.server_settings import model_and_engine_options, settings_with

if TYPE_CHECKING:
    from serving.probe_job import OnProgress

# One's own machine needs no protection from oneself: these replace what limits the server.
_NO_LIMITS = {
    "probe": True,
    "probe_max_steps": 100_000,
    "probe_max_restarts": 10_000,
    "probe_max_eps_values": 1_000,
    "probe_max_eps_linf": 1.0,
    "probe_max_eps_l2": 1e4,
    "probe_max_gradient_evaluations": 2**63,
    "probe_max_certify_samples": 10**7,
}
_IMAGE_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command(short_help="Say how robust the answer for one image is.")
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", help="name or name/version.  [the server's default model]")
@model_and_engine_options
@click.option("--norm", type=click.Choice(["linf", "l2"]), help="[the one the model was trained for]")
@click.option("--eps", help="One or several, with commas: 8/255 or 0.031. Without it: search the smallest.")
@click.option("--max-eps", help="Where the search ends.")
@click.option("--steps", type=int, help="Steps of each PGD run.")
@click.option("--restarts", type=int, help="PGD runs at each eps.")
@click.option("--loss", help="auto, cross-entropy, margin or dlr.")
@click.option("--label", help="Class to be lost, by name or index.  [the predicted one]")
@click.option("--target", help="Class to be reached.  [any other]")
@click.option("--seed", type=int, help="Of all random numbers.")
@click.option("--evidence", type=click.Choice(["quick", "full"]), help="How much to check the attack itself.")
@click.option("--certify", flag_value="true", help="Certify an l2 radius for the smoothed classifier.")
@click.option("--sigma", help="Standard deviation of its noise, in [0, 1] pixels.")
@click.option("--certify-samples", type=int, help="Noisy images that the certificate rests on.")
@click.option(
    "--deadline", type=click.FloatRange(min=0.001), default=60.0, show_default=True, help="Seconds."
)
@click.option("--adversarial", type=_IMAGE_FILE, help="Write the nearest adversarial image to this PNG file.")
@click.option("--difference", type=_IMAGE_FILE, help="Write what it changes, amplified, to this PNG file.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON that POST /probe answers with.")
def probe(
    *,
    image: Path,
    model: str | None,
    models_dir: Path | None,
    engine: str | None,
    engine_strict: bool,
    triton_url: str | None,
    deadline: float,
    adversarial: Path | None,
    difference: Path | None,
    as_json: bool,
    **parameters: object,
) -> None:
    """Attack the model's answer for IMAGE and say how far the image can be changed before the answer flips.

    eps is in units of [0, 1] pixels of the image as the model sees it.
    """
    from serving.probe_job import ProbeJob
    from serving.probe_parameters import probe_request
    from serving.problems import Problem
    from serving.runtime import Runtime

    _, settings = settings_with(
        {"models_dir": models_dir, "engine": engine, "engine_strict": engine_strict, "triton_url": triton_url}
    )
    settings = settings.model_copy(update=_NO_LIMITS)
    values = {name: str(value) for name, value in parameters.items() if value is not None}
    wanted = {"adversarial": adversarial, "difference": difference}
    if include := ",".join(name for name, path in wanted.items() if path is not None):
        values["include"] = include
    served = Runtime(settings).registry.get(model)
    try:
        request = probe_request(values, served.bundle.manifest, settings)
    except Problem as problem:
        raise click.UsageError(problem.detail) from problem
    job = ProbeJob(
        model=served,
        data=image.read_bytes(),
        request=request,
        max_pixels=settings.max_pixels,
        deadline=time.monotonic() + deadline,
    )
    with _bar() as progress:
        report = job.run(cancelled=lambda: False, progress=progress)
    written = {name: _write_image(path, report["images"][name]) for name, path in wanted.items() if path}
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    _print(report)
    for name, path in written.items():
        click.echo(f"{name}: {path or report['images']['reason']}")


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console

    from cli.probe_report import print_report

    print_report(report, Console())


def _write_image(path: Path, data_url: str | None) -> Path | None:
    if data_url is None:
        return None
    path.write_bytes(base64.b64decode(data_url.partition(",")[2]))
    return path


@contextmanager
def _bar() -> Iterator[OnProgress]:
    """A bar over the gradient evaluations, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("attacking", total=None)

        def advance(state: Mapping[str, Any]) -> None:
            bars.update(task, completed=state["gradient_evaluations"], total=state["bound"])

        yield advance
