"""The BentoML service. In the repository and in a built bento, bentofile.yaml leads `bentoml serve` here."""

from __future__ import annotations

import os

import bentoml
import click
from bentoml.exceptions import BentoMLConfigException
from starlette.types import ASGIApp

from engines.engine import EngineError
from export.bundle import BundleError, load_bundle, resolve_bundle
from serving.accepting import make_accepting_file
from serving.access.access import check_binding, load_access
from serving.application import Application
from serving.drain import claim, end_draining
from serving.front import Front
from serving.models.engine_check import check_engine_apart
from serving.models.model import default_reference
from serving.observing.metrics import keep_to_this_server
from serving.runtime import Runtime
from serving.settings import PREFIX, Settings, SettingsError, load_settings
from serving.shared_folder import make_shared_folder


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        # BentoML prints its own exceptions as one clear line and ends.
        raise BentoMLConfigException(str(error)) from None


def _runtime(settings: Settings) -> Runtime:
    keep_to_this_server()
    try:
        return Runtime(settings)
    except SettingsError as error:
        raise BentoMLConfigException(str(error)) from None


SETTINGS = _settings()
RUNTIME = _runtime(SETTINGS)
APPLICATION = Application(RUNTIME)


class FrontedService(bentoml.Service["ImageClassifier"]):  # type: ignore[misc]
    """A service whose HTTP requests our front answers, before any of BentoML's middlewares."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The server as an ASGI application."""
        return Front(super().to_asgi(is_main), application=APPLICATION)


class ImageClassifier:
    """Classifies images, and probes how robust one classification is. The routes: `serving.application`."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Refuses to start, before any worker does, on what can be known to be wrong. Makes the folder
        that the workers share.

        Raises:
            BentoMLConfigException: a public address without keys, a default model that is missing or damaged,
                a strict engine that would not be the one asked for, a file to drain by that is another's, or
                a disk that refuses.
        """
        try:
            check_binding(SETTINGS, host=_host_asked_for(), has_keys=RUNTIME.access.asks_for_keys)
            default = default_reference(SETTINGS)
            load_bundle(resolve_bundle(SETTINGS.models_dir, default))
            # Of a worker that starts when more models lie in the folder, too.
            os.environ[PREFIX + "DEFAULT_MODEL"] = default
            # Where its image sets this, BentoML replaces no worker that dies until the last one has.
            os.environ.pop("BENTOML_CONTAINERIZED", None)
            if SETTINGS.engine_strict:
                check_engine_apart()
            if SETTINGS.drain_file is not None:
                if not claim(SETTINGS.drain_file):
                    raise SettingsError(
                        f"CLEAD_DRAIN_FILE is {SETTINGS.drain_file}, by which another server that runs is "
                        "drained: give each server a file of its own, or end the other one first"
                    )
                # One that an earlier server has left would have this one drain from its first moment.
                end_draining(SETTINGS.drain_file)
            make_accepting_file(make_shared_folder())
            # Leaves a copy of the keys in the folder: a worker may have to start while the file is broken.
            load_access(SETTINGS)
        except (SettingsError, BundleError, EngineError, OSError) as error:
            raise BentoMLConfigException(str(error)) from None


def _host_asked_for() -> str:
    context = click.get_current_context(silent=True)
    chosen = context.params.get("host") if context is not None else None
    return str(chosen or SETTINGS.host)


Service = bentoml.service(
    name="clead_serve",
    service_class=FrontedService,
    workers=SETTINGS.workers,
    http={"host": SETTINGS.host, "port": SETTINGS.port},
    # Replaced by ours, which cost less and answer in our way.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)(bentoml.asgi_app(APPLICATION)(ImageClassifier))
