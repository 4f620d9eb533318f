"""`clead keys`: API keys for the server."""

from __future__ import annotations

import sys
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
    from serving.keys import KeyRing, KeysError, parse_entry, parse_lines

    # Readable by its owner alone.
    file.touch(mode=0o600)
    with file.open("a+b", buffering=0) as opened:
        if sys.platform != "win32":
            import fcntl

            # Two commands at the same time would both find a name free.
            fcntl.flock(opened, fcntl.LOCK_EX)
        opened.seek(0)
        try:
            content = opened.read().decode()
        except UnicodeDecodeError:
            raise KeysError(f"{file} is no keys file: it is not UTF-8 text; name another") from None
        KeyRing([*parse_lines(content), parse_entry(entry)])
        # In one piece, so that a server never reads half an entry.
        opened.write((("" if content.endswith("\n") or not content else "\n") + entry + "\n").encode())
