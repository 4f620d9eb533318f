"""`clead completion`: what a shell needs to complete the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from cli.commands import Command

VARIABLE = "_CLEAD_COMPLETE"
"""Set by the shell when it asks; click derives the name from that of the command."""
INSTALL = {
    "bash": "echo 'eval \"$(clead completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(clead completion zsh)\"' >> ~/.zshrc",
    "fish": "clead completion fish > ~/.config/fish/completions/clead.fish",
}
"""How each shell gets the script whenever it starts. zsh needs `compinit` before it, as always."""


@click.command(
    cls=Command,
    short_help="Complete commands, options and models in your shell.",
    examples=list(INSTALL.values()),
)
@click.argument("shell", required=False, type=click.Choice(list(INSTALL)))
def completion(*, shell: str | None) -> None:
    """Print the script that makes SHELL complete commands, options, models, recipes, attacks and classes.

    Without SHELL it is the one that $SHELL names. bash has to be 4.4 or later.
    """
    if shell is None:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in INSTALL:
            raise click.UsageError(f"$SHELL names none that is known: give one of {', '.join(INSTALL)}")
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root()
    click.echo(found(root.command, {}, "clead", VARIABLE).source())
    if sys.stdout.isatty():
        click.echo(f"# To have this whenever {shell} starts:\n#   {INSTALL[shell]}", err=True)
