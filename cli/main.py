"""The group of all commands."""

from __future__ import annotations

import click

from cli import __version__
from cli.commands import HELP, Commands
from cli.completion import completion
from cli.doctor import doctor
from cli.evaluate import evaluate
from cli.export import export
from cli.keys import keys
from cli.models import models
from cli.probe import probe
from cli.serve import serve
from cli.tensorrt import tensorrt
from cli.train import train
from cli.triton_repository import triton_repository


@click.group(
    cls=Commands,
    context_settings={"help_option_names": HELP},
    sections={
        "Make a model": (train, evaluate, export),
        "Ask a model": (probe, models),
        "Serve models": (serve, keys, tensorrt, triton_repository),
        "This machine": (doctor, completion),
    },
)
@click.version_option(__version__, prog_name="clead")
@click.option("--traceback", is_flag=True, help="Show the Python traceback of an error.")
def main(*, traceback: bool) -> None:
    """Train robust image classifiers, serve them, and probe how robust one prediction is.

    `clead COMMAND --help` explains a command. Exit codes: 0 all is well, 1 it failed, 2 the command line is
    wrong, 130 stopped by Ctrl-C.
    """
