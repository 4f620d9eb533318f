"""Options of the command line that stand for settings of the server, and win over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from serving.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
ENGINES = ("auto", "cpu", "cuda", "tensorrt", "triton")


def models_dir_option(command: Command) -> Command:
    """Adds --models-dir, named like the setting that it replaces."""
    return click.option(
        "--models-dir",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of model bundles.  [CLEAD_MODELS_DIR, else models/ beside the code]",
    )(command)


def model_and_engine_options(command: Command) -> Command:
    """Adds --models-dir, --engine, --strict and --triton-url, named like the settings that they replace."""
    for option in (
        click.option("--triton-url", help="host:port of Triton's gRPC endpoint.  [CLEAD_TRITON_URL]"),
        click.option(
            "--strict", "engine_strict", is_flag=True, help="Refuse a slower engine than asked for."
        ),
        click.option(
            "--engine", type=click.Choice(ENGINES), help="What computes.  [CLEAD_ENGINE, else auto]"
        ),
        models_dir_option,
    ):
        command = option(command)
    return command


def settings_with(options: Mapping[str, object]) -> tuple[dict[str, str], Settings]:
    """The environment with `options` put into it, and the server's settings that follow from it.

    Args:
        options: by the name of their setting; None and False mean that the setting stays as it is.

    Raises:
        SettingsError: a setting is unknown or has a value that is not accepted.
    """
    from serving.settings import PREFIX, load_settings

    chosen = {name: value for name, value in options.items() if value is not None and value is not False}
    environment = os.environ | {PREFIX + name.upper(): str(value) for name, value in chosen.items()}
    return environment, load_settings(environment)
