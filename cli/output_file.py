"""Files that a command writes: refused before the work begins, and whole or not there at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import click


def check_writable(option: str, file: Path) -> None:
    """Raises click.UsageError unless `file` can be made or replaced."""
    if file.exists() and not file.is_file():
        raise click.UsageError(f"{option} {file}: there is something that is not a file; give another name")
    if not os.access(file.resolve().parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"{option} {file}: its folder does not exist or cannot be written")


def check_outputs(outputs: Mapping[str, Path | None], *, inputs: Iterable[Path]) -> None:
    """Raises click.UsageError unless every file, by its option, can be written and replaces neither an input
    nor another output."""
    taken = {file.resolve() for file in inputs}
    for option, file in outputs.items():
        if file is None:
            continue
        check_writable(option, file)
        if file.resolve() in taken:
            raise click.UsageError(f"{option} {file}: this is what is read, or another output")
        taken.add(file.resolve())


def replace_text(file: Path, text: str) -> None:
    """Writes `text` in UTF-8, as `replace_bytes` does."""
    replace_bytes(file, text.encode())


def replace_bytes(file: Path, content: bytes) -> None:
    """Writes `content` beside `file`, then gives it that name: a reader never meets a part of it.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    target = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".clead-", suffix=".part")
    part = Path(name)
    try:
        os.close(descriptor)
        part.write_bytes(content)
        part.chmod(_mode(target))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _mode(file: Path) -> int:
    """The mode of the file that is replaced, or of a new one; temporary files are private."""
    if file.exists():
        return file.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
