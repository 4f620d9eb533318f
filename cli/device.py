"""The option that says where torch computes."""

from __future__ import annotations

import click

from cli import complete

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N.",
    shell_complete=complete.choices("auto", "cpu", "cuda"),
)
