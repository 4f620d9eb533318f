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
from rich.console import Console
from rich.progress import Progress

from cli.output_file import replace_bytes
from cli.probe_report import print_report
from probes.request import Include, ProbeRequest
from serving.models import Model
from serving.probe_job import OnProgress, ProbeJob


def probe_one(
    image: Path,
    *,
    model: Model,
    request: ProbeRequest,
    max_pixels: int,
    deadline_s: float,
    pictures: Mapping[Include, Path | None],
    as_json: bool,
) -> None:
    """Probes one image and prints the report.

    Args:
        pictures: the PNG files to write, by what they show.

    Raises:
        Problem: as `serving.probe_job.ProbeJob.run`.
        OSError: a file cannot be read or written.
    """
    wanted = {name: path for name, path in pictures.items() if path is not None}
    job = ProbeJob(
        model=model,
        data=image.read_bytes(),
        request=dataclasses.replace(request, include=frozenset(wanted)),
        max_pixels=max_pixels,
        deadline=time.monotonic() + deadline_s,
    )
    with _bar() as progress:
        report = job.run(cancelled=lambda: False, progress=progress)
    written = {name: _write_image(path, report["images"][name]) for name, path in wanted.items()}
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    print_report(report, Console())
    for name, file in written.items():
        click.echo(f"{name}: {file or report['images']['reason']}")


def _write_image(path: Path, data_url: str | None) -> Path | None:
    if data_url is None:
        return None
    replace_bytes(path, base64.b64decode(data_url.partition(",")[2]))
    return path


@contextmanager
def _bar() -> Iterator[OnProgress]:
    """A bar over the gradient evaluations, then one over a certificate's samples; on a terminal only."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        attacking = bars.add_task("attacking", total=None)
        certifying = bars.add_task("certifying", visible=False)

        def advance(state: Mapping[str, Any]) -> None:
            bars.update(attacking, completed=state["gradient_evaluations"], total=state["bound"])
            samples = state["samples"]
            bars.update(
                certifying, completed=samples, total=state["certificate_samples"], visible=samples > 0
            )

        yield advance
