"""What the shell is told when somebody presses Tab: models, recipes, attacks, classes.

Nothing heavy is loaded. Each function is a `shell_complete` of click: (context, parameter, what is typed so
far) to what may stand there. What goes wrong offers nothing, for a message would land in the middle of the
line.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_Words = Callable[[click.Context], Iterable[str]]


def _completer(words: _Words) -> Completer:
    @functools.wraps(words)
    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        try:
            return [CompletionItem(word) for word in words(context) if word.startswith(typed)]
        except Exception:
            return []

    return complete


@_completer
def models(context: click.Context) -> list[str]:
    """Every `name`, then every `name/version`, of the models folder."""
    # export.bundle knows them too, but loads protobuf first: who presses Tab does not want to wait.
    versions = sorted(path.parent for path in _models_dir(context).glob("*/*/manifest.json"))
    names = dict.fromkeys(version.parent.name for version in versions)
    return [*names, *(f"{version.parent.name}/{version.name}" for version in versions)]


def models_or_folders(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The same, and folders: of runs, or of bundles elsewhere."""
    # First, for bash forgets what it was told before.
    return [CompletionItem(typed, type="dir"), *models(context, parameter, typed)]


def recipes_or_files(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The shipped recipes by name, and files."""
    return [CompletionItem(typed, type="file"), *_recipes(context, parameter, typed)]


@_completer
def _recipes(context: click.Context) -> list[str]:
    found = importlib.util.find_spec("training")
    if found is None or found.origin is None:
        return []
    return sorted(path.stem for path in (Path(found.origin).parent / "recipes").glob("*.toml"))


def attacks(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The attacks of an evaluation, one after the other with commas."""
    from training.evaluation.request import ATTACKS

    before, comma, last = typed.rpartition(",")
    chosen = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in ATTACKS
        if name.startswith(last) and name not in chosen
    ]


@_completer
def classes(context: click.Context) -> Sequence[str]:
    """The classes of the model that --model names, or of the default one."""
    return _classes(context)


@_completer
def targets(context: click.Context) -> Sequence[str]:
    """`every`, and the classes."""
    return ["every", *_classes(context)]


@_completer
def scopes(context: click.Context) -> Sequence[str]:
    """What a key may be allowed to do."""
    from serving.access.keys import SCOPES

    return SCOPES


def choices(*words: str) -> Completer:
    """Some words that are not the only ones accepted."""
    return _completer(lambda context: words)


def _models_dir(context: click.Context) -> Path:
    from serving.settings import load_settings

    given = context.params.get("models_dir")
    return given if isinstance(given, Path) else load_settings().models_dir


def _classes(context: click.Context) -> Sequence[str]:
    from export.bundle import MANIFEST, resolve_bundle
    from export.manifest import parse_manifest
    from serving.models.model import default_reference
    from serving.settings import load_settings

    folder = _models_dir(context)
    settings = load_settings().model_copy(update={"models_dir": folder})
    bundle = resolve_bundle(folder, context.params.get("model") or default_reference(settings))
    return parse_manifest((bundle / MANIFEST).read_bytes()).classes
