"""`clead keys`: API keys for the server."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.group(short_help="Make API keys for the server.")
def keys() -> None:
    """Make API keys for the server, which knows each by its sha256 only."""


@keys.command(short_help="Make a key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="What the key may do: classify, probe, probe:images (adversarial images are returned). Can be "
    "given several times.",
)
@click.option("--name", help="What logs and audits call it; without it, digits of its sha256.")
@click.option("--rate", help="How often it may ask: 10/s, 100/min or 5/h; without it, as often as it likes.")
@click.option("--burst", type=int, help="Requests that may come at once; without it, those of one period.")
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keys file that the entry is added to; a running server takes it up.",
)
def new(
    *, scopes: tuple[str, ...], name: str | None, rate: str | None, burst: int | None, file: Path | None
) -> None:
    """Make a random key of 256 bits, and the entry by which the server knows it.

    The key is printed this once and kept nowhere. With --file standard output holds the key alone.
    """
    from serving.keys import entry_of, new_key

    key = new_key()
    entry = entry_of(key, name=name, scopes=scopes, rate=rate, burst=burst)
    if file is None:
        click.echo(f"key:   {key}\nentry: {entry}")
        click.echo("The key is not shown again. Its entry goes into the keys file or CLEAD_KEYS.", err=True)
    else:
        _add(file, entry)
        click.echo(key)
        click.echo(f"The key is not shown again. Its entry is in {file}.", err=True)


def _add(file: Path, entry: str) -> None:
    from serving.keys import KeyRing, parse_entry, parse_lines

    content = file.read_text(encoding="utf-8") if file.exists() else ""
    KeyRing([*parse_lines(content), parse_entry(entry)])
    line = ("" if content.endswith("\n") or not content else "\n") + entry + "\n"
    # Appended in one piece, so that a server never reads half an entry, and readable by its owner alone.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
