"""What goes wrong, said in one message instead of a traceback; a missing extra is named."""

from __future__ import annotations

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


@contextmanager
def reported() -> Iterator[None]:
    """Turns what the input or the machine caused into a `click.ClickException` (exit code 1).

    Caught are missing libraries that an extra would install, the project's own exceptions, `ValueError` and
    `OSError`. Anything else is a mistake in the code and keeps its traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        extra = EXTRAS[missing]
        raise click.ClickException(
            f"this command needs {missing}, which is not installed: pip install 'clead-serve[{extra}]', "
            f"or pip install -e '.[{extra}]' in a checkout"
        ) from error
    except Exception as error:
        ours = type(error).__module__.partition(".")[0] in PACKAGES
        if isinstance(error, click.ClickException) or not (ours or isinstance(error, ValueError | OSError)):
            raise
        hint = "" if ours else "\n(clead --traceback ... shows where this comes from)"
        raise click.ClickException((str(error) or type(error).__name__) + hint) from error
