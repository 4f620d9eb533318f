"""`--json` of the benchmarks: the file of the figures, checked before anything is measured."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import provenance


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`, which `check_json_option` checks and `write_figures` follows."""
    parser.add_argument("--json", type=Path, help="file to write the figures to")


def check_json_option(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """An error of `parser` where the file could not be written: hours later would be too late."""
    file: Path | None = arguments.json
    if file is None:
        return
    if file.is_dir():
        parser.error(f"--json {file}: this is a folder; name a file in it")
    if not os.access(file.absolute().parent, os.W_OK):
        parser.error(f"--json {file}: its folder does not exist or cannot be written")


def write_figures(arguments: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """Writes `figures`, the machine and the commit as JSON to the file that was asked for, if one was."""
    if arguments.json is not None:
        content = {**figures, "provenance": provenance(threads=getattr(arguments, "threads", None))}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
