"""`clead probe` over many images: checks everything, probes, writes what was found."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import click

from cli import __version__
from cli.errors import INTERRUPTED
from cli.output_file import check_outputs, replace_text
from cli.probe_set.files import FoundFiles, find_images
from cli.probe_set.html_report import html_report
from cli.probe_set.labels import LabelError, Labels, labels_from_csv, labels_from_folders
from cli.probe_set.result import Collector, SetResult
from cli.probe_set.run import SetJob, stopped_by_signals
from cli.probe_set.setup import Setup
from cli.probe_set.tables import counted, csv_table, json_document, json_line, print_table
from cli.progress import counting
from cli.terminal import output
from probes.request import ProbeRequest
from serving.models.model import Model
from serving.problems import Problem

_STANDARD_OUTPUT = Path("-")
Printed: TypeAlias = Literal["table", "json", "json-lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What is written where: what goes to standard output, and files. `pictures`: the most in the page."""

    printed: Printed
    csv: Path | None
    html: Path | None
    pictures: int

    def check(self, inputs: Iterable[Path]) -> None:
        """Raises click.UsageError for what cannot be written, or would replace an input or another output."""
        if self.csv == _STANDARD_OUTPUT and self.printed != "table":
            raise click.UsageError(f"--csv - and --{self.printed} both print to standard output: give one")
        if self.html == _STANDARD_OUTPUT:
            raise click.UsageError("--html -: only --csv can go to standard output; name a file")
        csv = None if self.csv == _STANDARD_OUTPUT else self.csv
        check_outputs({"--csv": csv, "--html": self.html}, inputs=inputs)

    def write(self, result: SetResult, setup: Setup) -> None:
        """Writes and prints everything; a file that fails does not keep the others from being written.

        Raises:
            click.ClickException: a file could not be written.
        """
        failed = []
        texts: list[tuple[Path | None, Callable[[], str]]] = [
            (self.csv, lambda: csv_table(result)),
            (self.html, lambda: html_report(result, setup, most_pictures=self.pictures)),
        ]
        for file, text in texts:
            if file is not None and file != _STANDARD_OUTPUT:
                try:
                    replace_text(file, text())
                except OSError as error:
                    failed.append(f"{file} was not written: {error.strerror or error}")
        # Files first: standard output may be a pipe that nobody reads any more.
        if self.csv == _STANDARD_OUTPUT:
            click.echo(csv_table(result), nl=False)
        if self.printed == "json":
            click.echo(json_document(result, setup))
        elif self.printed == "table" and self.csv != _STANDARD_OUTPUT:
            print_table(result, setup, output())
        if failed:
            raise click.ClickException("; ".join(failed))


def find_set(paths: Sequence[Path], outputs: Outputs, *, labels: Path | None) -> FoundFiles:
    """The images of the command line, once it is known that all outputs can be written.

    Raises:
        click.ClickException: there is no image, or an output cannot be written.
    """
    found = find_images(paths)
    outputs.check([*(image.path for image in found.images), *([labels] if labels else [])])
    if not found.images:
        where = ", ".join(map(str, paths))
        reasons = "".join(f"\n{failure.name}: {failure.reason}" for failure in found.unreadable)
        raise click.ClickException(
            f"{where}: there is no image in here ({found.skipped} other files); PNG, JPEG and WebP are "
            f"accepted, and hidden files are left out{reasons}"
        )
    return found


def labels_of(
    found: FoundFiles,
    model: Model,
    *,
    file: Path | None,
    given: ProbeRequest,
    ignored: bool,
    request: Callable[[Mapping[str, str]], ProbeRequest],
) -> Labels:
    """The true classes of the images: of the CSV file, else of the folders that they lie in.

    Args:
        given: may hold a label for all images, or a target, which makes labels meaningless.
        ignored: the names of folders mean nothing.
        request: reads parameters; here for its way of naming a class.

    Raises:
        LabelError: as `cli.probe_set.labels.labels_from_csv`, or there is a target as well.
    """

    def class_index(text: str) -> int:
        try:
            label = request({"label": text}).label
        except Problem as problem:
            raise LabelError(problem.detail) from problem
        assert label is not None
        return label

    if file is not None and given.target is not None:
        raise LabelError(
            f"{file}: with --target {model.classes[given.target]} nothing needs a label: leave one out"
        )
    if file is not None:
        return labels_from_csv(file, found.images, class_index=class_index)
    if given.target is not None:
        return Labels(origin="a target needs no labels")
    if given.label is not None:
        return Labels(origin=f"{model.classes[given.label]}, as --label says")
    if ignored:
        return Labels(origin="the names of folders were not to be used")
    return labels_from_folders(found.images, model.classes)


def probe_set(
    found: FoundFiles,
    labels: Labels,
    outputs: Outputs,
    *,
    model: Model,
    request: ProbeRequest,
    max_pixels: int,
    deadline_s: float,
    command: str,
) -> int:
    """Probes every image and writes the outputs. Returns the exit code: 0, 1 if files could not be probed, or
    130 after Ctrl-C."""
    if outputs.html is not None and outputs.pictures:
        request = dataclasses.replace(request, include=frozenset({"adversarial", "difference"}))
    job = SetJob(
        model=model, request=request, labels=labels.classes, max_pixels=max_pixels, deadline_s=deadline_s
    )
    setup = Setup(
        model=model.identity,
        classes=model.classes,
        provider=model.info.provider,
        request=request,
        labelled=bool(labels.classes) or request.label is not None,
        label_origin=labels.origin,
        deadline_s=deadline_s,
        command=command,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, clead {__version__}",
    )
    collector = Collector(most_pictures=outputs.pictures)
    lines = outputs.printed == "json-lines"

    def result() -> SetResult:
        return collector.result(failures=found.unreadable, images=len(found.images), skipped=found.skipped)

    with stopped_by_signals() as stop:
        if lines:
            for failure in found.unreadable:
                click.echo(json_line(failure))
        try:
            with counting("probing", len(found.images), shown=not (lines and sys.stdout.isatty())) as begin:
                for outcome in job.run(found.images, stop=stop, begin=begin):
                    collector.add(outcome)
                    if lines:
                        click.echo(json_line(outcome))
        except Exception:
            # A mistake of ours, or a parameter that no image accepts: what was found before is not lost.
            if not collector.empty:
                outputs.write(result(), setup)
            raise
        stopped, done = stop(), result()
        # What an earlier run left is worth more than an empty table.
        if not (stopped and collector.empty):
            outputs.write(done, setup)
    if done.failures:
        click.echo(f"{counted(len(done.failures), 'file')} could not be probed", err=True)
    if stopped:
        click.echo(f"interrupted: {done.not_reached} of {len(found.images)} images not reached", err=True)
        return INTERRUPTED
    return 1 if done.failures else 0
