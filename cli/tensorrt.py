"""`clead tensorrt`."""

from __future__ import annotations

import json

import click

from cli import complete
from cli.commands import Command
from cli.errors import stoppable
from cli.subject import SubjectError, find_subject, is_run


@click.command(
    cls=Command,
    short_help="Build TensorRT's engines before a server needs them.",
    examples=["clead tensorrt clead-cifar10", "clead tensorrt models/mine --json | jq -r .folder"],
)
@click.argument("bundle", shell_complete=complete.models_or_folders)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@stoppable("stopped; engines that were finished are kept, the same command builds the others")
def tensorrt(*, bundle: str, as_json: bool) -> None:
    """Build TensorRT's engines of BUNDLE for the GPU of this machine, and keep them where a server looks.

    BUNDLE is its folder, models/NAME (the newest version), or its name. It takes minutes; `clead serve
    --engine tensorrt` then starts at once. This has not been run on hardware yet.
    """
    from cli.progress import waiting

    folder = find_subject(bundle)
    if is_run(folder):
        raise SubjectError(f"{folder} is a training run: clead export makes a bundle of it first")
    with waiting("building the engines of both graphs, and comparing them with the bundle's sample"):
        from export.bundle import verify_bundle
        from export.tensorrt import build_tensorrt_engines

        built = build_tensorrt_engines(verify_bundle(folder))
    if as_json:
        answer = {"folder": str(built.folder), "provider": built.info.provider, "version": built.info.version}
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(built.folder)
