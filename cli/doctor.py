"""`clead doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from cli.commands import Command


@click.command(
    cls=Command,
    short_help="Say which engine runs here, and why.",
    examples=["clead doctor", "clead doctor --json | jq -r .chosen"],
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Say which engine would run on this machine, and why not a faster one."""
    from cli.progress import waiting

    with waiting("looking at this machine"):
        from engines.doctor import diagnose

        diagnosis = diagnose()
    if as_json:
        click.echo(json.dumps(asdict(diagnosis) | {"unused_gpu": diagnosis.unused_gpu}, indent=2))
        return

    from rich.markup import escape

    from cli.tables import plain_table, print_tables
    from cli.terminal import output

    console = output()
    console.print(
        f"Python {diagnosis.python}, {diagnosis.platform}, {diagnosis.processors} processors, "
        f"ONNX Runtime {diagnosis.onnxruntime}, {'a' if diagnosis.gpu_present else 'no'} GPU"
    )
    table = plain_table()
    table.add_column("engine", no_wrap=True)
    table.add_column("runs here", no_wrap=True)
    table.add_column("why not, and what to do")
    for engine in diagnosis.engines:
        runs = "[green]yes[/]" if engine.usable else "[dim]no[/]"
        table.add_row(engine.engine, runs, escape(engine.reason or ""))
    print_tables(console, table)
    console.print(f"Engine `auto` takes: [bold]{diagnosis.chosen}[/]")
    if diagnosis.unused_gpu:
        console.print("A GPU is present and would not be used.", style="yellow")
