"""`clead probe` for one image: the report for people or as JSON, and its pictures as files."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.output_file import replace_bytes
from cli.picture import decoded, picture_console, side_by_side
from cli.probe_report import print_report
from cli.progress import progress
from probes.request import Include, ProbeRequest
from serving.classifying.classification import prepare
from serving.models.model import Model
from serving.probing.job import OnProgress, ProbeJob


def probe_one(
    image: Path,
    *,
    model: Model,
    request: ProbeRequest,
    max_pixels: int,
    deadline_s: float,
    files: Mapping[Include, Path | None],
    as_json: bool,
    picture: bool | None,
) -> None:
    """Probes one image and prints the report.

    Args:
        files: the PNG files to write, by what they show.
        picture: whether to draw; None: where the terminal can.

    Raises:
        Problem: as `serving.probing.job.ProbeJob.run`.
        OSError: a file cannot be read or written.
        click.UsageError: a picture is asked for, and the encoding of the terminal has no characters for it.
    """
    console, draws = picture_console(picture)
    wanted: set[Include] = {name for name, path in files.items() if path is not None}
    if draws and not as_json:
        wanted.add("adversarial")
    data = image.read_bytes()
    job = ProbeJob(
        model=model,
        data=data,
        request=dataclasses.replace(request, include=frozenset(wanted)),
        max_pixels=max_pixels,
        deadline=time.monotonic() + deadline_s,
    )
    with _bars() as advance:
        report = job.run(cancelled=lambda: False, progress=advance)
    written = {
        name: _write_image(path, report["images"][name]) for name, path in files.items() if path is not None
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    drawing = None
    if draws:
        clean = prepare(data, model, max_pixels=max_pixels)
        adversarial = report["images"]["adversarial"]
        drawing = side_by_side(
            clean,
            None if adversarial is None else decoded(adversarial),
            report,
            columns=console.width,
        )
    print_report(report, console, drawing=drawing, chart=picture is not False)
    for name, file in written.items():
        click.echo(f"{name}: {file or report['images']['reason']}")


def _write_image(path: Path, data_url: str | None) -> Path | None:
    if data_url is None:
        return None
    replace_bytes(path, base64.b64decode(data_url.partition(",")[2]))
    return path


@contextmanager
def _bars() -> Iterator[OnProgress]:
    """A bar over the gradient evaluations, then one over a certificate's samples."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with progress(*columns) as bars:
        # Most attacks end long before.
        attacking = bars.add_task("attacking (at most)", total=None)
        certifying = bars.add_task("certifying", visible=False)

        def advance(state: Mapping[str, Any]) -> None:
            bars.update(attacking, completed=state["gradient_evaluations"], total=state["bound"])
            samples = state["samples"]
            bars.update(
                certifying, completed=samples, total=state["certificate_samples"], visible=samples > 0
            )

        yield advance
