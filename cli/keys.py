"""`clead keys`: API keys for the server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import complete
from cli.commands import HELP, Command

if TYPE_CHECKING:
    from serving.access.keys import ApiKey


@click.group(
    context_settings={"help_option_names": HELP}, short_help="Make and list API keys for the server."
)
def keys() -> None:
    """Make and list API keys for the server, which knows each by its sha256 only."""


@keys.command(
    cls=Command,
    short_help="Make a key.",
    examples=[
        "clead keys new --scope classify --file keys",
        "clead keys new --name alice --scope classify --scope probe --rate 100/min --file keys",
        "clead keys new --scope classify --json | jq -r .key",
    ],
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="What the key may do: classify, probe, probe:images (adversarial images are returned). Can be "
    "given several times.",
    shell_complete=complete.scopes,
)
@click.option("--name", help="What logs and audits call it; without it, digits of its sha256.")
@click.option("--rate", help="How often it may ask: 10/s, 100/min or 5/h; without it, as often as it likes.")
@click.option(
    "--burst", metavar="N", type=int, help="Requests that may come at once; without it, those of one period."
)
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keys file that the entry is added to; a running server takes it up.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the key, its entry and what it may do.")
def new(
    *,
    scopes: tuple[str, ...],
    name: str | None,
    rate: str | None,
    burst: int | None,
    file: Path | None,
    as_json: bool,
) -> None:
    """Make a random key of 256 bits, and the entry by which the server knows it.

    The key is printed this once and kept nowhere. With --file standard output holds the key alone.
    """
    from serving.access.keys import entry_of, new_key, parse_entry

    key = new_key()
    entry = entry_of(key, name=name, scopes=scopes, rate=rate, burst=burst)
    if file is not None:
        _add(file, entry)
    if as_json:
        click.echo(json.dumps({"key": key, "entry": entry} | _described(parse_entry(entry)), indent=2))
    else:
        click.echo(f"key:   {key}\nentry: {entry}" if file is None else key)
    goes = "goes into the keys file or CLEAD_KEYS" if file is None else f"is in {file}"
    click.echo(f"The key is not shown again. Its entry {goes}.", err=True)


@keys.command(
    "list",
    cls=Command,
    short_help="List the keys that a server accepts.",
    examples=["clead keys list --file keys", "clead keys list --json | jq -r '.[].name'"],
)
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Keys file.  [CLEAD_KEYS_FILE and CLEAD_KEYS]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list.")
def list_(*, file: Path | None, as_json: bool) -> None:
    """List what each key may do and how often. The keys themselves are known to nobody but their owners."""
    found = _accepted(file)
    if as_json:
        click.echo(json.dumps([_described(key) for key in found], indent=2))
        return

    from rich.markup import escape

    from cli.tables import plain_table, print_tables
    from cli.terminal import output

    table = plain_table()
    table.add_column("name", overflow="fold")
    table.add_column("may")
    table.add_column("how often")
    table.add_column("sha256")
    for key in found:
        often = "as often as it likes" if key.quota is None else str(key.quota)
        table.add_row(escape(key.name), ", ".join(sorted(key.scopes)), often, key.digest.hex()[:12])
    if found:
        print_tables(output(), table)
    else:
        output().print("no keys: the server answers everybody who reaches it")


def _accepted(file: Path | None) -> list[ApiKey]:
    """The keys of a file, or those of the server's settings."""
    from serving.access.keys import KeysError, parse_entry, parse_lines
    from serving.settings import load_settings

    listed: list[ApiKey] = []
    if file is None:
        settings = load_settings()
        listed, file = [parse_entry(entry) for entry in settings.keys], settings.keys_file
    if file is not None:
        try:
            listed += parse_lines(_text(file.read_bytes(), file))
        except KeysError as error:
            raise KeysError(f"{file}: {error}") from None
    return listed


def _described(key: ApiKey) -> dict[str, object]:
    quota = key.quota
    return {
        "name": key.name,
        "sha256": key.digest.hex(),
        "scopes": sorted(key.scopes),
        "quota": None
        if quota is None
        else {"requests": quota.requests, "period_s": quota.period_s, "burst": quota.burst},
    }


def _add(file: Path, entry: str) -> None:
    from serving.access.keys import KeyRing, parse_entry, parse_lines

    # Readable by its owner alone.
    file.touch(mode=0o600)
    with file.open("a+b", buffering=0) as opened:
        if sys.platform != "win32":
            import fcntl

            # Two commands at the same time would both find a name free.
            fcntl.flock(opened, fcntl.LOCK_EX)
        opened.seek(0)
        content = _text(opened.read(), file)
        KeyRing([*parse_lines(content), parse_entry(entry)])
        # In one piece, so that a server never reads half an entry.
        opened.write((("" if content.endswith("\n") or not content else "\n") + entry + "\n").encode())


def _text(content: bytes, file: Path) -> str:
    from serving.access.keys import KeysError

    try:
        return content.decode()
    except UnicodeDecodeError:
        raise KeysError(f"{file} is no keys file: it is not UTF-8 text; name another") from None
