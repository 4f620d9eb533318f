"""How commands present themselves: options and commands in groups, examples, and how they end."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.errors import reported, stoppable

Sections = Mapping[str, Sequence[str]]
HELP = ("-h", "--help")
"""`help_option_names` in the context settings of every command."""


class Command(click.Command):
    """A command with examples, and with its options in groups."""

    def __init__(self, *, examples: Sequence[str], sections: Sections | None = None, **kw: Any) -> None:
        """
        Args:
            examples: command lines to copy; the first one stands for the command in the overview.
            sections: names of parameters by heading; all others are "Options".
        """
        # Its own, for click remembers those of whoever asked first.
        super().__init__(context_settings={"help_option_names": HELP}, **kw)
        self.examples = tuple(examples)
        self._sections = sections or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes each group under its heading, and what belongs to none of them at the end."""
        rows = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx))
        }
        for heading, names in [*self._sections.items(), ("Options", tuple(rows))]:
            if listed := [rows.pop(name) for name in names if name in rows]:
                with formatter.section(heading):
                    formatter.write_dl(listed)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples."""
        write_examples(self.examples, formatter)


class Commands(click.Group):
    """The group of all commands, in the order in which people meet them; reports what goes wrong."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **kw: Any) -> None:
        """
        Args:
            sections: the commands by heading.
        """
        super().__init__(*args, **kw)
        self._sections = sections
        for command in (command for commands in sections.values() for command in commands):
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, not sorted."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes each group under its heading, then the first example of every command."""
        width = formatter.width
        for heading, commands in self._sections.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(command.name or "", command.get_short_help_str(width)) for command in commands]
                )
        write_examples([first_example(command) for command in self.commands.values()], formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. What the input or the machine caused is one message, Ctrl-C is exit code 130."""
        _print_anything()
        with stoppable("stopped; nothing was written"):
            if ctx.params.get("traceback"):
                return super().invoke(ctx)
            with reported():
                return super().invoke(ctx)


def first_example(command: click.Command) -> str:
    """Of a command, or of the first command of a group."""
    if isinstance(command, click.Group):
        return first_example(next(iter(command.commands.values())))
    return command.examples[0] if isinstance(command, Command) else ""


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """Each in a line of its own, however narrow the terminal, so that it can be copied."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{' ' * formatter.current_indent}{example}\n")


def _print_anything() -> None:
    # What the encoding of the terminal lacks is escaped: a class or a file may be called anything.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="backslashreplace")
