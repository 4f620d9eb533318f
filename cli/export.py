"""`clead export`."""

from __future__ import annotations

import json
from pathlib import Path

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

    from export.exporter import export_bundle, export_run
    from export.measurement import read_measurement

    measurement = None if evaluation is None else read_measurement(evaluation)
    if is_run(folder) and data_dir is not None:
        done = export_run(folder, out, data_dir=data_dir, measurement=measurement)
    else:
        done = export_bundle(folder, out, data_dir=data_dir, measurement=measurement)

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
