"""`clead export`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.subject import find_subject, is_run


@click.command(short_help="Write a bundle: what the server serves.")
@click.argument("run_or_bundle")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the model, models/NAME; the bundle becomes its next version.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data. A run needs it; a bundle brings a few images with it.",
)
@click.option(
    "--evaluation",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measured figures for the manifest: what `clead evaluate --json` wrote.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(
    *, run_or_bundle: str, out: Path, data_dir: Path | None, evaluation: Path | None, as_json: bool
) -> None:
    """Write a bundle: graphs, weights, manifest and model card, compared with torch before it is published.

    RUN_OR_BUNDLE is the folder of a training run (its best checkpoint is taken), or a bundle by folder or
    name.
    """
    folder = find_subject(run_or_bundle)
    if is_run(folder) and data_dir is None:
        raise click.UsageError("a training run is exported with --data-dir: its test images check the graphs")

    from export.exporter import export_bundle, export_run, metrics_from

    measured: dict[str, Any] = {}
    if evaluation is not None:
        content = _read(evaluation)
        metrics = metrics_from(content)
        measured = {
            "metrics": metrics,
            "evaluation_command": evaluation_command(content, name=out.resolve().name),
        }
    if is_run(folder) and data_dir is not None:
        done = export_run(folder, out, data_dir=data_dir, **measured)
    else:
        done = export_bundle(folder, out, data_dir=data_dir, **measured)

    manifest, parity = done.bundle.manifest, done.parity
    if as_json:
        answer = {
            "path": str(done.bundle.path),
            "name": manifest.name,
            "version": manifest.version,
            "sha256": done.bundle.sha256,
            "bytes": sum(entry.bytes for entry in manifest.files.values()),
            "parity": {"images": parity.images, "logit_error": parity.logit_error},
        }
        click.echo(json.dumps(answer, indent=2))
        return
    size = sum(entry.bytes for entry in manifest.files.values()) / 1e6
    click.echo(f"{done.bundle.path}: {size:.1f} MB, sha256 {done.bundle.sha256}")
    click.echo(f"compared with torch on {parity.images} images: logits within {parity.logit_error:.1g}")
    if not manifest.metrics:
        click.echo(
            "no measured figures yet: clead evaluate --json FILE, then export again with --evaluation FILE"
        )


def evaluation_command(evaluation: Mapping[str, Any], *, name: str) -> str:
    """The command that measures the figures of an evaluation again, on the bundle `name`.

    Args:
        evaluation: what `clead evaluate --json` wrote.

    Raises:
        click.ClickException: it lacks what the command needs.
    """
    try:
        attacks = [figure for figure in evaluation["figures"] if figure["norm"] is not None]
        words = ["clead", "evaluate", name, "--data-dir", "DIR", "--n", str(evaluation["n"])]
        words += ["--seed", str(evaluation["seed"])]
        if attacks:
            words += ["--attacks", ",".join(figure["name"] for figure in attacks)]
            words += ["--norm", attacks[0]["norm"], "--eps", repr(attacks[0]["eps"])]
    except (KeyError, TypeError) as error:
        raise click.ClickException(
            f"the evaluation lacks {error}: make it with clead evaluate --json"
        ) from error
    return shlex.join(words)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise click.ClickException(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise click.ClickException(f"{path} is not an evaluation: make it with clead evaluate --json")
    return content
