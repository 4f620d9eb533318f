"""`clead export`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli import complete
from cli.commands import Command
from cli.errors import stoppable
from cli.subject import find_subject, is_run


@click.command(
    cls=Command,
    short_help="Write a bundle: what the server serves.",
    examples=[
        "clead export runs/mine --data-dir photos --out models/mine",
        "clead export models/mine --out models/mine --evaluation mine.json",
        "clead export runs/mine --data-dir photos --out models/mine --json | jq -r .path",
    ],
)
@click.argument("run_or_bundle", shell_complete=complete.models_or_folders)
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
@stoppable("stopped; no bundle was published: the same command begins anew")
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

    from cli.progress import waiting

    with waiting("tracing the graphs, and comparing them with torch"):
        from export.exporter import export_bundle, export_run
        from export.measurement import read_measurement

        measurement = None if evaluation is None else read_measurement(evaluation)
        if is_run(folder) and data_dir is not None:
            done = export_run(folder, out, data_dir=data_dir, measurement=measurement)
        else:
            done = export_bundle(folder, out, data_dir=data_dir, measurement=measurement)

    manifest, parity = done.bundle.manifest, done.parity
    size = sum(entry.bytes for entry in manifest.files.values())
    if as_json:
        answer = {
            "path": str(done.bundle.path),
            "name": manifest.name,
            "version": manifest.version,
            "sha256": done.bundle.sha256,
            "bytes": size,
            "parity": {"images": parity.images, "logit_error": parity.logit_error},
            "metrics": [metric.model_dump(mode="json") for metric in manifest.metrics],
        }
        click.echo(json.dumps(answer, indent=2))
        return

    from cli.tables import figures_table, plain_table, print_tables
    from cli.terminal import output

    console = output()
    console.print(f"{done.bundle.path}: {size / 1e6:.1f} MB", markup=False, soft_wrap=True)
    console.print(f"sha256 {done.bundle.sha256}", soft_wrap=True)
    console.print(f"compared with torch on {parity.images} images: logits within {parity.logit_error:.1g}")
    table = plain_table()
    for heading in ("loss", "gradient signs agree", "PGD, torch", "PGD, engine"):
        table.add_column(heading, justify="left" if heading == "loss" else "right")
    for loss in parity.losses:
        signs = f"{loss.mean_sign_agreement:.2%}"
        table.add_row(loss.loss, signs, f"{loss.torch_success:.1%}", f"{loss.engine_success:.1%}")
    print_tables(console, table, *([figures_table(manifest.metrics)] if manifest.metrics else []))
    if not manifest.metrics:
        console.print(
            "no measured figures yet: clead evaluate --json FILE, then export again with --evaluation FILE"
        )
