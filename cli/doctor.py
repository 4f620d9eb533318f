"""`clead doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command(short_help="Say which engine runs here, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Say which engine would run on this machine, and why not a faster one."""
    from engines.doctor import diagnose

    diagnosis = diagnose()
    if as_json:
        click.echo(json.dumps(asdict(diagnosis) | {"unused_gpu": diagnosis.unused_gpu}, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "runs here", "why not, and what to do", title="From fast to slow")
    for engine in diagnosis.engines:
        table.add_row(engine.engine, "yes" if engine.usable else "no", engine.reason or "")
    console = Console()
    console.print(
        f"Python {diagnosis.python}, {diagnosis.platform}, {diagnosis.processors} processors, "
        f"ONNX Runtime {diagnosis.onnxruntime}, {'a' if diagnosis.gpu_present else 'no'} GPU",
        highlight=False,
    )
    console.print(table)
    console.print(f"Engine `auto` takes: {diagnosis.chosen}", highlight=False)
    if diagnosis.unused_gpu:
        console.print("A GPU is present and would not be used.", style="yellow")
