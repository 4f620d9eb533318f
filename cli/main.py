"""The group of all commands."""

from __future__ import annotations

from typing import Any

import click

from cli import __version__
from cli.doctor import doctor
from cli.errors import reported
from cli.evaluate import evaluate
from cli.export import export
from cli.keys import keys
from cli.probe import probe
from cli.serve import serve
from cli.train import train
from cli.triton_repository import triton_repository


class _Commands(click.Group):
    """Lists commands in the order in which people meet them, and reports errors in one message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.get("traceback"):
            return super().invoke(ctx)
        with reported():
            return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clead")
@click.option("--traceback", is_flag=True, help="Show the Python traceback of an error.")
def main(*, traceback: bool) -> None:
    """Train robust image classifiers, serve them, and probe how robust one prediction is.

    Exit codes: 0 all is well, 1 it failed, 2 the command line is wrong.
    """


for _command in (train, evaluate, export, serve, keys, probe, doctor, triton_repository):
    main.add_command(_command)
