"""What goes wrong, said in one message instead of a traceback; a missing extra is named."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import click

PACKAGES = frozenset({"training", "export", "serving", "probes", "engines", "cli"})

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "torch": "train",
        "torchvision": "train",
        "onnx": "train",
        "onnxscript": "train",
        "pyarrow": "train",
        "pyautoattack": "train",
        "matplotlib": "train",
        "scipy": "train",
        "tensorrt": "tensorrt",
    }
)
"""The extra of this project that installs a library which the base install leaves out."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells count: 128 + SIGINT."""


@contextmanager
def stoppable(said: str) -> Iterator[None]:
    """Makes Ctrl-C end the command with exit code 130. `said`: what is left, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\n{said}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


@contextmanager
def reported() -> Iterator[None]:
    """Turns every error into a `click.ClickException` (exit code 1): one message, no traceback.

    A missing library that an extra would install is named with that extra. The project's own exceptions,
    `ValueError` and `OSError` say what the input or the machine caused. Anything else is a mistake in the
    code, whose traceback is kept in a file: hours of work may lie behind it.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (advice := _missing_extra(error)):
            raise click.ClickException(advice) from error
        said = str(error) or type(error).__name__
        if type(error).__module__.partition(".")[0] in PACKAGES:
            raise click.ClickException(said) from error
        if isinstance(error, ValueError | OSError):
            raise click.ClickException(
                f"{said}\n(clead --traceback ... shows where this comes from)"
            ) from error
        raise click.ClickException(
            f"a mistake in clead itself ({type(error).__name__}: {error}). Please report it, with the file "
            f"{_kept_traceback(error)}"
        ) from error


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    missing = (error.name or "").partition(".")[0]
    if missing not in EXTRAS:
        return None
    extra = EXTRAS[missing]
    return (
        f"this command needs {missing}, which is not installed: pip install 'clead-serve[{extra}]', "
        f"or pip install -e '.[{extra}]' in a checkout"
    )


def _kept_traceback(error: Exception) -> str:
    descriptor, name = tempfile.mkstemp(prefix="clead-traceback-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("".join(traceback.format_exception(error)))
    return name
