"""The BentoML service. In the repository and in a built bento, bentofile.yaml leads `bentoml serve` here."""

from __future__ import annotations

import bentoml
import click
from bentoml.exceptions import BentoMLConfigException

from engines.engine import EngineError
from export.bundle import BundleError, load_bundle, resolve_bundle
from serving.access import check_binding, load_access
from serving.application import build_application
from serving.engine_check import check_engine_apart
from serving.front import Front
from serving.models import default_reference
from serving.runtime import Runtime
from serving.settings import Settings, SettingsError, load_settings
from serving.shared_folder import make_shared_folder


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        # BentoML prints its own exceptions as one clear line and ends.
        raise BentoMLConfigException(str(error)) from None


def _runtime(settings: Settings) -> Runtime:
    try:
        return Runtime(settings)
    except SettingsError as error:
        raise BentoMLConfigException(str(error)) from None


SETTINGS = _settings()
RUNTIME = _runtime(SETTINGS)
APPLICATION = build_application(RUNTIME)


class ImageClassifier:
    """Classifies images, and probes how robust one classification is. The routes: `serving.application`."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Refuses to start, before any worker does, on what can be known to be wrong. Makes the folder
        that the workers share.

        Raises:
            BentoMLConfigException: a public address without keys, a default model that is missing or damaged,
                or a strict engine that would not be the one asked for.
        """
        try:
            check_binding(SETTINGS, host=_host_asked_for(), has_keys=RUNTIME.access.asks_for_keys)
            load_bundle(resolve_bundle(SETTINGS.models_dir, default_reference(SETTINGS)))
            if SETTINGS.engine_strict:
                check_engine_apart()
            make_shared_folder()
            # Leaves a copy of the keys in the folder: a worker may have to start while the file is broken.
            load_access(SETTINGS)
        except (SettingsError, BundleError, EngineError) as error:
            raise BentoMLConfigException(str(error)) from None


def _host_asked_for() -> str:
    context = click.get_current_context(silent=True)
    chosen = context.params.get("host") if context is not None else None
    return str(chosen or SETTINGS.host)


Service = bentoml.service(
    name="clead_serve",
    workers=SETTINGS.workers,
    http={"host": SETTINGS.host, "port": SETTINGS.port},
    traffic={"timeout": SETTINGS.transport_timeout_s},
    # Replaced by ours, which cost less and answer in our way.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)(bentoml.asgi_app(APPLICATION)(ImageClassifier))
Service.add_asgi_middleware(Front, application=APPLICATION, runtime=RUNTIME)
