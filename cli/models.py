"""`clead models`: what is in the models folder, how robust it was measured to be, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import complete
from cli.commands import Command
from cli.server_settings import models_dir_option, settings_with

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from export.bundle import Bundle, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One version in the models folder. `bundle` is None where `refused` says why it would not be served."""

    name: str
    version: str
    path: Path
    is_default: bool
    bundle: Bundle | None
    refused: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what only a whole bundle can tell is None otherwise."""
        known: dict[str, Any] = dict.fromkeys(("sha256", "bytes", *_FROM_MANIFEST))
        if self.bundle is not None:
            manifest = self.bundle.manifest.model_dump(mode="json")
            known = {"sha256": self.bundle.sha256, "bytes": _size(self.bundle.manifest)}
            known |= {field: manifest[field] for field in _FROM_MANIFEST}
        return {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "default": self.is_default,
            "verified": self.bundle is not None,
            "refused": self.refused,
            **known,
        }


_WIDE = 80
"""Columns of a terminal that shows the whole table."""
_NAMES = 13
"""Columns for the names of what is told about a model."""
_FROM_MANIFEST = ("classes", "architecture", "input", "threat", "provenance", "metrics", "curve", "checks")


@click.command(
    cls=Command,
    short_help="List the models: classes, threat, measured figures, files.",
    examples=["clead models", "clead models clead-cifar10", "clead models --json | jq '.[].metrics'"],
)
@click.argument("model", required=False, shell_complete=complete.models)
@models_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, with MODEL one object.")
def models(*, model: str | None, models_dir: Path | None, as_json: bool) -> None:
    """List what the models folder holds, and verify the files of each version as a server does.

    MODEL is name or name/version: then everything about it is said.

    Exit code 1: a version does not verify.
    """
    from cli.progress import waiting
    from export.bundle import list_bundles, resolve_bundle

    _, settings = settings_with({"models_dir": models_dir})
    refs = list_bundles(settings.models_dir)
    if model is not None:
        chosen = resolve_bundle(settings.models_dir, model)
        refs = [ref for ref in refs if ref.path == chosen]
    default = _default(settings)
    with waiting("verifying the files"):
        listed = [_listed(ref.name, ref.version, ref.path, default) for ref in refs]
    if as_json:
        answers = [one.to_dict() for one in listed]
        click.echo(json.dumps(answers if model is None else answers[0], indent=2))
    else:
        _print(listed, settings.models_dir, in_full=model is not None)
    if any(one.refused is not None for one in listed):
        raise click.exceptions.Exit(1)


def _default(settings: Any) -> Path | None:
    """The folder of the version that answers by default; None where there is none, or none is chosen."""
    from export.bundle import BundleNotFoundError, resolve_bundle
    from serving.models.model import default_reference

    try:
        return resolve_bundle(settings.models_dir, default_reference(settings))
    except BundleNotFoundError:
        return None


def _listed(name: str, version: str, path: Path, default: Path | None) -> Listed:
    from export.bundle import BundleError, load_bundle

    bundle, refused = None, None
    try:
        bundle = load_bundle(path)
    except (BundleError, OSError) as error:
        refused = str(error)
    return Listed(
        name=name, version=version, path=path, is_default=path == default, bundle=bundle, refused=refused
    )


def _size(manifest: Manifest) -> int:
    """Bytes of all files but the manifest."""
    return sum(entry.bytes for entry in manifest.files.values())


def _print(listed: list[Listed], folder: Path, *, in_full: bool) -> None:
    from cli.tables import print_tables
    from cli.terminal import output

    console = output()
    if not listed:
        console.print(f"{folder} holds no model: clead export writes one")
        return
    if in_full and (bundle := listed[0].bundle) is not None:
        _print_model(bundle, console)
    else:
        print_tables(console, _table(listed, wide=console.width >= _WIDE))
    for one in listed:
        if one.refused is not None:
            console.print(f"{one.name}/{one.version} would not be served: {one.refused}", markup=False)
    if any(one.is_default for one in listed) and not in_full:
        console.print("* answers by default", style="dim")


def _table(listed: list[Listed], *, wide: bool) -> Table:
    from cli.tables import plain_table

    table = plain_table()
    table.add_column("model", overflow="fold")
    for heading in (*(("classes", "input") if wide else ()), "threat", "clean", "worst"):
        table.add_column(heading, justify="right", no_wrap=True)
    if wide:
        table.add_column("objective")
    table.add_column("files", no_wrap=True)
    for one in listed:
        name = f"{one.name}/{one.version}{' *' if one.is_default else ''}"
        if one.bundle is None:
            table.add_row(name, *[""] * (len(table.columns) - 2), "[bold red]refused[/]")
            continue
        manifest = one.bundle.manifest
        spec, metrics = manifest.input, manifest.metrics
        table.add_row(
            name,
            *((str(len(manifest.classes)), f"{spec.height}x{spec.width}") if wide else ()),
            _threat(manifest),
            _lowest(metric.accuracy for metric in metrics if metric.eps is None),
            _lowest(metric.accuracy for metric in metrics if metric.eps is not None),
            *((manifest.provenance.objective,) if wide else ()),
            "[green]verified[/]",
        )
    return table


def _threat(manifest: Manifest) -> str:
    from cli.radius import short_radius

    threat = manifest.threat
    return "none" if threat is None else f"{threat.norm} {short_radius(threat.eps, threat.norm)}"


def _lowest(accuracies: Iterable[float]) -> str:
    found = min(accuracies, default=None)
    return "-" if found is None else f"{found:.1%}"


def _print_model(bundle: Bundle, console: Console) -> None:
    from rich.markup import escape

    from cli.tables import checks_table, figures_table, print_tables

    manifest, provenance = bundle.manifest, bundle.manifest.provenance
    spec = manifest.input
    facts = {
        "folder": str(bundle.path),
        "sha256": bundle.sha256,
        "size": f"{_size(manifest) / 1e6:.1f} MB in {len(manifest.files)} files, all verified",
        "classes": f"{len(manifest.classes)}: {', '.join(manifest.classes)}",
        "network": manifest.architecture.name,
        "input": f"{spec.height}x{spec.width}, photographs scaled to {spec.resize} and cropped",
        "threat": f"{_threat(manifest)}, trained with {provenance.objective}",
        "trained on": f"{provenance.dataset}, seed {provenance.seed}, code {provenance.commit[:12]}",
        "created": provenance.created,
        "measured by": manifest.evaluation_command or "nothing yet: clead evaluate, then clead export",
    }
    console.print(f"{manifest.name}/{manifest.version}", style="bold")
    for name, value in facts.items():
        # The terminal breaks long lines itself, so that paths and commands can be copied whole.
        console.print(f"[dim]{name:<{_NAMES}}[/]{escape(value)}", soft_wrap=True, highlight=False)
    print_tables(
        console,
        *([figures_table(manifest.metrics)] if manifest.metrics else []),
        *(
            [checks_table((one.name, one.passed, one.detail) for one in manifest.checks)]
            if manifest.checks
            else []
        ),
    )
